//! What happened to a connection, for its history and the audit trail. Never holds a secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ConnectionId, EndUserId, ProviderId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Version 7 UUID, so that events sort by time.
    pub id: String,
    pub at: Timestamp,
    pub kind: EventKind,
    pub connection: ConnectionId,
    pub provider: ProviderId,
    pub end_user_id: EndUserId,
    /// A sentence or code for people.
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "connection.created")]
    Created,
    #[serde(rename = "connection.reconnected")]
    Reconnected,
    #[serde(rename = "connection.imported")]
    Imported,
    #[serde(rename = "connection.refreshed")]
    Refreshed,
    #[serde(rename = "connection.refresh_failed")]
    RefreshFailed,
    #[serde(rename = "connection.in_doubt")]
    InDoubt,
    /// It was in doubt, and a refresh has shown that it lives.
    #[serde(rename = "connection.recovered")]
    Recovered,
    #[serde(rename = "connection.needs_reauth")]
    NeedsReauth,
    /// Its grant ends soon, however well it is refreshed.
    #[serde(rename = "connection.reauthorization_due")]
    ReauthorizationDue,
    #[serde(rename = "connection.scopes_changed")]
    ScopesChanged,
    #[serde(rename = "connection.revoked")]
    Revoked,
    #[serde(rename = "authorization.account_mismatch")]
    AccountMismatch,
    #[serde(rename = "authorization.wrong_end_user")]
    WrongEndUser,
}
