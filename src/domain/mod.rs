//! Pure types and rules. Nothing here knows of time's passing, randomness, storage or HTTP;
//! whatever a rule needs is handed in as a value.

pub mod api_key;
pub mod call;
pub mod caller;
pub mod connection;
pub mod defined_provider;
pub mod due;
pub mod error_code;
pub mod event;
pub mod flight;
pub mod ids;
pub mod integration;
pub mod link;
pub mod node;
pub mod page;
pub mod provider;
pub mod refusal;
pub mod scope;
pub mod secret;
pub mod tenant;
pub mod tokens;
