//! What a machine asks for. Each effect is answered by one event.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::connection::{Connection, TokenSet, Tokens};
use crate::domain::event::EventKind;
use crate::domain::flight::Flight;
use crate::domain::tokens::TokenAnswer;

use super::outcome::Outcome;

#[derive(Debug, Clone)]
pub enum Effect {
    /// Read connection and flight record from the store itself, never from a cache or a replica.
    /// Answer: `Found`, `Absent`, `StoreAway`.
    Read,

    /// Reserve journal room for one answer, unless this flight holds a reservation, and report the gate with
    /// what came of it. Answer: `Gate`.
    Admit,

    /// One atomic write of lease and intent, durable on as many replicas as configured.
    /// Answer: `Committed`, `Conflict`, `NotCommitted`.
    Announce(Write),

    /// Report the gate as it is now, with the reservation that this flight holds. Answer: `Gate`.
    Check,

    /// Send this token once, with no word to the network after `until` on the monotonic clock. Begin at once: a
    /// pause between `Check` and here is what the check guards against.
    /// Answer: `Answered`, `NotSent`, `NoAnswer`.
    Send { connection: Arc<Connection>, which: Which, until: Duration },

    /// Append the raw answer to the journal with the flight's reservation. Answer: `Journaled`, `NotJournaled`.
    Journal,

    /// Parse and classify the raw answer. Answer: `Received`, `Refused`, `Unreadable`.
    Judge,

    /// One atomic write. Answer: `Committed`, `Conflict`, `NotCommitted`.
    Commit(Write),

    /// The connection was deleted while the provider answered: end these tokens at the provider, if it has a
    /// way. Answer: `Done`.
    RevokeLate(Box<TokenAnswer>),

    /// The journal entry, if there is one, is no longer needed: its content is durable in the store, or of no use
    /// to anybody. Answer: `Done`.
    Settle,

    /// Nothing, for so long. Answer: `Woken`.
    Wait(Duration),

    /// Give this outcome to everybody who waits, and to who joins from now on; the flight may go on. A later
    /// one replaces it. There is at least one before `Land`. Answer: `Done`.
    Tell(Outcome),

    /// The end. A journal entry that was not settled stays pending; a reservation is given back.
    Land,
}

/// Which token of the set is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    Current,
    /// By its place in `TokenSet::alternates`.
    Alternate(usize),
}

impl Which {
    pub fn of(self, set: &TokenSet) -> Option<&Tokens> {
        match self {
            Which::Current => Some(&set.current),
            Which::Alternate(at) => set.alternates.get(at),
        }
    }
}

/// One commit: both records are judged by the versions they were read with, and only in the store where they were
/// read: after a failover the same version may be of another write, so that a write which reaches another epoch than
/// its own is not applied and answered with `Conflict`. The connection's version is always among them,
/// since a flight record goes with its connection, and its versions begin anew with the next one.
#[derive(Debug, Clone)]
pub struct Write {
    /// `Kv::epoch` of the records that this was derived from.
    pub epoch: u64,
    pub connection: RecordWrite,
    pub flight: Option<FlightWrite>,
    /// Entries of the connection's history, in the same commit. None without a connection that is put.
    pub news: Vec<News>,
}

#[derive(Debug, Clone)]
pub enum RecordWrite {
    /// It must still have this version, and is not written.
    Require { version: u64 },
    /// `after` in the place of `before`, which was read with `version`; it has `version + 1` then.
    Put { before: Arc<Connection>, version: u64, after: Arc<Connection> },
}

/// `record` in the place of the one that was read, with its version; `None`: there must be none.
#[derive(Debug, Clone)]
pub struct FlightWrite {
    pub before: Option<(Flight, u64)>,
    pub record: Flight,
}

impl FlightWrite {
    /// Of the record that was read.
    pub fn version(&self) -> Option<u64> {
        self.before.as_ref().map(|(_, version)| *version)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub kind: EventKind,
    pub detail: Option<String>,
}
