//! Whose turn it is, where a flight record names somebody (docs/refresh.md, step 13): an intent is taken from its
//! node only by what this node has seen itself, on its own monotonic clock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::connection::Tokens;
use crate::domain::flight::Intent;
use crate::domain::provider::RefreshClass;

use super::event::{Found, Peer};
use super::plan::{At, Plan};
use super::schedule::is_within;

/// What an intent in the record means for who wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It stands in nobody's way. `doubt`: nobody knows what became of its request.
    Free { doubt: bool },
    /// Its request may still be in flight: for at least so long.
    Busy(Duration),
    /// Its request is over, and what became of it only its node knows, which may come back.
    Away,
}

/// Judges an intent that was left by another flight than this one.
pub fn claim(intent: &Intent, found: &Found, tokens: &Tokens, plan: &Plan, at: &At) -> Claim {
    if intent.grant_id != plan.grant {
        return Claim::Free { doubt: false };
    }
    let over_after = if intent.node == plan.node { plan.policy.call_deadline } else { plan.policy.steal_wait() };
    let seen_for = if intent.node == plan.node { at.mono.saturating_sub(plan.process_started) } else { found.unchanged_for };
    let own_harmless = intent.node == plan.node && plan.class == RefreshClass::Nonrotating;
    if seen_for < over_after && !own_harmless {
        return Claim::Busy(over_after - seen_for);
    }
    let free = Claim::Free { doubt: intent.from_generation == plan.generation };
    if intent.node == plan.node || is_harmless(plan.class, intent, at.now) {
        return free;
    }
    // Whoever sends now may kill the family that a paused node is about to store: only when there is nothing
    // to serve any more, and that node is gone as far as anybody can tell.
    let peer = found.peers.iter().find(|peer| peer.node == intent.node);
    let gone = peer.is_some_and(|peer| peer.forgotten || peer.silent_for >= plan.policy.gone_after);
    let served = tokens.expires_at.is_some_and(|end| at.now < end);
    if gone && !served { free } else { Claim::Away }
}

/// A second use of the token that was sent at most then costs nothing.
fn is_harmless(class: RefreshClass, intent: &Intent, now: Timestamp) -> bool {
    match class {
        RefreshClass::Nonrotating | RefreshClass::None => true,
        RefreshClass::RotateGrace(window) => is_within(window, Some(intent.prepared_at), now),
        RefreshClass::RotatePlain | RefreshClass::RotateStrict | RefreshClass::Unknown => false,
    }
}

/// Whether each node that this generation's intent was taken from has had its say.
pub fn all_settled<'a>(mut owed: impl Iterator<Item = &'a str>, peers: &[Peer]) -> bool {
    owed.all(|node| peers.iter().any(|peer| peer.node == node && (peer.forgotten || peer.settled)))
}

/// Since when this node has seen which intent, per flight record. `K` names the record. One per node, behind a
/// lock; forgetting an entry only makes the wait begin anew.
#[derive(Debug, Clone)]
pub struct Watch<K> {
    seen: HashMap<K, Sighting>,
    sweep_at: usize,
}

#[derive(Debug, Clone)]
struct Sighting {
    attempt: String,
    fence: u64,
    first: Duration,
    last: Duration,
}

/// Sightings are swept when the table has grown by so many.
const SWEEP_EVERY: usize = 4096;
/// A sighting that nobody has asked for since is given up.
const SIGHTING_KEPT: Duration = Duration::from_secs(3600);

impl<K> Default for Watch<K> {
    fn default() -> Self {
        Self { seen: HashMap::new(), sweep_at: SWEEP_EVERY }
    }
}

impl<K: Eq + Hash> Watch<K> {
    /// Notes what the record says now; answers for how long it has said so ([`Found::unchanged_for`]).
    pub fn observe(&mut self, record: K, intent: Option<&Intent>, mono: Duration) -> Duration {
        let Some(intent) = intent else {
            self.seen.remove(&record);
            return Duration::ZERO;
        };
        self.sweep(mono);
        let fresh = || Sighting { attempt: intent.attempt.clone(), fence: intent.fence, first: mono, last: mono };
        let sighting = self.seen.entry(record).or_insert_with(fresh);
        if (sighting.fence, sighting.attempt.as_str()) != (intent.fence, intent.attempt.as_str()) {
            *sighting = fresh();
        }
        sighting.last = mono;
        mono.saturating_sub(sighting.first)
    }

    fn sweep(&mut self, mono: Duration) {
        if self.seen.len() >= self.sweep_at {
            self.seen.retain(|_, sighting| mono.saturating_sub(sighting.last) < SIGHTING_KEPT);
            self.sweep_at = self.seen.len() + SWEEP_EVERY;
        }
    }
}

/// The other nodes' beats, as this node sees them change on its own monotonic clock. One per node, fed each
/// time the beats are listed.
#[derive(Debug, Clone, Default)]
pub struct Beats(HashMap<String, Pulse>);

#[derive(Debug, Clone)]
struct Pulse {
    beat: u64,
    journal_pending: bool,
    forgotten: bool,
    changed_at: Duration,
    /// It has been beating since then, without a pause.
    steady_since: Duration,
}

/// Two beats that are further apart than this are a pause.
pub const PAUSE: Duration = Duration::from_secs(15);

impl Beats {
    pub fn observe(&mut self, node: &str, beat: u64, journal_pending: bool, forgotten: bool, mono: Duration) {
        let fresh = || Pulse { beat, journal_pending, forgotten, changed_at: mono, steady_since: mono };
        let pulse = self.0.entry(node.to_owned()).or_insert_with(fresh);
        if pulse.beat != beat {
            if mono.saturating_sub(pulse.changed_at) >= PAUSE || beat < pulse.beat {
                pulse.steady_since = mono;
            }
            (pulse.beat, pulse.changed_at) = (beat, mono);
        }
        (pulse.journal_pending, pulse.forgotten) = (journal_pending, forgotten);
    }

    /// What is known of a node; `None` of one that was never seen. `steady` is how long it must have been
    /// beating to count as settled: `Policy::lease`.
    pub fn peer(&self, node: &str, steady: Duration, mono: Duration) -> Option<Peer> {
        let pulse = self.0.get(node)?;
        let silent_for = mono.saturating_sub(pulse.changed_at);
        let steady = silent_for < PAUSE && mono.saturating_sub(pulse.steady_since) >= steady;
        let settled = steady && !pulse.journal_pending;
        Some(Peer { node: node.to_owned(), silent_for, forgotten: pulse.forgotten, settled })
    }
}
