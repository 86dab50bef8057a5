//! Whether there is anything to send, and whose turn it is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::{Connection, ENDED, Status, TokenSet};
use crate::domain::event::EventKind;
use crate::domain::flight::{Flight, Intent};
use crate::domain::provider::RefreshClass;
use crate::domain::tokens::FailureClass;
use crate::refresh::effect::{Effect, News, Which, Write};
use crate::refresh::gate::{self, GateView};
use crate::refresh::outcome::{Outcome, Setback, Why};
use crate::refresh::plan::{At, Plan};
use crate::refresh::schedule::{self, Doubt};
use crate::refresh::steal::{self, Claim};

use super::{Draft, Goal, Machine, Phase, Records};

/// What the records say to who wants to send.
enum Turn {
    /// Nobody needs to send, or nobody may.
    End(Outcome),
    /// Another flight's request may be under way.
    Busy,
    /// Nobody may send for the time being, and the records do not say why yet.
    Note(Box<Write>, Outcome),
    /// The grant is over, for all that the records say.
    Over(Box<Write>, Outcome),
    Ours(Box<Draft>),
}

impl Machine {
    pub(super) fn prepare(&mut self, at: &At) -> Effect {
        let Some(records) = &self.records else { return self.read(Goal::Prepare) };
        match turn(records, &self.plan, at) {
            Turn::End(outcome) => self.pursue(Goal::Tell(outcome)),
            Turn::Note(write, outcome) => self.commit(Goal::Note(outcome), *write, at),
            Turn::Over(write, outcome) => {
                self.phase = Phase::Ending(write, outcome);
                Effect::Check
            }
            Turn::Ours(draft) if self.named == 0 || at.mono < self.give_up => self.admit(draft),
            Turn::Busy if at.mono + self.plan.policy.look_every <= self.give_up => {
                self.wait(self.plan.policy.look_every, Goal::Prepare)
            }
            Turn::Ours(_) | Turn::Busy => self.pursue(Goal::Tell(elsewhere())),
        }
    }

    /// I6: not while a journal may hold what came after the token that has ended.
    pub(super) fn ending(&mut self, write: Write, outcome: Outcome, view: &GateView, at: &At) -> Effect {
        match gate::may_judge(view, at) {
            Ok(()) => self.commit(Goal::Note(outcome), write, at),
            Err(closed) => self.pursue(Goal::Tell(closed.into())),
        }
    }
}

pub(super) fn elsewhere() -> Outcome {
    Outcome::failed(Why::Provider, "refreshing_elsewhere", Duration::from_secs(1))
}

fn turn(records: &Records, plan: &Plan, at: &At) -> Turn {
    let set = match due(records, plan) {
        Ok(set) => set,
        Err(outcome) => return Turn::End(outcome),
    };
    let claim = records.intent().map(|intent| (intent, steal::claim(intent, &records.found, &set.current, plan, at)));
    let lost = match claim {
        Some((_, Claim::Busy(_))) => return Turn::Busy,
        Some((_, Claim::Away)) => return away(records, plan, at),
        Some((intent, Claim::Free { doubt: true })) => Some(intent),
        Some((_, Claim::Free { doubt: false })) | None => None,
    };
    if plan.with.is_over(&set.current, at.now) {
        return ended(records, plan, lost, at);
    }
    if let Some(setback) = records.flight().and_then(|flight| resting(flight, plan.generation, at.now)) {
        return Turn::End(Outcome::Failed(setback));
    }
    let draft = draft(records, plan, lost);
    let rest = schedule::rest_in_doubt(plan.class, doubt_of(&draft.record), &set.current, at.now);
    if rest.is_zero() {
        return Turn::Ours(Box::new(draft));
    }
    let outcome = Outcome::failed(Why::Provider, "in_doubt", rest);
    match lost {
        Some(_) => Turn::Note(Box::new(doubted(records, plan, draft.record, rest, at)), outcome),
        None => Turn::End(outcome),
    }
}

/// The set that is to be refreshed, if it is.
fn due<'a>(records: &'a Records, plan: &Plan) -> Result<&'a TokenSet, Outcome> {
    let set = records.set(plan).filter(|_| records.is_ours(plan)).ok_or(Outcome::Gone)?;
    if set.generation > plan.generation {
        return Err(records.refreshed());
    }
    if set.generation < plan.generation {
        // A store that lost what this node has seen; journals will lead it forward.
        return Err(Outcome::failed(Why::Store, "store_behind", Duration::from_secs(1)));
    }
    if let Status::NeedsReauth { reason, .. } = &records.connection().status {
        return Err(Outcome::failed(Why::NeedsReauth, reason, Duration::ZERO));
    }
    if !plan.with.is_in(&set.current) || plan.class == RefreshClass::None {
        return Err(Outcome::failed(Why::NeedsReauth, "no_refresh_token", Duration::ZERO));
    }
    Ok(set)
}

/// What an earlier flight of this generation recorded, while its rest lasts.
fn resting(flight: &Flight, generation: u64, now: Timestamp) -> Option<Setback> {
    let backoff = Some(&flight.backoff).filter(|_| flight.generation == generation)?;
    let left = Duration::try_from(backoff.not_before?.duration_since(now)).ok().filter(|left| !left.is_zero())?;
    let why = backoff.class.map_or(Why::Provider, Why::from);
    Some(Setback { why, code: backoff.code.clone(), retry_after: left })
}

/// What is announced on top of what earlier flights of this generation left; `lost` is an intent whose request's
/// end nobody here knows.
fn draft(records: &Records, plan: &Plan, lost: Option<&Intent>) -> Draft {
    let mut record = remembered(records.flight(), plan.generation);
    if let Some(lost) = lost {
        record.doubts = record.doubts.saturating_add(1);
        record.doubted_at.get_or_insert(lost.prepared_at);
        if lost.node != plan.node && !record.owed.contains(&lost.node) {
            record.owed.push(lost.node.clone());
        }
    }
    Draft { which: Which::Current, record }
}

/// What a flight record says of this generation, without lease and intent. Of an older one it says nothing any
/// more, so that one false refusal does not end a grant (I6) and no rest outlives its reason.
pub(super) fn remembered(flight: Option<&Flight>, generation: u64) -> Flight {
    let fence = flight.map_or(0, |flight| flight.fence);
    match flight.filter(|flight| flight.generation == generation) {
        Some(flight) => Flight { lease: None, intent: None, ..flight.clone() },
        None => Flight { generation, fence, ..Flight::default() },
    }
}

pub(super) fn doubt_of(flight: &Flight) -> Doubt {
    Doubt { count: flight.doubts, since: flight.doubted_at }
}

/// A request of an earlier flight is in doubt, and its token must rest.
fn doubted(records: &Records, plan: &Plan, mut record: Flight, rest: Duration, at: &At) -> Write {
    record.backoff.failures = record.backoff.failures.saturating_add(1);
    record.backoff.class = Some(FailureClass::InDoubt);
    "no_answer".clone_into(&mut record.backoff.code);
    record.backoff.not_before = after(at.now, rest);
    in_doubt(records, plan, "no_answer", Some(record), at.now)
}

/// The intent stays, and so does the grant, until its node comes back or nothing is left to be served.
fn away(records: &Records, plan: &Plan, at: &At) -> Turn {
    let outcome = Outcome::failed(Why::Provider, "node_away", plan.policy.confirm_after);
    if matches!(records.connection().status, Status::Active) {
        return Turn::Note(Box::new(in_doubt(records, plan, "node_away", None, at.now)), outcome);
    }
    Turn::End(outcome)
}

/// There is nothing left that could be sent. The grant is over, unless a node that may hold its next token is still
/// waited for.
fn ended(records: &Records, plan: &Plan, lost: Option<&Intent>, at: &At) -> Turn {
    let record = draft(records, plan, lost).record;
    if !steal::all_settled(record.owed.iter().map(String::as_str), &records.found.peers) {
        return away(records, plan, at);
    }
    let after = Connection::clone(records.connection()).needs_reauth(ENDED, at.now);
    let news = vec![News { kind: EventKind::NeedsReauth, detail: Some(ENDED.to_owned()) }];
    let write = records.write(Some(after), Some(record), news);
    Turn::Over(Box::new(write), Outcome::failed(Why::NeedsReauth, ENDED, Duration::ZERO))
}

/// I14: what is not provably alive says so.
pub(super) fn in_doubt(records: &Records, plan: &Plan, reason: &str, flight: Option<Flight>, now: Timestamp) -> Write {
    let before = records.connection();
    let after = Connection::clone(before).refresh_failed(&plan.set, FailureClass::InDoubt, reason, now).in_doubt(reason, now);
    let fell = after.status != before.status;
    let news = if fell { vec![News { kind: EventKind::InDoubt, detail: Some(reason.to_owned()) }] } else { Vec::new() };
    records.write(Some(after), flight, news)
}

pub(super) fn after(now: Timestamp, span: Duration) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from(span).ok()?).ok()
}
