//! A store in memory that can be out of reach.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::clock::Clock;
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned};

pub struct SwitchedKv {
    inner: MemoryKv,
    off: AtomicBool,
}

impl SwitchedKv {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: MemoryKv::new(clock), off: AtomicBool::new(false) }
    }

    pub fn switch_off(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    pub fn switch_on(&self) {
        self.off.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), KvError> {
        if self.off.load(Ordering::SeqCst) { Err(KvError::Unavailable("switched off".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Kv for SwitchedKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.check()?;
        self.inner.get(key).await
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
        self.inner.commit(batch).await
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        self.check()?;
        self.inner.settle(partition, attempt).await
    }

    async fn ping(&self) -> Result<(), KvError> {
        self.check()
    }
}
