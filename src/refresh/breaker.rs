//! A rest for what many connections share: a provider's host that does not answer, an integration whose client is
//! refused. A connection by itself rests by the backoff of its flight record. Time is handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::tokens::FailureClass;

/// What an answer says of the shared thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    Works,
    /// With a plain code for people.
    Fails(String),
    /// Nothing either way.
    Silent,
}

/// When a breaker opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// After so many failures in a row,
    pub row: u32,
    /// of so many connections. More than one: a single bad connection must not rest all others.
    pub connections: usize,
    pub rest: Duration,
    /// A connection that saw a failure rests by itself, whether or not all others do.
    pub each_rests: bool,
}

/// Two connections refused in a row: the client is to blame, and not an import of somebody else's tokens.
pub fn of_integration(rest: Duration) -> Rule {
    Rule { row: 2, connections: 2, rest, each_rests: true }
}

/// A host that fails once does not fail always; each connection's backoff suffices until several have seen it.
pub fn of_host(rest: Duration) -> Rule {
    Rule { row: 10, connections: 3, rest, each_rests: false }
}

/// What an answer says of the integration; `None` is success.
pub fn sign_of_integration(class: Option<FailureClass>, code: &str) -> Sign {
    match class {
        // Whether a grant is over is told to a client that is who it says.
        None | Some(FailureClass::DeadGrant) => Sign::Works,
        Some(FailureClass::IntegrationBroken | FailureClass::Misconfigured) => Sign::Fails(code.to_owned()),
        // The same words may mean the subject of one connection or the key of all.
        Some(FailureClass::SubjectRefused) => Sign::Silent,
        Some(FailureClass::Throttled | FailureClass::NotSent | FailureClass::InDoubt) => Sign::Silent,
    }
}

/// What an answer says of the host: whoever refuses in words works.
pub fn sign_of_host(class: Option<FailureClass>, code: &str) -> Sign {
    match class {
        Some(FailureClass::NotSent | FailureClass::InDoubt) => Sign::Fails(code.to_owned()),
        _ => Sign::Works,
    }
}

/// Leave to send, and in what role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Free,
    /// The one request that finds out whether the rest is over, by its number.
    Probe(u64),
}

/// Why there is no leave, and when to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    pub code: String,
    pub left: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Closed,
    Open,
    HalfOpen,
}

/// `C` names a connection.
#[derive(Debug, Clone)]
pub struct Breaker<C> {
    rule: Rule,
    state: State,
    /// Failures since it last worked.
    failures: u32,
    /// Who saw one.
    seen: BTreeMap<C, Seen>,
    probes: u64,
}

/// A failure, as a connection saw it.
#[derive(Debug, Clone)]
struct Seen {
    /// The end of that connection's own rest, and why.
    until: Duration,
    code: String,
    /// Nobody has seen it work since.
    counts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed,
    /// At and after `until` the next to come is the probe.
    Open {
        until: Duration,
        code: String,
    },
    HalfOpen {
        probe: u64,
        code: String,
    },
}

/// While a probe is under way, others are told to look again after this.
const PROBE_LOOK: Duration = Duration::from_secs(1);
/// More than these need not be told apart.
const SEEN_MAX: usize = 64;

impl<C: Ord + Clone> Breaker<C> {
    pub fn new(rule: Rule) -> Self {
        Self { rule, state: State::Closed, failures: 0, seen: BTreeMap::new(), probes: 0 }
    }

    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }

    /// Whether it is as a new one: what is remembered of it can be forgotten.
    pub fn is_idle(&self, now: Duration) -> bool {
        self.state == State::Closed && self.seen.values().all(|seen| seen.until <= now)
    }

    /// Whether there would be leave, without taking it.
    pub fn rest(&self, connection: &C, now: Duration) -> Option<Rest> {
        let rest = |until: &Duration, code: &String| {
            let left = until.saturating_sub(now);
            (!left.is_zero()).then(|| Rest { code: code.clone(), left })
        };
        match &self.state {
            State::Closed => self.seen.get(connection).and_then(|seen| rest(&seen.until, &seen.code)),
            State::Open { until, code } => rest(until, code),
            State::HalfOpen { code, .. } => Some(Rest { code: code.clone(), left: PROBE_LOOK }),
        }
    }

    pub fn ask(&mut self, connection: &C, now: Duration) -> Result<Leave, Rest> {
        if let Some(rest) = self.rest(connection, now) {
            return Err(rest);
        }
        let State::Open { code, .. } = &self.state else { return Ok(Leave::Free) };
        self.probes += 1;
        self.state = State::HalfOpen { probe: self.probes, code: code.clone() };
        Ok(Leave::Probe(self.probes))
    }

    /// What came of a leave. A request that was not sent after all is [`Sign::Silent`].
    pub fn answered(&mut self, leave: Leave, connection: &C, sign: Sign, now: Duration) {
        let is_probe = matches!((&self.state, leave), (State::HalfOpen { probe, .. }, Leave::Probe(mine)) if *probe == mine);
        match (&self.state, sign) {
            (_, Sign::Works) => self.works(connection),
            (State::HalfOpen { code, .. }, Sign::Silent) if is_probe => {
                self.state = State::Open { until: now, code: code.clone() };
            }
            (State::HalfOpen { .. }, Sign::Fails(code)) if is_probe => self.open(code, now),
            (State::Closed, Sign::Fails(code)) => self.failed(connection, code, now),
            // What was sent before it opened tells nothing new.
            (State::Closed | State::Open { .. } | State::HalfOpen { .. }, _) => {}
        }
    }

    /// It works for this one, so that what others saw was theirs; they rest all the same.
    fn works(&mut self, connection: &C) {
        (self.state, self.failures) = (State::Closed, 0);
        self.seen.remove(connection);
        self.seen.values_mut().for_each(|seen| seen.counts = false);
    }

    fn failed(&mut self, connection: &C, code: String, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        let until = if self.rule.each_rests { now + self.rule.rest } else { now };
        self.seen.retain(|_, seen| seen.counts || seen.until > now);
        if self.seen.len() < SEEN_MAX || self.seen.contains_key(connection) {
            self.seen.insert(connection.clone(), Seen { until, code: code.clone(), counts: true });
        }
        let connections = self.seen.values().filter(|seen| seen.counts).count();
        if self.failures >= self.rule.row && connections >= self.rule.connections {
            self.open(code, now);
        }
    }

    fn open(&mut self, code: String, now: Duration) {
        self.state = State::Open { until: now + self.rule.rest, code };
        self.failures = 0;
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: Duration = Duration::from_secs(30);

    fn fails() -> Sign {
        Sign::Fails("invalid_client".to_owned())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// One import of somebody else's tokens is refused again and again: it rests, and nobody else does.
    #[test]
    fn one_bad_connection_rests_alone() {
        let mut breaker = Breaker::new(of_integration(REST));
        for round in 0..20 {
            let now = at(round * 31);
            let leave = breaker.ask(&"bad", now).unwrap();
            breaker.answered(leave, &"bad", fails(), now);
            assert_eq!(breaker.rest(&"bad", now).unwrap().left, REST);
            assert_eq!((breaker.standing(), breaker.ask(&"good", now)), (Standing::Closed, Ok(Leave::Free)));
        }
    }

    #[test]
    fn two_connections_refused_in_a_row_rest_all_and_one_probe_ends_it() {
        let mut breaker = Breaker::new(of_integration(REST));
        for name in ["a", "b"] {
            let leave = breaker.ask(&name, at(0)).unwrap();
            breaker.answered(leave, &name, fails(), at(0));
        }
        assert_eq!(breaker.ask(&"c", at(29)).unwrap_err().left, at(1));
        let probe = breaker.ask(&"c", at(30)).unwrap();
        assert!(matches!(probe, Leave::Probe(_)) && breaker.ask(&"d", at(30)).is_err());
        breaker.answered(probe, &"c", fails(), at(31));
        assert_eq!(breaker.ask(&"d", at(60)).unwrap_err().left, at(1));
        let probe = breaker.ask(&"d", at(61)).unwrap();
        breaker.answered(probe, &"d", Sign::Works, at(62));
        assert_eq!((breaker.standing(), breaker.ask(&"a", at(62))), (Standing::Closed, Ok(Leave::Free)));
    }

    /// What works for one does not end the rest of another that was refused.
    #[test]
    fn who_was_refused_rests_though_it_works_for_others() {
        let mut breaker = Breaker::new(of_integration(REST));
        breaker.answered(Leave::Free, &"bad", fails(), at(0));
        breaker.answered(Leave::Free, &"good", Sign::Works, at(1));
        assert_eq!(breaker.ask(&"bad", at(2)).unwrap_err().left, at(28));
        breaker.answered(Leave::Free, &"other", fails(), at(3));
        assert_eq!((breaker.standing(), breaker.ask(&"good", at(3))), (Standing::Closed, Ok(Leave::Free)));
    }

    #[test]
    fn a_success_in_between_keeps_it_closed() {
        let mut breaker = Breaker::new(of_integration(REST));
        for name in 0..50 {
            breaker.answered(Leave::Free, &name, if name % 2 == 0 { fails() } else { Sign::Works }, at(0));
            assert_eq!(breaker.standing(), Standing::Closed);
        }
    }

    #[test]
    fn what_an_answer_says_of_whom() {
        use FailureClass::{DeadGrant, InDoubt, IntegrationBroken, Misconfigured, NotSent, SubjectRefused, Throttled};
        let signs = |class| [sign_of_integration(class, "x"), sign_of_host(class, "x")];
        let bad = || Sign::Fails("x".to_owned());
        for (class, integration, host) in [
            (None, Sign::Works, Sign::Works),
            (Some(DeadGrant), Sign::Works, Sign::Works),
            (Some(IntegrationBroken), bad(), Sign::Works),
            (Some(Misconfigured), bad(), Sign::Works),
            (Some(SubjectRefused), Sign::Silent, Sign::Works),
            (Some(Throttled), Sign::Silent, Sign::Works),
            (Some(NotSent), Sign::Silent, bad()),
            (Some(InDoubt), Sign::Silent, bad()),
        ] {
            assert_eq!(signs(class), [integration, host], "{class:?}");
        }
    }

    #[derive(Debug, Clone)]
    enum Move {
        Ask(u8),
        /// The oldest request under way that is taken by this number.
        Answer(usize, u8),
        Pass(u64),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            (0_u8..6).prop_map(Move::Ask),
            (0_usize..8, 0_u8..3).prop_map(|(which, sign)| Move::Answer(which, sign)),
            (0_u64..40).prop_map(Move::Pass),
        ];
        prop::collection::vec(one, 1..200)
    }

    proptest! {
        /// Whatever happens in whatever order: once it has opened, no two probes are under way, nobody else sends, and
        /// it is never stuck: when all that is under way has been answered and the rest is over, somebody has leave.
        #[test]
        fn exactly_one_probe(moves in moves(), host in any::<bool>()) {
            let mut breaker = Breaker::new(if host { of_host(REST) } else { of_integration(REST) });
            let (mut now, mut under_way) = (Duration::ZERO, Vec::new());
            for step in moves {
                let before = breaker.standing();
                match step {
                    Move::Pass(seconds) => now += at(seconds),
                    Move::Ask(who) => if let Ok(leave) = breaker.ask(&who, now) {
                        prop_assert!(before != Standing::HalfOpen, "a probe is under way");
                        prop_assert_eq!(leave == Leave::Free, before == Standing::Closed);
                        under_way.push((who, leave));
                    },
                    Move::Answer(which, sign) if !under_way.is_empty() => {
                        let (who, leave) = under_way.remove(which % under_way.len());
                        let sign = match sign { 0 => Sign::Works, 1 => Sign::Silent, _ => fails() };
                        breaker.answered(leave, &who, sign.clone(), now);
                        prop_assert!(sign != Sign::Works || breaker.standing() == Standing::Closed);
                        let probe = matches!(leave, Leave::Probe(_));
                        prop_assert!(before != Standing::HalfOpen || probe || sign == Sign::Works || breaker.standing() == before);
                    }
                    Move::Answer(..) => {}
                }
                if breaker.standing() == Standing::HalfOpen {
                    let current = Leave::Probe(breaker.probes);
                    prop_assert_eq!(under_way.iter().filter(|(_, leave)| *leave == current).count(), 1);
                }
            }
            for (who, leave) in under_way {
                breaker.answered(leave, &who, Sign::Silent, now);
            }
            prop_assert!(breaker.ask(&9, now + REST).is_ok());
        }
    }
}
