//! Which servers write now: the one of the URL, the one that the sentinels name, or the primaries of a
//! cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, Pipeline, RedisResult, Value};

use super::address::{Address, Kind};
use super::identity::Info;
use super::slots::{self, Ranges};

/// For a sentinel, or a node of a cluster, to say what it knows; a silent one must not hold up the rest.
const ASK: Duration = Duration::from_millis(700);

/// A server that writes, and what it owns.
pub struct Shard {
    pub server: ConnectionInfo,
    pub slots: Ranges,
}

pub struct Finder {
    address: Address,
    /// The URL's servers, and the primaries of the cluster.
    asked: Mutex<Vec<Arc<Asked>>>,
}

/// One of those who know; its connection is kept.
struct Asked {
    server: ConnectionInfo,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

/// An answer and how new it is: one who is cut off from the others goes on naming what it knew.
type Dated<T> = ((bool, u64), T);

impl Finder {
    pub fn new(address: Address) -> Self {
        let asked = address.knowing.iter().cloned().map(Asked::new).collect();
        Self { address, asked: Mutex::new(asked) }
    }

    /// Whether the answer can never change.
    pub fn is_fixed(&self) -> bool {
        self.address.kind == Kind::Server
    }

    pub async fn find(&self) -> Result<Vec<Shard>, String> {
        match self.address.kind {
            Kind::Server => {
                Ok(self.address.knowing.iter().map(|server| Shard { server: server.clone(), slots: slots::all() }).collect())
            }
            Kind::Sentinel => self.ask_sentinels().await,
            Kind::Cluster => self.ask_cluster().await,
        }
    }

    async fn ask_sentinels(&self) -> Result<Vec<Shard>, String> {
        let mut question = redis::pipe();
        question.cmd("SENTINEL").arg("MASTER").arg(&self.address.group);
        let (host, port) = self.newest(&question, |_, answer| named(answer)).await?;
        Ok(vec![Shard { server: self.address.server(&host, port), slots: slots::all() }])
    }

    async fn ask_cluster(&self) -> Result<Vec<Shard>, String> {
        let mut question = redis::pipe();
        question.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        let shards = self.newest(&question, |asked, answer| self.owners(asked, answer)).await?;
        let servers: Vec<_> = shards.iter().map(|shard| &shard.server).collect();
        let mut asked = self.asked();
        asked.retain(|known| self.address.knowing.iter().chain(servers.iter().copied()).any(|server| known.is(server)));
        for server in servers {
            if !asked.iter().any(|known| known.is(server)) {
                asked.push(Asked::new(server.clone()));
            }
        }
        Ok(shards)
    }

    fn owners(&self, asked: &Asked, answer: Vec<Value>) -> Option<Dated<Vec<Shard>>> {
        let [info, owners] = <[Value; 2]>::try_from(answer).ok()?;
        let info: String = redis::from_redis_value(info).ok()?;
        let field = |name| Info(&info).field(name);
        let shard = |owner: slots::Owner| {
            let host = owner.host.unwrap_or_else(|| host_of(&asked.server));
            Shard { server: self.address.server(&host, owner.port), slots: owner.slots }
        };
        let shards: Vec<_> = slots::read(owners)?.into_iter().map(shard).collect();
        let age = (field("cluster_state")? == "ok", field("cluster_current_epoch")?.parse().ok()?);
        (!shards.is_empty()).then_some((age, shards))
    }

    /// Asks all, and believes the newest answer.
    async fn newest<T>(&self, question: &Pipeline, read: impl Fn(&Asked, Vec<Value>) -> Option<Dated<T>>) -> Result<T, String> {
        let asked = self.asked().clone();
        let answers = join_all(asked.iter().map(|asked| asked.ask(question))).await;
        let mut why = "nobody was asked".to_owned();
        let mut newest: Option<Dated<T>> = None;
        for (asked, answer) in asked.iter().zip(answers) {
            match answer.map(|answer| read(asked, answer)) {
                Ok(Some(dated)) if newest.as_ref().is_none_or(|(age, _)| dated.0 > *age) => newest = Some(dated),
                Ok(Some(_)) => {}
                Ok(None) => why = format!("{} says what cannot be read", asked.server.addr()),
                Err(error) => why = format!("{}: {error}", asked.server.addr()),
            }
        }
        newest.map(|(_, found)| found).ok_or_else(|| format!("nobody says which server writes: {why}"))
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Asked>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn new(server: ConnectionInfo) -> Arc<Self> {
        Arc::new(Self { server, connection: tokio::sync::Mutex::default() })
    }

    fn is(&self, server: &ConnectionInfo) -> bool {
        self.server.addr() == server.addr()
    }

    async fn ask(&self, question: &Pipeline) -> RedisResult<Vec<Value>> {
        let mut kept = self.connection.lock().await;
        let asking = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => {
                    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ASK)).set_response_timeout(Some(ASK));
                    Client::open(self.server.clone())?.get_multiplexed_async_connection_with_config(&config).await?
                }
            };
            let answer = question.query_async(&mut connection).await?;
            RedisResult::Ok((connection, answer))
        };
        let silent = |_| (ErrorKind::Io, "no answer in time").into();
        let (connection, answer) = tokio::time::timeout(ASK, asking).await.map_err(silent).flatten()?;
        *kept = Some(connection);
        Ok(answer)
    }
}

/// What a sentinel says of a group: its primary, and the number of the failover that made it so.
fn named(answer: Vec<Value>) -> Option<Dated<(String, u16)>> {
    let fields: HashMap<String, String> = redis::from_redis_value(answer.into_iter().next()?).ok()?;
    let age = fields.get("config-epoch")?.parse().ok()?;
    Some(((true, age), (fields.get("ip")?.clone(), fields.get("port")?.parse().ok()?)))
}

fn host_of(server: &ConnectionInfo) -> String {
    match server.addr() {
        redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}
