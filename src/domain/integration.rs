//! A provider enabled by a tenant: its client at the provider, and who may finish a connection.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{IntegrationId, IntegrationName, ProviderId, TenantId};
use super::secret::{SecretString, sealed_map, sealed_option};

/// The `integration` record: sealed whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Integration {
    pub id: IntegrationId,
    pub tenant: TenantId,
    pub provider: ProviderId,
    /// Its provider is one that the tenant defined, whatever the catalogue may come to have under that name.
    #[serde(default)]
    pub own_provider: bool,
    /// The place that its credentials were given for, of a provider that the tenant defined; empty: of the catalogue.
    #[serde(default)]
    pub place: String,
    pub name: IntegrationName,
    pub client_id: String,
    #[serde(with = "sealed_option")]
    pub client_secret: Option<SecretString>,
    /// OAuthHandler's second pair, for providers with OAuth 1.0a or extra keys.
    #[serde(with = "sealed_option")]
    pub api_key: Option<SecretString>,
    #[serde(with = "sealed_option")]
    pub api_secret: Option<SecretString>,
    pub scopes: Vec<String>,
    /// Where an end user goes when the link names no place.
    pub user_redirect_url: Option<String>,
    /// Every other place a link may name, compared byte for byte.
    pub return_urls: Vec<String>,
    pub confirm: Confirm,
    /// Where a browser goes that the provider sends although no flow has begun; `None`: it is refused.
    #[serde(default)]
    pub install_url: Option<String>,
    /// The provider's own settings, public ones.
    pub params: BTreeMap<String, String>,
    /// The provider's own settings, secret ones.
    #[serde(with = "sealed_map")]
    pub secret_params: BTreeMap<String, SecretString>,
    /// A disabled integration keeps its credentials but serves nobody.
    pub enabled: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Who finishes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// The end user, on a page of ours.
    #[default]
    Page,
    /// The tenant's backend, with the end user of its own session.
    Tenant,
}

impl Integration {
    /// What is asked for: the scopes that were named for one connection, else its own.
    pub fn scopes_for<'a>(&'a self, named: &'a [String]) -> &'a [String] {
        if named.is_empty() { &self.scopes } else { named }
    }

    /// Whether the tenant registered this place, byte for byte.
    pub fn allows_return(&self, url: &str) -> bool {
        self.user_redirect_url.as_deref() == Some(url) || self.return_urls.iter().any(|known| known == url)
    }
}
