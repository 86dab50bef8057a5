//! The tenant's client at a provider, with its settings: what every call is made for.

use std::collections::BTreeMap;

use crate::domain::secret::SecretString;

/// `params` and `secret_params` are the integration's and the link's, merged.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub client_id: &'a str,
    pub client_secret: Option<&'a SecretString>,
    pub params: &'a BTreeMap<String, String>,
    pub secret_params: &'a BTreeMap<String, SecretString>,
}
