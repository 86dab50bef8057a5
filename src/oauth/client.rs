//! The tenant's client at a provider, with its settings: what every call is made for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::secret::SecretString;

/// `params` and `secret_params` are the integration's and the link's, merged.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    pub client_id: &'a str,
    pub client_secret: Option<&'a SecretString>,
    pub params: &'a BTreeMap<String, String>,
    pub secret_params: &'a BTreeMap<String, SecretString>,
    /// Where the provider sends end users back to.
    pub redirect_uri: &'a str,
    /// What to ask for, as the tenant named it.
    pub scopes: &'a [String],
    /// What is known of the connection that a call is made for; nothing before there is one.
    pub metadata: &'a BTreeMap<String, Value>,
    /// When a call is made and what makes it unlike any other, for files that send such.
    pub moment: Option<Moment>,
}

/// Time and randomness, handed in.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub random: [u8; 16],
}

/// What is known of a connection that is not there yet.
pub static NOTHING: BTreeMap<String, Value> = BTreeMap::new();

impl<'a> Client<'a> {
    /// For a call that is made for a connection of which this is known.
    pub fn knowing(self, metadata: &'a BTreeMap<String, Value>) -> Self {
        Self { metadata, ..self }
    }

    /// For a connection that was made with scopes of its own, if it was.
    pub fn asking(self, scopes: &'a [String]) -> Self {
        if scopes.is_empty() { self } else { Self { scopes, ..self } }
    }

    /// For a call that is made now.
    pub fn at(self, moment: Moment) -> Self {
        Self { moment: Some(moment), ..self }
    }
}
