//! One-time secrets: made, recognised by their form, and turned into what is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::ports::entropy::{Entropy, EntropyError, random};
use crate::store::Store;

/// 256 bits as base64url.
const LENGTH: usize = 43;

/// What a one-time secret is for; keeps their hashes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Link,
    State,
    Ticket,
    Device,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Purpose::Link => "link",
            Purpose::State => "state",
            Purpose::Ticket => "ticket",
            Purpose::Device => "device",
        }
    }
}

pub(super) fn fresh(entropy: &dyn Entropy) -> Result<SecretString, EntropyError> {
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(random::<32>(entropy)?)))
}

/// The hash a secret is stored under; `None` for what cannot be one of ours, which never reaches the
/// store.
pub(super) fn stored_as(store: &Store, purpose: Purpose, text: &str) -> Option<[u8; 32]> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let well_formed = text.len() == LENGTH && text.bytes().all(allowed);
    well_formed.then(|| store.lookup_hash(purpose.as_str(), text.as_bytes()))
}

/// What is kept of a browser's cookie: it has 256 random bits, so a plain hash is enough.
pub(super) fn browser_hash(cookie: &str) -> String {
    hex::encode(Sha256::digest(cookie.as_bytes()))
}

/// A secret of ours, hashed; for those just made.
pub(super) fn hash_of(store: &Store, purpose: Purpose, secret: &SecretString) -> [u8; 32] {
    store.lookup_hash(purpose.as_str(), secret.expose_secret().as_bytes())
}
