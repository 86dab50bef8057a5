//! The API, one file per resource. Wire types stand beside their handlers and go no further in.

pub mod accounts;
pub mod api_keys;
pub mod connections;
pub mod defined;
pub mod health;
pub mod integrations;
pub mod links;
pub mod providers;
pub mod tokens;
