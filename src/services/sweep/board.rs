//! What one node knows to be due and not yet refreshed: what waits to be looked at, what waits for its turn, what
//! rests after a failure. No I/O; time is handed in.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::ids::IntegrationId;
use crate::store::DueEntry;

/// No more entries than these are kept in mind; the index keeps the rest.
pub(super) const KNOWN_MAX: usize = 20_000;

/// An entry whose connection was read, and is to be refreshed.
pub(super) struct Ready<T> {
    pub entry: DueEntry,
    pub errand: T,
}

/// `T` is what a refresh needs.
pub(super) struct Board<T> {
    known: BTreeSet<DueEntry>,
    unread: VecDeque<DueEntry>,
    /// By integration, so that one that rests, and one with thousands, keeps nobody waiting.
    lanes: BTreeMap<IntegrationId, Lane<T>>,
    last_served: Option<IntegrationId>,
    resting: BTreeMap<(Duration, u64), DueEntry>,
    rests: u64,
    flying: HashMap<IntegrationId, usize>,
}

struct Lane<T> {
    not_before: Duration,
    ready: VecDeque<Ready<T>>,
}

impl<T> Board<T> {
    pub fn new() -> Self {
        Self {
            known: BTreeSet::new(),
            unread: VecDeque::new(),
            lanes: BTreeMap::new(),
            last_served: None,
            resting: BTreeMap::new(),
            rests: 0,
            flying: HashMap::new(),
        }
    }

    /// An entry of the index; one that is known already is left where it is.
    pub fn found(&mut self, entry: DueEntry) {
        if self.known.insert(entry.clone()) {
            self.unread.push_back(entry);
        }
    }

    pub fn is_full(&self) -> bool {
        self.known.len() >= KNOWN_MAX
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn oldest(&self) -> Option<Timestamp> {
        self.known.first().map(|entry| entry.at)
    }

    pub fn flying(&self) -> usize {
        self.flying.values().sum()
    }

    /// The next to be read; those whose rest is over come again.
    pub fn next_unread(&mut self, now: Duration) -> Option<DueEntry> {
        while let Some(first) = self.resting.first_entry().filter(|first| first.key().0 <= now) {
            self.unread.push_back(first.remove());
        }
        self.unread.pop_front()
    }

    pub fn is_ready(&mut self, integration: IntegrationId, ready: Ready<T>) {
        let lane = self.lanes.entry(integration).or_insert_with(|| Lane { not_before: Duration::ZERO, ready: VecDeque::new() });
        lane.ready.push_back(ready);
    }

    /// The next to be refreshed: the lanes take turns. `wait` says for how long a lane's first would have to wait, and how
    /// many of its lane may be under way at once.
    pub fn next_ready(
        &mut self,
        now: Duration,
        wait: impl Fn(&T) -> (Option<Duration>, usize),
    ) -> Option<(IntegrationId, Ready<T>)> {
        let after = self.last_served.clone();
        let (later, earlier): (Vec<_>, Vec<_>) = self.lanes.keys().cloned().partition(|name| Some(name) > after.as_ref());
        for name in later.into_iter().chain(earlier) {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            let Some(first) = lane.ready.front().filter(|_| lane.not_before <= now) else { continue };
            let (wait, at_once) = wait(&first.errand);
            if let Some(wait) = wait {
                lane.not_before = now + wait;
                continue;
            }
            if self.flying.get(&name).copied().unwrap_or(0) >= at_once {
                continue;
            }
            let Some(ready) = lane.ready.pop_front() else { continue };
            if lane.ready.is_empty() {
                self.lanes.remove(&name);
            }
            *self.flying.entry(name.clone()).or_default() += 1;
            self.last_served = Some(name.clone());
            return Some((name, ready));
        }
        None
    }

    pub fn landed(&mut self, integration: &IntegrationId) {
        if let Some(flying) = self.flying.get_mut(integration) {
            *flying -= 1;
            if *flying == 0 {
                self.flying.remove(integration);
            }
        }
    }

    /// It is not due any more.
    pub fn done(&mut self, entry: &DueEntry) {
        self.known.remove(entry);
    }

    /// It is looked at again after a rest.
    pub fn rests(&mut self, entry: DueEntry, until: Duration) {
        self.rests += 1;
        self.resting.insert((until, self.rests), entry);
    }
}
