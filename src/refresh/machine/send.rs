//! From the announcement to the provider's answer: lease and intent in one write, the last check, one request,
//! the journal before anything is parsed.

use std::time::Duration;

use jiff::SignedDuration;

use crate::domain::flight::{Flight, Intent, Lease};
use crate::domain::tokens::{FailureClass, ProviderFailure};
use crate::refresh::effect::{Effect, Which, Write};
use crate::refresh::event::Event;
use crate::refresh::gate::{self, GateView};
use crate::refresh::outcome::Outcome;
use crate::refresh::plan::At;
use crate::refresh::{invariants, schedule};

use super::prepare::{after, doubt_of, elsewhere, in_doubt};
use super::{Draft, Goal, Machine, Phase, Records, Sign, Verdict, store_away};

/// A request in doubt is repeated within so long of its end, where a repetition harms nothing.
const RETRY_WITHIN: Duration = Duration::from_secs(2);

impl Machine {
    pub(super) fn admit(&mut self, draft: Box<Draft>) -> Effect {
        self.phase = Phase::Admitting(draft);
        Effect::Admit
    }

    pub(super) fn admitted(&mut self, draft: Draft, view: &GateView, at: &At) -> Effect {
        match gate::admit(view, at) {
            Ok(()) => self.announce(draft, at),
            // A second request must not be sent: the first one's end is what there is to say.
            Err(_) if self.verdict.is_some() => self.land_failure_as_is(at),
            Err(closed) => self.pursue(Goal::Tell(closed.into())),
        }
    }

    /// docs/refresh.md, step 3: of two nodes one may send, and none from a generation that has passed.
    fn announce(&mut self, draft: Draft, at: &At) -> Effect {
        self.named += 1;
        let attempt = self.attempt();
        let Some(records) = &self.records else { return self.read(Goal::Prepare) };
        let plan = &self.plan;
        let fence = draft.record.fence + 1;
        let lease = SignedDuration::try_from(plan.policy.lease()).unwrap_or_default();
        let record = Flight {
            fence,
            lease: Some(Lease { owner: plan.node.clone(), until: at.now + lease }),
            intent: Some(Intent {
                attempt,
                node: plan.node.clone(),
                fence,
                grant_id: plan.grant.clone(),
                from_generation: plan.generation,
                prepared_at: at.now,
                over_at: after(at.now, plan.policy.call_deadline),
                class: plan.class.as_str().to_owned(),
            }),
            ..draft.record.clone()
        };
        if records.found.epoch != at.epoch {
            return self.read(if self.verdict.is_some() { Goal::Commit } else { Goal::Prepare });
        }
        let write = records.write(None, Some(record), Vec::new());
        let sign = Sign { since: at.mono, epoch: at.epoch };
        self.phase = Phase::Announcing(sign, Box::new(draft), Box::new(write.clone()));
        Effect::Announce(write)
    }

    pub(super) fn announced(&mut self, sign: Sign, draft: Draft, write: &Write, event: &Event, at: &At) -> Effect {
        match event {
            Event::Committed => {
                self.wrote(write);
                self.announced = Some(draft);
                self.verdict = None;
                if !self.journaled {
                    return self.check(sign);
                }
                // What the entry says, a failure, is in the record now.
                self.journaled = false;
                self.phase = Phase::Settling(Goal::Check(sign));
                Effect::Settle
            }
            // An earlier request of this flight still is to be accounted for.
            _ if self.verdict.is_some() => self.read(Goal::Commit),
            Event::Conflict if at.mono < self.give_up => self.read(Goal::Prepare),
            Event::Conflict => self.pursue(Goal::Tell(elsewhere())),
            // It may have been written: that nothing was sent is known here alone.
            _ => self.tell(store_away(), Goal::Release(Some(store_away()))),
        }
    }

    pub(super) fn check(&mut self, sign: Sign) -> Effect {
        self.phase = Phase::Checking(sign);
        Effect::Check
    }

    /// docs/refresh.md, step 4: on the monotonic clock, from before the announcement was sent.
    pub(super) fn checked(&mut self, sign: Sign, view: &GateView, at: &At) -> Effect {
        let Some(records) = self.records.clone() else { return self.read(Goal::Release(None)) };
        if let Err(closed) = gate::admit(view, at) {
            return self.release(Some(closed.into()), &records, at);
        }
        let Some(announced) = self.announced.as_ref().filter(|draft| self.may_still_send(draft, &records, sign, at)) else {
            return self.release(None, &records, at);
        };
        let (connection, which) = (records.connection().clone(), announced.which);
        invariants::hold(|| invariants::may_send(&connection, records.flight(), &self.plan, which, at.now));
        self.phase = Phase::Sending;
        Effect::Send { connection, which, until: at.mono + self.plan.policy.call_deadline }
    }

    /// The lease outlives the call and its commit, the store is the one that it was announced to, and a grace window
    /// has not closed meanwhile.
    fn may_still_send(&self, draft: &Draft, records: &Records, sign: Sign, at: &At) -> bool {
        let policy = &self.plan.policy;
        let in_time = at.mono + policy.call_deadline + policy.commit_budget <= sign.since + policy.lease();
        let rest = records
            .set(&self.plan)
            .map(|set| schedule::rest_in_doubt(self.plan.class, doubt_of(&draft.record), &set.current, at.now));
        in_time && at.epoch == sign.epoch && rest.is_some_and(|rest| rest.is_zero())
    }

    /// Lease and intent are taken back, if they are still this flight's. What the announcement knew to be in doubt
    /// stays so, and the connection says it.
    pub(super) fn release(&mut self, outcome: Option<Outcome>, records: &Records, at: &At) -> Effect {
        let mine = records.intent().is_some_and(|intent| self.is_mine(intent));
        match (records.flight().filter(|_| mine), outcome) {
            (Some(flight), outcome) => {
                let record = Flight { lease: None, intent: None, ..flight.clone() };
                let write = match invariants::tells_the_truth(records.connection(), &record, &self.plan) {
                    Ok(()) => records.write(None, Some(record), Vec::new()),
                    Err(_) => in_doubt(records, &self.plan, "no_answer", Some(record), at.now),
                };
                self.commit(Goal::Release(outcome), write, at)
            }
            (None, _) if self.told => self.pursue(Goal::Settle),
            (None, Some(outcome)) => self.pursue(Goal::Tell(outcome)),
            (None, None) => self.read(Goal::Prepare),
        }
    }

    pub(super) fn sent(&mut self, event: &Event, at: &At) -> Effect {
        let (class, code) = match event {
            Event::Answered => {
                self.phase = Phase::Journaling;
                return Effect::Journal;
            }
            Event::NotSent { code } => (FailureClass::NotSent, code),
            Event::NoAnswer { code } => (FailureClass::InDoubt, code),
            // A fault of the driver; what was sent is in doubt.
            _ => (FailureClass::InDoubt, &"no_answer"),
        };
        self.failed(own_failure(class, code), at)
    }

    /// Without a journal the answer in hand goes to the store all the same.
    pub(super) fn written(&mut self, event: &Event) -> Effect {
        self.journaled = matches!(event, Event::Journaled);
        self.judge()
    }

    pub(super) fn judge(&mut self) -> Effect {
        self.phase = Phase::Judging;
        Effect::Judge
    }

    pub(super) fn judged(&mut self, event: Event, at: &At) -> Effect {
        match event {
            Event::Received { answer, started } => {
                self.verdict = Some(Verdict::Received { answer, started });
                self.land(at)
            }
            Event::Refused { failure, is_final } => {
                let current = self.announced.as_ref().is_none_or(|draft| draft.which == Which::Current);
                if current && failure.class == FailureClass::DeadGrant {
                    self.refused_finally = is_final;
                }
                self.failed(failure, at)
            }
            Event::Unreadable { code } => {
                self.kept = true;
                self.failed(own_failure(FailureClass::InDoubt, code), at)
            }
            event => {
                debug_assert!(false, "an answer is judged, and not {event:?}");
                self.kept = true;
                self.failed(own_failure(FailureClass::InDoubt, "not_judged"), at)
            }
        }
    }

    fn failed(&mut self, failure: ProviderFailure, at: &At) -> Effect {
        self.verdict = Some(Verdict::Failed { failure, retry_until: at.mono + RETRY_WITHIN });
        self.land(at)
    }
}

fn own_failure(class: FailureClass, code: &str) -> ProviderFailure {
    ProviderFailure { class, code: code.to_owned(), status: 0, retry_after: None }
}
