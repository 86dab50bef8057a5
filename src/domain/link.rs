//! The one-time things of a connect flow: link, state, ticket. Each is 256 random bits, handed out
//! once and stored only as a hash. Expiry is judged by `expires_at`; the store's time to live only
//! collects what is left over.

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
    /// Its integration's, when the link was made: a code is not taken elsewhere.
    #[serde(default)]
    pub place: String,
    pub account: Account,
    /// As the tenant named them; empty: the integration's own.
    pub scopes: Vec<String>,
    /// The provider's settings that this link supplies.
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
    /// After this no flow begins from it.
    pub expires_at: Timestamp,
}

/// Which integration takes installs that begin at its provider, by its id. Whether it still does, it says itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstallAddress {
    pub tenant: TenantId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
}

/// What ties the end of a flow to its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Binding {
    /// `confirm = page`: the browser that pressed Connect. `flow` names its cookie, `hash` is the
    /// SHA-256 (hex) of the cookie's value.
    Browser { flow: String, hash: String },
    /// `confirm = tenant`: the link, which lives until the tenant's backend finishes. `hash` (hex) is
    /// where it is stored.
    Link { hash: String },
}

/// What a provider of OAuth 1.0a gives for one flow (RFC 5849 2.1). The browser carries the token, never the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TemporaryCredentials {
    #[serde(with = "sealed_text")]
    pub token: SecretString,
    #[serde(with = "sealed_text")]
    pub secret: SecretString,
}

/// A flow at the provider: the record behind `state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PendingAuthorization {
    pub subject: FlowSubject,
    pub binding: Binding,
    #[serde(with = "sealed_option")]
    pub pkce_verifier: Option<SecretString>,
    /// What an ID token must name, where the authorize request did.
    #[serde(default, with = "sealed_option")]
    pub nonce: Option<SecretString>,
    /// With which a flow of OAuth 1.0a began.
    #[serde(default)]
    pub temporary: Option<TemporaryCredentials>,
    pub expires_at: Timestamp,
}

/// A flow whose end user consents on another device (RFC 8628): the record behind the cookie of the browser that
/// shows the code. It ends when `pending` does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceFlow {
    pub pending: PendingAuthorization,
    #[serde(with = "sealed_text")]
    pub device_code: SecretString,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: Option<String>,
    /// The provider is asked at most once in so many seconds.
    pub interval: u64,
    /// Until then some node asks; after it, another may.
    pub asked_until: Timestamp,
    pub stage: DeviceStage,
}

/// How far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum DeviceStage {
    Waiting,
    /// `confirm = tenant`: held until the browser has fetched its ticket.
    Granted(GrantedTokens),
    Connected,
    /// With the code and the sentence of a refusal.
    Refused {
        code: String,
        detail: String,
    },
}

/// A token endpoint's answer, held as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantedTokens {
    pub status: u16,
    #[serde(with = "sealed_text")]
    pub body: SecretString,
    /// When it was asked for: lifetimes are counted from here.
    pub started: Timestamp,
}

/// A code held until the tenant's backend says whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldAuthorization {
    pub pending: PendingAuthorization,
    #[serde(with = "sealed_text")]
    pub code: SecretString,
    /// The state that the code came with: used up, but some providers want it with the code.
    #[serde(default)]
    pub state: String,
    /// What the provider's file keeps of the callback.
    pub callback: BTreeMap<String, String>,
    /// With a device's code the answer to its exchange: only that tells that the end user consented.
    #[serde(default)]
    pub granted: Option<GrantedTokens>,
    pub expires_at: Timestamp,
}
