//! Clients of the sandbox. Nobody registers: any client id will do, its secret is fixed by the first
//! redemption of one of its codes (trust on first use), and a redirect URI is taken if it leads to
//! https or to this very machine.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::{Host, Url};

use super::Sandbox;
use super::records::{Place, fingerprint};
use super::tokens::TokenError;
use crate::domain::secret::SecretString;

/// Longest client id, in bytes.
pub const CLIENT_ID_MAX: usize = 200;
/// Longest client secret, in bytes.
pub const CLIENT_SECRET_MAX: usize = 512;
/// Longest redirect URI, in bytes.
pub const REDIRECT_URI_MAX: usize = 2048;

/// A client's id: 1-200 printable ASCII characters (RFC 6749 appendix A.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(String);

impl ClientId {
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        (printable && !text.is_empty() && text.len() <= CLIENT_ID_MAX).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a client says to prove itself.
pub struct Presented {
    pub id: ClientId,
    secret: SecretString,
}

impl Presented {
    /// `None` where one of them is empty, too long or holds other characters than it may.
    pub fn parse(id: &str, secret: &str) -> Option<Self> {
        let fits = !secret.is_empty() && secret.len() <= CLIENT_SECRET_MAX;
        ClientId::parse(id).filter(|_| fits).map(|id| Self { id, secret: secret.into() })
    }
}

/// The stored half: only a hash of the secret.
#[derive(Serialize, Deserialize)]
pub(super) struct KnownClient {
    secret_hash: String,
}

impl KnownClient {
    pub(super) fn first_seen(presented: &Presented) -> Self {
        Self { secret_hash: fingerprint(&presented.secret) }
    }

    pub(super) fn accepts(&self, presented: &Presented) -> bool {
        fingerprint(&presented.secret).as_bytes().ct_eq(self.secret_hash.as_bytes()).into()
    }
}

/// What a call found of its client.
pub(super) enum Trust {
    Known,
    /// Nobody has redeemed a code for this id yet.
    New,
}

impl Sandbox {
    /// Whether the client is who it says, as far as anybody knows.
    pub(super) async fn trust(&self, client: &Presented) -> Result<Trust, TokenError> {
        match self.records.read::<KnownClient>(Place::Client(client.id.as_str())).await? {
            None => Ok(Trust::New),
            Some(known) if known.value.accepts(client) => Ok(Trust::Known),
            Some(_) => Err(TokenError::InvalidClient("the client secret is not the one of this client's first redemption")),
        }
    }
}

/// Refresh tokens exist only after their client's first redemption.
pub(super) fn unknown_client() -> TokenError {
    TokenError::InvalidClient("this client has redeemed no code yet, so nobody knows it")
}

/// A redirect URI as the client wrote it: absolute, https or http on loopback, without fragment or
/// credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

impl RedirectUri {
    pub fn parse(text: &str) -> Option<Self> {
        // The parser of URLs drops tabs and newlines and forgives spaces; here they are refused, since
        // the text is compared byte for byte when the code is redeemed.
        if text.len() > REDIRECT_URI_MAX || !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let trusted = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => url.host().is_some_and(|host| is_loopback(&host)),
            _ => false,
        };
        let bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        (trusted && bare).then(|| Self { text: text.to_owned(), url })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host and port, for people.
    pub fn site(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether the host is written as an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        matches!(self.url.host(), Some(Host::Ipv6(_)))
    }

    /// The URI with parameters added to the query it has.
    pub(super) fn with(&self, params: &[(&str, &str)]) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(params);
        url.into()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_and_secrets_are_bounded() {
        assert!(ClientId::parse(&"x".repeat(CLIENT_ID_MAX)).is_some());
        assert!(ClientId::parse(&"x".repeat(CLIENT_ID_MAX + 1)).is_none());
        for wrong in ["", "a\nb", "é"] {
            assert!(ClientId::parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(Presented::parse("app", &"s".repeat(CLIENT_SECRET_MAX)).is_some());
        assert!(Presented::parse("app", &"s".repeat(CLIENT_SECRET_MAX + 1)).is_none());
        assert!(Presented::parse("app", "").is_none());
    }

    #[test]
    fn redirect_uris_lead_to_https_or_to_this_machine() {
        for good in [
            "https://app.example/cb",
            "https://app.example:8443/cb?tenant=1",
            "http://127.0.0.1:8080/authorization-success/int_1",
            "http://127.1.2.3/",
            "http://localhost:9/x",
            "http://[::1]:9/x",
        ] {
            assert_eq!(RedirectUri::parse(good).map(|uri| uri.as_str().to_owned()).as_deref(), Some(good));
        }
        for bad in [
            "",
            "/cb",
            "app.example/cb",
            "http://app.example/cb",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://0.0.0.0/",
            "https://app.example/#f",
            "https://app.example/#",
            "https://user@app.example/",
            "https://:pw@app.example/",
            "https://app.example/a b",
            "https://app.example/\n",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://app.example/",
        ] {
            assert!(RedirectUri::parse(bad).is_none(), "{bad:?}");
        }
        let long = |n: usize| format!("https://app.example/{}", "x".repeat(n - 20));
        assert!(RedirectUri::parse(&long(REDIRECT_URI_MAX)).is_some());
        assert!(RedirectUri::parse(&long(REDIRECT_URI_MAX + 1)).is_none());
    }

    #[test]
    fn parameters_join_the_query_that_is_there() {
        let uri = RedirectUri::parse("https://app.example/cb?tenant=a%20b").unwrap();
        assert_eq!(uri.with(&[("state", "x&y=z")]), "https://app.example/cb?tenant=a%20b&state=x%26y%3Dz");
    }
}
