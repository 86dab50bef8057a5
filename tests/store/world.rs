//! A store under test, and how time passes for it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use claviger::adapters::memory::MemoryKv;
use claviger::adapters::redis::{RedisKv, RedisOptions};
use claviger::adapters::sqlite::SqliteKv;
use claviger::ports::kv::{AttemptId, Batch, Commit, Key, Kv, Partition, Precondition, Write};

use crate::clock::TestClock;
use crate::redis_server::RedisServer;

pub struct World {
    pub kv: Arc<dyn Kv>,
    /// `None` where the store has a clock of its own.
    clock: Option<Arc<TestClock>>,
    _home: Box<dyn Any + Send + Sync>,
}

impl World {
    pub async fn memory() -> Self {
        let clock = TestClock::new();
        Self { kv: Arc::new(MemoryKv::new(clock.clone())), clock: Some(clock), _home: Box::new(()) }
    }

    pub async fn sqlite() -> Self {
        let (clock, folder) = (TestClock::new(), tempfile::tempdir().expect("a temporary folder"));
        let kv = SqliteKv::open(&folder.path().join("store.db"), clock.clone()).expect("a new file opens");
        Self { kv: Arc::new(kv), clock: Some(clock), _home: Box::new(folder) }
    }

    pub async fn redis() -> Self {
        Self::over(RedisServer::start()).await
    }

    pub async fn redis_cluster() -> Self {
        Self::over(RedisServer::start_cluster()).await
    }

    async fn over(server: RedisServer) -> Self {
        Self { kv: Arc::new(connect(&server.url()).await), clock: None, _home: Box::new(server) }
    }

    /// Lets `span` pass, and returns when the store no longer has the key. Where the clock is ours that
    /// must be at once.
    pub async fn outlive(&self, key: &Key, span: Duration) {
        if let Some(clock) = &self.clock {
            clock.advance(span);
            assert_eq!(self.kv.get(key).await, Ok(None), "past its time");
        }
        let until = Instant::now() + span + Duration::from_secs(20);
        while self.kv.get(key).await.expect("reading").is_some() {
            assert!(Instant::now() < until, "a value outlives its time");
            tokio::task::yield_now().await;
        }
    }

    /// Moves a clock that is ours; says whether it is.
    pub fn advance(&self, span: Duration) -> bool {
        self.clock.as_ref().inspect(|clock| clock.advance(span)).is_some()
    }
}

pub fn options(url: &str) -> RedisOptions {
    RedisOptions { url: url.to_owned().into(), allow_volatile: false, min_replicas: 0 }
}

pub async fn connect(url: &str) -> RedisKv {
    RedisKv::connect(&options(url)).await.expect("a safe server is accepted")
}

pub fn partition(name: &str) -> Partition {
    Partition::new(name).expect("a good name")
}

pub fn key(name: impl AsRef<[u8]>) -> Key {
    Key { partition: partition("t.test"), name: name.as_ref().to_vec() }
}

pub fn put(key: &Key, version: u64, value: impl Into<Bytes>) -> Write {
    Write::Put { key: key.clone(), version, value: value.into(), ttl: None }
}

pub fn put_for(key: &Key, version: u64, value: impl Into<Bytes>, ttl: Duration) -> Write {
    Write::Put { key: key.clone(), version, value: value.into(), ttl: Some(ttl) }
}

pub fn delete(key: &Key) -> Write {
    Write::Delete { key: key.clone() }
}

/// Different each time within a test run.
pub fn attempt() -> AttemptId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0xA7; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id[8..12].copy_from_slice(&std::process::id().to_be_bytes());
    AttemptId(id)
}

pub fn batch(preconditions: impl Into<Vec<Precondition>>, writes: impl Into<Vec<Write>>) -> Batch {
    Batch { attempt: attempt(), preconditions: preconditions.into(), writes: writes.into() }
}

/// Writes without a condition, which must succeed.
pub async fn store(kv: &dyn Kv, writes: impl Into<Vec<Write>>) {
    assert_eq!(kv.commit(batch([], writes)).await, Ok(Commit::Applied));
}

/// Version and value, as tests compare them.
pub async fn read(kv: &dyn Kv, key: &Key) -> Option<(u64, Bytes)> {
    kv.get(key).await.expect("reading").map(|found| (found.version, found.value))
}

/// All names with the prefix, page by page.
pub async fn walk(kv: &dyn Kv, partition: &Partition, prefix: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = kv.list(partition, prefix, after.as_deref(), limit).await.expect("listing");
        assert!(page.entries.len() <= limit, "a page holds no more than asked for");
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        match page.next {
            None => return names,
            next => {
                assert!(next > after, "a listing goes forward");
                after = next;
            }
        }
    }
}

/// Calls until the store answers again; says how often it did not.
pub async fn until_back(kv: &dyn Kv) -> u32 {
    let until = Instant::now() + Duration::from_secs(30);
    let mut failures = 0;
    while kv.ping().await.is_err() {
        assert!(Instant::now() < until, "the store comes back by itself");
        failures += 1;
        tokio::task::yield_now().await;
    }
    failures
}
