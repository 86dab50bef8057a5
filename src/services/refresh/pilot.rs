//! Drives one machine: performs each effect against the store, the journal and the provider, and tells the
//! machine what came of it. It judges nothing by itself.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::call::HttpAnswer;
use crate::domain::connection::{Connection, Tokens};
use crate::domain::flight::Flight;
use crate::domain::ids::{ConnectionId, IntegrationName, ProviderId, TenantId};
use crate::domain::provider::Provider;
use crate::domain::tokens::{FailureClass, TokenAnswer};
use crate::oauth::{token_request, token_response};
use crate::ports::journal::{EntryId, JournalError, Reservation};
use crate::ports::outbound::CallError;
use crate::refresh::gate::{GateView, Journal};
use crate::refresh::{Effect, Event, Found, Machine, Outcome, Peer, RecordWrite, Setback, Which, Why, Write};
use crate::services::cached;
use crate::services::integrations::Active;
use crate::services::standing::Hold;
use crate::store::{Arrival, Change, Sent, Store, StoreError, Stored, keys};

use super::Refresher;
use super::admission::{Asking, Permit};
use super::flights::Seat;
use super::gatekeeper::Line;
use super::lanes::Lane;

/// An operator takes his time.
const HELD_RETRY: Duration = Duration::from_secs(30);

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
    /// The answer in hand is nowhere else.
    exposed: bool,
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
        Self { node, errand, machine, room: None, permit: None, answer: None, entry: None, params, exposed: false }
    }

    /// For an answer that is in the journal.
    pub fn with_entry(mut self, entry: EntryId, arrival: Arrival) -> Self {
        let (answer, started, arrived) = (arrival.answer, arrival.sent.started_at, Duration::ZERO);
        (self.entry, self.answer, self.params) = (Some(entry), Some(Answered { answer, started, arrived }), arrival.sent.params);
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

    /// The flight record first: who has committed since has also written there, so that an announcement fails.
    async fn read(&mut self) -> Option<Event> {
        let (means, (tenant, connection)) = (&self.node.means, (&self.errand.tenant, &self.errand.connection));
        let epoch = self.node.epoch();
        let key = keys::connection(tenant, connection);
        let records = async {
            let flight = means.core.store.read(&keys::flight(tenant, connection, &self.machine.plan().set)).await?;
            Ok((flight, means.connections.reread(connection.as_str(), &key).await?))
        };
        match records.await {
            Ok((flight, Some(found))) => {
                self.params.extend(found.record.params.clone());
                let flight = flight.map(|stored| (stored.value, stored.version));
                Some(Event::Found(Box::new(self.found(epoch, found, flight))))
            }
            Ok((_, None)) => self.absent().await,
            Err(StoreError::Broken(why)) if self.machine.is_replay() => {
                tracing::error!(connection = %connection, why, "a journal entry is kept: its connection cannot be read");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a refresh could not read the store");
                Some(Event::StoreAway)
            }
        }
    }

    /// No grant and no tombstone: a deletion of long ago, or a store that lost more than that. Only of a store
    /// that is known to be the same is an absence believed.
    async fn absent(&self) -> Option<Event> {
        let core = &self.node.means.core;
        let same = core.standing.hold_all().is_none() && matches!(core.store.is_same_instance().await, Ok(Some(true)));
        match same {
            true => Some(Event::Absent),
            false if self.machine.is_replay() => {
                tracing::warn!(connection = %self.errand.connection, "a journal entry is kept: the store lacks its connection");
                None
            }
            false => Some(Event::StoreAway),
        }
    }

    fn found(&self, epoch: u64, read: cached::Found<Connection>, flight: Option<(Flight, u64)>) -> Found {
        let intent = flight.as_ref().and_then(|(flight, _)| flight.intent.as_ref());
        let now = self.node.means.core.clock.monotonic();
        let mut sightings = self.node.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged_for = sightings.observe(self.lane(), intent, now);
        drop(sightings);
        let others = flight.iter().flat_map(|(flight, _)| flight.others(self.node.node()));
        let lease = self.machine.plan().policy.lease();
        let peers: Vec<Peer> = others.map(|other| self.node.means.nodes.peer(other, lease)).collect();
        Found { epoch, connection: read.record, version: read.version, flight, unchanged_for, peers }
    }

    async fn admit(&mut self) -> Event {
        let closed = self.view(Journal::Full);
        let stopped = closed.draining || closed.restored || closed.hold.is_some();
        if stopped || closed.replayed != Some(self.node.epoch()) || closed.journal == Journal::Pending {
            return Event::Gate(closed);
        }
        if let Err(setback) = self.permitted().await {
            return Event::Gate(GateView { hold: Some(setback), ..self.view(Journal::Reserved) });
        }
        let journal = match self.reserve().await {
            Ok(()) => Journal::Reserved,
            Err(JournalError::NearlyFull) => Journal::Full,
            Err(error) => {
                tracing::error!(%error, "no refresh is sent");
                Journal::Broken
            }
        };
        Event::Gate(self.view(journal))
    }

    /// Leave of whatever many connections share, and this flight's turn.
    async fn permitted(&mut self) -> Result<(), Setback> {
        let clock = &self.node.means.core.clock;
        let Some(active) = &self.errand.active else { return Ok(()) };
        let asking = Asking { active, connection: &self.errand.connection, params: &self.params };
        let permit = self.node.admission.may_send(asking, clock.monotonic(), self.node.policy.call_deadline)?;
        if !permit.wait().is_zero() {
            clock.sleep(permit.wait()).await;
        }
        self.permit = Some(permit);
        Ok(())
    }

    async fn reserve(&mut self) -> Result<(), JournalError> {
        if self.room.is_some() {
            return Ok(());
        }
        let patience = self.node.means.core.clock.sleep(self.node.policy.call_deadline);
        let seat = tokio::select! {
            biased;
            seat = self.node.gate.seat() => seat,
            () = patience => None,
        };
        let seat = seat.ok_or(JournalError::NearlyFull)?;
        let sent = self.sent(self.node.means.core.clock.now());
        self.room = Some((self.node.means.journal.reserve(&sent)?, seat));
        Ok(())
    }

    fn view(&self, journal: Journal) -> GateView {
        let known = self.node.gate.known_of(&self.line(), self.entry);
        let hold = self.node.means.core.standing.hold(&self.errand.provider_id, &self.errand.connection);
        let restored = matches!(hold, Some(Hold::Restored { .. }));
        let held = hold.map(|hold| Setback { why: Why::Held, code: hold.code().to_owned(), retry_after: HELD_RETRY });
        GateView {
            draining: known.draining,
            restored,
            barrier_until: known.barrier_until,
            replayed: known.replayed,
            journal: if known.pending { Journal::Pending } else { journal },
            hold: held,
        }
    }

    /// Versions of one store say nothing about another: a write that may have reached another one than it was
    /// derived from counts as one whose answer was lost.
    async fn commit(&self, write: &Write) -> Event {
        if write.epoch != self.node.epoch() {
            return Event::Conflict;
        }
        let committed = async {
            let change = self.change(write)?;
            self.node.means.core.store.commit(change).await
        };
        match committed.await {
            Ok(()) if write.epoch != self.node.epoch() => Event::NotCommitted,
            Ok(()) => {
                if let RecordWrite::Put { version, after, .. } = &write.connection {
                    let (id, after) = (self.errand.connection.as_str(), Connection::clone(after));
                    self.node.means.connections.note(id, after, version + 1).await;
                }
                Event::Committed
            }
            Err(StoreError::Conflict) => Event::Conflict,
            Err(error) => {
                tracing::warn!(%error, "a refresh could not write to the store");
                Event::NotCommitted
            }
        }
    }

    fn change(&self, write: &Write) -> Result<Change, StoreError> {
        let Errand { tenant, connection, .. } = self.errand;
        let mut change = Change::new();
        match &write.connection {
            RecordWrite::Require { version } => _ = change.require(&keys::connection(tenant, connection), *version),
            RecordWrite::Put { before, version, after } => {
                for news in &write.news {
                    self.node.means.core.put_event(&mut change, after, news.kind, news.detail.clone())?;
                }
                let before = Stored { value: Connection::clone(before), version: *version };
                Store::put_connection(&mut change, after, Some(&before))?;
            }
        }
        if let Some(flight) = &write.flight {
            let key = keys::flight(tenant, connection, &self.machine.plan().set);
            change.store(&key, &flight.record, flight.version, None)?;
        }
        Ok(change)
    }

    async fn send(&mut self, connection: &Connection, which: Which, until: Duration) -> Event {
        let (means, set) = (&self.node.means, &self.machine.plan().set);
        let tokens = connection.set(set).and_then(|set| which.of(set));
        let (Some(active), Some(tokens)) = (&self.errand.active, tokens) else {
            return Event::NotSent { code: "nothing_to_send" };
        };
        let call = match token_request::refresh(&active.provider, &active.client(&self.params), set, tokens) {
            Ok(call) => call,
            Err(error) => {
                tracing::warn!(%error, "a refresh cannot be built");
                return Event::NotSent { code: "request_not_possible" };
            }
        };
        let started = means.core.clock.now();
        let left = until.saturating_sub(means.core.clock.monotonic());
        match means.outbound.call(call, left).await {
            Ok(answer) => {
                self.answer = Some(Answered { answer, started, arrived: means.core.clock.monotonic() });
                Event::Answered
            }
            Err(CallError::NotSent(why)) => {
                tracing::warn!(why, "a refresh was not sent");
                self.report(Some(FailureClass::NotSent), "not_reached");
                Event::NotSent { code: "not_reached" }
            }
            Err(CallError::InDoubt(why)) => {
                tracing::warn!(why, "a refresh has no whole answer");
                self.report(Some(FailureClass::InDoubt), "no_answer");
                Event::NoAnswer { code: "no_answer" }
            }
        }
    }

    async fn journal(&mut self) -> Event {
        let (Some((room, _seat)), Some(answered)) = (self.room.take(), &self.answer) else { return Event::NotJournaled };
        let kept = self.node.means.journal.append(room, &self.sent(answered.started), &answered.answer).await;
        match kept {
            Ok(entry) => {
                self.node.window.record(self.node.means.core.clock.monotonic().saturating_sub(answered.arrived));
                self.entry = Some(entry);
                self.node.gate.waits(self.line(), entry);
                Event::Journaled
            }
            Err(error) => {
                tracing::error!(%error, "the journal did not take a refresh");
                self.expose(true);
                Event::NotJournaled
            }
        }
    }

    fn judge(&mut self) -> Event {
        let (Some(provider), Some(answered)) = (&self.errand.provider, &self.answer) else {
            tracing::error!(provider = %self.errand.provider_id, "an answer is kept in the journal: its provider is not in the catalogue");
            return Event::Unreadable { code: "provider_unknown" };
        };
        let set = &self.machine.plan().set;
        let judged =
            catch_unwind(AssertUnwindSafe(|| token_response::judge_refresh(provider, set, &answered.answer, answered.started)));
        match judged {
            Ok(Ok(answer)) => {
                let started = answered.started;
                self.report(None, "");
                Event::Received { answer: Box::new(answer), started }
            }
            Ok(Err(failure)) => {
                let (class, status) = (failure.class, failure.status);
                tracing::info!(connection = %self.errand.connection, ?class, code = failure.code, status, "refresh failed");
                self.report(Some(class), &failure.code);
                self.expose(false);
                Event::Refused { failure, is_final: false }
            }
            Err(_) => {
                tracing::error!(connection = %self.errand.connection, "an answer is kept in the journal: reading it failed");
                Event::Unreadable { code: "answer_not_read" }
            }
        }
    }

    /// What the request says of whatever many connections share.
    fn report(&mut self, class: Option<FailureClass>, code: &str) {
        if let Some(permit) = self.permit.take() {
            permit.answered(class, code, self.node.means.core.clock.monotonic());
        }
    }

    /// The connection was deleted while the provider answered: the late tokens are ended where the provider can.
    async fn revoke_late(&self, mut answer: TokenAnswer) -> Event {
        let (means, errand) = (&self.node.means, self.errand);
        let issued = answer.sets.remove(&self.machine.plan().set);
        let (Some(active), Some(issued)) = (&errand.active, issued) else { return Event::Done };
        let late = Tokens::issued(issued, None, means.core.clock.now(), self.node.node());
        if let Ok(Some(call)) = token_request::revoke(&active.provider, &active.client(&self.params), &late) {
            let ended = means.outbound.call(call, self.node.policy.call_deadline).await.is_ok();
            tracing::info!(connection = %errand.connection, ended, "late tokens of a deleted connection");
        }
        Event::Done
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
