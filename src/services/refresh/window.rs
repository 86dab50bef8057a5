//! How long an answer is in memory alone: from the provider's last byte, as soon as this program sees it, to
//! the journal's sync. A crash in between can lose a rotated token, so the window is measured. Fixed memory,
//! an error of at most an eighth.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Steps within each doubling.
const STEPS: u64 = 8;
const STEPS_LOG2: u32 = STEPS.ilog2();
/// Up to 2^32 µs, more than an hour.
const BUCKETS: usize = (32 - STEPS_LOG2 as usize + 1) * STEPS as usize;

#[derive(Default)]
pub struct Window(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

/// What was measured since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub count: u64,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Window {
    pub fn record(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.buckets.resize(BUCKETS, 0);
        if let Some(bucket) = recorded.buckets.get_mut(bucket(micros)) {
            *bucket += 1;
        }
        recorded.count += 1;
        recorded.max = recorded.max.max(span);
    }

    pub fn summary(&self) -> Summary {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Recorded { count, max, .. } = *recorded;
        Summary { count, p50: recorded.quantile(50), p99: recorded.quantile(99), max }
    }
}

impl Recorded {
    /// No less than so many percent of what was recorded, within the bucket's width.
    fn quantile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        });
        found.filter(|_| rank > 0).map_or(Duration::ZERO, |bucket| Duration::from_micros(upper(bucket)).min(self.max))
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEPS_LOG2;
    (u64::from(doubling) * STEPS + (micros >> doubling)) as usize
}

/// The greatest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let doubling = bucket / STEPS - 1;
    ((bucket - doubling * STEPS + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        let mut before = 0;
        for micros in (0..5000).chain([1 << 20, (1 << 20) - 1, u64::from(u32::MAX)]) {
            let index = bucket(micros);
            assert!(index < BUCKETS, "{micros}");
            assert!(upper(index) >= micros && upper(index) <= micros + micros / STEPS, "{micros}: {}", upper(index));
            assert!(index == 0 || upper(index - 1) < micros, "{micros}");
            before = before.max(index);
        }
        assert_eq!(before, BUCKETS - 1);
    }

    #[test]
    fn the_summary_is_of_what_was_recorded() {
        let window = Window::default();
        assert_eq!(window.summary(), Summary::default());
        for millis in 1..=100 {
            window.record(Duration::from_millis(millis));
        }
        let Summary { count, p50, p99, max } = window.summary();
        let near =
            |span: Duration, millis: u64| span >= Duration::from_millis(millis) && span <= Duration::from_millis(millis * 9 / 8);
        assert!(count == 100 && near(p50, 50) && near(p99, 99) && max == Duration::from_millis(100), "{p50:?} {p99:?}");
        window.record(Duration::from_secs(100_000));
        assert_eq!(window.summary().max, Duration::from_secs(100_000));
    }
}
