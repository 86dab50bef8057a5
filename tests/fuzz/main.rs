//! Hostile input in quantity: whatever a provider, a browser or a tenant sends, the pure core neither
//! panics nor hangs, and what it makes of it is bounded. A few thousand cases in every run; the long
//! run has ten million.
//!
//! `FUZZ_CASES` says how many instead, `FUZZ_FIRST` with which to begin: the number of a case is all it
//! is made of, so a case that failed is played again by its number.

mod cases;
mod dice;
mod largest;
mod scenery;
mod usage;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::scenery::Scenery;
use crate::usage::{peak_mib, worked};

/// No case comes near this, of a processor's time.
pub const HANG: Duration = Duration::from_secs(20);
/// What the cases may add to the memory of this process.
const MEMORY_MIB: u64 = 256;

#[test]
fn a_few_thousand_cases() {
    run(number("FUZZ_FIRST").unwrap_or(0), number("FUZZ_CASES").unwrap_or(8_000));
}

#[test]
#[ignore = "long: ten million cases"]
fn ten_million_cases() {
    run(number("FUZZ_FIRST").unwrap_or(0), number("FUZZ_CASES").unwrap_or(10_000_000));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn run(first: u64, count: u64) {
    let (next, before) = (AtomicU64::new(first), peak_mib());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut scenery = Scenery::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= first + count {
                        return;
                    }
                    let _told = ToldOnPanic(number);
                    let begun = worked();
                    cases::play(number, &mut scenery);
                    let took = worked() - begun;
                    assert!(took < HANG, "it took {took:?}");
                }
            });
        }
    });
    let grown = peak_mib().saturating_sub(before);
    assert!(grown < MEMORY_MIB, "the cases took {grown} MiB");
}

/// Says which case it was.
struct ToldOnPanic(u64);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("this was case {0}: play it again with FUZZ_FIRST={0} FUZZ_CASES=1", self.0);
        }
    }
}
