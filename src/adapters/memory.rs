//! The store in memory: for tests, and for trying things out. One mutex, never held over an await.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::ports::clock::Clock;
use crate::ports::kv::{
    AttemptId, Batch, Commit, Entries, Entry, Key, Kv, KvError, PAGE_BYTES, Partition, Precondition, SETTLE_WINDOW, Settled,
    Versioned, Write, check_listing, check_name, name_range, ttl_millis,
};

pub struct MemoryKv {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Stored>,
    /// What has a time to live, by the moment it ends.
    ends: BTreeSet<(i64, Key)>,
    attempts: HashMap<AttemptId, Settled>,
    /// The same attempts with the moment each may be forgotten, oldest first.
    forget: VecDeque<(i64, AttemptId)>,
}

struct Stored {
    version: u64,
    value: Bytes,
    /// Milliseconds since the epoch.
    end: Option<i64>,
}

impl MemoryKv {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// The state at this moment, without what is past its time.
    fn at_now(&self) -> (MutexGuard<'_, State>, i64) {
        // A caller that panicked changed nothing half-way: each change below is a few infallible steps.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().as_millisecond();
        state.collect(now);
        (state, now)
    }
}

impl State {
    fn collect(&mut self, now: i64) {
        while let Some((end, _)) = self.ends.first()
            && *end <= now
            && let Some((_, key)) = self.ends.pop_first()
        {
            self.entries.remove(&key);
        }
        while let Some((at, attempt)) = self.forget.front().copied()
            && at <= now
        {
            self.forget.pop_front();
            self.attempts.remove(&attempt);
        }
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::Absent(key) => !self.entries.contains_key(key),
            Precondition::Version(key, version) => self.entries.get(key).is_some_and(|found| found.version == *version),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Stored> {
        let removed = self.entries.remove(key)?;
        if let Some(end) = removed.end {
            self.ends.remove(&(end, key.clone()));
        }
        Some(removed)
    }

    fn write(&mut self, write: Write, now: i64) {
        self.remove(write.key());
        if let Write::Put { key, version, value, ttl } = write {
            let end = ttl.map(|ttl| now.saturating_add(ttl_millis(ttl)));
            self.ends.extend(end.map(|end| (end, key.clone())));
            self.entries.insert(key, Stored { version, value, end });
        }
    }

    fn remember(&mut self, attempt: AttemptId, outcome: Settled, now: i64) {
        self.attempts.insert(attempt, outcome);
        self.forget.push_back((now.saturating_add(ttl_millis(SETTLE_WINDOW)), attempt));
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let (state, _) = self.at_now();
        Ok(state.entries.get(key).map(|found| Versioned { version: found.version, value: found.value.clone() }))
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        check_listing(prefix, after, limit)?;
        let key = |name| Key { partition: partition.clone(), name };
        let (lower, _) = name_range(prefix, after);
        let (state, _) = self.at_now();
        let in_reach = |key: &Key| key.partition == *partition && key.name.starts_with(prefix);
        let found = state.entries.range((lower.map(key), Bound::Unbounded)).take_while(|(key, _)| in_reach(key));
        let mut page = Entries { entries: Vec::new(), next: None };
        let mut bytes = 0;
        for (key, found) in found {
            if page.entries.len() == limit || bytes >= PAGE_BYTES {
                page.next = page.entries.last().map(|last| last.name.clone());
                break;
            }
            bytes += found.value.len();
            page.entries.push(Entry { name: key.name.clone(), version: found.version, value: found.value.clone() });
        }
        Ok(page)
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let (mut state, _) = self.at_now();
        Ok(state.remove(key).map(|taken| Versioned { version: taken.version, value: taken.value }))
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        batch.check()?;
        let (mut state, now) = self.at_now();
        let barred = state.attempts.get(&batch.attempt) == Some(&Settled::NotApplied);
        if barred || !batch.preconditions.iter().all(|precondition| state.holds(precondition)) {
            return Ok(Commit::Conflict);
        }
        for write in batch.writes {
            state.write(write, now);
        }
        state.remember(batch.attempt, Settled::Applied, now);
        Ok(Commit::Applied)
    }

    async fn settle(&self, _: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        let (mut state, now) = self.at_now();
        if let Some(outcome) = state.attempts.get(&attempt) {
            return Ok(*outcome);
        }
        state.remember(attempt, Settled::NotApplied, now);
        Ok(Settled::NotApplied)
    }

    async fn ping(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        vec!["The store is in memory: everything is lost when Claviger stops. Set store.url = sqlite:PATH.".to_owned()]
    }
}
