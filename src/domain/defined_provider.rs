//! A provider that a tenant defined for itself, as it is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ProviderId, TenantId};
use super::provider::discovery::Discovered;

/// The `provider` record: sealed whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DefinedProvider {
    pub id: ProviderId,
    pub tenant: TenantId,
    /// As the tenant sent it: TOML or JSON.
    pub definition: String,
    /// Another one with each change of where secrets go (`provider::destinations`): credentials that were given for one
    /// place are not used with another.
    #[serde(default)]
    pub place: String,
    /// What its issuer said, where it has one.
    pub discovered: Option<Discovered>,
    /// When the issuer was last asked, whether it answered or not.
    pub asked_at: Option<Timestamp>,
    pub defined_at: Timestamp,
    pub updated_at: Timestamp,
}
