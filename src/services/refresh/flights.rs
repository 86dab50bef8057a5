//! Who is refreshing what on this node: one flight per token set and generation, any number of
//! callers waiting for it, and a short rest after a setback. No I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::ids::{ConnectionId, GrantId, TokenSetName};
use crate::refresh::{Outcome, Why};

/// A flight is for one generation of one token set of one consent.
pub(super) type Key = (ConnectionId, TokenSetName, GrantId, u64);
pub(super) type Landing = watch::Receiver<Option<Outcome>>;

/// Rests are swept out when the table has grown by this many entries.
const SWEEP_EVERY: usize = 1024;
/// After a setback a node does not even look again for this long.
const REST_MAX: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Flights(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    slots: HashMap<Key, Slot>,
    closed: bool,
    sweep_at: usize,
}

enum Slot {
    /// `rest_until`: those who wait were told of a setback, and so is who asks until then. A flight may go on for
    /// long after that, while the store is away.
    Flying {
        landing: Landing,
        rest_until: Option<Duration>,
    },
    Resting {
        until: Duration,
        outcome: Outcome,
    },
}

/// The pilot's seat: whoever holds it ends the flight, by landing or by being dropped (a panic).
pub(super) struct Seat {
    key: Key,
    table: Arc<Mutex<Table>>,
    landing: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// The running flight, or a new one, which `start` is to fly; a rest's outcome while it lasts.
    pub fn join(&self, key: Key, now: Duration, start: impl FnOnce(Seat)) -> Result<Landing, Outcome> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sweep(now);
        let closed = table.closed;
        let slot = match table.slots.entry(key.clone()) {
            Entry::Occupied(slot) => match slot.get() {
                Slot::Flying { landing, rest_until } if rest_until.is_none_or(|until| now < until) => return Ok(landing.clone()),
                Slot::Resting { until, outcome } if now < *until => return Err(outcome.clone()),
                Slot::Flying { .. } | Slot::Resting { .. } => Entry::Occupied(slot),
            },
            vacant => vacant,
        };
        if closed {
            return Err(Outcome::failed(Why::Stopping, "stopping", Duration::from_secs(2)));
        }
        let (landing, waiting) = watch::channel(None);
        slot.insert_entry(Slot::Flying { landing: waiting.clone(), rest_until: None });
        drop(table);
        start(Seat { key, table: self.0.clone(), landing });
        Ok(waiting)
    }

    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

impl Table {
    fn sweep(&mut self, now: Duration) {
        if self.slots.len() < self.sweep_at.max(SWEEP_EVERY) {
            return;
        }
        self.slots.retain(|_, slot| match slot {
            Slot::Flying { .. } => true,
            Slot::Resting { until, .. } => now < *until,
        });
        self.sweep_at = self.slots.len() + SWEEP_EVERY;
    }
}

impl Seat {
    /// Those who wait get the outcome, and so do those who ask from now on; the flight goes on.
    pub fn tell(&self, outcome: Outcome, now: Duration) {
        let rest = rest(&outcome).map(|rest| now + rest);
        self.own_slot(|slot| {
            if let Slot::Flying { rest_until, .. } = slot {
                *rest_until = rest;
            }
        });
        self.landing.send_replace(Some(outcome));
    }

    /// Ends the flight. After a setback, whoever asks within its rest is told the same.
    pub fn land(self) {
        let told = self.landing.borrow().clone();
        self.own_slot(|slot| {
            if let (Slot::Flying { rest_until: Some(until), .. }, Some(outcome)) = (&*slot, told) {
                *slot = Slot::Resting { until: *until, outcome };
            }
        });
    }

    /// What this flight may change: its slot, unless a later one has taken that.
    fn own_slot(&self, change: impl FnOnce(&mut Slot)) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = table.slots.get_mut(&self.key);
        if let Some(slot) = slot.filter(|slot| slot.is_of(&self.landing)) {
            change(slot);
        }
    }
}

impl Slot {
    fn is_of(&self, flight: &watch::Sender<Option<Outcome>>) -> bool {
        matches!(self, Slot::Flying { landing, .. } if landing.same_channel(&flight.subscribe()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.slots.get(&self.key).is_some_and(|slot| slot.is_of(&self.landing)) {
            table.slots.remove(&self.key);
        }
    }
}

fn rest(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Failed(setback) => Some(setback.retry_after.min(REST_MAX)),
        Outcome::Refreshed { .. } | Outcome::Gone => None,
    }
}
