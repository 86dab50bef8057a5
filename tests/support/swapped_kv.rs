//! A store that can be another one from one moment to the next.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned};

pub struct SwappedKv(RwLock<Arc<dyn Kv>>);

impl SwappedKv {
    pub fn over(kv: Arc<dyn Kv>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(kv)))
    }

    pub fn swap(&self, kv: Arc<dyn Kv>) {
        *self.0.write().expect("no test panicked with the lock") = kv;
    }

    fn inner(&self) -> Arc<dyn Kv> {
        self.0.read().expect("no test panicked with the lock").clone()
    }
}

#[async_trait]
impl Kv for SwappedKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.inner().get(key).await
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        self.inner().list(partition, prefix, after, limit).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.inner().take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        self.inner().commit(batch).await
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        self.inner().settle(partition, attempt).await
    }

    async fn ping(&self) -> Result<(), KvError> {
        self.inner().ping().await
    }
}
