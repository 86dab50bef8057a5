//! One connection to a server, shared by many callers and made anew when it breaks; and the plain truth
//! about each call: not sent, lost, or answered. Nothing is ever sent twice from here.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind};

use tokio::runtime::Handle;

use super::identity::Identity;
use super::server::{CONNECT, Server};

/// To answer a command.
pub const ANSWER: Duration = Duration::from_secs(5);

/// Why a call has no result.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The server cannot have seen it.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
    /// The server refused it. Our scripts can be refused only before their first write.
    Refused(RedisError),
}

impl Fault {
    /// Whether another server may be the one to ask, or this one in a moment: nothing was done.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Fault::NotSent(_) => true,
            Fault::Refused(error) => elsewhere(error),
            Fault::Lost(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotSent(why) | Fault::Lost(why) => f.write_str(why),
            Fault::Refused(error) => error.fmt(f),
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        if answered(&error) { Fault::Refused(error) } else { Fault::Lost(error.to_string()) }
    }
}

/// The server sent this error, as an answer to the call.
fn answered(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Moved | Ask | TryAgain | ClusterDown | MasterDown | ReadOnly))
}

pub struct Link {
    server: Arc<Server>,
    /// Where connections live: whoever wants one may be on a runtime that ends before the store is done with.
    runtime: Handle,
    slot: Mutex<Slot>,
    /// Counts the attempts to connect that failed.
    tries: AtomicU64,
    /// Held by the caller that connects; with the reason why the last one could not.
    dial: tokio::sync::Mutex<String>,
}

#[derive(Default)]
struct Slot {
    /// Counts connections, so that the failure of an old one does not end a new one.
    generation: u64,
    wire: Option<Wire>,
}

/// A connection in use.
#[derive(Clone)]
pub struct Wire {
    generation: u64,
    pub connection: MultiplexedConnection,
    /// Who was at the other end when it was made.
    pub identity: Identity,
}

impl Link {
    pub fn new(server: Arc<Server>, runtime: Handle) -> Arc<Self> {
        let (slot, tries, dial) = (Mutex::default(), AtomicU64::new(0), tokio::sync::Mutex::default());
        Arc::new(Self { server, runtime, slot, tries, dial })
    }

    /// The connection, made if there is none. Of many callers one connects; the others share what
    /// comes of it, so that a dead server costs each of them one wait at most.
    ///
    /// Each waits in a task of its own: whoever is not polled for a while (one future of many, whose owner awaits
    /// something else) would keep the place in the row that it has come to, and with it everybody behind.
    pub async fn wire(self: &Arc<Self>) -> Result<Wire, Fault> {
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        let link = Arc::clone(self);
        let made = self.runtime.spawn(async move { link.made().await }).await;
        made.unwrap_or_else(|ended| Err(Fault::NotSent(ended.to_string())))
    }

    async fn made(self: &Arc<Self>) -> Result<Wire, Fault> {
        let seen = self.tries.load(Ordering::Acquire);
        let mut last = self.dial.lock().await;
        if let Some(wire) = self.current() {
            return Ok(wire);
        }
        if self.tries.load(Ordering::Acquire) != seen {
            return Err(Fault::NotSent(last.clone()));
        }
        self.connect().await.map_err(|why| {
            last.clone_from(&why);
            self.tries.fetch_add(1, Ordering::Release);
            Fault::NotSent(why)
        })
    }

    /// Gives a connection up after an error that says so.
    pub fn heed(&self, wire: &Wire, error: &RedisError) {
        if elsewhere(error) || !answered(error) {
            self.drop_connection(wire.generation);
        }
    }

    pub fn drop_wire(&self, wire: &Wire) {
        self.drop_connection(wire.generation);
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Wire> {
        self.slot().wire.clone()
    }

    fn drop_connection(&self, generation: u64) {
        let mut slot = self.slot();
        if slot.generation == generation {
            slot.wire = None;
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Wire, String> {
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
        let (connection, identity) = self.server.dial(&config).await?;
        let wire = Wire { generation, connection, identity };
        *self.slot() = Slot { generation, wire: Some(wire.clone()) };
        Ok(wire)
    }
}
