//! Drives one machine: performs each effect against the store (`records`), the journal and the provider
//! (`provider`), and tells the machine what came of it. It judges nothing by itself.

mod provider;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use serde_json::Value;

use crate::domain::call::HttpAnswer;
use crate::domain::ids::{ConnectionId, IntegrationName, ProviderId, TenantId};
use crate::domain::provider::Provider;
use crate::ports::journal::{EntryId, Reservation};
use crate::refresh::gate::Journal;
use crate::refresh::{Effect, Event, Machine, Outcome};
use crate::services::integrations::Active;
use crate::store::{Arrival, Sent};

use super::Refresher;
use super::admission::Permit;
use super::flights::Seat;
use super::gatekeeper::Line;
use super::lanes::Lane;

/// Whose connection it is, and with what its provider is asked and understood.
pub(super) struct Errand {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub provider_id: ProviderId,
    pub integration: IntegrationName,
    /// `None` when there is no such provider any more.
    pub provider: Option<Arc<Provider>>,
    /// `None` for a replay, which sends nothing.
    pub active: Option<Active>,
}

impl Errand {
    pub fn of(tenant: TenantId, connection: ConnectionId, active: Active) -> Self {
        let (provider_id, integration) = (active.provider.id().clone(), active.integration.name.clone());
        Self { tenant, connection, provider_id, integration, provider: Some(active.provider.clone()), active: Some(active) }
    }
}

pub(super) struct Pilot<'a> {
    node: &'a Refresher,
    errand: &'a Errand,
    machine: Machine,
    /// What the next answer needs: room in the journal, and a seat among those who may have some.
    room: Option<(Reservation, OwnedSemaphorePermit)>,
    /// Leave for the next request.
    permit: Option<Permit>,
    answer: Option<Answered>,
    /// The journal's entry that this flight is answerable for.
    entry: Option<EntryId>,
    /// The params with which this grant was made; the integration's stand in for what it lacks.
    params: BTreeMap<String, String>,
    /// What was known of the connection when the token was sent, for a provider that wants it with the token.
    metadata: BTreeMap<String, Value>,
    /// The answer in hand is nowhere else.
    exposed: bool,
    /// For an answer that is in the journal: nothing is sent, and nobody waits.
    replays: bool,
}

struct Answered {
    answer: HttpAnswer,
    started: Timestamp,
    /// Its last byte, by the monotonic clock.
    arrived: Duration,
}

impl<'a> Pilot<'a> {
    pub fn new(node: &'a Refresher, errand: &'a Errand, machine: Machine) -> Self {
        let params = errand.active.as_ref().map(|active| active.integration.params.clone()).unwrap_or_default();
        Self {
            node,
            errand,
            machine,
            room: None,
            permit: None,
            answer: None,
            entry: None,
            params,
            metadata: BTreeMap::new(),
            exposed: false,
            replays: false,
        }
    }

    /// For an answer that is in the journal.
    pub fn with_entry(mut self, entry: EntryId, arrival: Arrival) -> Self {
        let (answer, started, arrived) = (arrival.answer, arrival.sent.started_at, Duration::ZERO);
        (self.entry, self.answer, self.params) = (Some(entry), Some(Answered { answer, started, arrived }), arrival.sent.params);
        self.replays = true;
        self
    }

    /// To the landing, telling whoever has this seat's outcome.
    pub async fn flown(mut self, seat: &Seat) {
        self.fly(Some(seat)).await;
    }

    /// A replay, for which nobody waits.
    pub async fn replayed(mut self) {
        self.fly(None).await;
    }

    async fn fly(&mut self, seat: Option<&Seat>) {
        let mut event = Event::Begin;
        loop {
            let effect = self.machine.step(event, self.node.at());
            event = match effect {
                Effect::Land => return,
                Effect::Tell(outcome) => {
                    self.note(&outcome);
                    if let Some(seat) = seat {
                        seat.tell(outcome, self.node.means.core.clock.monotonic());
                    }
                    Event::Done
                }
                effect => match self.perform(effect).await {
                    Some(event) => event,
                    None => return,
                },
            };
        }
    }

    /// `None` when this machine cannot go on, and what it is for stays in the journal.
    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::Read => return self.read().await,
            Effect::Admit => self.admit().await,
            Effect::Announce(write) | Effect::Commit(write) => self.commit(&write).await,
            Effect::Check => Event::Gate(self.view(if self.room.is_some() { Journal::Reserved } else { Journal::Full })),
            Effect::Send { connection, which, until } => self.send(&connection, which, until).await,
            Effect::Journal => self.journal().await,
            Effect::Judge => self.judge(),
            Effect::RevokeLate(answer) => self.revoke_late(*answer).await,
            Effect::Settle => self.settle(),
            Effect::Wait(span) => {
                self.node.means.core.clock.sleep(span).await;
                Event::Woken
            }
            Effect::Tell(_) | Effect::Land => Event::Done,
        })
    }

    fn settle(&mut self) -> Event {
        if let Some(entry) = self.entry.take() {
            self.node.means.journal.settle(entry);
            self.node.gate.settled(&self.line(), entry);
        }
        Event::Done
    }

    /// What this node has beyond the store is what it answers with; until the store has it, too.
    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Refreshed { connection, version: None } => self.node.ahead.put(self.lane(), connection.clone()),
            _ => {
                self.node.ahead.remove(&self.lane());
                let in_store = matches!(outcome, Outcome::Refreshed { .. } | Outcome::Gone);
                self.expose(self.exposed && !in_store);
            }
        }
    }

    fn expose(&mut self, exposed: bool) {
        match (std::mem::replace(&mut self.exposed, exposed), exposed) {
            (false, true) => _ = self.node.exposed.fetch_add(1, Ordering::SeqCst),
            (true, false) => _ = self.node.exposed.fetch_sub(1, Ordering::SeqCst),
            _ => {}
        }
    }

    fn sent(&self, started_at: Timestamp) -> Sent {
        let (errand, plan) = (self.errand, self.machine.plan());
        Sent {
            tenant: errand.tenant.clone(),
            connection: errand.connection.clone(),
            set: plan.set.clone(),
            grant: plan.grant.clone(),
            from_generation: plan.generation,
            attempt: self.machine.attempt(),
            provider: errand.provider_id.clone(),
            integration: errand.integration.clone(),
            params: self.params.clone(),
            started_at,
        }
    }

    fn lane(&self) -> Lane {
        (self.errand.connection.clone(), self.machine.plan().set.clone())
    }

    fn line(&self) -> Line {
        let plan = self.machine.plan();
        (self.errand.connection.clone(), plan.set.clone(), plan.grant.clone())
    }
}
