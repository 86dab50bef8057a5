//! `store.url`, read: which servers, how to find the one that writes, and with what credentials. An
//! error never repeats the URL, since it may hold a password.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

/// Who is asked for the servers that write, and how these are greeted.
pub struct Address {
    pub kind: Kind,
    /// The URL's servers: the one that writes, sentinels, or nodes of a cluster.
    pub knowing: Vec<ConnectionInfo>,
    /// The name that the sentinels know the group by.
    pub group: String,
    tls: bool,
    /// Any server that holds data.
    greeting: ConnectionInfo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Sentinel,
    Cluster,
}

/// A URL in its parts; each host with the credentials and the database of the URL.
struct Parts {
    kind: Kind,
    tls: bool,
    hosts: Vec<ConnectionInfo>,
    /// The name that the sentinels know the group by.
    group: String,
    sentinel_password: Option<String>,
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, String> {
        Parts::parse(url)?.address()
    }

    /// A server that another has named; it takes the URL's credentials and database.
    pub fn server(&self, host: &str, port: u16) -> ConnectionInfo {
        let host = host.to_owned();
        let addr = match self.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        self.greeting.clone().set_addr(addr)
    }
}

impl Parts {
    fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("store.url has no scheme, such as redis://")?;
        let (kind, tls) = match scheme {
            "redis" => (Kind::Server, false),
            "rediss" => (Kind::Server, true),
            "redis+sentinel" => (Kind::Sentinel, false),
            "rediss+sentinel" => (Kind::Sentinel, true),
            "redis+cluster" => (Kind::Cluster, false),
            "rediss+cluster" => (Kind::Cluster, true),
            _ => return Err("store.url must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://".into()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (group, database) = match kind {
            Kind::Sentinel => path.split_once('/').unwrap_or((path, "")),
            _ => ("", path),
        };
        let sentinel_password = read_query(query, &kind)?;
        let scheme = if tls { "rediss" } else { "redis" };
        let at = if user.is_empty() { "" } else { "@" };
        let host = |host: &str| {
            // The driver reads one host's URL, so that escapes mean the same everywhere.
            let info = format!("{scheme}://{user}{at}{host}/{database}").into_connection_info();
            let info = info.map_err(|_| format!("store.url cannot be read at the host {host:?} or the database {database:?}"))?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok(info.set_redis_settings(settings))
        };
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, String>>()?;
        let parts = Self { kind, tls, hosts, group: group.to_owned(), sentinel_password };
        parts.check()
    }

    fn check(self) -> Result<Self, String> {
        let database = self.hosts.first().map_or(0, |host| host.redis_settings().db());
        match self.kind {
            Kind::Server if self.hosts.len() != 1 => {
                Err("store.url names several servers; use redis+sentinel:// or redis+cluster:// for them".into())
            }
            Kind::Sentinel if self.group.is_empty() => {
                Err("store.url needs the name of the group: redis+sentinel://host:26379,host:26379/NAME".into())
            }
            Kind::Cluster if database != 0 => Err("store.url names a database, and a cluster has but one".into()),
            _ => Ok(self),
        }
    }

    fn address(self) -> Result<Address, String> {
        let Self { kind, tls, hosts, group, sentinel_password } = self;
        let greeting = hosts.first().cloned().ok_or("store.url names no server")?;
        let settings = match (kind, sentinel_password) {
            (Kind::Sentinel, Some(password)) => RedisConnectionInfo::default().set_password(password),
            (Kind::Sentinel, None) => RedisConnectionInfo::default(),
            _ => greeting.redis_settings().clone(),
        };
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        let knowing = hosts.into_iter().map(|host| host.set_redis_settings(settings.clone())).collect();
        Ok(Address { kind, knowing, group, tls, greeting })
    }
}

/// The one parameter there is: what the sentinels themselves ask for.
fn read_query(query: &str, kind: &Kind) -> Result<Option<String>, String> {
    let mut password = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, kind) {
            ("sentinel_password", Kind::Sentinel) => password = Some(value.into_owned()),
            _ => return Err(format!("store.url has an unknown parameter {name:?}")),
        }
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Parts {
        Parts::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    #[test]
    fn each_scheme_names_its_servers() {
        let cases = [
            ("redis://h", Kind::Server, false, vec![("h", 6379)]),
            ("redis://h:7/3", Kind::Server, false, vec![("h", 7)]),
            ("rediss://h:7", Kind::Server, true, vec![("h", 7)]),
            ("redis+sentinel://a:1,b:2/main", Kind::Sentinel, false, vec![("a", 1), ("b", 2)]),
            ("rediss+sentinel://a:1/main/2", Kind::Sentinel, true, vec![("a", 1)]),
            ("redis+cluster://a:1,[::1]:2", Kind::Cluster, false, vec![("a", 1), ("::1", 2)]),
            ("rediss+cluster://a", Kind::Cluster, true, vec![("a", 6379)]),
        ];
        for (url, kind, tls, hosts) in cases {
            let parts = parts(url);
            assert_eq!((&parts.kind, parts.tls), (&kind, tls), "{url}");
            let found: Vec<_> = parts.hosts.iter().map(|host| host.addr().to_string()).collect();
            let expected: Vec<_> = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            assert_eq!(found, expected, "{url}");
            assert!(Address::parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn credentials_and_database_reach_every_host() {
        for url in ["redis://u:p%40%2F@h/4", "redis+sentinel://u:p%40%2F@a,b/main/4?sentinel_password=x"] {
            for host in parts(url).hosts {
                let settings = host.redis_settings();
                assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p@/"), 4), "{url}");
            }
        }
        assert_eq!(parts("redis+sentinel://a/main?sentinel_password=x%26").sentinel_password.as_deref(), Some("x&"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_the_password() {
        let urls = [
            "localhost:6379",
            "http://u:geheim@h",
            "redis://u:geheim@a,b",
            "redis://u:geheim@h/x",
            "redis://u:geheim@h:port",
            "redis://u:geheim@/0",
            "redis://u:geheim@h?protocol=resp2",
            "redis+sentinel://u:geheim@a:1,b:2",
            "redis+cluster://u:geheim@a/1",
            "redis+cluster://u:geheim@a,,b",
        ];
        for url in urls {
            let why = Address::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(why.starts_with("store.url") && !why.contains("geheim"), "{url}: {why}");
        }
    }
}
