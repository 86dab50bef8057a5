//! A node as it is: what is in its memory and on its disk, and what a crash, a restart, a pause makes of it. What its
//! machine does is in `drive`, what it is told in `facts`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use claviger::refresh::steal::Watch;
use claviger::refresh::{Effect, Machine, Policy};

use crate::provider::Answer;
use crate::records;
use crate::world::World;

/// Settled entries that the journal still has room for.
pub const RECENT: usize = 3;

/// The numbers of the product, with fewer looks at what does not change.
pub const POLICY: Policy = Policy {
    call_deadline: Duration::from_secs(10),
    commit_budget: Duration::from_secs(5),
    look_every: Duration::from_secs(3),
    retry_pause: Duration::ZERO,
    commit_pause_min: Duration::from_secs(1),
    commit_pause_max: Duration::from_secs(2),
    backoff_base: Duration::from_secs(1),
    backoff_cap: Duration::from_secs(15 * 60),
    confirm_after: Duration::from_secs(30),
    breaker: Duration::from_secs(30),
    gone_after: Duration::from_secs(5 * 60),
    reconcile: Duration::from_secs(3),
};

#[derive(Debug, Clone)]
pub struct Node {
    pub at: usize,
    pub skew: i64,
    pub alive: bool,
    pub paused: bool,
    pub forgotten: bool,
    pub pc: Pc,
    pub machine: Option<Arc<Machine>>,
    /// Everything that this machine was told: with its plan it determines the machine.
    pub trace: u64,
    pub journal: Arc<Vec<Entry>>,
    /// The present machine's own entry.
    pub entry: Option<usize>,
    /// The answer in memory, and when its request began.
    pub answer: Option<(Answer, i64)>,
    pub job: Job,
    pub epoch: u64,
    pub barrier_until: u64,
    pub replayed: Option<u64>,
    pub replay_next: usize,
    pub watch: Arc<Watch<()>>,
    pub sighted: (u64, u64),
    pub beat_at: u64,
    pub steady_since: u64,
    /// Since when this process has watched the others without a pause.
    pub watching_since: u64,
    pub started: u64,
    /// When its machine last read the records, and last announced a request.
    pub read_at: u64,
    pub announced_at: u64,
    /// It is about to make the last check.
    pub checking: bool,
    /// When this node last read, the other one was down or paused.
    pub other_away: bool,
}

#[derive(Debug, Clone)]
pub enum Pc {
    Idle,
    /// The effect is about to be carried out.
    Pending(Arc<Effect>),
    /// Written by the primary; the answer waits for the replica. `known` after a failover: whether it survived.
    Acking {
        write: u64,
        known: Option<bool>,
    },
    Sent {
        token: u32,
        until: u64,
        answer: Option<Answer>,
        started: i64,
    },
    Sleeping {
        until: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    Flight,
    Replay,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    pub attempt: Arc<str>,
    pub grant: u8,
    pub from: u64,
    pub answer: Answer,
    pub started: i64,
    pub settled: bool,
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.alive, self.paused, self.forgotten, self.trace, &self.journal, self.entry, self.answer).hash(state);
        (self.job, self.epoch, self.barrier_until, self.replayed, self.replay_next, self.sighted).hash(state);
        (self.beat_at, self.steady_since, self.watching_since, self.started, self.other_away).hash(state);
        match &self.pc {
            Pc::Idle => 0_u64.hash(state),
            // What is pending follows from the trace.
            Pc::Pending(_) => 1_u64.hash(state),
            Pc::Acking { write, known } => (2_u64, *write, *known).hash(state),
            Pc::Sent { token, until, answer, started } => (3_u64, *token, *until, *answer, *started).hash(state),
            Pc::Sleeping { until } => (4_u64, *until).hash(state),
        }
    }
}

/// The monotonic clock of every node, which has run for an hour when the model begins.
pub fn mono(now: u64) -> Duration {
    Duration::from_millis(3_600_000 + now)
}

pub fn is_of_store(effect: &Effect) -> bool {
    matches!(effect, Effect::Read | Effect::Announce(_) | Effect::Commit(_))
}

impl Node {
    pub fn new(at: usize, skew: i64) -> Self {
        Self {
            at,
            skew,
            alive: true,
            paused: false,
            forgotten: false,
            pc: Pc::Idle,
            machine: None,
            trace: 0,
            journal: Arc::default(),
            entry: None,
            answer: None,
            job: Job::Flight,
            epoch: 0,
            barrier_until: 0,
            replayed: Some(0),
            replay_next: 0,
            watch: Arc::default(),
            sighted: (0, 0),
            beat_at: 0,
            steady_since: 0,
            watching_since: 0,
            started: 0,
            read_at: 0,
            announced_at: 0,
            other_away: false,
            checking: false,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.machine.is_some()
    }

    /// It is up, and neither has a request under way nor an answer that is not on its disk.
    pub fn is_between_requests(&self) -> bool {
        let journaling = matches!(&self.pc, Pc::Pending(effect) if matches!(**effect, Effect::Journal));
        self.alive && !self.paused && !journaling && !matches!(self.pc, Pc::Sent { .. })
    }

    pub fn must_replay(&self, world: &World) -> bool {
        self.epoch != world.epoch || self.replayed != Some(self.epoch)
    }

    pub fn may_ack(&self, world: &World) -> bool {
        match self.pc {
            Pc::Acking { write, known } => known.is_some() || world.replica.writes >= write,
            _ => false,
        }
    }

    /// It has an answer that is nowhere else.
    pub fn holds_answer(&self, token: u32) -> bool {
        let in_memory = |answer: &Answer| matches!(answer, Answer::Tokens { refresh: Some(rt), .. } if *rt == token);
        let socket = matches!(&self.pc, Pc::Sent { answer: Some(answer), .. } if in_memory(answer));
        self.alive && (socket || self.answer.as_ref().is_some_and(|(answer, _)| in_memory(answer)))
    }

    pub fn has_journaled(&self, token: u32) -> bool {
        let has = |entry: &Entry| matches!(entry.answer, Answer::Tokens { refresh: Some(rt), .. } if rt == token);
        self.journal.iter().any(has)
    }

    /// It has it in its journal, and will replay it.
    pub fn will_replay(&self, token: u32, epoch: u64) -> bool {
        let due = !self.alive || self.replayed != Some(epoch);
        let has = |entry: &Entry| matches!(entry.answer, Answer::Tokens { refresh: Some(rt), .. } if rt == token);
        self.journal.iter().any(|entry| has(entry) && (due || !entry.settled))
    }

    pub fn has_pending(&self) -> bool {
        self.journal.iter().any(|entry| !entry.settled)
    }

    /// The answer with this access token is in its journal.
    pub fn has_issued(&self, token: u32) -> bool {
        self.journal.iter().any(|entry| matches!(entry.answer, Answer::Tokens { access, .. } if access == token))
    }

    /// Its journal has tokens of a generation above this one.
    pub fn has_beyond(&self, grant: u8, generation: u64) -> bool {
        let beyond = |entry: &Entry| entry.grant == grant && entry.from >= generation;
        self.journal.iter().any(|entry| beyond(entry) && matches!(entry.answer, Answer::Tokens { .. }))
    }

    /// What was in memory is gone; the disk stays.
    pub fn die(&mut self) {
        let journal = std::mem::take(&mut self.journal);
        *self = Self { journal, alive: false, forgotten: self.forgotten, ..Self::new(self.at, self.skew) };
    }

    pub fn wall(&self, now: u64) -> Timestamp {
        records::wall(now, self.skew)
    }

    pub fn notice(&mut self, epoch: u64, now: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.barrier_until = now + POLICY.reconcile.as_millis() as u64;
            (self.replayed, self.replay_next) = (None, 0);
        }
    }

    pub fn restart(&mut self, epoch: u64, now: u64) {
        let journal = std::mem::take(&mut self.journal);
        *self = Self { journal, forgotten: self.forgotten, ..Self::new(self.at, self.skew) };
        (self.started, self.beat_at, self.steady_since, self.watching_since) = (now, now, now, now);
        (self.epoch, self.barrier_until) = (epoch, now + POLICY.reconcile.as_millis() as u64);
        (self.replayed, self.replay_next) = (None, 0);
    }

    pub fn resume(&mut self, now: u64) {
        self.paused = false;
        (self.beat_at, self.steady_since, self.watching_since) = (now, now, now);
    }

    pub fn forget_oldest(&mut self) {
        if let Some(oldest) = self.journal.iter().position(|entry| entry.settled) {
            Arc::make_mut(&mut self.journal).remove(oldest);
        }
    }
}
