//! Connections: one that all share, made anew when it breaks, and the plain truth about each call:
//! not sent, lost, or answered. Nothing that writes is ever sent twice from here.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, PushInfo, PushKind, RedisError, RedisFuture,
    RedisResult, ServerErrorKind, Value,
};

use super::address::Address;
use super::script::Lua;

/// To find, reach and greet a server.
pub const CONNECT: Duration = Duration::from_secs(2);
/// To answer a command.
pub const ANSWER: Duration = Duration::from_secs(5);
/// How long a write may wait for its replicas; well below [`ANSWER`].
const REPLICAS: Duration = Duration::from_secs(2);
/// Connections for writes that wait for replicas: WAIT holds up what comes behind it.
const WAITING: usize = 8;

/// Why a call has no result.
#[derive(Debug)]
pub enum Fault {
    /// The server cannot have seen it.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
    /// The server refused it. Our scripts can be refused only before their first write.
    Refused(RedisError),
}

/// What a script answered, and whether as many replicas as asked for have it too.
pub struct Written {
    pub value: Value,
    pub replicated: bool,
}

pub struct Routes {
    reads: Arc<Route>,
    writes: Vec<Arc<Route>>,
    turn: AtomicUsize,
    min_replicas: u32,
}

enum Route {
    Link(Arc<Link>),
    /// The driver keeps the connections of a cluster, and makes them anew.
    Cluster(ClusterConnection),
}

impl Routes {
    pub async fn open(address: Address, min_replicas: u32) -> Result<Self, Fault> {
        let source = match address {
            Address::Server(client) => Source::Server(client),
            Address::Sentinel(client) => Source::Sentinel(Box::new(tokio::sync::Mutex::new(*client))),
            Address::Cluster(client) => Source::Cluster(client),
        };
        let source = Arc::new(source);
        let reads = Arc::new(Route::open(&source).await?);
        let mut writes = vec![Arc::clone(&reads)];
        if min_replicas > 0 {
            writes.clear();
            for _ in 0..WAITING {
                writes.push(Arc::new(Route::open(&source).await?));
            }
        }
        Ok(Self { reads, writes, turn: AtomicUsize::new(0), min_replicas })
    }

    /// Asks something that changes nothing; once more on a new connection if the answer is lost.
    pub async fn read(&self, command: &Cmd) -> Result<Value, Fault> {
        match self.reads.run(Call::Plain(command)).await.map(|(value, _)| value) {
            Err(Fault::Lost(_)) => self.reads.run(Call::Plain(command)).await.map(|(value, _)| value),
            other => other,
        }
    }

    /// Asks every server that writes.
    pub async fn read_each(&self, command: &Cmd) -> Result<Vec<Value>, Fault> {
        let Route::Cluster(connection) = &*self.reads else { return Ok(vec![self.read(command).await?]) };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        match connection.clone().route_command(command.clone(), everywhere).await.map_err(fault)? {
            Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
            one => Ok(vec![one]),
        }
    }

    /// Runs a script that writes.
    pub async fn write(&self, script: &Lua, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Result<Written, Fault> {
        let by_hash = self.write_command(&script.by_hash(keys, arguments)).await;
        match by_hash {
            Err(Fault::Refused(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.write_command(&script.by_text(keys, arguments)).await
            }
            other => other,
        }
    }

    pub async fn write_command(&self, command: &Cmd) -> Result<Written, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.writes.len();
        let route = &self.writes[turn];
        if self.min_replicas == 0 {
            return route.run(Call::Plain(command)).await.map(|(value, _)| Written { value, replicated: true });
        }
        // WAIT speaks of the writes of its own connection, so both go down the same one, together.
        let mut pipeline = redis::pipe();
        let wait = u64::try_from(REPLICAS.as_millis()).unwrap_or(u64::MAX);
        pipeline.add_command(command.clone()).cmd("WAIT").arg(self.min_replicas).arg(wait).ignore_errors();
        let (value, replicas) = route.run(Call::WithReplicas(&pipeline)).await?;
        Ok(Written { value, replicated: replicas >= self.min_replicas })
    }
}

impl Route {
    async fn open(source: &Arc<Source>) -> Result<Self, Fault> {
        if let Source::Cluster(client) = &**source {
            let connection = tokio::time::timeout(CONNECT + ANSWER, client.get_async_connection()).await;
            let connection = connection.map_err(|_| Fault::NotSent("no node of the cluster answers".into()))?;
            return connection.map(Route::Cluster).map_err(|error| Fault::NotSent(error.to_string()));
        }
        let link = Arc::new(Link {
            source: Arc::clone(source),
            slot: Mutex::default(),
            tries: AtomicU64::new(0),
            dial: Dial::default(),
        });
        link.wire().await?;
        Ok(Route::Link(link))
    }

    /// Makes a call; once more if the server said that it is not the one to ask, which it says before
    /// it does anything.
    async fn run(&self, call: Call<'_>) -> Result<(Value, u32), Fault> {
        let (generation, mut wire) = self.wire().await?;
        let error = match call.send(&mut wire).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        self.heed(generation, &error);
        if !elsewhere(&error) {
            return Err(fault(error));
        }
        let (generation, mut wire) = self.wire().await?;
        call.send(&mut wire).await.map_err(|error| {
            self.heed(generation, &error);
            fault(error)
        })
    }

    async fn wire(&self) -> Result<(u64, Wire), Fault> {
        match self {
            Route::Cluster(connection) => Ok((0, Wire::Cluster(connection.clone()))),
            Route::Link(link) => link.wire().await,
        }
    }

    /// Gives a connection up after an error that says so.
    fn heed(&self, generation: u64, error: &RedisError) {
        if let Route::Link(link) = self
            && (elsewhere(error) || !answered(error))
        {
            link.drop_connection(generation);
        }
    }
}

/// One round trip.
#[derive(Clone, Copy)]
enum Call<'a> {
    Plain(&'a Cmd),
    /// A command and the WAIT that goes with it.
    WithReplicas(&'a Pipeline),
}

impl Call<'_> {
    /// The command's answer, and how many replicas have it (0 where nobody asked).
    async fn send(self, wire: &mut Wire) -> RedisResult<(Value, u32)> {
        match self {
            Call::Plain(command) => Ok((command.query_async(wire).await?, 0)),
            Call::WithReplicas(pipeline) => {
                let answers: Vec<RedisResult<Value>> = pipeline.query_async(wire).await?;
                let mut answers = answers.into_iter();
                let mut next =
                    || answers.next().unwrap_or_else(|| Err((ErrorKind::UnexpectedReturnType, "too few answers").into()));
                // A WAIT that ends in an error (the server was demoted meanwhile) says nothing of the command.
                let (value, replicas) = (next()?, next());
                Ok((value, replicas.and_then(|count| Ok(u32::from_redis_value(count)?)).unwrap_or(0)))
            }
        }
    }
}

/// The server sent this error, as an answer to the call.
fn answered(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Another server is the one to ask, or this one in a moment; nothing was done. A cluster's driver
/// that has just lost a node says so without waiting for it, and keeps the next call until it has
/// looked.
fn elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    let told = matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain | ClusterDown | MasterDown | ReadOnly));
    told || error.kind() == ErrorKind::ClusterConnectionNotFound
}

fn fault(error: RedisError) -> Fault {
    if answered(&error) {
        Fault::Refused(error)
    } else if error.kind() == ErrorKind::ClusterConnectionNotFound {
        Fault::NotSent(error.to_string())
    } else {
        Fault::Lost(error.to_string())
    }
}

enum Source {
    Server(Box<Client>),
    /// Asks the sentinels each time for the server that writes now.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    Cluster(Box<redis::cluster::ClusterClient>),
}

impl Source {
    async fn dial(&self, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        match self {
            Source::Server(client) => client.get_multiplexed_async_connection_with_config(config).await,
            Source::Sentinel(sentinels) => {
                let client = sentinels.lock().await.async_get_client().await?;
                client.get_multiplexed_async_connection_with_config(config).await
            }
            Source::Cluster(_) => Err((ErrorKind::Client, "a cluster is dialled by its driver").into()),
        }
    }
}

/// One shared connection to the server that writes.
struct Link {
    source: Arc<Source>,
    slot: Mutex<Slot>,
    /// Counts the attempts to connect that failed.
    tries: AtomicU64,
    dial: Dial,
}

#[derive(Default)]
struct Slot {
    /// Counts connections, so that the failure of an old one does not end a new one.
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

/// Held by the caller that connects; with the reason why the last one could not.
type Dial = tokio::sync::Mutex<String>;

impl Link {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<(u64, Wire)> {
        let slot = self.slot();
        slot.connection.clone().map(|connection| (slot.generation, Wire::Link(connection)))
    }

    fn drop_connection(&self, generation: u64) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    /// The connection, made if there is none. Of many callers one connects; the others share what
    /// comes of it, so that a dead server costs each of them one wait at most.
    async fn wire(self: &Arc<Self>) -> Result<(u64, Wire), Fault> {
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        let seen = self.tries.load(Ordering::Acquire);
        let mut last = self.dial.lock().await;
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        if self.tries.load(Ordering::Acquire) != seen {
            return Err(Fault::NotSent(last.clone()));
        }
        match self.connect().await {
            Ok(wire) => Ok(wire),
            Err(why) => {
                last.clone_from(&why);
                self.tries.fetch_add(1, Ordering::Release);
                Err(Fault::NotSent(why))
            }
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<(u64, Wire), String> {
        let generation = self.slot().generation + 1;
        let link = Arc::downgrade(self);
        // Learns at once that a connection ended, so that the next write is not sent down a dead one.
        let ended = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection
                && let Some(link) = link.upgrade()
            {
                link.drop_connection(generation);
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_push_sender(ended);
        let connection = tokio::time::timeout(CONNECT, self.source.dial(&config)).await;
        let connection = connection.map_err(|_| format!("no answer within {CONNECT:?}"))?.map_err(|error| error.to_string())?;
        *self.slot() = Slot { generation, connection: Some(connection.clone()) };
        Ok((generation, Wire::Link(connection)))
    }
}

/// Either kind of connection, to the driver.
enum Wire {
    Link(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Wire::Link(connection) => connection.req_packed_command(command),
            Wire::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Wire::Link(connection) => connection.req_packed_commands(pipeline, offset, count),
            Wire::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Wire::Link(connection) => connection.get_db(),
            Wire::Cluster(connection) => connection.get_db(),
        }
    }
}
