//! Refreshing tokens: once, however many ask. A flight is a task of this node; callers only wait for
//! it, each with its own patience, and may hang up at any point.

pub mod admission;
mod flight;
mod flights;
mod landing;
mod outcome;
mod schedule;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, GrantId, IntegrationId, TenantId, TokenSetName};
use crate::ports::outbound::Outbound;

use super::Core;
use super::cached::Cached;
use super::integrations::Active;

use flights::{Flights, Key};
pub use outcome::{Outcome, Setback, Why};

/// The numbers of docs/refresh.md.
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
        Self {
            call_deadline: Duration::from_secs(10),
            patience: Duration::from_secs(15),
            force_interval: Duration::from_secs(10),
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(15 * 60),
            confirm_after: Duration::from_secs(30),
            breaker: Duration::from_secs(30),
            rate: 100,
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

/// Makes refreshes happen. One per node.
pub struct Refresher {
    core: Core,
    connections: Arc<Cached<Connection>>,
    outbound: Arc<dyn Outbound>,
    policy: RefreshPolicy,
    /// This node's name in leases, intents and receipts.
    node: String,
    flights: Flights,
    breakers: Mutex<HashMap<IntegrationId, Tripped>>,
    runtime: Handle,
    tasks: TaskTracker,
}

/// A client that its provider refused.
#[derive(Clone)]
struct Tripped {
    until: Duration,
    /// New credentials end the rest at once.
    credentials_of: Timestamp,
    setback: Setback,
}

impl Refresher {
    pub fn new(
        core: Core,
        connections: Arc<Cached<Connection>>,
        outbound: Arc<dyn Outbound>,
        policy: RefreshPolicy,
        node: String,
        runtime: Handle,
    ) -> Self {
        let (flights, breakers, tasks) = (Flights::default(), Mutex::default(), TaskTracker::new());
        Self { core, connections, outbound, policy, node, flights, breakers, runtime, tasks }
    }

    pub fn policy(&self) -> &RefreshPolicy {
        &self.policy
    }

    /// Joins the flight for these tokens, or starts it, and waits for its end with the policy's patience.
    pub async fn refreshed(self: &Arc<Self>, order: Order) -> Outcome {
        let mut landing = match self.take_off(order) {
            Ok(landing) => landing,
            Err(resting) => return resting,
        };
        let patience = self.core.clock.sleep(self.policy.patience);
        tokio::select! {
            landed = landing.wait_for(Option::is_some) => match landed {
                Ok(outcome) => outcome.clone().unwrap_or_else(Outcome::lost),
                Err(_) => Outcome::lost(),
            },
            () = patience => Outcome::late(),
        }
    }

    /// Starts the flight, if there is none, and waits for nothing.
    pub fn start(self: &Arc<Self>, order: Order) {
        // Whoever needs the outcome asks for it.
        drop(self.take_off(order));
    }

    /// No flight starts from now on; returns when all have landed. A store that stays away ends the
    /// wait all the same, when the last lease has run out.
    pub async fn drain(&self) {
        self.flights.close();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            () = self.core.clock.sleep(self.policy.call_deadline * flight::LEASE_DEADLINES) => {
                tracing::error!(flights = self.tasks.len(), "stopping with refreshes under way; their connections may have to be made anew");
            }
        }
    }

    fn take_off(self: &Arc<Self>, order: Order) -> Result<flights::Landing, Outcome> {
        // Draining waits for this, from before the doors are seen open.
        let _taking_off = self.tasks.token();
        let key: Key = (order.connection.clone(), order.set.clone(), order.grant.clone(), order.generation);
        self.flights.join(key, self.core.clock.monotonic(), |seat| {
            let node = self.clone();
            self.tasks.spawn_on(
                async move {
                    let outcome = flight::fly(&node, &order).await;
                    let rest = outcome.rest();
                    seat.land(outcome, node.core.clock.monotonic() + rest);
                },
                &self.runtime,
            );
        })
    }

    /// Why this integration rests at the moment, if it does.
    fn tripped(&self, active: &Active) -> Option<Setback> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let tripped = breakers.get(&active.integration.id)?;
        let now = self.core.clock.monotonic();
        if now >= tripped.until || tripped.credentials_of != active.integration.updated_at {
            breakers.remove(&active.integration.id);
            return None;
        }
        Some(Setback { retry_after: tripped.until - now, ..tripped.setback.clone() })
    }

    fn trip(&self, active: &Active, setback: Setback) {
        let until = self.core.clock.monotonic() + self.policy.breaker;
        let tripped = Tripped { until, credentials_of: active.integration.updated_at, setback };
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner).insert(active.integration.id.clone(), tripped);
    }
}
