//! What a node writes before it sends a refresh token, and what failed flights leave behind. Pure data;
//! who may fly is judged in the refresh service.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::GrantId;
use super::tokens::FailureClass;

/// The `flight` record, one per connection and token set: plain, so that scripts can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    pub generation: u64,
    pub fence: u64,
    pub lease: Option<Lease>,
    pub intent: Option<Intent>,
    pub backoff: Backoff,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub owner: String,
    pub until: Timestamp,
}

/// What is about to be sent: written before, cleared by the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub attempt: String,
    pub node: String,
    pub fence: u64,
    pub grant_id: GrantId,
    pub from_generation: u64,
    pub prepared_at: Timestamp,
    pub class: String,
}

/// Failures in a row, what the last one was, and when the next attempt may be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub failures: u32,
    pub not_before: Option<Timestamp>,
    #[serde(default)]
    pub class: Option<FailureClass>,
    #[serde(default)]
    pub code: String,
    /// Since when the provider says that the grant is over; believed only when it says so again.
    #[serde(default)]
    pub refused_since: Option<Timestamp>,
}
