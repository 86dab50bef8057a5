//! The end of a flight that brought no tokens: an alternate is tried, a request in doubt repeated once where that
//! harms nothing, and what is left is remembered: when to try again, what to tell people.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::connection::Connection;
use crate::domain::event::EventKind;
use crate::domain::flight::{Backoff, Flight};
use crate::domain::provider::RefreshClass;
use crate::domain::tokens::{FailureClass, ProviderFailure};
use crate::refresh::effect::{Effect, News, Which, Write};
use crate::refresh::invariants;
use crate::refresh::outcome::{Outcome, Setback, Why};
use crate::refresh::plan::At;
use crate::refresh::{schedule, steal};

use super::prepare::{after, doubt_of, remembered};
use super::{Draft, Goal, Machine, Records, Verdict};

impl Machine {
    pub(super) fn land_failed(&mut self, records: &Records, failure: &ProviderFailure, retry_until: Duration, at: &At) -> Effect {
        let set = records.set(&self.plan).filter(|_| records.is_ours(&self.plan));
        let Some(set) = set else { return self.pursue(Goal::Tell(Outcome::Gone)) };
        let mine = records.intent().is_some_and(|intent| self.is_mine(intent));
        if set.generation != self.plan.generation {
            // The race was lost to tokens that are there.
            return self.release(Some(records.refreshed()), records, at);
        }
        let settled = self.replay.as_ref().is_some_and(|receipt| receipt.settled);
        if !mine || settled {
            // Whoever took over will know better; or an earlier attempt to record this arrived.
            let wait = self.plan.policy.confirm_after;
            let setback = Setback { why: failure.class.into(), code: failure.code.clone(), retry_after: wait };
            return self.pursue(Goal::Tell(Outcome::Failed(setback)));
        }
        let draft = self.draft(records);
        if self.replay.is_none() && !self.kept && at.mono < retry_until {
            if let Some(next) = self.alternate(records, &draft, failure, at.now) {
                return self.admit(Box::new(next));
            }
            if let Some(next) = self.repeated(records, &draft, failure, at.now) {
                return self.wait(self.plan.policy.retry_pause, Goal::Admit(Box::new(next)));
            }
        }
        let write = self.failure_write(records, &draft.record, failure, at.now);
        self.commit(Goal::Commit, write, at)
    }

    /// Lands with the failure in hand, and sends nothing more.
    pub(super) fn land_failure_as_is(&mut self, at: &At) -> Effect {
        if let Some(Verdict::Failed { retry_until, .. }) = &mut self.verdict {
            *retry_until = Duration::ZERO;
        }
        self.land(at)
    }

    /// What the failed request was announced with.
    fn draft(&self, records: &Records) -> Draft {
        let replayed = || Draft { which: Which::Current, record: remembered(records.flight(), self.plan.generation) };
        let fence = records.flight().map_or(0, |flight| flight.fence);
        let draft = self.announced.clone().unwrap_or_else(replayed);
        Draft { record: Flight { fence, ..draft.record }, ..draft }
    }

    /// The current token is refused: a sibling, received for the same parent, may be the one that lives.
    fn alternate(&self, records: &Records, draft: &Draft, failure: &ProviderFailure, now: Timestamp) -> Option<Draft> {
        if failure.class != FailureClass::DeadGrant {
            return None;
        }
        let set = records.set(&self.plan)?;
        let at = untried(records, &draft.record, self)?;
        let mut record = draft.record.clone();
        record.tried.push(set.alternates.get(at)?.obtained_at);
        record.backoff.refused_since.get_or_insert(now);
        Some(Draft { which: Which::Alternate(at), record })
    }

    /// Once, at once, where a second use costs nothing as long as it is made at once (docs/refresh.md, "In doubt").
    fn repeated(&self, records: &Records, draft: &Draft, failure: &ProviderFailure, now: Timestamp) -> Option<Draft> {
        let at_once = matches!(self.plan.class, RefreshClass::RotateGrace(_) | RefreshClass::Unknown);
        if failure.class != FailureClass::InDoubt || !at_once {
            return None;
        }
        let set = records.set(&self.plan)?;
        let record = self.doubted(records, &draft.record);
        let rest = schedule::rest_in_doubt(self.plan.class, doubt_of(&record), &set.current, now);
        (rest.is_zero() && record.doubts == 1).then_some(Draft { which: draft.which, record })
    }

    /// The record with this flight's last request in doubt.
    fn doubted(&self, records: &Records, record: &Flight) -> Flight {
        let prepared = records.intent().map(|intent| intent.prepared_at);
        Flight { doubts: record.doubts.saturating_add(1), doubted_at: record.doubted_at.or(prepared), ..record.clone() }
    }

    fn failure_write(&mut self, records: &Records, announced: &Flight, failure: &ProviderFailure, now: Timestamp) -> Write {
        let in_doubt = failure.class == FailureClass::InDoubt;
        let record = if in_doubt { self.doubted(records, announced) } else { announced.clone() };
        let setback = self.setback(records, &record, failure, now);
        let record = Flight { backoff: backoff(&record.backoff, failure, &setback, now), ..record };
        let over = self.is_over(records, &record, failure, now);
        let before = records.connection();
        let after = self.marked(before, &record, failure, over, now);
        if over {
            invariants::hold(|| invariants::may_bury(before, &record, &self.plan, &records.found.peers));
        }
        let news = event_of(before, &after, announced.backoff.failures);
        let news = news.map(|kind| News { kind, detail: Some(failure.code.clone()) }).into_iter().collect();
        self.setback = Some(Setback { why: if over { Why::NeedsReauth } else { setback.why }, ..setback });
        records.write(Some(after), Some(record), news)
    }

    fn setback(&mut self, records: &Records, record: &Flight, failure: &ProviderFailure, now: Timestamp) -> Setback {
        let die = self.die();
        let wait = records.set(&self.plan).map_or(self.plan.policy.confirm_after, |set| {
            let counted = schedule::Failure {
                class: failure.class,
                retry_after: failure.retry_after,
                failures: record.backoff.failures.saturating_add(1),
                rotation: self.plan.class,
                doubt: doubt_of(record),
                tokens: &set.current,
            };
            schedule::wait(&counted, &self.plan.policy, now, die)
        });
        Setback { why: failure.class.into(), code: failure.code.clone(), retry_after: wait }
    }

    /// I6: a grant is over when the provider said so twice, some time apart, of the newest token, and nobody may
    /// hold a newer one. Providers are known to say so falsely during an outage.
    fn is_over(&self, records: &Records, record: &Flight, failure: &ProviderFailure, now: Timestamp) -> bool {
        let since = record.backoff.refused_since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
        let confirmed = self.refused_finally || since.is_some_and(|since| since >= self.plan.policy.confirm_after);
        failure.class == FailureClass::DeadGrant
            && confirmed
            && untried(records, record, self).is_none()
            && steal::all_settled(record.owed.iter().map(String::as_str), &records.found.peers)
    }

    fn marked(
        &self,
        before: &Arc<Connection>,
        record: &Flight,
        failure: &ProviderFailure,
        over: bool,
        now: Timestamp,
    ) -> Connection {
        let doubtful = record.doubts > 0 && self.plan.class != RefreshClass::Nonrotating;
        let refused = failure.class == FailureClass::DeadGrant;
        let class = if doubtful && !refused { FailureClass::InDoubt } else { failure.class };
        let after = Connection::clone(before).refresh_failed(&self.plan.set, class, &failure.code, now);
        let after = after.retried_at(&self.plan.set, record.backoff.not_before);
        match (over, doubtful || refused) {
            (true, _) => after.needs_reauth(&failure.code, now),
            (false, true) => after.in_doubt(&failure.code, now),
            (false, false) => after,
        }
    }
}

/// The first alternate that was not tried in this generation.
fn untried(records: &Records, record: &Flight, machine: &Machine) -> Option<usize> {
    let set = records.set(&machine.plan)?;
    set.alternates.iter().position(|tokens| machine.plan.with.is_in(tokens) && !record.tried.contains(&tokens.obtained_at))
}

fn backoff(before: &Backoff, failure: &ProviderFailure, setback: &Setback, now: Timestamp) -> Backoff {
    // The integration rests as a whole: its connections need not, and new credentials help at once.
    let own_rest = setback.why != Why::IntegrationBroken;
    let refused = failure.class == FailureClass::DeadGrant;
    Backoff {
        failures: before.failures.saturating_add(1),
        not_before: after(now, setback.retry_after).filter(|_| own_rest),
        class: Some(failure.class),
        code: failure.code.clone(),
        refused_since: if refused { before.refused_since.or(Some(now)) } else { None },
    }
}

fn event_of(before: &Connection, after: &Connection, failures: u32) -> Option<EventKind> {
    use crate::domain::connection::Status;
    match &after.status {
        status if *status == before.status => (failures == 0).then_some(EventKind::RefreshFailed),
        Status::NeedsReauth { .. } => Some(EventKind::NeedsReauth),
        Status::InDoubt { .. } => Some(EventKind::InDoubt),
        Status::Active | Status::Revoked { .. } => None,
    }
}
