//! `store.url`, read: which servers, how to find the one that writes, and with what credentials. An
//! error never repeats the URL, since it may hold a password.

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsMode};

use super::connect::{ANSWER, CONNECT};

/// Who is asked for the server that writes.
pub enum Address {
    Server(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
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
        let parts = Parts::parse(url)?;
        match parts.kind {
            Kind::Server => parts.server(),
            Kind::Sentinel => parts.sentinel(),
            Kind::Cluster => parts.cluster(),
        }
        .map_err(|error| format!("store.url cannot be used: {error}"))
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

    fn server(self) -> redis::RedisResult<Address> {
        let no_host = || redis::RedisError::from((redis::ErrorKind::InvalidClientConfig, "no host"));
        Client::open(self.hosts.into_iter().next().ok_or_else(no_host)?).map(|client| Address::Server(Box::new(client)))
    }

    fn sentinel(self) -> redis::RedisResult<Address> {
        let settings = self.hosts.first().map(|host| host.redis_settings().clone()).unwrap_or_default();
        let addresses: Vec<ConnectionAddr> = self.hosts.iter().map(|host| host.addr().clone()).collect();
        let mut builder = SentinelClientBuilder::new(addresses, self.group, SentinelServerType::Master)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(settings.db());
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = self.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        Ok(Address::Sentinel(Box::new(builder.build()?)))
    }

    fn cluster(self) -> redis::RedisResult<Address> {
        // The driver must not send anything twice by itself: a `take` whose answer was lost would find nothing.
        let builder = ClusterClientBuilder::new(self.hosts).retries(0).connection_timeout(CONNECT).response_timeout(ANSWER);
        let builder = builder.overall_response_timeout(Some(CONNECT + ANSWER));
        Ok(Address::Cluster(Box::new(builder.build()?)))
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
