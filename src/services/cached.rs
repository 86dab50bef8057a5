//! Records as last read. An entry is trusted for a moment, then read again; while the store is out of
//! reach it may stand in a while longer. Not a truth: whoever writes judges by the version in the store.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use moka::ops::compute::Op;
use serde::Serialize;

use crate::store::{Record, RecordKey, StoreError};

use super::Core;

/// Bytes of a connection in use: itself, with its tokens, and a share of its integration and its caller.
pub const USUAL_SIZE: u64 = 4096;

/// How long what was read may be trusted, and how long it may stand in for a store out of reach.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    pub trust: Duration,
    pub cut_off: Duration,
    /// How many records of a kind, of the usual size, are kept at hand; a larger one counts for several.
    /// 0 asks the store each time.
    pub entries: u64,
}

/// A record with the version it was read at.
pub struct Found<R> {
    pub record: Arc<R>,
    pub version: u64,
}

pub struct Cached<R> {
    core: Core,
    trust: Trust,
    entries: Cache<String, Entry<R>>,
    /// Nanoseconds on the monotonic clock: what was read until then may be of a store that is gone.
    distrusted: AtomicU64,
}

struct Entry<R> {
    found: Found<R>,
    read_at: Duration,
}

impl<R> Clone for Found<R> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), version: self.version }
    }
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self { found: self.found.clone(), read_at: self.read_at }
    }
}

impl<R: Record + Send + Sync + 'static> Cached<R> {
    pub fn new(core: Core, trust: Trust) -> Self {
        Self { core, trust, entries: bounded(trust.entries), distrusted: AtomicU64::new(0) }
    }

    /// The record, no older than the trust allows.
    pub async fn read(&self, id: &str, key: impl FnOnce() -> RecordKey<R>) -> Result<Option<Found<R>>, StoreError> {
        let entry = self.entries.get(id).await;
        let age = entry.as_ref().map(|entry| self.core.clock.monotonic().saturating_sub(entry.read_at));
        if let (Some(entry), Some(age)) = (&entry, age)
            && age < self.trust.trust
            && self.is_of_this_store(entry)
        {
            return Ok(Some(entry.found.clone()));
        }
        let key = key();
        let Some(entry) = entry.filter(|_| age.is_some_and(|age| age < self.trust.cut_off)) else {
            return self.reread(id, &key).await;
        };
        match self.core.soon(self.reread(id, &key)).await {
            Err(StoreError::Unavailable(_)) => Ok(Some(entry.found)),
            other => other,
        }
    }

    /// The record as the store has it now.
    pub async fn reread(&self, id: &str, key: &RecordKey<R>) -> Result<Option<Found<R>>, StoreError> {
        let asked_at = self.core.clock.monotonic();
        let Some(stored) = self.core.store.read(key).await? else {
            self.entries.invalidate(id).await;
            return Ok(None);
        };
        let found = Found { record: Arc::new(stored.value), version: stored.version };
        Ok(Some(self.remember(id, found, asked_at).await))
    }

    /// What was just committed here, so that this node serves it at once.
    pub async fn note(&self, id: &str, record: R, version: u64) -> Found<R> {
        let found = Found { record: Arc::new(record), version };
        self.remember(id, found, self.core.clock.monotonic()).await
    }

    pub async fn forget(&self, id: &str) {
        self.entries.invalidate(id).await;
    }

    /// What was read may be of a store that is gone: it is read again before it is used, and may stand in while
    /// that is impossible.
    pub fn distrust_all(&self) {
        self.distrusted.store(nanos(self.core.clock.monotonic()), Ordering::SeqCst);
    }

    fn is_of_this_store(&self, entry: &Entry<R>) -> bool {
        match self.distrusted.load(Ordering::SeqCst) {
            0 => true,
            until => nanos(entry.read_at) > until,
        }
    }

    /// Keeps the newer of two: a read that began before a commit must not bury what was committed. A
    /// read that began later is the truth, whatever its version: versions begin anew where a tombstone
    /// has gone, and fall where a store was restored.
    async fn remember(&self, id: &str, found: Found<R>, read_at: Duration) -> Found<R> {
        if self.trust.entries == 0 {
            return found;
        }
        let offered = Entry { found: found.clone(), read_at };
        let kept = self.entries.entry_by_ref(id).and_compute_with(|known| {
            let newer = known
                .map(|known| known.into_value())
                .filter(|known| known.found.version > offered.found.version && known.read_at >= offered.read_at);
            std::future::ready(if newer.is_some() { Op::Nop } else { Op::Put(offered) })
        });
        kept.await.into_entry().map_or(found, |entry| entry.into_value().found)
    }
}

/// Enough for 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Bounded by what the records take, and not by their number alone: one may hold what others take
/// twenty times over, and who fills a cache chooses what with.
fn bounded<R: Record + Send + Sync + 'static>(units: u64) -> Cache<String, Entry<R>> {
    Cache::builder().max_capacity(units).weigher(|_, entry: &Entry<R>| units_of(&*entry.found.record)).build()
}

/// The written size is close enough to that in memory. It is counted and kept nowhere.
fn units_of(record: &impl Serialize) -> u32 {
    let mut counted = Counter(0);
    let whole = serde_json::to_writer(&mut counted, record).is_ok();
    if whole { u32::try_from(counted.0.div_ceil(USUAL_SIZE)).map_or(u32::MAX, |units| units.max(1)) } else { u32::MAX }
}

struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::TenantId;
    use crate::store::EmailClaim;

    #[test]
    fn a_record_counts_by_its_size() {
        let of = |length: u64| units_of(&"x".repeat(usize::try_from(length).unwrap() - 2));
        assert_eq!([2, USUAL_SIZE, USUAL_SIZE + 1, 20 * USUAL_SIZE].map(of), [1, 1, 2, 20]);
    }

    #[tokio::test]
    async fn what_is_kept_weighs_by_its_size() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Large(String);
        impl Record for Large {
            const KIND: &'static str = "large";
        }
        let entry = |bytes: usize| Entry {
            found: Found { record: Arc::new(Large("x".repeat(bytes))), version: 1 },
            read_at: Duration::ZERO,
        };
        let cache = bounded::<Large>(10);
        for name in 0..100 {
            cache.insert(name.to_string(), entry(3 * 4096)).await;
        }
        cache.run_pending_tasks().await;
        assert!((1..=2).contains(&cache.entry_count()), "{}", cache.entry_count());
        let small = bounded::<EmailClaim>(10);
        for name in 0..100 {
            let record = Arc::new(EmailClaim { tenant: TenantId::from_uuid(uuid::Uuid::nil()) });
            small.insert(name.to_string(), Entry { found: Found { record, version: 1 }, read_at: Duration::ZERO }).await;
        }
        small.run_pending_tasks().await;
        assert_eq!(small.entry_count(), 10);
    }
}
