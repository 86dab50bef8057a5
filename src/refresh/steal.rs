//! Whose turn it is, where a flight record names somebody (docs/refresh.md, "Another node's intent"): an intent is taken from its
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::connection::Connection;
    use crate::domain::ids::{GrantId, TokenSetName};
    use crate::domain::provider::RefreshWith;
    use crate::refresh::Policy;
    use std::sync::Arc;

    const GRACE: RefreshClass = RefreshClass::RotateGrace(Duration::from_secs(300));

    fn at(second: u64) -> At {
        let now = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        At { now, mono: Duration::from_secs(second), epoch: 0 }
    }

    /// A token that ends at 1,000.
    fn tokens() -> Tokens {
        Tokens {
            access: "a".into(),
            refresh: Some("r".into()),
            secret: None,
            token_type: "Bearer".into(),
            obtained_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(at(1_000).now),
            refresh_expires_at: None,
            scopes: vec![],
            from_generation: 0,
            received_by: "n".into(),
        }
    }

    fn intent(node: &str, grant: u8, generation: u64) -> Intent {
        Intent {
            attempt: "a-1".into(),
            node: node.into(),
            fence: 1,
            grant_id: GrantId::from_random([grant; 16]),
            from_generation: generation,
            prepared_at: at(100).now,
            over_at: None,
            class: String::new(),
        }
    }

    /// The claim of node `me`, whose process began at 100, at generation 2 of the first grant.
    fn claimed(class: RefreshClass, intent: &Intent, unchanged: u64, peer: Option<(u64, bool)>, now: u64) -> Claim {
        let plan = Plan {
            node: "me".into(),
            process_started: Duration::from_secs(100),
            grant: GrantId::from_random([1; 16]),
            set: TokenSetName::default_set(),
            generation: 2,
            class,
            with: RefreshWith::RefreshToken,
            seed: 0,
            policy: Policy::default(),
        };
        let json = serde_json::json!({
            "id": format!("con_{}", "0".repeat(34)), "tenant": format!("tnt_{}", "0".repeat(32)), "end_user": "u",
            "provider": "acme", "integration": "acme", "integration_id": format!("int_{}", "0".repeat(32)),
            "account": "default", "grant_id": "01".repeat(16), "status": { "is": "active" }, "confirmed": true, "sets": {},
            "subject": null, "metadata": {}, "params": {}, "connected_at": at(0).now, "updated_at": at(0).now,
        });
        let connection: Arc<Connection> = Arc::new(serde_json::from_value(json).unwrap());
        let peer = peer.map(|(silent, forgotten)| Peer {
            node: intent.node.clone(),
            silent_for: Duration::from_secs(silent),
            forgotten,
            settled: false,
        });
        let peers = peer.into_iter().collect();
        let found =
            Found { epoch: 0, connection, version: 1, flight: None, unchanged_for: Duration::from_secs(unchanged), peers };
        claim(intent, &found, &tokens(), &plan, &at(now))
    }

    const DOUBT: Claim = Claim::Free { doubt: true };

    #[test]
    fn a_foreign_intent_is_taken_by_its_class() {
        let intent = intent("other", 1, 2);
        let busy = |left| Claim::Busy(Duration::from_secs(left));
        for (class, unchanged, peer, now, expected) in [
            (RefreshClass::Nonrotating, 39, None, 200, busy(1)),
            (RefreshClass::Nonrotating, 40, None, 200, DOUBT),
            (GRACE, 0, None, 200, busy(40)),
            (GRACE, 40, None, 399, DOUBT),
            (GRACE, 40, None, 400, Claim::Away),
            (RefreshClass::RotateStrict, 40, Some((400, true)), 999, Claim::Away),
            (RefreshClass::RotateStrict, 40, None, 1_000, Claim::Away),
            (RefreshClass::RotateStrict, 40, Some((299, false)), 1_000, Claim::Away),
            (RefreshClass::RotateStrict, 40, Some((300, false)), 1_000, DOUBT),
            (RefreshClass::RotateStrict, 40, Some((0, true)), 1_000, DOUBT),
            (RefreshClass::RotateStrict, 39, Some((400, true)), 1_000, busy(1)),
            (RefreshClass::RotatePlain, 40, Some((299, false)), 1_000, Claim::Away),
            (RefreshClass::Unknown, 40, Some((299, false)), 1_000, Claim::Away),
            (RefreshClass::Unknown, 40, Some((300, false)), 1_000, DOUBT),
        ] {
            assert_eq!(claimed(class, &intent, unchanged, peer, now), expected, "{class:?} {unchanged} {peer:?} {now}");
        }
    }

    #[test]
    fn what_an_earlier_process_left_waits_for_its_request() {
        let own = intent("me", 1, 2);
        assert_eq!(claimed(RefreshClass::RotateStrict, &own, 0, None, 109), Claim::Busy(Duration::from_secs(1)));
        assert_eq!(claimed(RefreshClass::RotateStrict, &own, 0, None, 110), DOUBT);
        assert_eq!(claimed(RefreshClass::Nonrotating, &own, 0, None, 100), DOUBT);
    }

    #[test]
    fn another_consents_intent_stands_in_nobodys_way_and_an_older_generations_is_no_doubt() {
        let clear = Claim::Free { doubt: false };
        assert_eq!(claimed(RefreshClass::RotateStrict, &intent("other", 2, 2), 0, None, 200), clear);
        assert_eq!(claimed(RefreshClass::Nonrotating, &intent("other", 1, 1), 40, None, 200), clear);
        assert_eq!(
            claimed(RefreshClass::Nonrotating, &intent("other", 1, 1), 0, None, 200),
            Claim::Busy(Duration::from_secs(40))
        );
    }

    #[test]
    fn a_watch_begins_anew_with_every_intent() {
        let (mut watch, second) = (Watch::default(), Duration::from_secs);
        let (first, mut other) = (intent("other", 1, 2), intent("other", 1, 2));
        other.attempt = "a-2".into();
        assert_eq!(watch.observe("c", Some(&first), second(10)), second(0));
        assert_eq!(watch.observe("d", Some(&first), second(15)), second(0));
        assert_eq!(watch.observe("c", Some(&first), second(30)), second(20));
        assert_eq!(watch.observe("c", Some(&other), second(31)), second(0), "same fence, after a failover");
        assert_eq!(watch.observe("c", None, second(32)), second(0));
        assert_eq!(watch.observe("c", Some(&other), second(40)), second(0));
    }

    #[test]
    fn a_node_is_settled_when_it_has_beaten_for_a_lease_and_owes_nothing() {
        let (lease, second) = (Policy::default().lease(), Duration::from_secs);
        let mut beats = Beats::default();
        assert_eq!(beats.peer("n", lease, second(0)), None);
        for beat in 0..10 {
            beats.observe("n", beat, false, false, second(beat * 5));
            let settled = beats.peer("n", lease, second(beat * 5)).unwrap().settled;
            assert_eq!(settled, beat >= 6, "{beat}");
        }
        beats.observe("n", 9, true, false, second(46));
        assert!(!beats.peer("n", lease, second(46)).unwrap().settled, "it has something to say");
        beats.observe("n", 9, false, false, second(70));
        let silent = beats.peer("n", lease, second(70)).unwrap();
        assert!(!silent.settled && silent.silent_for == second(25));
        beats.observe("n", 10, false, false, second(71));
        assert!(!beats.peer("n", lease, second(72)).unwrap().settled, "it paused");
        assert_eq!(beats.peer("n", lease, second(72)).unwrap().silent_for, second(1));
    }
}
