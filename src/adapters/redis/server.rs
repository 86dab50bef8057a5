//! A server that writes, and whether it still is the one that was seen before. The epoch counts each
//! time it is not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult, Value};

use super::identity::{Identity, Info};
use super::slots::{self, Ranges};

/// To find, reach and greet a server.
pub const CONNECT: Duration = Duration::from_secs(2);

/// What all servers of a store are seen by.
///
/// A *marker* is a key in the first slot that a server owns, random once and never changed. It goes where
/// the data go, so a server without it, or with another, has lost the data or never had them.
#[derive(Default)]
pub struct Watch {
    epoch: AtomicU64,
    questions: AtomicU64,
    markers: Mutex<HashMap<u16, Vec<u8>>>,
}

impl Watch {
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// What was seen so far is what there is: counting begins.
    pub fn begin(&self) {
        self.epoch.store(0, Ordering::SeqCst);
    }

    fn markers(&self) -> MutexGuard<'_, HashMap<u16, Vec<u8>>> {
        self.markers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Server {
    client: Client,
    /// Host and port.
    pub name: String,
    slot: u16,
    marker: Vec<u8>,
    watch: Arc<Watch>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    identity: Option<Identity>,
    emptied: bool,
    /// The newest question that was answered.
    question: u64,
}

/// What was known when a server was asked: answers come by several connections, and an old one must not
/// be held against what has been learnt since.
pub struct Question {
    number: u64,
    /// Empty while it is not known.
    pub marker: Vec<u8>,
}

impl Server {
    pub fn new(info: ConnectionInfo, slots: &Ranges, watch: Arc<Watch>) -> RedisResult<Self> {
        let slot = slots.first().map_or(0, |range| *range.start());
        let marker = format!("{{{}}}/marker", slots::tag_in(slot)).into_bytes();
        let name = info.addr().to_string();
        Ok(Self { client: Client::open(info)?, name, slot, marker, watch, seen: Mutex::default() })
    }

    pub fn marker(&self) -> &[u8] {
        &self.marker
    }

    /// To be taken before the server is asked.
    pub fn question(&self) -> Question {
        let number = self.watch.questions.fetch_add(1, Ordering::SeqCst) + 1;
        Question { number, marker: self.watch.markers().get(&self.slot).cloned().unwrap_or_default() }
    }

    /// Connects, and looks at who answers before anything else is asked.
    pub async fn dial(&self, config: &AsyncConnectionConfig) -> Result<(MultiplexedConnection, Identity), String> {
        let question = self.question();
        let dialled = tokio::time::timeout(CONNECT, async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(config).await?;
            let mut pipeline = redis::pipe();
            pipeline.cmd("INFO").cmd("GET").arg(&self.marker).ignore_errors();
            let answers: Vec<RedisResult<Value>> = pipeline.query_async(&mut connection).await?;
            RedisResult::Ok((connection, answers))
        });
        let timely = dialled.await.map_err(|_| format!("{} does not answer within {CONNECT:?}", self.name))?;
        let (connection, answers) = timely.map_err(|error| format!("{}: {error}", self.name))?;
        let mut answers = answers.into_iter();
        let info = answers.next().and_then(text).unwrap_or_default();
        let identity = Identity::read(Info(&info));
        if identity.replica {
            return Err(format!("{} is a replica; store.url must name the server that writes", self.name));
        }
        self.see(&question, identity.clone(), answers.next().and_then(marker));
        Ok((connection, identity))
    }

    /// What the server told of itself after a write (`INFO replication`, and the marker), down a connection
    /// that was made when it was `before`. False if that connection is of no more use.
    pub fn look_again(&self, question: &Question, before: &Identity, answers: [Option<RedisResult<Value>>; 2]) -> bool {
        let [info, found] = answers;
        let Some(info) = info.and_then(text) else { return true };
        let identity = before.later(Info(&info));
        if identity.replica || !self.seen().identity.as_ref().is_some_and(|seen| seen.same_process(before)) {
            return false;
        }
        self.see(question, identity, found.and_then(marker));
        true
    }

    /// Refused while the data are not those that were there.
    pub fn check(&self) -> Result<(), String> {
        if !self.seen().emptied {
            return Ok(());
        }
        Err(format!(
            "{} has lost its data, or another server has its place: put the data back, or start Claviger anew to take it as it is",
            self.name
        ))
    }

    /// Counts, if this is not what was seen before, ere anybody uses it.
    fn see(&self, question: &Question, identity: Identity, found: Option<Vec<u8>>) {
        let mut seen = self.seen();
        if question.number < seen.question {
            return;
        }
        let another = seen.identity.as_ref().is_none_or(|before| !identity.goes_on_from(before));
        let emptied = found.map_or(seen.emptied, |found| self.emptied(question, found));
        if another || emptied != seen.emptied {
            let epoch = self.watch.epoch.fetch_add(1, Ordering::SeqCst) + 1;
            if seen.identity.is_some() {
                tracing::warn!(server = self.name, epoch, emptied, "another store answers than before");
            }
        }
        *seen = Seen { identity: Some(identity), emptied, question: question.number };
    }

    fn emptied(&self, question: &Question, found: Vec<u8>) -> bool {
        if question.marker.is_empty() {
            if !found.is_empty() {
                self.watch.markers().entry(self.slot).or_insert(found);
            }
            return false;
        }
        question.marker != found
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(answer: RedisResult<Value>) -> Option<String> {
    redis::from_redis_value(answer.ok()?).ok()
}

/// Empty for none there; `None` for no answer.
fn marker(answer: RedisResult<Value>) -> Option<Vec<u8>> {
    redis::from_redis_value::<Option<Vec<u8>>>(answer.ok()?).ok().map(Option::unwrap_or_default)
}
