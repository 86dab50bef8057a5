//! What an issuer says of itself (OpenID Connect Discovery 1.0, RFC 8414): the part that a definition takes over.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: Option<String>,
    /// PKCE with S256 is supported.
    pub s256: bool,
    /// Each callback names the issuer (RFC 9207 section 3).
    pub names_itself: bool,
    /// The client proves itself by Basic; else in the body.
    pub basic: bool,
}
