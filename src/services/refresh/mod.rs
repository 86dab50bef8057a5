//! Refreshing tokens: once, however many ask. The protocol is `crate::refresh`, a machine without a world;
//! here are its driver (`pilot`), who waits for it (`flights`), and what this node knows of itself
//! (`gatekeeper`). A flight is a task of this node; callers only wait for it, each with its own patience, and
//! may hang up at any point.

pub mod admission;
mod ahead;
mod flights;
mod gatekeeper;
mod lanes;
mod pilot;
mod replay;
mod window;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, GrantId, TenantId, TokenSetName};
use crate::domain::provider::{Rate, RefreshClass, RefreshWith};
use crate::ports::entropy::{EntropyError, random};
use crate::ports::outbound::Outbound;
use crate::refresh::steal::Watch;
use crate::refresh::{At, Machine, Plan, Policy};
use crate::store::SealedJournal;

use super::Core;
use super::cached::{Cached, Found};
use super::integrations::{Active, Integrations};
use super::nodes::Nodes;

use admission::Admission;
use ahead::Ahead;
use flights::{Flights, Key, Seat};
use gatekeeper::Gatekeeper;
use lanes::{Lane, Lanes};
use pilot::{Errand, Pilot};
use window::Window;

pub use crate::refresh::{Outcome, Setback, Why};
pub use window::Summary;

/// What an operator decides of docs/refresh.md.
#[derive(Debug, Clone, Copy)]
pub struct RefreshPolicy {
    /// For one call to a provider, everything included.
    pub call_deadline: Duration,
    /// How long a caller waits for a flight before it is told to come again.
    pub patience: Duration,
    /// A forced refresh so soon after the last one calls nobody.
    pub force_interval: Duration,
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// A provider that says "this grant is over" is asked once more after this.
    pub confirm_after: Duration,
    /// An integration whose client the provider refuses rests for so long.
    pub breaker: Duration,
    /// Refreshes per second of a provider whose file names no rate, over all nodes.
    pub rate: u32,
}

impl Default for RefreshPolicy {
    fn default() -> Self {
        let of_flight = Policy::default();
        Self {
            call_deadline: of_flight.call_deadline,
            patience: Duration::from_secs(15),
            force_interval: Duration::from_secs(10),
            backoff_base: of_flight.backoff_base,
            backoff_cap: of_flight.backoff_cap,
            confirm_after: of_flight.confirm_after,
            breaker: of_flight.breaker,
            rate: 100,
        }
    }
}

impl RefreshPolicy {
    /// The numbers of one flight.
    pub fn of_flight(&self) -> Policy {
        let usual = Policy::default();
        Policy {
            call_deadline: self.call_deadline,
            // Call and commit must fit into a lease, with a call's time to spare.
            commit_budget: usual.commit_budget.min(self.call_deadline),
            backoff_base: self.backoff_base,
            backoff_cap: self.backoff_cap,
            confirm_after: self.confirm_after,
            breaker: self.breaker,
            ..usual
        }
    }
}

/// Whose token is to be refreshed, and as of what the asker saw.
#[derive(Debug, Clone)]
pub struct Order {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub grant: GrantId,
    pub set: TokenSetName,
    pub generation: u64,
    pub active: Active,
}

/// What a refresher works with.
pub struct Means {
    pub core: Core,
    pub connections: Arc<Cached<Connection>>,
    pub integrations: Arc<Integrations>,
    pub journal: Arc<SealedJournal>,
    pub outbound: Arc<dyn Outbound>,
    pub nodes: Arc<Nodes>,
    pub runtime: Handle,
}

/// Makes refreshes happen. One per node.
pub struct Refresher {
    means: Means,
    policy: RefreshPolicy,
    /// By the monotonic clock.
    started: Duration,
    flights: Flights,
    lanes: Lanes,
    sightings: Mutex<Watch<Lane>>,
    gate: Gatekeeper,
    ahead: Ahead,
    admission: Arc<Admission>,
    window: Window,
    /// Flights whose answer is in memory alone, because the journal did not take it.
    exposed: AtomicUsize,
    tasks: TaskTracker,
    /// Ends what is still under way when the node's patience has ended.
    end: CancellationToken,
}

impl Refresher {
    pub fn new(means: Means, policy: RefreshPolicy) -> Self {
        let started = means.core.clock.monotonic();
        let shared = means.core.store.is_shared();
        let reconcile = if shared { policy.of_flight().reconcile } else { Duration::ZERO };
        let epoch = means.core.store.epoch() + means.core.standing.fallbacks();
        let gate = Gatekeeper::new(&means.journal.state(), epoch, started + reconcile);
        Self {
            means,
            policy,
            started,
            flights: Flights::default(),
            lanes: Lanes::default(),
            sightings: Mutex::default(),
            gate,
            ahead: Ahead::default(),
            admission: Admission::new(policy.breaker, Rate::new(policy.rate, Duration::from_secs(1))),
            window: Window::default(),
            exposed: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    pub fn policy(&self) -> &RefreshPolicy {
        &self.policy
    }

    /// Who else decides whether a provider is asked.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Flights that have not landed.
    pub fn under_way(&self) -> usize {
        self.tasks.len()
    }

    /// How long answers were in memory alone, since the start.
    pub fn window(&self) -> Summary {
        self.window.summary()
    }

    /// Joins the flight for these tokens, or starts it, and waits for its end with the policy's patience.
    pub async fn refreshed(self: &Arc<Self>, order: Order) -> Outcome {
        let mut landing = match self.take_off(order) {
            Ok(landing) => landing,
            Err(resting) => return resting,
        };
        let patience = self.means.core.clock.sleep(self.policy.patience);
        tokio::select! {
            landed = landing.wait_for(Option::is_some) => match landed {
                Ok(outcome) => outcome.clone().unwrap_or_else(lost),
                Err(_) => lost(),
            },
            () = patience => late(),
        }
    }

    /// Starts the flight, if there is none, and waits for nothing.
    pub fn start(self: &Arc<Self>, order: Order) {
        // Whoever needs the outcome asks for it.
        drop(self.take_off(order));
    }

    /// The record as it was found, or what this node's journal has beyond it.
    pub fn newest(&self, found: Found<Connection>, set: &TokenSetName) -> Found<Connection> {
        self.ahead.or_found(found, set)
    }

    /// What this node's journal has of a connection that the store does not give.
    pub fn held(&self, id: &ConnectionId) -> Option<Found<Connection>> {
        self.ahead.instead(id)
    }

    /// No flight starts from now on; returns when all have landed, or when one call and its commit could have
    /// ended: what the store has not taken by then is in the journal, and the next start commits it.
    pub async fn drain(&self) {
        self.flights.close();
        self.gate.drain();
        self.tasks.close();
        let policy = self.policy.of_flight();
        tokio::select! {
            biased;
            () = self.tasks.wait() => {}
            () = self.means.core.clock.sleep(policy.call_deadline + policy.commit_budget) => {
                let (flights, pending) = (self.tasks.len(), self.means.journal.state().pending);
                tracing::warn!(flights, pending, "stopping while the store does not take what was refreshed; the journal keeps it for the next start");
            }
        }
        let exposed = self.exposed.load(std::sync::atomic::Ordering::SeqCst);
        if exposed > 0 {
            tracing::error!(
                exposed,
                "neither store nor journal took these refreshes; their connections may have to be made anew"
            );
        }
        self.end.cancel();
        self.tasks.wait().await;
        let Summary { count, p50, p99, max } = self.window();
        if count > 0 {
            tracing::info!(count, ?p50, ?p99, ?max, "time from a provider's last byte to the journal's sync");
        }
    }

    fn take_off(self: &Arc<Self>, order: Order) -> Result<flights::Landing, Outcome> {
        // Draining waits for this, from before the doors are seen open.
        let _taking_off = self.tasks.token();
        let key: Key = (order.connection.clone(), order.set.clone(), order.grant.clone(), order.generation);
        self.flights.join(key, self.means.core.clock.monotonic(), |seat| {
            let node = self.clone();
            let flight = async move {
                let end = node.end.clone();
                tokio::select! {
                    biased;
                    () = end.cancelled() => {}
                    () = node.fly(order, seat) => {}
                }
            };
            self.tasks.spawn_on(flight, &self.means.runtime);
        })
    }

    async fn fly(&self, order: Order, seat: Seat) {
        let _lane = self.lanes.enter((order.connection.clone(), order.set.clone())).await;
        let refresh = order.active.provider.refresh();
        let how = (refresh.class(), refresh.with());
        let plan = self.seed().map(|seed| self.plan((order.grant, order.set, order.generation), how, seed));
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                tracing::error!(%error, "a refresh cannot begin");
                seat.tell(lost(), self.means.core.clock.monotonic());
                return seat.land();
            }
        };
        let errand = Errand::of(order.tenant, order.connection, order.active);
        Pilot::new(self, &errand, Machine::fly(plan)).flown(&seat).await;
        seat.land();
    }

    fn plan(
        &self,
        (grant, set, generation): (GrantId, TokenSetName, u64),
        (class, with): (RefreshClass, RefreshWith),
        seed: u128,
    ) -> Plan {
        let (node, process_started, policy) = (self.node().to_owned(), self.started, self.policy.of_flight());
        Plan { node, process_started, grant, set, generation, class, with, seed, policy }
    }

    fn seed(&self) -> Result<u128, EntropyError> {
        random::<16>(self.means.core.entropy.as_ref()).map(u128::from_be_bytes)
    }

    fn at(&self) -> At {
        let clock = &self.means.core.clock;
        At { now: clock.now(), mono: clock.monotonic(), epoch: self.epoch() }
    }

    /// Changes when the store behind this node may have become another one, or lacks what it had.
    fn epoch(&self) -> u64 {
        self.means.core.store.epoch() + self.means.core.standing.fallbacks()
    }

    /// This node's name in leases, intents and receipts.
    fn node(&self) -> &str {
        self.means.nodes.id()
    }
}

/// The flight goes on; this caller's patience ended.
fn late() -> Outcome {
    Outcome::failed(Why::Provider, "still_refreshing", Duration::from_secs(2))
}

/// The flight ended without a word, which only a bug can cause, or this node's end.
fn lost() -> Outcome {
    Outcome::failed(Why::Provider, "refresh_aborted", Duration::from_secs(5))
}
