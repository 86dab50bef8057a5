//! Refreshing before anybody asks (docs/refresh.md). Its cost is what is due: it walks an index in the order of time and
//! remembers of each partition until when nothing is. It keeps no queue that could be lost: what is due follows
//! from the data. It starts flights as a caller does, and knows nothing of their protocol.

mod board;
mod judge;
mod left;
mod look;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::connection::Connection;
use crate::domain::ids::IntegrationId;
use crate::store::DueEntry;

use super::Core;
use super::cached::Cached;
use super::integrations::Integrations;
use super::nodes::Nodes;
use super::refresh::admission::Asking;
use super::refresh::{Order, Outcome, Refresher, Why};

use board::{Board, Ready};
use judge::{Errand, Judged};
use look::Looks;

/// How often it looks whether something is to be done.
const TICK: Duration = Duration::from_millis(250);
/// Reads and flights of the sweep that are under way at once.
const AT_ONCE: usize = 64;
/// A failed one is looked at again after this, or what its setback says, whichever is longer.
const REST: Duration = Duration::from_secs(5);
/// Nothing can be done about it before somebody does something.
const LONG_REST: Duration = Duration::from_secs(3_600);

/// What an operator decides of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepPolicy {
    /// Whether it runs, or waits for `claviger sweep resume`.
    pub proactive: bool,
    /// For whom tokens are kept fresh: who fetched one in so long.
    pub recently: Duration,
}

/// What it works with.
pub struct Means {
    pub core: Core,
    pub connections: Arc<Cached<Connection>>,
    pub integrations: Arc<Integrations>,
    pub refresher: Arc<Refresher>,
    pub nodes: Arc<Nodes>,
}

/// One per node.
pub struct Sweeper {
    means: Means,
    policy: SweepPolicy,
    paused: AtomicBool,
    due: AtomicUsize,
    oldest: Mutex<Option<Timestamp>>,
    flying: AtomicUsize,
    refreshed: AtomicU64,
    failed: AtomicU64,
}

/// How it stands, for people and for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepState {
    pub paused: bool,
    /// Due and not yet refreshed, as far as this node knows.
    pub due: usize,
    pub oldest: Option<Timestamp>,
    pub flying: usize,
    /// Since the start.
    pub refreshed: u64,
    pub failed: u64,
}

/// What ended.
enum Step {
    Judged(DueEntry, Judged),
    Landed(IntegrationId, DueEntry, Outcome),
}

type Running<'a> = FuturesUnordered<BoxFuture<'a, Step>>;

impl Sweeper {
    pub fn new(means: Means, policy: SweepPolicy) -> Self {
        Self {
            means,
            policy,
            paused: AtomicBool::new(!policy.proactive),
            due: AtomicUsize::new(0),
            oldest: Mutex::new(None),
            flying: AtomicUsize::new(0),
            refreshed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Starts nothing from now on, on this node; what is under way lands.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    pub fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }

    pub fn state(&self) -> SweepState {
        SweepState {
            paused: self.paused.load(Ordering::Relaxed),
            due: self.due.load(Ordering::Relaxed),
            oldest: *self.oldest.lock().unwrap_or_else(PoisonError::into_inner),
            flying: self.flying.load(Ordering::Relaxed),
            refreshed: self.refreshed.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Sweeps until it is dropped.
    pub async fn run(&self) {
        let (mut board, mut looks, mut running) = (Board::new(), Looks::default(), Running::new());
        let mut tick = self.means.core.clock.sleep(TICK);
        loop {
            tokio::select! {
                biased;
                () = &mut tick => {
                    for step in self.look_on(&mut looks, &mut board, &mut running).await {
                        self.note(&mut board, step);
                    }
                    tick = self.means.core.clock.sleep(TICK);
                }
                Some(step) = running.next() => self.note(&mut board, step),
            }
            self.begin(&mut board, &running);
            self.tell(&board);
        }
    }

    /// Looks, and lets what is running go on meanwhile: it may hold what the look waits for. Returns what has ended.
    async fn look_on(&self, looks: &mut Looks, board: &mut Board<Errand>, running: &mut Running<'_>) -> Vec<Step> {
        let (mut look, mut ended) = (pin!(self.look(looks, board)), Vec::new());
        loop {
            tokio::select! {
                biased;
                () = &mut look => return ended,
                Some(step) = running.next() => ended.push(step),
            }
        }
    }

    /// Begins what may begin now.
    fn begin<'a>(&'a self, board: &mut Board<Errand>, running: &Running<'a>) {
        let now = self.means.core.clock.monotonic();
        if self.paused.load(Ordering::Relaxed) || self.means.core.standing.hold_all().is_some() {
            return;
        }
        let admission = self.means.refresher.admission();
        let wait = |errand: &Errand| {
            let Order { active, connection, .. } = &errand.order;
            let asking = Asking { active, connection, params: &errand.params };
            (admission.would_wait(asking, now), admission.at_once(active))
        };
        while running.len() < AT_ONCE
            && let Some((integration, ready)) = board.next_ready(now, wait)
        {
            running.push(Box::pin(self.refresh(integration, ready)));
        }
        while running.len() < AT_ONCE
            && let Some(entry) = board.next_unread(now)
        {
            running.push(Box::pin(async move {
                let judged = self.judge(&entry).await;
                Step::Judged(entry, judged)
            }));
        }
    }

    async fn refresh(&self, integration: IntegrationId, ready: Ready<Errand>) -> Step {
        let outcome = self.means.refresher.refreshed(ready.errand.order).await;
        Step::Landed(integration, ready.entry, outcome)
    }

    fn note(&self, board: &mut Board<Errand>, step: Step) {
        let now = self.means.core.clock.monotonic();
        match step {
            Step::Judged(entry, Judged::Ready(errand)) => {
                board.is_ready(errand.order.active.integration.id.clone(), Ready { entry, errand: *errand });
            }
            Step::Judged(entry, Judged::Done) => board.done(&entry),
            Step::Judged(entry, Judged::Rest) => board.rests(entry, now + REST),
            Step::Landed(integration, entry, outcome) => {
                board.landed(&integration);
                match outcome {
                    // What is due next stands in the index, with the new tokens.
                    Outcome::Refreshed { .. } => {
                        self.refreshed.fetch_add(1, Ordering::Relaxed);
                        board.done(&entry);
                    }
                    Outcome::Gone => board.rests(entry, now),
                    Outcome::Failed(setback) => {
                        self.failed.fetch_add(1, Ordering::Relaxed);
                        let rest = if setback.why == Why::NeedsReauth { LONG_REST } else { setback.retry_after.max(REST) };
                        board.rests(entry, now + rest);
                    }
                }
            }
        }
    }

    fn tell(&self, board: &Board<Errand>) {
        self.due.store(board.len(), Ordering::Relaxed);
        self.flying.store(board.flying(), Ordering::Relaxed);
        *self.oldest.lock().unwrap_or_else(PoisonError::into_inner) = board.oldest();
    }
}
