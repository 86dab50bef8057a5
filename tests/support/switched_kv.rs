//! A store in memory that can be out of reach, or say nothing at all.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::sync::Arc;

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::clock::Clock;
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned};
use tokio::sync::watch;

pub struct SwitchedKv {
    inner: MemoryKv,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    On,
    Off,
    Silent,
}

impl SwitchedKv {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: MemoryKv::new(clock), state: watch::Sender::new(State::On) }
    }

    pub fn switch_off(&self) {
        self.state.send_replace(State::Off);
    }

    pub fn switch_on(&self) {
        self.state.send_replace(State::On);
    }

    /// No call is answered any more, until it is switched again.
    pub fn fall_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    async fn check(&self) -> Result<(), KvError> {
        match *self.state.subscribe().wait_for(|state| *state != State::Silent).await.expect("it is there") {
            State::Off => Err(KvError::Unavailable("switched off".to_owned())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Kv for SwitchedKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.check().await?;
        self.inner.get(key).await
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        self.check().await?;
        self.inner.list(partition, prefix, after, limit).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.check().await?;
        self.inner.take(key).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        self.check().await?;
        self.inner.commit(batch).await
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        self.check().await?;
        self.inner.settle(partition, attempt).await
    }

    async fn ping(&self) -> Result<(), KvError> {
        self.check().await
    }
}
