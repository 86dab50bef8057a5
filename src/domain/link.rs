//! The one-time things of a connect flow: link, state, ticket. Each is 256 random bits, handed out
//! once and stored only as a hash.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{Account, ConnectionId, EndUserId, IntegrationId, IntegrationName, ProviderId, TenantId};
use super::integration::Confirm;
use super::secret::{SecretString, sealed_option, sealed_text};

/// What a flow is for: fixed when the tenant makes the link, carried unchanged to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSubject {
    pub tenant: TenantId,
    pub end_user: EndUserId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub integration_id: IntegrationId,
    pub account: Account,
    pub scopes: Vec<String>,
    pub params: BTreeMap<String, String>,
    pub return_url: Option<String>,
    pub confirm: Confirm,
}

impl FlowSubject {
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId::derive(&self.tenant, &self.end_user, &self.integration_id, &self.account)
    }
}

/// An unused authorize link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    pub subject: FlowSubject,
    pub expires_at: Timestamp,
}

/// A flow at the provider: the record behind `state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PendingAuthorization {
    pub subject: FlowSubject,
    #[serde(with = "sealed_option")]
    pub pkce_verifier: Option<SecretString>,
    /// SHA-256 (hex) of the browser's flow cookie; `None` where the tenant's backend finishes instead.
    pub browser: Option<String>,
    /// Names the cookie that holds the browser's half.
    pub flow: String,
    pub nonce: Option<String>,
    /// Hash of the link that lives until completion (`confirm = tenant`).
    pub link: Option<String>,
    pub expires_at: Timestamp,
}

/// A code held until the tenant's backend says whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldAuthorization {
    pub pending: PendingAuthorization,
    #[serde(with = "sealed_text")]
    pub code: SecretString,
    /// What the provider's file keeps of the callback.
    pub callback: BTreeMap<String, String>,
    pub received_at: Timestamp,
    pub expires_at: Timestamp,
}
