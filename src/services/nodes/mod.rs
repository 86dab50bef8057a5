//! The nodes of a deployment. Each beats: it writes its own record every few seconds, on the condition
//! that nobody else did. From that it knows that the store is still the one it was, and that nobody has
//! its name; and from the beats of others, by its own monotonic clock, which of them are silent.

mod beat;
mod enter;
mod forget;
mod restoration;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::domain::node::{Cause, NodeRecord};
use crate::ports::entropy::{EntropyError, random};
use crate::ports::node_memory::NodeMemory;
use crate::refresh::Peer;
use crate::store::{StoreError, keys};

use super::Core;

pub use enter::EnterError;
pub use forget::ForgetError;
pub use watch::{OwnerView, Share};

#[derive(Debug, Clone, Copy)]
pub struct NodePolicy {
    /// From one beat to the next.
    pub beat: Duration,
    /// How many of the last beats a failover of the store may lose; 0 where what is committed stays.
    pub tolerance: u64,
}

/// This node, and what it sees of the others.
pub struct Nodes {
    core: Core,
    memory: Arc<dyn NodeMemory>,
    policy: NodePolicy,
    me: Me,
    own: Mutex<Own>,
    watched: watch::Watched,
    journal_pending: AtomicU64,
}

/// This process, as it signs its record.
struct Me {
    id: String,
    session: String,
    started_at: Timestamp,
}

/// What this process knows of its own record.
#[derive(Default)]
struct Own {
    /// `None` until it was read, and after a commit whose end is not known.
    version: Option<u64>,
    /// The last beat that the store acknowledged.
    acknowledged: u64,
    /// The store is another than it was.
    suspicion: Option<Suspicion>,
    /// The restoration that this node takes part in.
    joined: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    cause: Cause,
    since: Timestamp,
    /// When this node's record, as it was found, was written.
    written_at: Option<Timestamp>,
}

impl Nodes {
    pub fn new(core: Core, memory: Arc<dyn NodeMemory>, policy: NodePolicy, id: String) -> Result<Self, EntropyError> {
        let session = hex::encode(random::<8>(core.entropy.as_ref())?);
        let me = Me { id, session, started_at: core.clock.now() };
        let (own, watched) = (Mutex::default(), watch::Watched::default());
        Ok(Self { core, memory, policy, me, own, watched, journal_pending: AtomicU64::new(0) })
    }

    /// This node's name in leases, intents and receipts.
    pub fn id(&self) -> &str {
        &self.me.id
    }

    /// Every node there is a record of, by name.
    pub async fn list(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let mut after = None;
        let mut nodes = Vec::new();
        loop {
            let (page, next) = self.core.store.list(&keys::nodes(), after.as_deref(), 1000).await?;
            nodes.extend(page.into_iter().map(|(_, stored)| stored.value));
            match next {
                Some(next) => after = Some(next),
                None => return Ok(nodes),
            }
        }
    }

    /// How long a node has been silent, as far as this one saw, and whether it was given up: for whoever
    /// would end what it began. Reads no store.
    pub fn owner(&self, id: &str) -> OwnerView {
        self.watched.owner(id)
    }

    /// The same for a flight that finds an intent of that node.
    pub fn peer(&self, id: &str, steady: Duration) -> Peer {
        self.watched.peer(id, steady)
    }

    /// This node's share of what nodes share, by whom it saw at its last beat. Reads no store.
    pub fn share(&self) -> Share {
        self.watched.share(&self.me.id)
    }

    /// The same for people: `None` where this process has not watched.
    pub fn silence(&self, id: &str) -> Option<Duration> {
        self.watched.has_looked().then(|| self.owner(id).silent)
    }

    /// The last beat that the store acknowledged.
    pub async fn last_beat(&self) -> u64 {
        self.own.lock().await.acknowledged
    }

    /// What others are to know of this node's journal.
    pub fn note_journal(&self, pending: u64) {
        self.journal_pending.store(pending, Ordering::Relaxed);
    }

    /// Beats until it is dropped.
    pub async fn run(&self) {
        loop {
            self.core.clock.sleep(self.policy.beat).await;
            if let Err(error) = self.beat().await {
                tracing::warn!(%error, "a beat was not written");
            }
        }
    }

    fn record(&self, own: &Own) -> NodeRecord {
        let replayed = own.joined.clone().filter(|_| self.core.standing.is_replayed());
        NodeRecord {
            id: self.me.id.clone(),
            session: self.me.session.clone(),
            beat: own.acknowledged + 1,
            at: self.core.clock.now(),
            started_at: self.me.started_at,
            every_ms: u64::try_from(self.policy.beat.as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            journal_pending: self.journal_pending.load(Ordering::Relaxed),
            stopped: false,
            forgotten: false,
            replayed,
        }
    }
}
