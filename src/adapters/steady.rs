//! A clock that is never set back: between two looks at least as much time passes as the monotonic
//! clock says. A wall clock that an administrator or NTP sets back would make tokens look fresh that have
//! expired. One that is set forward is followed; a machine may have slept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::ports::clock::Clock;

/// A smaller step back is not worth a word.
const TOLD: SignedDuration = SignedDuration::from_secs(1);

pub struct SteadyClock {
    inner: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    now: Timestamp,
    monotonic: Duration,
    /// The wall clock is behind, and the operator has been told.
    behind: bool,
}

impl SteadyClock {
    pub fn over(inner: Arc<dyn Clock>) -> Self {
        let seen = Seen { now: inner.now(), monotonic: inner.monotonic(), behind: false };
        Self { inner, seen: Mutex::new(seen) }
    }
}

impl Seen {
    fn look(&mut self, wall: Timestamp, monotonic: Duration) -> Timestamp {
        let passed = SignedDuration::try_from(monotonic.saturating_sub(self.monotonic)).unwrap_or_default();
        let least = self.now.checked_add(passed).unwrap_or(self.now);
        // In whole milliseconds, as the clocks say it; rounded down, so that it never runs ahead by itself.
        let least = Timestamp::from_millisecond(least.as_millisecond()).unwrap_or(least);
        let back = least.duration_since(wall);
        if back > TOLD && !self.behind {
            let seconds = back.as_secs();
            tracing::warn!(
                seconds,
                "the machine's clock was set back; this process keeps to the time before until it is started anew"
            );
        }
        self.behind = back > TOLD;
        (self.now, self.monotonic) = (wall.max(least), monotonic);
        self.now
    }
}

#[async_trait]
impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Both are read under the lock: whoever looks later sees no less.
        seen.look(self.inner.now(), self.inner.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    async fn sleep(&self, span: Duration) {
        self.inner.sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_goes_on_when_the_wall_clock_is_set_back_and_forward() {
        let mut seen = Seen { now: at(1000), monotonic: Duration::ZERO, behind: false };
        let mut look = |wall, monotonic| seen.look(at(wall), Duration::from_secs(monotonic)).as_second();
        assert_eq!(look(1010, 10), 1010, "as it should be");
        assert_eq!(look(500, 20), 1020, "set back");
        assert_eq!(look(510, 30), 1030);
        assert_eq!(look(1040, 40), 1040, "set right again");
        assert_eq!(look(5000, 50), 5000, "set forward, or slept");
        assert_eq!(look(1060, 60), 5010, "and right again");
    }

    #[test]
    fn it_never_runs_ahead_by_itself() {
        let mut seen = Seen { now: at(0), monotonic: Duration::ZERO, behind: false };
        for step in 1..2000_u64 {
            let wall = Timestamp::from_millisecond(i64::try_from(step / 3).unwrap()).unwrap();
            assert_eq!(seen.look(wall, Duration::from_micros(step * 333)), wall, "{step}");
        }
    }
}
