//! What a machine is told: the answers to its effects.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::connection::Connection;
use crate::domain::flight::Flight;
use crate::domain::tokens::{ProviderFailure, TokenAnswer};

use super::gate::GateView;

#[derive(Debug, Clone)]
pub enum Event {
    /// The first event of every machine.
    Begin,

    /// To `Read`: the connection's record is there (a tombstone counts as there).
    Found(Box<Found>),
    /// To `Read`: there is no record.
    Absent,
    /// To `Read`: the store did not answer.
    StoreAway,

    /// To `Admit` and `Check`.
    Gate(GateView),

    /// To `Announce` and `Commit`: durable, as the store is configured to be durable.
    Committed,
    /// To `Announce` and `Commit`: a version was another one, or the store was; nothing was written.
    Conflict,
    /// To `Announce` and `Commit`: an error. Whether anything was written is not known.
    NotCommitted,

    /// To `Send`: a whole answer is in memory, of whatever status. Not parsed yet.
    Answered,
    /// To `Send`: it failed before the request's first byte went out.
    NotSent { code: &'static str },
    /// To `Send`: some of it went out, and no whole answer came back.
    NoAnswer { code: &'static str },

    /// To `Journal`: the answer is on this node's disk.
    Journaled,
    /// To `Journal`: it is not, and this node's journal sends nothing more until it works again.
    NotJournaled,

    /// To `Judge`: the provider issued tokens. `started` is when the request began.
    Received { answer: Box<TokenAnswer>, started: Timestamp },
    /// To `Judge`: a failure of whatever class. `is_final`: the provider's file says that this code needs no
    /// confirmation.
    Refused { failure: ProviderFailure, is_final: bool },
    /// To `Judge`: this program cannot tell what the answer is (its provider's file is gone, a parser fails):
    /// the journal keeps it for a program that can.
    Unreadable { code: &'static str },

    /// To `Wait`: the time is over.
    Woken,
    /// To `Tell`, `RevokeLate` and `Settle`: done, or not; it makes no difference to the flight.
    Done,
}

/// Connection and flight record as the store has them, each with its version.
#[derive(Debug, Clone)]
pub struct Found {
    /// `Kv::epoch` from before the read was sent.
    pub epoch: u64,
    pub connection: Arc<Connection>,
    pub version: u64,
    /// The flight record of the plan's token set, and its version.
    pub flight: Option<(Flight, u64)>,
    /// For how long, by this process's monotonic clock, this node has seen the record's present intent
    /// unchanged: [`super::steal::Watch::observe`]. Zero at first sight.
    pub unchanged_for: Duration,
    /// What is known of the other nodes that the flight record names ([`Flight::others`]). One that is missing
    /// here is taken to be alive and busy.
    pub peers: Vec<Peer>,
}

/// Another node, as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub node: String,
    /// For how long, by this process's monotonic clock, its beat has not changed.
    pub silent_for: Duration,
    /// The operator said that it never comes back.
    pub forgotten: bool,
    /// It beats, has done so for one lease (`Policy::lease`) by this process's monotonic clock without a pause,
    /// and has no journal entry pending: what it had to say about an earlier flight is in the store.
    pub settled: bool,
}
