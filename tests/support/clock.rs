//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::ports::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

pub struct TestClock {
    wall: Mutex<Timestamp>,
    monotonic: watch::Sender<Duration>,
    /// Sleepers that are always there: what a server does by itself.
    background: AtomicUsize,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl TestClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Arc<Self> {
        let start = Timestamp::from_second(1_767_225_600).expect("a moment within jiff's range");
        Arc::new(Self { wall: Mutex::new(start), monotonic: watch::Sender::new(Duration::ZERO), background: AtomicUsize::new(0) })
    }

    /// Moves both clocks on, and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        let step = SignedDuration::try_from(by).expect("a step within jiff's range");
        *self.wall.lock().expect("no test panicked with the lock") += step;
        self.monotonic.send_modify(|now| *now += by);
    }

    /// How many sleep at the moment, besides those that always do.
    pub fn sleepers(&self) -> usize {
        self.monotonic.receiver_count().saturating_sub(self.background.load(Ordering::SeqCst))
    }

    /// A server has started that does so many things by itself; returns once all of them sleep.
    pub async fn background_begins(&self, tasks: usize) {
        let before = self.background.load(Ordering::SeqCst);
        while self.monotonic.receiver_count() < before + tasks {
            tokio::task::yield_now().await;
        }
        self.background.fetch_add(tasks, Ordering::SeqCst);
    }

    pub fn background_ends(&self, tasks: usize) {
        self.background.fetch_sub(tasks, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or NTP does.
    pub fn set_wall(&self, to: Timestamp) {
        *self.wall.lock().expect("no test panicked with the lock") = to;
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.wall.lock().expect("no test panicked with the lock")
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.borrow()
    }

    async fn sleep(&self, span: Duration) {
        let mut now = self.monotonic.subscribe();
        let until = *now.borrow() + span;
        now.wait_for(|now| *now >= until).await.expect("the clock outlives its sleepers");
    }
}
