//! What a flight is given at its start, and the numbers of docs/refresh.md.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::ids::{GrantId, TokenSetName};
use crate::domain::provider::{RefreshClass, RefreshWith};

/// The time at a step, and the store as this node knows it at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Wall clock: judges when tokens end and backoffs are over.
    pub now: Timestamp,
    /// This process's monotonic clock: judges leases and waits.
    pub mono: Duration,
    /// `Kv::epoch`: how often the store behind the adapter was seen to be another one.
    pub epoch: u64,
}

/// Whose token is to be refreshed, as of what the asker saw.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This node's name in leases, intents and receipts.
    pub node: String,
    /// The monotonic clock's reading when this process began: what it finds of its own name was left by an
    /// earlier process, whose requests have ended one call deadline later.
    pub process_started: Duration,
    pub grant: GrantId,
    pub set: TokenSetName,
    pub generation: u64,
    /// As the provider's file or the tenant says.
    pub class: RefreshClass,
    /// What is sent.
    pub with: RefreshWith,
    /// Random per flight: names its attempts and throws its dice.
    pub seed: u128,
    pub policy: Policy,
}

/// A journal entry that is to be replayed: a flight that is entered where its answer has been received. Its
/// plan names the entry's grant, set and `from_generation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// `Intent::attempt` of the request that was answered; see [`super::Machine::attempt`].
    pub attempt: String,
    /// It was committed once and is replayed because the store behind us is another one now. It is stored
    /// only where the store has fallen behind it.
    pub settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For one call to a provider, everything included.
    pub call_deadline: Duration,
    /// What is kept of a lease for journal and commit after the call.
    pub commit_budget: Duration,
    /// How often another node's flight is looked after.
    pub look_every: Duration,
    /// Before the one retry of a request in doubt, where a replay harms nothing.
    pub retry_pause: Duration,
    /// Between two tries to commit: doubles from the first to the second.
    pub commit_pause_min: Duration,
    pub commit_pause_max: Duration,
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// A provider that says "this grant is over" is asked once more after this.
    pub confirm_after: Duration,
    /// An integration whose client the provider refuses rests for so long.
    pub breaker: Duration,
    /// A node without a beat for so long is taken for gone (W).
    pub gone_after: Duration,
    /// After the first contact with another store nothing is announced for so long, so that every node can
    /// replay its journal first.
    pub reconcile: Duration,
}

/// A lease outlives the call and its commit by far: three call deadlines.
const LEASE_DEADLINES: u32 = 3;

impl Policy {
    pub fn lease(&self) -> Duration {
        self.call_deadline * LEASE_DEADLINES
    }

    /// After so long an unchanged lease's owner has no request in flight any more (docs/refresh.md, "Another node's intent").
    pub fn steal_wait(&self) -> Duration {
        self.lease() + self.call_deadline
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(10),
            commit_budget: Duration::from_secs(5),
            look_every: Duration::from_millis(300),
            retry_pause: Duration::from_millis(200),
            commit_pause_min: Duration::from_millis(50),
            commit_pause_max: Duration::from_secs(5),
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(15 * 60),
            confirm_after: Duration::from_secs(30),
            breaker: Duration::from_secs(30),
            gone_after: Duration::from_secs(5 * 60),
            reconcile: Duration::from_secs(3),
        }
    }
}
