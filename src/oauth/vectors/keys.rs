//! Private keys that everybody knows, of the standards' own examples: with them the tests of a file sign, nothing else.

use crate::domain::provider::Provider;
use crate::domain::provider::jwt::{Algorithm, JwtKey};

/// RFC 7515 A.2.
pub const RSA: &str = include_str!("keys/rsa.pem");
/// RFC 7515 A.3.
pub const P256: &str = include_str!("keys/p256.pem");
/// RFC 6979 A.2.6.
pub const P384: &str = include_str!("keys/p384.pem");
/// RFC 8037 A.1.
pub const ED25519: &str = include_str!("keys/ed25519.pem");

/// One that signs what the file has this param sign.
pub fn of(provider: &Provider, param: &str) -> &'static str {
    let signs = JwtKey::Param(param.to_owned());
    let jwt = provider.spec().signed().find(|jwt| jwt.key == signs);
    match jwt.and_then(|jwt| jwt.algorithm) {
        Some(Algorithm::Es256) => P256,
        Some(Algorithm::Es384) => P384,
        Some(Algorithm::EdDsa) => ED25519,
        _ => RSA,
    }
}
