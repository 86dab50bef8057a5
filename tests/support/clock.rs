//! A clock that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use claviger::ports::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub struct TestClock {
    moment: watch::Sender<Moment>,
    /// Sleepers that are always there: what a server does by itself.
    background: AtomicUsize,
}

/// Both move at once: who reads one after the other never sees time that has passed on one alone.
struct Moment {
    wall: Timestamp,
    monotonic: Duration,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl TestClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Arc<Self> {
        let wall = Timestamp::from_second(1_767_225_600).expect("a moment within jiff's range");
        let moment = watch::Sender::new(Moment { wall, monotonic: Duration::ZERO });
        Arc::new(Self { moment, background: AtomicUsize::new(0) })
    }

    /// Moves both clocks on, and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        let step = SignedDuration::try_from(by).expect("a step within jiff's range");
        self.moment.send_modify(|now| {
            now.wall += step;
            now.monotonic += by;
        });
    }

    /// How many sleep at the moment, besides those that always do.
    pub fn sleepers(&self) -> usize {
        self.moment.receiver_count().saturating_sub(self.background.load(Ordering::SeqCst))
    }

    /// A server has started that does so many things by itself; returns once all of them sleep.
    pub async fn background_begins(&self, tasks: usize) {
        let before = self.background.load(Ordering::SeqCst);
        while self.moment.receiver_count() < before + tasks {
            tokio::task::yield_now().await;
        }
        self.background.fetch_add(tasks, Ordering::SeqCst);
    }

    pub fn background_ends(&self, tasks: usize) {
        self.background.fetch_sub(tasks, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or NTP does.
    pub fn set_wall(&self, to: Timestamp) {
        self.moment.send_if_modified(|now| {
            now.wall = to;
            false
        });
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.moment.borrow().wall
    }

    fn monotonic(&self) -> Duration {
        self.moment.borrow().monotonic
    }

    async fn sleep(&self, span: Duration) {
        let mut now = self.moment.subscribe();
        let until = now.borrow().monotonic + span;
        now.wait_for(|now| now.monotonic >= until).await.expect("the clock outlives its sleepers");
    }
}

/// Returns once it is so: what is waited for goes on in the server's own tasks, whatever the clock says.
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < give_up, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
