//! Hosts that are known only once the provider has sent the end user back: which of them a callback may name.
//! The client's secret goes there, so nothing but what the file lists will do.

use super::param::{is_host, is_subdomain};

/// What a param of the callback may be, for it to stand in the host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// One label, in front of a domain that the URL names itself.
    Label,
    /// A host, with or without `https://`, that is one of these or below one.
    Under(Vec<String>),
}

impl HostRule {
    /// What stands in the URL for a value that came; `None` where it is not the provider's.
    pub fn host_of(&self, value: &str) -> Option<String> {
        let value = value.to_ascii_lowercase();
        match self {
            HostRule::Label => (is_subdomain(&value) && !value.contains('.')).then_some(value),
            HostRule::Under(domains) => {
                let host = value.strip_prefix("https://").unwrap_or(&value);
                let host = host.strip_suffix('/').unwrap_or(host);
                let below = |domain: &String| {
                    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                };
                (is_host(host) && domains.iter().any(below)).then(|| host.to_owned())
            }
        }
    }

    /// What is wrong with the rule itself.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            HostRule::Label => None,
            HostRule::Under(domains) if domains.is_empty() => Some("must list at least one domain"),
            HostRule::Under(domains) => {
                let fine = |domain: &String| is_host(domain) && !domain.bytes().any(|b| b.is_ascii_uppercase());
                (!domains.iter().all(fine)).then_some("must list domains in lower case, such as \"acme.com\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn under() -> HostRule {
        HostRule::Under(vec!["acme.com".to_owned(), "acme.co.uk".to_owned()])
    }

    #[test]
    fn a_host_is_the_providers_or_nothing() {
        for (value, host) in [
            ("acme.com", "acme.com"),
            ("https://accounts.acme.com", "accounts.acme.com"),
            ("https://EU.Acme.co.uk/", "eu.acme.co.uk"),
        ] {
            assert_eq!(under().host_of(value).as_deref(), Some(host));
        }
        for value in [
            "",
            "com",
            "evilacme.com",
            "acme.com.evil.example",
            "http://acme.com",
            "https://acme.com/x",
            "https://acme.com//",
            "acme.com:443",
            "u@acme.com",
            "evil.example#acme.com",
            "evil.example/.acme.com",
            "evil.example?.acme.com",
            "evil.example\\.acme.com",
            "https://https://acme.com",
            ".acme.com",
            "a..acme.com",
            "acme.com.",
            "[::1].acme.com",
            "é.acme.com",
        ] {
            assert_eq!(under().host_of(value), None, "{value}");
        }
        assert_eq!(HostRule::Label.host_of("Shop-1").as_deref(), Some("shop-1"));
        for value in ["", "a.b", "a/b", "-a", "a:1", "a@b"] {
            assert_eq!(HostRule::Label.host_of(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leads_elsewhere(value in "(https://|http://|//)?[a-z.@:/?#\\\\-]{0,20}(acme[.]com|[.]acme[.]com|\\PC{0,10})[/.:#?a-z]{0,5}") {
            if let Some(host) = under().host_of(&value) {
                let url = url::Url::parse(&format!("https://{host}/token")).unwrap();
                prop_assert_eq!(url.host_str(), Some(host.as_str()));
                prop_assert!(host == "acme.com" || host.ends_with(".acme.com") || host.ends_with("acme.co.uk"));
            }
        }
    }
}
