//! Which redirect URIs a provider accepts, so that enabling it can warn before a user runs into it.

use url::{Host, Url};

/// The `[redirect]` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectRules {
    /// `http` is refused, except for loopback as below.
    pub https_only: bool,
    pub loopback: Loopback,
}

/// Which loopback forms are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    Any,
    /// The name alone.
    Localhost,
    /// The address alone.
    Address,
    Refused,
}

impl Loopback {
    pub fn as_str(self) -> &'static str {
        match self {
            Loopback::Any => "any",
            Loopback::Localhost => "localhost",
            Loopback::Address => "address",
            Loopback::Refused => "refused",
        }
    }
}

impl RedirectRules {
    /// What is wrong with a redirect URI, as a sentence; `None` when it fits.
    pub fn warning(&self, redirect_uri: &str) -> Option<String> {
        let url = Url::parse(redirect_uri).ok()?;
        let (is_name, is_address) = match url.host() {
            Some(Host::Domain(name)) => (name == "localhost" || name.ends_with(".localhost"), false),
            Some(Host::Ipv4(address)) => (false, address.is_loopback()),
            Some(Host::Ipv6(address)) => (false, address.is_loopback()),
            None => (false, false),
        };
        if !is_name && !is_address {
            let plain = self.https_only && url.scheme() != "https";
            return plain
                .then(|| "The provider accepts https redirect URIs only; set a public https URL (or use a tunnel).".to_owned());
        }
        match self.loopback {
            Loopback::Any => None,
            Loopback::Localhost if is_name => None,
            Loopback::Address if is_address => None,
            Loopback::Localhost => Some("The provider accepts `localhost` but not a loopback address; set the public URL to http://localhost with your port.".to_owned()),
            Loopback::Address => Some("The provider accepts 127.0.0.1 but not `localhost`; set the public URL to http://127.0.0.1 with your port.".to_owned()),
            Loopback::Refused => Some("The provider does not accept loopback redirect URIs; use a tunnel with a public https URL.".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_that_the_provider_refuses_is_warned_of() {
        let warns = |https_only, loopback, uri: &str| RedirectRules { https_only, loopback }.warning(uri).is_some();
        for (loopback, name, address) in [
            (Loopback::Any, false, false),
            (Loopback::Localhost, false, true),
            (Loopback::Address, true, false),
            (Loopback::Refused, true, true),
        ] {
            assert_eq!(warns(true, loopback, "http://localhost:8080/x"), name);
            assert_eq!(warns(true, loopback, "http://127.0.0.1:8080/x"), address);
            assert_eq!(warns(true, loopback, "http://[::1]:8080/x"), address);
        }
        assert!(warns(true, Loopback::Any, "http://a.example/x") && !warns(false, Loopback::Any, "http://a.example/x"));
        assert!(!warns(true, Loopback::Refused, "https://a.example/x"));
    }
}
