//! What a provider of OAuth 1.0a (RFC 5849) says beside its URLs: how calls are signed, and how the temporary
//! credentials of a flow are had.

use super::request::RequestSpec;
use super::template::Template;

/// The `[oauth1]` and `[request_token]` blocks.
#[derive(Debug, Clone)]
pub struct Oauth1Spec {
    pub signature: SignatureMethod,
    pub params_in: ParamsIn,
    /// Stands in the header alone, outside the signature.
    pub realm: Option<Template>,
    /// The provider says `oauth_callback_confirmed`; one that predates it may be excused. The verifier never is.
    pub confirms_callback: bool,
    /// The call for temporary credentials (RFC 5849 2.1).
    pub request_token: RequestSpec,
}

impl Oauth1Spec {
    /// Whether this setting is the key of the calls' signatures.
    pub fn signs_with(&self, param: &str) -> bool {
        self.signature.is_rsa() && param == PRIVATE_KEY
    }
}

/// The setting that holds the key of an RSA signature.
pub const PRIVATE_KEY: &str = "private_key";

/// RFC 5849 3.4, and the two with SHA-256 that providers have added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureMethod {
    HmacSha1,
    HmacSha256,
    RsaSha1,
    RsaSha256,
    Plaintext,
}

impl SignatureMethod {
    /// As it stands in `oauth_signature_method`.
    pub fn as_str(self) -> &'static str {
        match self {
            SignatureMethod::HmacSha1 => "HMAC-SHA1",
            SignatureMethod::HmacSha256 => "HMAC-SHA256",
            SignatureMethod::RsaSha1 => "RSA-SHA1",
            SignatureMethod::RsaSha256 => "RSA-SHA256",
            SignatureMethod::Plaintext => "PLAINTEXT",
        }
    }

    /// Signed with the client's private key; the secrets are not used.
    pub fn is_rsa(self) -> bool {
        matches!(self, SignatureMethod::RsaSha1 | SignatureMethod::RsaSha256)
    }
}

/// Where the protocol's params stand (RFC 5849 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamsIn {
    Header,
    Query,
    /// With a form; a call that has no body has them in its query.
    Body,
}

impl ParamsIn {
    pub fn as_str(self) -> &'static str {
        match self {
            ParamsIn::Header => "header",
            ParamsIn::Query => "query",
            ParamsIn::Body => "body",
        }
    }
}
