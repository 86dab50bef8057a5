//! One flight: read, announce, check, send once, journal, judge, commit by generation. A sequential program
//! written as a state machine, so that a model can fork it at any point.

mod failure;
mod landing;
mod prepare;
mod records;
mod send;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::flight::{Flight, Intent};
use crate::domain::tokens::{ProviderFailure, TokenAnswer};

use super::effect::{Effect, Which, Write};
use super::event::Event;
use super::outcome::{Outcome, Setback, Why};
use super::plan::{At, Plan, Receipt};

use records::Records;

/// See the module [`super`] for how it is driven.
#[derive(Debug, Clone)]
pub struct Machine {
    plan: Arc<Plan>,
    phase: Phase,
    /// What this flight's attempts are called: its seed and a number; of a replay the entry's name alone.
    name: String,
    /// How many attempts were named, and how many dice thrown.
    named: u32,
    thrown: u64,
    replay: Option<Receipt>,
    /// A flight that has not announced anything by then lands.
    give_up: Duration,
    records: Option<Records>,
    /// The flight record with which the last request was sent, and which token that was.
    announced: Option<Draft>,
    /// What the provider made of the last request.
    verdict: Option<Verdict>,
    /// The provider's file says that the refusal of the current token needs no confirmation.
    refused_finally: bool,
    /// There is a journal entry; and whether it is kept for a later program.
    journaled: bool,
    kept: bool,
    /// A commit's answer was lost: what is found in the store need not be durable.
    uncertain: bool,
    /// What a failure that is being recorded comes to.
    setback: Option<Setback>,
    told: bool,
    pause: Duration,
}

/// What is awaited.
#[derive(Debug, Clone)]
enum Phase {
    Fresh,
    Reading(Goal),
    Admitting(Box<Draft>),
    /// The gate is asked whether this verdict may be given.
    Ending(Box<Write>, Outcome),
    Announcing(Sign, Box<Draft>, Box<Write>),
    Checking(Sign),
    Sending,
    Journaling,
    Judging,
    Committing(Goal, Box<Write>),
    Waiting(Goal),
    Telling(Goal),
    Revoking,
    Settling(Goal),
    Landed,
}

/// What to do when what is awaited has come.
#[derive(Debug, Clone)]
enum Goal {
    /// Find out whether to send.
    Prepare,
    /// Announce this.
    Admit(Box<Draft>),
    /// The last check before sending.
    Check(Sign),
    /// Take the announcement back, then give this outcome; without one, prepare anew.
    Release(Option<Outcome>),
    /// Write down what was found, then give this outcome.
    Note(Outcome),
    /// Make the verdict durable.
    Commit,
    /// Give this outcome and land.
    Tell(Outcome),
    /// The journal's entry has served.
    Settle,
    Land,
}

/// When the announcement began, and in which epoch: what the lease is worth.
#[derive(Debug, Clone, Copy)]
struct Sign {
    since: Duration,
    epoch: u64,
}

/// What is to be announced: the flight record without lease and intent, and the token that is to be sent.
#[derive(Debug, Clone)]
struct Draft {
    which: Which,
    record: Flight,
}

#[derive(Debug, Clone)]
enum Verdict {
    Received {
        answer: Box<TokenAnswer>,
        started: Timestamp,
    },
    /// A request in doubt may be repeated until then.
    Failed {
        failure: ProviderFailure,
        retry_until: Duration,
    },
}

impl Machine {
    pub fn fly(plan: Plan) -> Self {
        let name = format!("{:032x}", plan.seed);
        Self::new(plan, name, None)
    }

    pub fn replay(plan: Plan, receipt: Receipt) -> Self {
        // The process that wrote the entry may have committed it, and have died before it knew.
        let uncertain = !receipt.settled;
        Self { journaled: true, uncertain, ..Self::new(plan, receipt.attempt.clone(), Some(receipt)) }
    }

    fn new(plan: Plan, name: String, replay: Option<Receipt>) -> Self {
        Self {
            pause: plan.policy.commit_pause_min,
            plan: Arc::new(plan),
            phase: Phase::Fresh,
            name,
            named: 0,
            thrown: 0,
            replay,
            give_up: Duration::ZERO,
            records: None,
            announced: None,
            verdict: None,
            refused_finally: false,
            journaled: false,
            kept: false,
            uncertain: false,
            setback: None,
            told: false,
        }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The name of the attempt under way, which its journal entry must carry ([`Receipt::attempt`]).
    pub fn attempt(&self) -> String {
        if self.replay.is_some() { self.name.clone() } else { format!("{}-{}", self.name, self.named) }
    }

    /// What this machine does next, now that `event` has come. An event that does not answer the last effect is a
    /// fault of the driver, and lands the flight.
    pub fn step(&mut self, event: Event, at: At) -> Effect {
        let phase = std::mem::replace(&mut self.phase, Phase::Landed);
        match (phase, event) {
            (Phase::Fresh, Event::Begin) => self.begin(&at),
            (Phase::Reading(goal), Event::Found(found)) => self.found(goal, Records::new(found), &at),
            (Phase::Reading(goal), Event::Absent) => self.absent(goal),
            (Phase::Reading(goal), Event::StoreAway) => self.not_read(goal),
            (Phase::Admitting(draft), Event::Gate(view)) => self.admitted(*draft, &view, &at),
            (Phase::Ending(write, outcome), Event::Gate(view)) => self.ending(*write, outcome, &view, &at),
            (Phase::Announcing(sign, draft, write), event) => self.announced(sign, *draft, &write, &event, &at),
            (Phase::Checking(sign), Event::Gate(view)) => self.checked(sign, &view, &at),
            (Phase::Sending, event) => self.sent(&event, &at),
            (Phase::Journaling, event) => self.written(&event),
            (Phase::Judging, event) => self.judged(event, &at),
            (Phase::Committing(goal, write), event) => self.committed(goal, &write, &event, &at),
            (Phase::Waiting(goal), Event::Woken) | (Phase::Telling(goal) | Phase::Settling(goal), Event::Done) => {
                self.pursue(goal)
            }
            (Phase::Revoking, Event::Done) => self.pursue(Goal::Tell(Outcome::Gone)),
            (phase, event) => {
                debug_assert!(false, "{phase:?} does not await {event:?}");
                Effect::Land
            }
        }
    }

    fn begin(&mut self, at: &At) -> Effect {
        self.give_up = at.mono + self.plan.policy.call_deadline;
        if self.replay.is_some() { self.judge() } else { self.read(Goal::Prepare) }
    }

    fn pursue(&mut self, goal: Goal) -> Effect {
        match goal {
            Goal::Prepare | Goal::Release(_) | Goal::Note(_) | Goal::Commit => self.read(goal),
            Goal::Admit(draft) => self.admit(draft),
            Goal::Check(sign) => self.check(sign),
            Goal::Tell(outcome) => self.tell(outcome, Goal::Settle),
            Goal::Settle if self.journaled && !self.kept => {
                self.journaled = false;
                self.phase = Phase::Settling(Goal::Land);
                Effect::Settle
            }
            Goal::Settle | Goal::Land => {
                debug_assert!(self.told, "nobody lands without a word");
                self.phase = Phase::Landed;
                Effect::Land
            }
        }
    }

    fn read(&mut self, goal: Goal) -> Effect {
        self.records = None;
        self.phase = Phase::Reading(goal);
        Effect::Read
    }

    fn found(&mut self, goal: Goal, records: Records, at: &At) -> Effect {
        match goal {
            Goal::Release(outcome) => self.release(outcome, &records, at),
            goal => {
                self.records = Some(records);
                if matches!(goal, Goal::Commit) { self.land(at) } else { self.prepare(at) }
            }
        }
    }

    /// There is no connection, and no tombstone of one.
    fn absent(&mut self, goal: Goal) -> Effect {
        self.records = None;
        match goal {
            // Somebody has been told already, when there was still one.
            Goal::Release(Some(outcome)) => self.tell(outcome, Goal::Settle),
            _ => self.tell(Outcome::Gone, Goal::Settle),
        }
    }

    fn not_read(&mut self, goal: Goal) -> Effect {
        match goal {
            // Nothing was announced, so that nothing is left to be done.
            Goal::Prepare if self.named == 0 => self.tell(store_away(), Goal::Settle),
            goal if !self.told => self.tell(store_away(), goal),
            goal => self.pause(goal),
        }
    }

    fn tell(&mut self, outcome: Outcome, goal: Goal) -> Effect {
        self.told = true;
        self.phase = Phase::Telling(goal);
        Effect::Tell(outcome)
    }

    fn wait(&mut self, span: Duration, goal: Goal) -> Effect {
        self.phase = Phase::Waiting(goal);
        Effect::Wait(span)
    }

    /// Between two tries of what must be done some day.
    fn pause(&mut self, goal: Goal) -> Effect {
        let span = self.pause;
        self.pause = (span * 2).min(self.plan.policy.commit_pause_max);
        self.wait(span, goal)
    }

    fn commit(&mut self, goal: Goal, write: Write, at: &At) -> Effect {
        if write.epoch != at.epoch {
            return self.read(if matches!(goal, Goal::Note(_)) { Goal::Prepare } else { goal });
        }
        self.phase = Phase::Committing(goal, Box::new(write.clone()));
        Effect::Commit(write)
    }

    fn committed(&mut self, goal: Goal, write: &Write, event: &Event, at: &At) -> Effect {
        match (event, goal) {
            (Event::Committed, goal) => {
                self.pause = self.plan.policy.commit_pause_min;
                self.wrote(write);
                self.after_commit(goal)
            }
            (Event::Conflict, Goal::Note(_)) => self.read(Goal::Prepare),
            (Event::Conflict, goal) => self.read(goal),
            (_, goal) => self.not_committed(goal, write, at),
        }
    }

    fn after_commit(&mut self, goal: Goal) -> Effect {
        match goal {
            Goal::Release(None) => self.read(Goal::Prepare),
            Goal::Release(Some(_)) if self.told => self.pursue(Goal::Settle),
            Goal::Release(Some(outcome)) | Goal::Note(outcome) => self.pursue(Goal::Tell(outcome)),
            _ => {
                let outcome = self.landed_outcome();
                self.pursue(Goal::Tell(outcome))
            }
        }
    }

    fn not_committed(&mut self, goal: Goal, write: &Write, at: &At) -> Effect {
        self.uncertain = true;
        match goal {
            // Nothing hangs on it: the next flight finds the same.
            Goal::Note(outcome) => self.tell(outcome, Goal::Settle),
            // Another store may not have the intent behind which these tokens are waited for: there is no time to lose.
            goal if self.told && write.epoch != at.epoch => self.read(goal),
            goal if self.told => self.pause(goal),
            goal => {
                let outcome = self.outcome_meanwhile(write);
                self.tell(outcome, goal)
            }
        }
    }

    /// The records now are what was written.
    fn wrote(&mut self, write: &Write) {
        if let Some(records) = &mut self.records {
            records.wrote(write);
        }
    }

    fn die(&mut self) -> u64 {
        self.thrown += 1;
        // One round of splitmix64 over the seed's halves.
        let [low, high] = [self.plan.seed as u64, (self.plan.seed >> 64) as u64];
        let mut mixed = low ^ high.rotate_left(32) ^ self.thrown.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Whether this flight, by this or an earlier attempt, wrote the intent.
    fn is_mine(&self, intent: &Intent) -> bool {
        match self.replay {
            Some(_) => intent.attempt == self.name,
            None => intent.attempt.starts_with(&self.name),
        }
    }
}

fn store_away() -> Outcome {
    Outcome::failed(Why::Store, "store_unavailable", Duration::from_secs(1))
}
