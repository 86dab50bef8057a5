//! The end of a flight whose provider answered with tokens: they become durable, judged by consent and
//! generation and never by the lease (docs/refresh.md, step 8).

use jiff::Timestamp;

use crate::domain::connection::{Connection, Rotation, Status, TokenSet, Tokens};
use crate::domain::event::EventKind;
use crate::domain::flight::Flight;
use crate::domain::tokens::TokenAnswer;
use crate::refresh::effect::{Effect, News, RecordWrite, Write};
use crate::refresh::invariants;
use crate::refresh::outcome::Outcome;
use crate::refresh::plan::At;

use super::prepare::remembered;
use super::{Goal, Machine, Phase, Records, Verdict, store_away};

impl Machine {
    /// Makes the verdict durable, by the records as this flight knows them; a conflict shows where it is wrong.
    pub(super) fn land(&mut self, at: &At) -> Effect {
        let Some(records) = self.records.clone() else { return self.read(Goal::Commit) };
        match self.verdict.clone() {
            Some(Verdict::Received { answer, started }) => self.land_received(&records, &answer, started, at),
            Some(Verdict::Failed { failure, retry_until }) => self.land_failed(&records, &failure, retry_until, at),
            None => self.pursue(Goal::Settle),
        }
    }

    fn land_received(&mut self, records: &Records, answer: &TokenAnswer, started: Timestamp, at: &At) -> Effect {
        if records.connection().is_gone() {
            self.phase = Phase::Revoking;
            return Effect::RevokeLate(Box::new(answer.clone()));
        }
        let tokens = self.tokens(records, answer, started);
        let Some(tokens) = tokens.filter(|_| records.is_ours(&self.plan)) else {
            // A new consent came meanwhile. These tokens are never stored, nor ended: that could end the consent.
            return self.pursue(Goal::Tell(Outcome::Gone));
        };
        let before = records.connection();
        let plan = &self.plan;
        let (after, rotation) = Connection::clone(before).rotated(&plan.grant, &plan.set, plan.generation, tokens, at.now);
        match rotation {
            Rotation::OtherGrant => self.pursue(Goal::Tell(Outcome::Gone)),
            Rotation::Known => self.land_known(records, at),
            Rotation::Advanced | Rotation::KeptAside => {
                let write = self.stored(records, after, answer);
                invariants::hold(|| invariants::kept(before, &write, &self.plan));
                self.commit(Goal::Commit, write, at)
            }
        }
    }

    /// The answer for the plan's set; what it leaves out is as it was in the token that was sent.
    fn tokens(&self, records: &Records, answer: &TokenAnswer, started: Timestamp) -> Option<Tokens> {
        let issued = answer.sets.get(&self.plan.set)?.clone();
        let stored = records.set(&self.plan)?;
        let sent = self.announced.as_ref().filter(|_| stored.generation == self.plan.generation);
        let sent = sent.and_then(|draft| draft.which.of(stored)).map(|sent| TokenSet { current: sent.clone(), ..stored.clone() });
        Some(Tokens::issued(issued, Some(sent.as_ref().unwrap_or(stored)), started, &self.plan.node))
    }

    /// These very tokens are stored. If by a commit whose answer was lost, another write behind it makes sure that
    /// both are durable; and an intent that a failover left behind goes.
    fn land_known(&mut self, records: &Records, at: &At) -> Effect {
        let mine = records.intent().is_some_and(|intent| self.is_mine(intent));
        match records.flight().filter(|_| mine || self.uncertain) {
            Some(flight) => {
                let flight = if mine { Flight { lease: None, intent: None, ..flight.clone() } } else { flight.clone() };
                self.commit(Goal::Commit, records.write(None, Some(flight), Vec::new()), at)
            }
            None => self.pursue(Goal::Tell(records.refreshed())),
        }
    }

    fn stored(&self, records: &Records, after: Connection, answer: &TokenAnswer) -> Write {
        let (plan, before) = (&self.plan, records.connection());
        let (old, new) = (before.set(&plan.set), after.set(&plan.set));
        let generation = new.map_or(plan.generation, |set| set.generation);
        let leads = old.is_some_and(|old| generation > old.generation);
        let scopes_changed = leads && old.map(|old| &old.current.scopes) != new.map(|new| &new.current.scopes);
        let mut news = Vec::new();
        if leads {
            news.push(News { kind: EventKind::Refreshed, detail: None });
        }
        if matches!(before.status, Status::InDoubt { .. }) && after.status == Status::Active {
            news.push(News { kind: EventKind::Recovered, detail: None });
        }
        if scopes_changed {
            news.push(News { kind: EventKind::ScopesChanged, detail: None });
        }
        let after = if leads { after.with_metadata(answer.metadata.clone()) } else { after };
        records.write(Some(after), self.flown(records, generation), news)
    }

    /// The flight record once these tokens are stored. Another flight's intent is left alone: that one knows what
    /// it sent.
    fn flown(&self, records: &Records, generation: u64) -> Option<Flight> {
        let flight = records.flight()?;
        let mine = records.intent().is_none_or(|intent| self.is_mine(intent));
        let behind = flight.generation < generation;
        match (mine, behind) {
            (true, _) => Some(remembered(Some(flight), generation)),
            (false, true) => {
                let (lease, intent) = (flight.lease.clone(), flight.intent.clone());
                Some(Flight { lease, intent, ..remembered(Some(flight), generation) })
            }
            (false, false) => None,
        }
    }

    /// After the commit of a verdict.
    pub(super) fn landed_outcome(&self) -> Outcome {
        match (&self.records, &self.setback, &self.verdict) {
            (Some(records), _, Some(Verdict::Received { .. })) => records.refreshed(),
            (_, Some(setback), _) => Outcome::Failed(setback.clone()),
            _ => store_away(),
        }
    }

    /// While the store does not take it (docs/refresh.md, step 9): what is in the journal is durable, and
    /// may be seen.
    pub(super) fn outcome_meanwhile(&self, write: &Write) -> Outcome {
        match (&self.verdict, &write.connection, &self.setback) {
            (Some(Verdict::Received { .. }), RecordWrite::Put { after, .. }, _) if self.journaled => {
                Outcome::Refreshed { connection: after.clone(), version: None }
            }
            (Some(Verdict::Failed { .. }), _, Some(setback)) => Outcome::Failed(setback.clone()),
            _ => store_away(),
        }
    }
}
