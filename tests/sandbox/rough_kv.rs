//! The store in memory, made as rough as the port allows: every call lets others go first, and every
//! second commit loses its answer. A race that the server does not guard against shows here: callers
//! can be gathered, so that all have read a grant before the first of them writes it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned};
use tokio::sync::Barrier;
use tokio::task::yield_now;

pub struct RoughKv {
    inner: MemoryKv,
    commits: AtomicUsize,
    gathering: Mutex<Option<Gathering>>,
}

struct Gathering {
    barrier: Arc<Barrier>,
    missing: usize,
}

impl RoughKv {
    pub fn over(inner: MemoryKv) -> Arc<Self> {
        Arc::new(Self { inner, commits: AtomicUsize::new(0), gathering: Mutex::default() })
    }

    /// The next `callers` reads of a grant end together.
    pub fn gather(&self, callers: usize) {
        let gathering = Gathering { barrier: Arc::new(Barrier::new(callers)), missing: callers };
        *self.gathering.lock().unwrap() = Some(gathering);
    }

    fn join(&self) -> Option<Arc<Barrier>> {
        let mut gathering = self.gathering.lock().unwrap();
        let gathering = gathering.as_mut().filter(|gathering| gathering.missing > 0)?;
        gathering.missing -= 1;
        Some(gathering.barrier.clone())
    }
}

#[async_trait]
impl Kv for RoughKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        let found = self.inner.get(key).await;
        match key.name.starts_with(b"grant/").then(|| self.join()).flatten() {
            Some(barrier) => {
                barrier.wait().await;
            }
            None => yield_now().await,
        }
        found
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        self.inner.list(partition, prefix, after, limit).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        yield_now().await;
        self.inner.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        yield_now().await;
        let outcome = self.inner.commit(batch).await?;
        let lost = self.commits.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        Ok(if lost { Commit::Unknown } else { outcome })
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        self.inner.settle(partition, attempt).await
    }

    async fn ping(&self) -> Result<(), KvError> {
        self.inner.ping().await
    }
}
