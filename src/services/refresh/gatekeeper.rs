//! What this node knows of itself when a flight asks whether it may send: stopping, which store the journal was
//! replayed into, which answers still wait, and how many flights there is room for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::ids::{ConnectionId, GrantId, TokenSetName};
use crate::ports::journal::{EntryId, FILL_MAX, JournalState};
use crate::ports::outbound::ANSWER_MAX;

/// Whose tokens an answer holds.
pub(super) type Line = (ConnectionId, TokenSetName, GrantId);

/// What one reservation takes of the journal, a little more than the largest answer.
const SEAT: u64 = ANSWER_MAX as u64 + ANSWER_MAX as u64 / 16;

pub(super) struct Gatekeeper {
    known: Mutex<Known>,
    /// Flights that may hold a reservation at once: who comes later waits for a seat and not for an error.
    seats: Arc<Semaphore>,
}

struct Known {
    draining: bool,
    /// The store's number, as last seen.
    epoch: u64,
    /// It has been another one since this process began.
    changed: bool,
    barrier_until: Duration,
    replayed: Option<u64>,
    pending: HashMap<Line, BTreeSet<EntryId>>,
}

/// What is known for one line of tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownOf {
    pub draining: bool,
    pub barrier_until: Duration,
    pub replayed: Option<u64>,
    /// An answer for these tokens, other than the asker's own, is not in the store yet.
    pub pending: bool,
}

impl Gatekeeper {
    pub fn new(journal: &JournalState, epoch: u64, barrier_until: Duration) -> Self {
        let seats = (journal.capacity * FILL_MAX / 100 / SEAT).max(1);
        let seats = usize::try_from(seats).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let known = Known { draining: false, epoch, changed: false, barrier_until, replayed: None, pending: HashMap::new() };
        Self { known: Mutex::new(known), seats: Arc::new(Semaphore::new(seats)) }
    }

    /// A seat, once there is one. `None` never comes while the node lives.
    pub async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        self.seats.clone().acquire_owned().await.ok()
    }

    pub fn known_of(&self, line: &Line, own: Option<EntryId>) -> KnownOf {
        let known = self.known();
        let others = known.pending.get(line).is_some_and(|entries| entries.iter().any(|entry| Some(*entry) != own));
        let Known { draining, barrier_until, replayed, .. } = *known;
        KnownOf { draining, barrier_until, replayed, pending: others }
    }

    pub fn drain(&self) {
        self.known().draining = true;
    }

    /// Whether this is another store than before; then nothing is announced for `reconcile` from now.
    pub fn saw_epoch(&self, epoch: u64, now: Duration, reconcile: Duration) -> bool {
        let mut known = self.known();
        if known.epoch == epoch {
            return false;
        }
        (known.epoch, known.changed, known.barrier_until) = (epoch, true, now + reconcile);
        true
    }

    pub fn saw_another_store(&self) -> bool {
        self.known().changed
    }

    pub fn replayed(&self, epoch: u64) {
        self.known().replayed = Some(epoch);
    }

    pub fn is_replayed(&self, epoch: u64) -> bool {
        self.known().replayed == Some(epoch)
    }

    pub fn waits(&self, line: Line, entry: EntryId) {
        self.known().pending.entry(line).or_default().insert(entry);
    }

    pub fn is_waiting(&self, line: &Line, entry: EntryId) -> bool {
        self.known().pending.get(line).is_some_and(|entries| entries.contains(&entry))
    }

    pub fn settled(&self, line: &Line, entry: EntryId) {
        let mut known = self.known();
        if let Some(entries) = known.pending.get_mut(line) {
            entries.remove(&entry);
            if entries.is_empty() {
                known.pending.remove(line);
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
