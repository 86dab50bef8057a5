//! A value that a provider needs beside the client's credentials (`shop`, `subdomain`, a tenant's
//! GUID): who supplies it and what it may look like.

use std::collections::BTreeMap;

use regex_lite::Regex;
use url::{Host, Url};

use crate::domain::refusal::Refusal;

/// Longest value where the file sets no other limit, in bytes.
pub const PARAM_MAX: usize = 500;
/// Longest private key, in bytes of PEM: RSA of the longest kind, with a certificate beside it.
pub const KEY_MAX: usize = 16 * 1_024;

/// One declared param.
#[derive(Debug, Clone)]
pub struct ParamSpec {
    pub name: String,
    pub title: String,
    pub kind: ParamKind,
    pub needed_by: NeededBy,
    pub secret: bool,
    pub optional: bool,
    pub pattern: Option<Regex>,
    pub max_length: usize,
    pub example: Option<String>,
    pub default: Option<String>,
}

/// What a value is: it decides where in a URL it may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamKind {
    /// A whole host name.
    Host,
    /// One or more labels of a host name.
    Subdomain,
    /// Scheme, host and port.
    Origin,
    Guid,
    /// One of these, and what each stands for.
    Enum(BTreeMap<String, Choice>),
    /// Any text without control characters; never part of a host.
    Text,
    /// A private key as PEM. It signs (`[jwt.NAME]`, `[client_assertion]`) and stands nowhere itself.
    PrivateKey,
}

/// What an option stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    One(String),
    /// Several values, each as `{param.NAME}`: what differs together is chosen once.
    Several(BTreeMap<String, String>),
}

impl Choice {
    pub(super) fn values(&self) -> Vec<&str> {
        match self {
            Choice::One(value) => vec![value],
            Choice::Several(values) => values.values().map(String::as_str).collect(),
        }
    }

    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Choice::One(_) => Vec::new(),
            Choice::Several(values) => values.keys().map(String::as_str).collect(),
        }
    }
}

/// Who supplies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeededBy {
    /// The process that runs the server; a provider without its value is hidden.
    Deployment,
    /// The tenant, when it enables the provider.
    Integration,
    /// The tenant, for each link; an integration may give it for all.
    Link,
}

impl ParamKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            ParamKind::Host => "host",
            ParamKind::Subdomain => "subdomain",
            ParamKind::Origin => "origin",
            ParamKind::Guid => "guid",
            ParamKind::Enum(_) => "enum",
            ParamKind::Text => "text",
            ParamKind::PrivateKey => "private_key",
        }
    }

    /// Whether it may be part of a host.
    pub fn fits_host(&self) -> bool {
        matches!(self, ParamKind::Host | ParamKind::Subdomain | ParamKind::Guid | ParamKind::Enum(_))
    }
}

impl NeededBy {
    pub fn as_str(self) -> &'static str {
        match self {
            NeededBy::Deployment => "deployment",
            NeededBy::Integration => "integration",
            NeededBy::Link => "link",
        }
    }
}

impl ParamSpec {
    /// An integration may fix for all what a link would give.
    pub(super) fn may_come_from(&self, by: NeededBy) -> bool {
        match by {
            NeededBy::Deployment => self.needed_by == NeededBy::Deployment,
            NeededBy::Integration => self.needed_by != NeededBy::Deployment,
            NeededBy::Link => self.needed_by == NeededBy::Link,
        }
    }

    /// Checks a value as it was given.
    pub fn check(&self, value: &str) -> Result<(), Refusal> {
        match self.fault(value) {
            None => Ok(()),
            Some(rule) => Err(Refusal::field(&self.name, format!("{rule}{}", self.hint()))),
        }
    }

    /// What is wrong with a value, as in "must be …".
    pub fn fault(&self, value: &str) -> Option<String> {
        if value.is_empty() {
            return (!self.optional).then(|| "must not be empty".to_owned());
        }
        if value.len() > self.max_length {
            return Some(format!("must have at most {} bytes; it has {}", self.max_length, value.len()));
        }
        // PEM has lines; whether it is a key is for whoever can read one to say.
        let breaks_lines = |c: char| self.kind == ParamKind::PrivateKey && matches!(c, '\n' | '\r');
        if value.chars().any(|c| c.is_control() && !breaks_lines(c)) {
            return Some("must not contain control characters".to_owned());
        }
        if let Some(rule) = self.kind_fault(value) {
            return Some(rule);
        }
        let pattern = self.pattern.as_ref().filter(|pattern| !pattern.is_match(value))?;
        Some(format!("must match {}", pattern.as_str()))
    }

    fn kind_fault(&self, value: &str) -> Option<String> {
        let fault = match &self.kind {
            ParamKind::Host if !is_host(value) => {
                "must be a host name such as login.example.com, without https:// and without a path"
            }
            ParamKind::Subdomain if !is_subdomain(value) => {
                "must be letters, digits and '-' alone: the part before the provider's own domain"
            }
            ParamKind::Origin if !self.is_origin(value) => "must be https:// and a host, without a path",
            ParamKind::Guid if !is_guid(value) => "must be a GUID such as 00000000-0000-0000-0000-000000000000",
            ParamKind::Enum(options) if !options.contains_key(value) => {
                let names: Vec<_> = options.keys().map(String::as_str).collect();
                return Some(format!("must be one of {}", names.join(", ")));
            }
            _ => return None,
        };
        Some(fault.to_owned())
    }

    /// `http` is for what the operator's own process supplies, and there for loopback alone.
    fn is_origin(&self, value: &str) -> bool {
        let Ok(url) = Url::parse(value) else { return false };
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => return false,
        };
        let scheme_fits =
            url.scheme() == "https" || (url.scheme() == "http" && loopback && self.needed_by == NeededBy::Deployment);
        scheme_fits && url.origin().ascii_serialization() == value.trim_end_matches('/').to_ascii_lowercase()
    }

    /// What stands in a URL, a param or a header for this (checked) value: names of holes and their values.
    pub fn substitutes<'a>(&'a self, value: &'a str) -> Vec<(String, &'a str)> {
        let choice = match &self.kind {
            ParamKind::Enum(options) => options.get(value),
            _ => None,
        };
        match choice {
            None if self.kind == ParamKind::PrivateKey => Vec::new(),
            None => vec![(self.name.clone(), value)],
            Some(Choice::One(text)) => vec![(self.name.clone(), text)],
            Some(Choice::Several(values)) => {
                values.iter().map(|(name, text)| (format!("{}.{name}", self.name), text.as_str())).collect()
            }
        }
    }

    /// Whether `{name}` is one of its holes.
    pub fn fills(&self, name: &str) -> bool {
        let several = match &self.kind {
            ParamKind::Enum(options) => options.values().next().map(Choice::names).unwrap_or_default(),
            _ => Vec::new(),
        };
        match name.strip_prefix(&self.name) {
            Some("") => several.is_empty() && self.kind != ParamKind::PrivateKey,
            Some(rest) => rest.strip_prefix('.').is_some_and(|part| several.contains(&part)),
            None => false,
        }
    }

    fn hint(&self) -> String {
        self.example.as_ref().map(|example| format!(" (for example {example})")).unwrap_or_default()
    }
}

pub(super) fn is_subdomain(value: &str) -> bool {
    let label = |label: &str| {
        let allowed = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && label.len() <= 63 && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    value.len() <= 200 && value.split('.').all(label)
}

pub(super) fn is_host(value: &str) -> bool {
    let last = value.rsplit('.').next().unwrap_or_default();
    // A name whose last label is a number is an IPv4 address to URL parsers.
    is_subdomain(value) && value.contains('.') && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_guid(value: &str) -> bool {
    uuid::Uuid::try_parse(value).is_ok_and(|guid| guid.hyphenated().to_string() == value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: ParamKind, needed_by: NeededBy) -> ParamSpec {
        let (name, title) = ("p".to_owned(), "P".to_owned());
        ParamSpec {
            name,
            title,
            kind,
            needed_by,
            secret: false,
            optional: false,
            pattern: None,
            max_length: 20,
            example: None,
            default: None,
        }
    }

    fn accepts(kind: ParamKind, value: &str) -> bool {
        ParamSpec { max_length: PARAM_MAX, ..spec(kind, NeededBy::Link) }.check(value).is_ok()
    }

    #[test]
    fn each_kind_takes_what_it_names() {
        assert!(accepts(ParamKind::Host, "login.example.com") && accepts(ParamKind::Subdomain, "a-1.b"));
        assert!(
            accepts(ParamKind::Origin, "https://a.example:8443")
                && accepts(ParamKind::Guid, "6F9619FF-8B86-D011-B42D-00C04FC964FF")
        );
        for host in ["localhost", "1.2.3.4", "a.0x7f", "a/b.c", "a.b:1", "[::1]", "a..b", "-a.b", "a.b."] {
            assert!(!accepts(ParamKind::Host, host), "{host}");
        }
        for origin in ["http://127.0.0.1:1", "http://a.example", "https://a.example/x", "https://u@a.example", "ftp://a.example"]
        {
            assert!(!accepts(ParamKind::Origin, origin), "{origin}");
        }
        for guid in ["6f9619ff8b86d011b42d00c04fc964ff", "{6f9619ff-8b86-d011-b42d-00c04fc964ff}", "x"] {
            assert!(!accepts(ParamKind::Guid, guid), "{guid}");
        }
        let options = ParamKind::Enum([("eu".to_owned(), Choice::One("eu.example".to_owned()))].into());
        assert!(accepts(options.clone(), "eu") && !accepts(options, "us"));
    }

    #[test]
    fn http_is_for_the_deployment_and_loopback_alone() {
        let deployment = spec(ParamKind::Origin, NeededBy::Deployment);
        assert!(ParamSpec { max_length: 99, ..deployment.clone() }.check("http://127.0.0.1:8081").is_ok());
        assert!(ParamSpec { max_length: 99, ..deployment.clone() }.check("http://[::1]:8081").is_ok());
        assert!(ParamSpec { max_length: 99, ..deployment }.check("http://10.0.0.1:8081").is_err());
    }

    #[test]
    fn length_and_pattern_are_limits() {
        let text = ParamSpec { pattern: Regex::new("^(?:[a-z]+)$").ok(), ..spec(ParamKind::Text, NeededBy::Link) };
        assert!(text.check(&"a".repeat(20)).is_ok() && text.check(&"a".repeat(21)).is_err());
        assert!(text.check("").is_err() && text.check("a1").is_err() && text.check("a\n").is_err());
    }
}
