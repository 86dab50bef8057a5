//! By which grant of OAuth a provider's tokens are had: the `grant` of its file.

/// What an access token is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantType {
    /// An end user's consent, by a code (RFC 6749 4.1).
    AuthorizationCode,
    /// An end user's consent, by a verifier; each call of the API is signed (RFC 5849).
    Oauth1,
    /// The client's own credentials (RFC 6749 4.4).
    ClientCredentials,
    /// An assertion that the client signs (RFC 7523 2.1).
    JwtBearer,
    /// An end user's consent, given on another device (RFC 8628).
    DeviceCode,
}

impl GrantType {
    pub fn as_str(self) -> &'static str {
        match self {
            GrantType::AuthorizationCode => "authorization_code",
            GrantType::Oauth1 => "oauth1",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::JwtBearer => "jwt_bearer",
            GrantType::DeviceCode => "device_code",
        }
    }

    /// `grant_type` of a token request.
    pub fn value(self) -> &'static str {
        match self {
            GrantType::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            GrantType::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            other => other.as_str(),
        }
    }

    /// Tokens are minted with the client's own credentials: no end user is asked, and nothing is held that a provider
    /// could take back.
    pub fn is_minted(self) -> bool {
        matches!(self, GrantType::ClientCredentials | GrantType::JwtBearer)
    }

    /// What its tokens are, where an answer does not say: the scheme of the header that they go into.
    pub fn token_type(self) -> &'static str {
        match self {
            GrantType::Oauth1 => "OAuth",
            _ => "Bearer",
        }
    }
}
