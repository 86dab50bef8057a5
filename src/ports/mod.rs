//! What services need of the world, as traits. Implementations live in `adapters`, and only
//! `app.rs` names them.

pub mod clock;
pub mod entropy;
pub mod journal;
pub mod kv;
pub mod mail;
pub mod node_memory;
pub mod outbound;
