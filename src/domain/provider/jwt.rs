//! JWTs that a file has signed for its requests (RFC 7519): which claims, with whose key. Knows no key and makes no
//! signature.

use std::collections::BTreeMap;
use std::time::Duration;

use super::template::{Template, UrlTemplate};

/// RFC 7518 3.1 and RFC 8037, those that providers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Algorithm; 10] = [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];

    /// As it stands in a JWT's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Its key is a secret that both sides know.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

/// What signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwtKey {
    ClientSecret,
    /// A secret param of the integration: of the kind `private_key`, or a shared secret.
    Param(String),
}

/// A `[jwt.NAME]` block.
#[derive(Debug, Clone)]
pub struct JwtSpec {
    /// `None`: the usual one of the key.
    pub algorithm: Option<Algorithm>,
    pub key: JwtKey,
    pub header: BTreeMap<String, Template>,
    pub claims: BTreeMap<String, ClaimValue>,
    /// From the moment of the request to `exp`.
    pub ttl: Duration,
    /// `iat` is so long before the moment of the request, for servers whose clocks are behind.
    pub backdate: Duration,
    /// Of `iat`, `exp` and `jti`, those that are left out.
    pub drop: Vec<String>,
}

/// A claim's value as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue {
    Text(Template),
    Integer(i64),
    Bool(bool),
    List(Vec<Template>),
}

impl ClaimValue {
    pub fn templates(&self) -> &[Template] {
        match self {
            ClaimValue::Text(template) => std::slice::from_ref(template),
            ClaimValue::List(templates) => templates,
            ClaimValue::Integer(_) | ClaimValue::Bool(_) => &[],
        }
    }
}

impl JwtSpec {
    /// Whatever is filled in when it is made.
    pub fn templates(&self) -> impl Iterator<Item = (String, &Template)> {
        let header = self.header.iter().map(|(name, template)| (format!("header.{name}"), template));
        let claims = self.claims.iter();
        header.chain(claims.flat_map(|(name, value)| value.templates().iter().map(move |text| (format!("claims.{name}"), text))))
    }
}

/// The `[client_assertion]` block: with what the client proves itself (RFC 7523 2.2).
#[derive(Debug, Clone)]
pub struct AssertionSpec {
    pub jwt: JwtSpec,
    pub audience: Audience,
}

/// For whom an assertion is. Whoever receives it could else hand it on to another server that knows the same client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The authorization server's issuer.
    Issuer(UrlTemplate),
    /// The very URL that it is sent to, for servers that have no issuer.
    Endpoint,
}

/// Longest life of a client's assertion.
pub const ASSERTION_TTL_MAX: Duration = Duration::from_secs(60);
/// … and of any other JWT.
pub const JWT_TTL_MAX: Duration = Duration::from_secs(366 * 86_400);
