//! The provider, for a pilot: whether it may be asked, the one request, and its answer, which goes to the
//! journal before anybody looks into it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::domain::connection::{Connection, Tokens};
use crate::domain::tokens::{FailureClass, TokenAnswer};
use crate::oauth::{token_request, token_response};
use crate::ports::journal::JournalError;
use crate::ports::outbound::CallError;
use crate::refresh::gate::{GateView, Journal};
use crate::refresh::{Event, Setback, Which, Why};
use crate::services::refresh::admission::Asking;
use crate::services::standing::Hold;

use super::{Answered, Pilot};

/// An operator takes his time.
const HELD_RETRY: Duration = Duration::from_secs(30);

impl Pilot<'_> {
    pub(super) async fn admit(&mut self) -> Event {
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

    pub(super) fn view(&self, journal: Journal) -> GateView {
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

    pub(super) async fn send(&mut self, connection: &Connection, which: Which, until: Duration) -> Event {
        let (means, set) = (&self.node.means, &self.machine.plan().set);
        let tokens = connection.set(set).and_then(|set| which.of(set));
        let (Some(active), Some(tokens)) = (&self.errand.active, tokens) else {
            return Event::NotSent { code: "nothing_to_send" };
        };
        let Ok(moment) = means.core.moment() else { return Event::NotSent { code: "no_randomness" } };
        self.metadata = connection.metadata.clone();
        let client = active.client(&self.params).asking(&connection.named_scopes).knowing(&self.metadata).at(moment);
        let call = match token_request::refresh(&active.provider, &client, set, tokens) {
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

    pub(super) async fn journal(&mut self) -> Event {
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

    pub(super) fn judge(&mut self) -> Event {
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
                let is_final = token_response::is_final(provider, &answered.answer);
                tracing::info!(connection = %self.errand.connection, ?class, code = failure.code, status, "refresh failed");
                self.report(Some(class), &failure.code);
                self.expose(false);
                Event::Refused { failure, is_final }
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
    pub(super) async fn revoke_late(&self, mut answer: TokenAnswer) -> Event {
        let (means, errand) = (&self.node.means, self.errand);
        let issued = answer.sets.remove(&self.machine.plan().set);
        let (Some(active), Some(issued)) = (&errand.active, issued) else { return Event::Done };
        let late = Tokens::issued(issued, None, means.core.clock.now(), self.node.node());
        let Ok(moment) = means.core.moment() else { return Event::Done };
        let client = active.client(&self.params).knowing(&self.metadata).at(moment);
        if let Ok(Some(call)) = token_request::revoke(&active.provider, &client, &late) {
            let ended = means.outbound.call(call, self.node.policy.call_deadline).await.is_ok();
            tracing::info!(connection = %errand.connection, ended, "late tokens of a deleted connection");
        }
        Event::Done
    }
}
