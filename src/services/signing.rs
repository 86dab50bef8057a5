//! What a tenant needs, beside the token and its secret, to sign its own calls to a provider of OAuth 1.0a. The
//! client's secret it has; nothing secret is here.

use crate::domain::connection::Connection;
use crate::domain::refusal::Refusal;
use crate::oauth::oauth1;

use super::connect::{merged, not_buildable};
use super::integrations::Active;

/// How calls are signed (RFC 5849 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    pub consumer_key: String,
    pub method: &'static str,
    pub params_in: &'static str,
    pub realm: Option<String>,
}

impl Signing {
    /// `None` where the provider takes the token as it is.
    pub fn of(active: &Active, connection: &Connection) -> Result<Option<Self>, Refusal> {
        let Some(spec) = &active.provider.spec().oauth1 else { return Ok(None) };
        let params = merged(&active.integration.params, &connection.params);
        let realm = oauth1::realm(spec, &active.provider, &active.client(&params)).map_err(not_buildable)?;
        Ok(Some(Self {
            consumer_key: active.integration.client_id.clone(),
            method: spec.signature.as_str(),
            params_in: spec.params_in.as_str(),
            realm: Some(realm).filter(|realm| !realm.is_empty()),
        }))
    }
}
