//! Implementations of the ports. Each knows its driver and its port and no other adapter; only
//! `app.rs` names them.

pub mod journal;
pub mod mail;
pub mod memory;
pub mod outbound;
pub mod redis;
pub mod sqlite;
pub mod steady;
pub mod system;
