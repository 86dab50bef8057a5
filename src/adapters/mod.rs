//! The ports' implementations. Only `app.rs` names them, and they do not know one another.

pub mod memory;
