//! How fast one provider is asked: a token bucket for each, in the form of the generic cell rate algorithm. What
//! is told to slow down goes slower, and finds back by itself. Time is handed in.

use std::time::Duration;

use crate::domain::provider::Rate;

/// One `Throttled` after another halves the rate, down to a 64th.
const HALVINGS_MAX: u32 = 6;
/// Answers to requests that were under way together count as one.
const ONE_REASON: Duration = Duration::from_secs(2);
/// So long without being throttled doubles the rate again.
const RECOVERY: Duration = Duration::from_secs(30);
const HALF: u64 = 2;

/// Between two that this node sends, where `nodes` share the rate. The burst is taken out of the row, so that both
/// together keep to the rate.
fn interval(rate: Rate, nodes: u32) -> Duration {
    let row = rate.count.saturating_sub(rate.burst).saturating_add(1);
    rate.per.saturating_mul(nodes.max(1)) / row
}

/// How far ahead of an even row this node may be.
fn tolerance(rate: Rate, nodes: u32) -> Duration {
    let burst = (rate.burst / nodes.max(1)).max(1);
    interval(rate, nodes).saturating_mul(burst - 1)
}

/// One provider's bucket on one node.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: Rate,
    /// When the next would be due if all came in an even row.
    due: Duration,
    halvings: u32,
    throttled_at: Duration,
}

impl Pace {
    pub fn new(rate: Rate) -> Self {
        Self { rate, due: Duration::ZERO, halvings: 0, throttled_at: Duration::ZERO }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// For how long whoever comes now would have to wait.
    pub fn wait(&self, now: Duration, nodes: u32) -> Duration {
        self.due.saturating_sub(tolerance(self.rate, nodes)).saturating_sub(now)
    }

    /// A place in the row: how long to wait for it. Whoever would wait longer than `patience` gets none, and is
    /// told how long it would have been. A place that is not used is lost.
    pub fn take(&mut self, now: Duration, nodes: u32, patience: Duration) -> Result<Duration, Duration> {
        let wait = self.wait(now, nodes);
        if wait > patience {
            return Err(wait);
        }
        let interval = interval(self.rate, nodes).saturating_mul(1 << self.halvings_at(now));
        self.due = self.due.max(now).saturating_add(interval);
        Ok(wait)
    }

    /// As good as new.
    pub fn is_idle(&self, now: Duration) -> bool {
        self.due <= now && self.halvings_at(now) == 0
    }

    /// The provider said that it is asked too often.
    pub fn throttled(&mut self, now: Duration) {
        let halvings = self.halvings_at(now);
        if self.halvings > 0 && now.saturating_sub(self.throttled_at) < ONE_REASON {
            return;
        }
        (self.halvings, self.throttled_at) = ((halvings + 1).min(HALVINGS_MAX), now);
    }

    /// The part of the configured rate that holds now, as one in so many.
    pub fn slowed(&self, now: Duration) -> u64 {
        HALF.pow(self.halvings_at(now))
    }

    fn halvings_at(&self, now: Duration) -> u32 {
        let recovered = now.saturating_sub(self.throttled_at).as_secs() / RECOVERY.as_secs();
        self.halvings.saturating_sub(u32::try_from(recovered).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NEVER_MIND: Duration = Duration::MAX;

    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..400, 1_u64..120, 1_u32..400).prop_map(|(count, seconds, burst)| Rate {
            count,
            per: Duration::from_secs(seconds),
            burst: burst.min(count),
        })
    }

    /// When each of those who come in these steps, some throttled, sends.
    fn sent(rate: Rate, nodes: u32, steps: &[(u64, bool)]) -> Vec<Duration> {
        let mut pace = Pace::new(rate);
        let mut now = Duration::ZERO;
        let send = |(step, throttled): &(u64, bool)| {
            now += Duration::from_millis(*step);
            if *throttled {
                pace.throttled(now);
            }
            now + pace.take(now, nodes, NEVER_MIND).unwrap()
        };
        steps.iter().map(send).collect()
    }

    /// In no span as long as the rate's more than its count; in a shorter one, the burst and what flows in meanwhile.
    /// Nodes that are more than the burst can each begin with one.
    fn never_above(rate: Rate, nodes: u32, mut times: Vec<Duration>) {
        times.sort_unstable();
        let begin = rate.burst.max(nodes);
        let flow = f64::from(rate.count - rate.burst + 1) / rate.per.as_secs_f64();
        for (first, from) in times.iter().enumerate() {
            for (last, to) in times.iter().enumerate().skip(first) {
                let (window, count) = (*to - *from, last - first + 1);
                let most = f64::from(begin) + window.as_secs_f64() * flow;
                assert!(count as f64 <= most + 1e-3, "{count} in {window:?}, of {rate:?}");
                let within = window + Duration::from_micros(1) < rate.per;
                assert!(!within || count <= (rate.count + begin - rate.burst) as usize, "{count} in {window:?}, of {rate:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_rate(rate in rates(), steps in prop::collection::vec((0_u64..3_000, prop::bool::weighted(0.05)), 1..120)) {
            never_above(rate, 1, sent(rate, 1, &steps));
        }

        /// Nodes that do not talk keep the rate together, whoever comes to whom.
        #[test]
        fn nodes_share_the_rate(rate in rates(), nodes in 1_u32..6, rows in prop::collection::vec(prop::collection::vec((0_u64..500, Just(false)), 1..40), 6)) {
            let all = rows.iter().take(nodes as usize).flat_map(|steps| sent(rate, nodes, steps)).collect();
            never_above(rate, nodes, all);
        }

        /// Nothing is held back for longer than the rate asks for: a row that comes slower than the rate never waits.
        #[test]
        fn who_comes_slower_than_the_rate_never_waits(rate in rates(), count in 1_usize..60) {
            let step = u64::try_from(interval(rate, 1).as_millis()).unwrap() + 1;
            let mut now = Duration::ZERO;
            for time in sent(rate, 1, &vec![(step, false); count]) {
                now += Duration::from_millis(step);
                prop_assert_eq!(time, now);
            }
        }

        #[test]
        fn whoever_is_turned_away_takes_no_place(rate in rates(), tries in 1_usize..50) {
            let mut pace = Pace::new(rate);
            let taken = std::iter::from_fn(|| pace.take(Duration::ZERO, 1, Duration::ZERO).ok()).count();
            prop_assert_eq!(taken, rate.burst as usize);
            let wait = pace.wait(Duration::ZERO, 1);
            for _ in 0..tries {
                prop_assert_eq!(pace.take(Duration::ZERO, 1, Duration::ZERO), Err(wait));
            }
            prop_assert_eq!(pace.take(wait, 1, Duration::ZERO), Ok(Duration::ZERO));
        }
    }

    #[test]
    fn a_throttled_provider_is_asked_more_slowly_and_recovers() {
        let mut pace = Pace::new(Rate { count: 10, per: SECOND, burst: 1 });
        let at = Duration::from_secs;
        let in_a_row = |pace: &mut Pace, now| {
            let first = now + pace.take(now, 1, NEVER_MIND).unwrap();
            now + pace.take(now, 1, NEVER_MIND).unwrap() - first
        };
        assert_eq!(in_a_row(&mut pace, at(100)), Duration::from_millis(100));
        pace.throttled(at(110));
        pace.throttled(at(111));
        assert_eq!((pace.slowed(at(111)), in_a_row(&mut pace, at(111))), (2, Duration::from_millis(200)));
        for n in 0..9 {
            pace.throttled(at(120 + 3 * n));
        }
        assert_eq!(pace.slowed(at(145)), 64, "it never stands still");
        assert_eq!([pace.slowed(at(173)), pace.slowed(at(174)), pace.slowed(at(400))], [64, 32, 1]);
    }
}
