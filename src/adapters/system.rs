//! The operating system's clock and randomness. Nothing else in Claviger reads either.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, EntropyError};

/// The machine's clocks. `monotonic` counts from the moment this was made.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this adapter is where the monotonic clock is read")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this adapter is where the wall clock is read")]
    fn now(&self) -> Timestamp {
        // Whole milliseconds: what is stored and shown is what was judged, and no reader needs more.
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this adapter is where the program really waits")]
    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        #[expect(clippy::disallowed_methods, reason = "this adapter is where randomness comes from")]
        getrandom::fill(bytes).map_err(|cause| EntropyError(cause.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::entropy::random;

    #[tokio::test]
    async fn a_sleep_ends_no_earlier_than_the_monotonic_clock_says() {
        let clock = SystemClock::start();
        let before = clock.monotonic();
        clock.sleep(Duration::from_millis(20)).await;
        assert!(clock.monotonic() - before >= Duration::from_millis(20));
    }

    #[test]
    fn the_wall_clock_is_of_this_age() {
        let year = clock_year(SystemClock::start().now());
        assert!((2024..2200).contains(&year), "{year}");
    }

    fn clock_year(now: Timestamp) -> i16 {
        now.to_zoned(jiff::tz::TimeZone::UTC).year()
    }

    #[test]
    fn two_draws_differ() {
        let (one, other): ([u8; 32], [u8; 32]) = (random(&SystemEntropy).unwrap(), random(&SystemEntropy).unwrap());
        assert_ne!(one, other);
        assert_ne!(one, [0; 32]);
    }
}
