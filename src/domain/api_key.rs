//! API keys: `clv_<id>_<secret><checksum>`. The checksum lets a typo, or a scanner, be told from a
//! key without asking the store; only a keyed hash of the secret is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::TenantId;
use super::scope::Scopes;

/// The record behind a key: what it may do and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: String,
    pub tenant: TenantId,
    pub name: String,
    pub scopes: Scopes,
    /// Keyed hash of the secret (hex), under a key derived from the master key's system data key.
    pub hash: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}
