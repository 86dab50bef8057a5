//! Who is refreshing what on this node: one flight per token set and generation, any number of
//! callers waiting for it, and a short rest after a setback. No I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::ids::{ConnectionId, GrantId, TokenSetName};

use super::outcome::{Outcome, Why};

/// A flight is for one generation of one token set of one consent.
pub(super) type Key = (ConnectionId, TokenSetName, GrantId, u64);
pub(super) type Landing = watch::Receiver<Option<Outcome>>;

/// Rests are swept out when the table has grown by this many entries.
const SWEEP_EVERY: usize = 1024;

#[derive(Default)]
pub(super) struct Flights(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    slots: HashMap<Key, Slot>,
    closed: bool,
    sweep_at: usize,
}

enum Slot {
    Flying(Landing),
    Resting { until: Duration, outcome: Outcome },
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
                Slot::Flying(landing) => return Ok(landing.clone()),
                Slot::Resting { until, outcome } if now < *until => return Err(outcome.clone()),
                Slot::Resting { .. } => Entry::Occupied(slot),
            },
            vacant => vacant,
        };
        if closed {
            return Err(Outcome::failed(Why::Stopping, "stopping", Duration::from_secs(2)));
        }
        let (landing, waiting) = watch::channel(None);
        slot.insert_entry(Slot::Flying(waiting.clone()));
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
            Slot::Flying(_) => true,
            Slot::Resting { until, .. } => now < *until,
        });
        self.sweep_at = self.slots.len() + SWEEP_EVERY;
    }
}

impl Seat {
    /// Ends the flight: those who wait get the outcome, and so do those who ask before `rest_until`.
    pub fn land(self, outcome: Outcome, rest_until: Duration) {
        if matches!(outcome, Outcome::Failed(_)) {
            let slot = Slot::Resting { until: rest_until, outcome: outcome.clone() };
            self.table.lock().unwrap_or_else(PoisonError::into_inner).slots.insert(self.key.clone(), slot);
        }
        self.landing.send_replace(Some(outcome));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(table.slots.get(&self.key), Some(Slot::Flying(_))) {
            table.slots.remove(&self.key);
        }
    }
}
