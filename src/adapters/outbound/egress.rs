//! Where a call may go: the policy over scheme, host, port and address. Pure; it looks no name up.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::is_public;

const HTTPS_PORT: u16 = 443;

/// Whether this machine itself may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loopback {
    #[default]
    Refused,
    /// `localhost` and loopback addresses, any port, plain `http` too. For `claviger dev`.
    Allowed,
}

/// What may be called. The default is the public internet by https on port 443 and nothing else.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    pub loopback: Loopback,
    /// Exceptions the operator made (`egress.allow`). They open addresses and ports, never plain http.
    pub allow: Vec<Allow>,
}

/// One exception, on one port (443 unless it says another): `idp.corp.example`, `idp.corp.example:8443`,
/// `10.1.0.0/16`, `[fd00:1::/32]:8443`, or `*:8443`, which opens a port of public addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    target: Target,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    AnyPublic,
    Name(String),
    Net(IpNet),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host, address or network with an optional port, such as `idp.corp.example:8443` or `10.1.0.0/16`")]
pub struct AllowError(String);

/// Why a call may not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only https addresses are called")]
    Scheme,
    #[error("an address with a user name or password in it is not called")]
    UserInfo,
    #[error("the address names no host")]
    NoHost,
    #[error("{0} has no address and port that may be called; an operator can allow it in `egress.allow`")]
    Address(String),
}

/// The end a call is meant for, its form checked. Its addresses are still to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    https: bool,
    /// Without a trailing dot, so that `localhost.` is `localhost`.
    host: Host,
    port: u16,
}

impl Destination {
    pub fn of(url: &Url) -> Result<Self, Refused> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::UserInfo);
        }
        let host = match url.host().ok_or(Refused::NoHost)? {
            Host::Domain(name) => Host::Domain(without_dot(name)),
            Host::Ipv4(v4) => Host::Ipv4(v4),
            Host::Ipv6(v6) => Host::Ipv6(v6),
        };
        let port = url.port_or_known_default().ok_or(Refused::NoHost)?;
        Ok(Self { https, host, port })
    }

    /// The address, where the host is one already and no resolver will be asked.
    fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(v4) => Some(v4.into()),
            Host::Ipv6(v6) => Some(v6.into()),
        }
    }

    /// Says of itself that it is this machine.
    fn says_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(v4) => v4.is_loopback(),
            Host::Ipv6(v6) => v6.is_loopback(),
        }
    }
}

impl EgressPolicy {
    /// Judges everything that can be judged before a name is looked up. A literal address is judged
    /// here in full, since a resolver never sees it.
    pub fn admit(&self, url: &Url) -> Result<Destination, Refused> {
        let to = Destination::of(url)?;
        let here = self.loopback == Loopback::Allowed && to.says_loopback();
        if !(to.https || here) {
            return Err(Refused::Scheme);
        }
        match to.literal() {
            Some(address) if !self.permits(&to, address) => Err(Refused::Address(to.host.to_string())),
            _ => Ok(to),
        }
    }

    /// Of the addresses a name has, those that may be connected to.
    pub fn vetted(&self, to: &Destination, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
        let vetted: Vec<_> = found.into_iter().filter(|&address| self.permits(to, address)).collect();
        if vetted.is_empty() { Err(Refused::Address(to.host.to_string())) } else { Ok(vetted) }
    }

    fn permits(&self, to: &Destination, address: IpAddr) -> bool {
        if self.loopback == Loopback::Allowed && to.says_loopback() && address.is_loopback() {
            return true;
        }
        let public = to.port == HTTPS_PORT && is_public(address);
        to.https && (public || self.allow.iter().any(|allow| allow.covers(to, address)))
    }
}

impl Allow {
    fn covers(&self, to: &Destination, address: IpAddr) -> bool {
        self.port == to.port
            && match &self.target {
                Target::AnyPublic => is_public(address),
                Target::Name(name) => matches!(&to.host, Host::Domain(host) if host == name),
                Target::Net(net) => net.contains(&address),
            }
    }
}

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let wrong = || AllowError(text.to_owned());
        let (target, port) = split_port(text).ok_or_else(wrong)?;
        let port = match port {
            Some(digits) => digits.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?,
            None => HTTPS_PORT,
        };
        let target = Target::parse(target).ok_or_else(wrong)?;
        Ok(Self { target, port })
    }
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Target::AnyPublic);
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Some(Target::Net(net));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Target::Net(address.into()));
        }
        match Host::parse(text).ok()? {
            Host::Domain(name) if !name.contains('*') => Some(Target::Name(without_dot(&name))),
            Host::Ipv4(v4) => Some(Target::Net(IpAddr::from(v4).into())),
            _ => None,
        }
    }
}

/// Parts an entry at its port: `[v6]:port`, `[v6]`, `other:port`, or no port at all.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        return match after {
            "" => Some((inside, None)),
            _ => Some((inside, Some(after.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        Some((target, port)) if !port.contains(':') => Some((target, Some(port))),
        _ => Some((text, None)),
    }
}

fn without_dot(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(loopback: Loopback, allow: &[&str]) -> EgressPolicy {
        EgressPolicy { loopback, allow: allow.iter().map(|entry| entry.parse().unwrap()).collect() }
    }

    /// Whether the URL is called when its name (if it is one) has this address.
    fn called(policy: &EgressPolicy, url: &str, address: &str) -> bool {
        policy.admit(&url.parse().unwrap()).is_ok_and(|to| policy.vetted(&to, vec![address.parse().unwrap()]).is_ok())
    }

    #[test]
    fn by_default_only_the_public_internet_by_https_on_its_port() {
        let default = EgressPolicy::default();
        let refused = |url, address| !called(&default, url, address);
        assert!(called(&default, "https://api.example/token", "8.8.8.8"));
        assert!(called(&default, "https://api.example:443/token", "8.8.8.8"));
        assert!(called(&default, "https://8.8.8.8/", "8.8.8.8"));
        assert!(refused("https://api.example:8443/", "8.8.8.8"));
        assert!(refused("https://8.8.8.8:444/", "8.8.8.8"));
        assert!(refused("http://api.example/", "8.8.8.8"));
        assert!(refused("http://api.example:443/", "8.8.8.8"));
        assert!(refused("ftp://api.example:443/", "8.8.8.8"));
        assert!(refused("https://me@api.example/", "8.8.8.8"));
        assert!(refused("https://:word@api.example/", "8.8.8.8"));
        assert!(refused("https://api.example/", "10.0.0.1"));
        assert!(refused("https://localhost/", "127.0.0.1"));
    }

    #[test]
    fn loopback_allowed_opens_this_machine_under_its_own_names_only() {
        let dev = policy(Loopback::Allowed, &[]);
        for url in [
            "http://localhost:9/",
            "http://localhost.:9/",
            "http://a.localhost:9/",
            "http://127.0.0.1:9/",
            "https://localhost:9/",
        ] {
            assert!(called(&dev, url, "127.0.0.1"), "{url}");
        }
        assert!(called(&dev, "http://[::1]:9/", "::1"));
        assert!(!called(&dev, "http://evil.example:9/", "127.0.0.1"));
        assert!(!called(&dev, "https://evil.example/", "127.0.0.1"));
        assert!(!called(&dev, "http://localhost:9/", "10.0.0.1"));
        assert!(!called(&dev, "http://notlocalhost:9/", "127.0.0.1"));
        assert!(!called(&dev, "http://10.0.0.1:9/", "10.0.0.1"));
        assert!(called(&dev, "https://api.example/", "8.8.8.8"));
    }

    #[test]
    fn an_exception_opens_what_it_names_and_no_more() {
        let named = policy(Loopback::Refused, &["IdP.corp.example", "other.example:8443"]);
        assert!(called(&named, "https://idp.corp.example/", "10.0.0.1"));
        assert!(called(&named, "https://idp.corp.example./", "10.0.0.1"));
        assert!(!called(&named, "https://idp.corp.example:8443/", "10.0.0.1"));
        assert!(!called(&named, "https://x.idp.corp.example/", "10.0.0.1"));
        assert!(!called(&named, "http://idp.corp.example:443/", "10.0.0.1"));
        assert!(called(&named, "https://other.example:8443/", "8.8.8.8"));
        assert!(!called(&named, "https://other.example/", "10.0.0.1"));

        let net = policy(Loopback::Refused, &["10.1.0.0/16", "[fd00:1::/32]:8443", "10.9.9.9:444"]);
        assert!(called(&net, "https://inside.example/", "10.1.255.255"));
        assert!(called(&net, "https://10.1.2.3/", "10.1.2.3"));
        assert!(!called(&net, "https://inside.example/", "10.2.0.0"));
        assert!(!called(&net, "https://inside.example/", "::ffff:10.1.0.1"));
        assert!(called(&net, "https://[fd00:1::5]:8443/", "fd00:1::5"));
        assert!(!called(&net, "https://[fd00:1::5]/", "fd00:1::5"));
        assert!(called(&net, "https://10.9.9.9:444/", "10.9.9.9"));

        let port = policy(Loopback::Refused, &["*:8443"]);
        assert!(called(&port, "https://api.example:8443/", "8.8.8.8"));
        assert!(!called(&port, "https://api.example:8443/", "10.0.0.1"));
        assert!(!called(&port, "https://api.example:8444/", "8.8.8.8"));
    }

    #[test]
    fn of_mixed_addresses_only_the_permitted_remain() {
        let found = ["10.0.0.1", "8.8.8.8", "::1"].map(|address| address.parse().unwrap()).to_vec();
        let default = EgressPolicy::default();
        let to = default.admit(&"https://api.example/".parse().unwrap()).unwrap();
        assert_eq!(default.vetted(&to, found).unwrap(), vec!["8.8.8.8".parse::<IpAddr>().unwrap()]);
        assert_eq!(default.vetted(&to, vec![]), Err(Refused::Address("api.example".to_owned())));
    }

    #[test]
    fn nonsense_is_no_exception() {
        for entry in
            ["", "*.corp.example", "host:0", "host:65536", "host:port", "10.0.0.0/33", "[fd00::", "[fd00::]8443", "a b", "**"]
        {
            assert!(entry.parse::<Allow>().is_err(), "{entry}");
        }
    }
}
