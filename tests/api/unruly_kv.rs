//! The store in memory as one node sees it, with one thing going wrong at a chosen moment: a read that
//! is held up, a commit that loses its race or its answer, a store that is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::kv::{
    AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Precondition, Settled, Versioned, Write,
};

use crate::fake_provider::Gate;

/// Grants, and the flows of other devices, by their keys.
const GRANTS: &[u8] = b"g/";
const FLOWS: &[u8] = b"device/";

pub struct UnrulyKv {
    inner: Arc<MemoryKv>,
    /// The keys whose reads it holds up.
    watched: &'static [u8],
    conflicts: AtomicUsize,
    held: Mutex<Option<(usize, Gate)>>,
    fate: Mutex<Option<Fate>>,
    settles: AtomicBool,
    down: AtomicBool,
    epoch: AtomicU64,
    shared: bool,
}

/// What becomes of the next commit that writes a grant.
#[derive(Clone, Copy)]
pub enum Fate {
    Conflict,
    Unavailable,
    /// It is applied, and neither its answer nor that of settling arrives.
    AnswerLost,
}

impl UnrulyKv {
    pub fn over(inner: Arc<MemoryKv>) -> Arc<Self> {
        Arc::new(Self::made(inner, GRANTS, false))
    }

    /// As a store that says of itself that nodes share it.
    pub fn over_shared(inner: Arc<MemoryKv>) -> Arc<Self> {
        Arc::new(Self::made(inner, GRANTS, true))
    }

    /// Whose reads of other devices' flows can be held up.
    pub fn over_flows(inner: Arc<MemoryKv>) -> Arc<Self> {
        Arc::new(Self::made(inner, FLOWS, false))
    }

    fn made(inner: Arc<MemoryKv>, watched: &'static [u8], shared: bool) -> Self {
        let (settles, down, epoch) = (AtomicBool::new(true), AtomicBool::new(false), AtomicU64::new(0));
        let (held, fate, conflicts) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self { inner, watched, conflicts, held, fate, settles, down, epoch, shared }
    }

    /// How many commits came after another's.
    pub fn conflicts(&self) -> usize {
        self.conflicts.load(Ordering::SeqCst)
    }

    /// From now on another store is in the place of the one before.
    pub fn becomes_another(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The `nth` read of what it watches from now on learns its value and tells it when the gate opens.
    pub fn hold_read(&self, nth: usize, gate: &Gate) {
        *self.held.lock().unwrap() = Some((nth, gate.clone()));
    }

    pub fn next_grant_commit(&self, fate: Fate) {
        *self.fate.lock().unwrap() = Some(fate);
    }

    pub fn has_met_its_fate(&self) -> bool {
        self.fate.lock().unwrap().is_none()
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), KvError> {
        if self.down.load(Ordering::SeqCst) { Err(KvError::Unavailable("as the test says".into())) } else { Ok(()) }
    }

    fn gate_for(&self, key: &Key) -> Option<Gate> {
        let mut held = self.held.lock().unwrap();
        let (left, gate) = held.as_mut().filter(|_| key.name.starts_with(self.watched))?;
        *left -= 1;
        let gate = (*left == 0).then(|| gate.clone());
        if gate.is_some() {
            *held = None;
        }
        gate
    }

    fn fate_of(&self, batch: &Batch) -> Option<Fate> {
        let writes_grant =
            batch.writes.iter().any(|write| matches!(write, Write::Put { key, .. } if key.name.starts_with(GRANTS)));
        let replaces = batch.preconditions.iter().any(|condition| matches!(condition, Precondition::Version(..)));
        self.fate.lock().unwrap().take_if(|_| writes_grant && replaces)
    }
}

#[async_trait]
impl Kv for UnrulyKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.check()?;
        let found = self.inner.get(key).await;
        if let Some(gate) = self.gate_for(key) {
            gate.pass().await;
        }
        found
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        self.check()?;
        self.inner.list(partition, prefix, after, limit).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.check()?;
        self.inner.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        self.check()?;
        match self.fate_of(&batch) {
            None => {
                let commit = self.inner.commit(batch).await?;
                self.conflicts.fetch_add(usize::from(matches!(commit, Commit::Conflict)), Ordering::SeqCst);
                Ok(commit)
            }
            Some(Fate::Conflict) => Ok(Commit::Conflict),
            Some(Fate::Unavailable) => Err(KvError::Unavailable("as the test says".into())),
            Some(Fate::AnswerLost) => {
                self.settles.store(false, Ordering::SeqCst);
                self.inner.commit(batch).await?;
                Ok(Commit::Unknown)
            }
        }
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        if self.settles.load(Ordering::SeqCst) {
            return self.inner.settle(partition, attempt).await;
        }
        Err(KvError::Unavailable("as the test says".into()))
    }

    async fn ping(&self) -> Result<(), KvError> {
        self.check()?;
        self.inner.ping().await
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}
