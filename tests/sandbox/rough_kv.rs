//! The store in memory, made as rough as the port allows: every call lets others go first, and every
//! second commit loses its answer. A race that the server does not guard against shows here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned};
use tokio::task::yield_now;

pub struct RoughKv {
    inner: MemoryKv,
    commits: AtomicUsize,
}

impl RoughKv {
    pub fn over(inner: MemoryKv) -> Arc<Self> {
        Arc::new(Self { inner, commits: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Kv for RoughKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        let found = self.inner.get(key).await;
        yield_now().await;
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
