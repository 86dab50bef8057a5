//! A node: the real machine, driven over the world's store, provider and disk. What a driver does at once with no
//! word to anybody else is one step; whatever others could see, or a crash could come between, is a step of its own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use claviger::domain::connection::Connection;
use claviger::domain::provider::RefreshWith;
use claviger::domain::tokens::{FailureClass, ProviderFailure};
use claviger::refresh::gate::{GateView, Journal};
use claviger::refresh::steal::Watch;
use claviger::refresh::{At, Effect, Event, Found, Machine, Outcome, Peer, Plan, Policy, Receipt, Which, Write};

use crate::digest;
use crate::mutants::Mutant;
use crate::oracle::Broken;
use crate::provider::Answer;
use crate::records::{self, FIXED};
use crate::store::Copy;
use crate::world::World;

/// Settled entries that the journal still has room for.
const RECENT: usize = 3;

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
    trace: u64,
    pub journal: Arc<Vec<Entry>>,
    /// The present machine's own entry.
    entry: Option<usize>,
    /// The answer in memory, and when its request began.
    pub answer: Option<(Answer, i64)>,
    job: Job,
    pub epoch: u64,
    barrier_until: u64,
    pub replayed: Option<u64>,
    replay_next: usize,
    watch: Arc<Watch<()>>,
    sighted: (u64, u64),
    pub beat_at: u64,
    pub steady_since: u64,
    /// Since when this process has watched the others without a pause.
    pub watching_since: u64,
    started: u64,
    pub announced_at: u64,
    /// It is about to make the last check.
    checking: bool,
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
enum Job {
    Flight,
    Replay,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    attempt: Arc<str>,
    pub grant: u8,
    pub from: u64,
    pub answer: Answer,
    started: i64,
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
fn mono(now: u64) -> Duration {
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
            announced_at: 0,
            other_away: false,
            checking: false,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.machine.is_some()
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

    fn notice(&mut self, epoch: u64, now: u64) {
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
}

impl World {
    /// A caller asks: a flight begins with what the store says now.
    pub fn ask(&mut self, at: usize) -> Result<(), Broken> {
        let generation = self.set_generation();
        let plan = self.plan(at, self.grants, generation);
        self.launch(at, Machine::fly(plan), Job::Flight)
    }

    /// The idle node's own duty: another store is noticed, and the journal replayed into it.
    fn replay(&mut self, at: usize) -> Result<(), Broken> {
        let (epoch, now) = (self.epoch, self.now);
        let node = &mut self.nodes[at];
        node.notice(epoch, now);
        let next = node.replay_next;
        let Some(entry) = node.journal.get(next).cloned() else {
            node.replayed = Some(node.epoch);
            let surplus = node.journal.iter().filter(|entry| entry.settled).count().saturating_sub(RECENT);
            (0..surplus).for_each(|_| node.forget_oldest());
            return Ok(());
        };
        node.replay_next += 1;
        (node.entry, node.answer) = (Some(next), Some((entry.answer, entry.started)));
        let plan = self.plan(at, entry.grant, entry.from);
        let receipt = Receipt { attempt: entry.attempt.to_string(), settled: entry.settled };
        self.launch(at, Machine::replay(plan, receipt), Job::Replay)
    }

    fn plan(&mut self, at: usize, grant: u8, generation: u64) -> Plan {
        self.flights += 1;
        let since_long = self.mutant == Some(Mutant::OwnAtOnce);
        let process_started = if since_long { Duration::ZERO } else { mono(self.nodes[at].started) };
        Plan {
            node: FIXED.names[at].clone(),
            process_started,
            grant: records::grant(grant),
            set: FIXED.set.clone(),
            generation,
            class: self.provider.kind.class(),
            with: RefreshWith::RefreshToken,
            seed: u128::from(self.flights) << 8 | at as u128,
            policy: Policy { look_every: if self.patient { POLICY.look_every } else { POLICY.call_deadline * 2 }, ..POLICY },
        }
    }

    fn launch(&mut self, at: usize, machine: Machine, job: Job) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        node.trace = digest::of(&(self.flights, machine.plan().generation, job));
        (node.machine, node.job) = (Some(Arc::new(machine)), job);
        self.feed(at, Event::Begin)
    }

    /// Carries out what the node is about to do.
    pub fn step(&mut self, at: usize) -> Result<(), Broken> {
        match &self.nodes[at].pc {
            Pc::Idle => self.replay(at),
            Pc::Sleeping { .. } => self.feed(at, Event::Woken),
            Pc::Acking { known, .. } => {
                let survived = known.unwrap_or(true);
                self.notice(at);
                if survived {
                    self.acknowledged();
                }
                self.feed(at, if survived { Event::Committed } else { Event::NotCommitted })
            }
            Pc::Pending(effect) => {
                let effect = effect.clone();
                self.carry_out(at, &effect)
            }
            Pc::Sent { .. } => unreachable!("the provider's turn"),
        }
    }

    fn carry_out(&mut self, at: usize, effect: &Effect) -> Result<(), Broken> {
        match effect {
            Effect::Read => {
                self.notice(at);
                self.check_read()?;
                let found = self.found(at);
                self.feed(at, Event::Found(Box::new(found)))
            }
            Effect::Announce(write) => {
                self.note_theft(at, write);
                self.write(at, write, true)
            }
            Effect::Commit(write) => self.write(at, write, false),
            Effect::Journal => {
                self.journal(at);
                self.feed(at, Event::Journaled)
            }
            Effect::Settle => {
                self.check_settled(at)?;
                let node = &mut self.nodes[at];
                if let Some(entry) = node.entry.take() {
                    Arc::make_mut(&mut node.journal)[entry].settled = true;
                }
                self.feed(at, Event::Done)
            }
            other => unreachable!("{other:?} is carried out at once"),
        }
    }

    fn write(&mut self, at: usize, write: &Write, announces: bool) -> Result<(), Broken> {
        self.notice(at);
        let write = &self.tampered(write, announces);
        if self.drops_receipt(at, announces) {
            return self.land_without(at);
        }
        if write.epoch != self.epoch && self.mutant != Some(Mutant::NoEpoch) {
            return self.feed(at, Event::Conflict);
        }
        if !self.primary.apply(write, self.mutant == Some(Mutant::NoVersionCheck)) {
            if self.mutant == Some(Mutant::DropOnConflict) && !announces {
                return self.land_without(at);
            }
            if self.mutant == Some(Mutant::ReleaseAny) && !announces {
                self.release_whoever_holds();
            }
            return self.feed(at, Event::Conflict);
        }
        if self.mutant == Some(Mutant::NoWait) {
            return self.feed(at, Event::Committed);
        }
        if self.is_simple() {
            self.replica = self.primary.clone();
            self.acknowledged();
            return self.feed(at, Event::Committed);
        }
        self.nodes[at].pc = Pc::Acking { write: self.primary.writes, known: None };
        Ok(())
    }

    fn notice(&mut self, at: usize) {
        if self.mutant != Some(Mutant::NoEpoch) {
            self.nodes[at].notice(self.epoch, self.now);
        }
    }

    /// A store operation whose answer is lost.
    pub fn away(&mut self, at: usize, applied: bool) -> Result<(), Broken> {
        let Pc::Pending(effect) = &self.nodes[at].pc else { unreachable!("enabled only then") };
        let effect = effect.clone();
        match &*effect {
            Effect::Announce(write) | Effect::Commit(write) => {
                if applied && write.epoch == self.epoch {
                    self.note_theft(at, write);
                    self.primary.apply(write, false);
                }
                self.feed(at, Event::NotCommitted)
            }
            _ => self.feed(at, Event::StoreAway),
        }
    }

    pub fn deliver(&mut self, at: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        let Pc::Sent { answer: Some(answer), started, .. } = node.pc else { unreachable!("enabled only then") };
        node.answer = Some((answer, started));
        self.feed(at, Event::Answered)
    }

    fn journal(&mut self, at: usize) {
        let grant = self.grants_of(at);
        let node = &mut self.nodes[at];
        let (Some((answer, started)), Some(machine)) = (node.answer, &node.machine) else { return };
        let entry =
            Entry { attempt: machine.attempt().into(), grant, from: machine.plan().generation, answer, started, settled: false };
        if self.mutant != Some(Mutant::NoJournal) {
            node.entry = Some(node.journal.len());
            Arc::make_mut(&mut node.journal).push(entry);
        }
    }

    /// Which consent the node's machine is about.
    pub fn grants_of(&self, at: usize) -> u8 {
        let Some(machine) = &self.nodes[at].machine else { return self.grants };
        (1..=self.grants).find(|n| records::grant(*n) == machine.plan().grant).unwrap_or(self.grants)
    }

    /// Tells the machine what has happened, and does at once what it then asks for as long as that is this node's own
    /// business.
    pub fn feed(&mut self, at: usize, event: Event) -> Result<(), Broken> {
        let mut event = event;
        loop {
            let step_at = self.time_at(at);
            let node = &mut self.nodes[at];
            node.trace = digest::of(&(node.trace, self.now, node.epoch, self.primary.told(&event)));
            let Some(machine) = &mut node.machine else { return Ok(()) };
            let effect = Arc::make_mut(machine).step(event, step_at);
            node.checking = matches!(effect, Effect::Check);
            event = match effect {
                Effect::Admit | Effect::Check => Event::Gate(self.gate(at)),
                Effect::Judge => self.judged(at),
                Effect::Tell(outcome) => {
                    self.check_told(&outcome)?;
                    Event::Done
                }
                Effect::RevokeLate(_) => {
                    self.revoke_late(at)?;
                    Event::Done
                }
                Effect::Wait(span) if span.is_zero() => Event::Woken,
                Effect::Wait(span) => {
                    let until = self.now + span.as_millis() as u64;
                    self.nodes[at].pc = Pc::Sleeping { until };
                    return Ok(());
                }
                Effect::Send { connection, which, .. } => return self.send(at, &connection, which),
                Effect::Land => {
                    self.landed(at);
                    return Ok(());
                }
                Effect::Announce(_) => {
                    self.nodes[at].announced_at = self.now;
                    self.nodes[at].pc = Pc::Pending(Arc::new(effect));
                    return Ok(());
                }
                Effect::Read | Effect::Commit(_) | Effect::Journal | Effect::Settle => {
                    self.nodes[at].pc = Pc::Pending(Arc::new(effect));
                    return Ok(());
                }
            };
        }
    }

    fn time_at(&self, at: usize) -> At {
        let node = &self.nodes[at];
        // The last check without its clock.
        let frozen = self.mutant == Some(Mutant::NoLastCheck) && node.checking;
        let reading = if frozen { node.announced_at } else { self.now };
        At { now: node.wall(self.now), mono: mono(reading), epoch: node.epoch }
    }

    fn gate(&self, at: usize) -> GateView {
        let node = &self.nodes[at];
        let open = self.mutant == Some(Mutant::NoBarrier);
        let earlier = node.journal.iter().enumerate().any(|(n, entry)| !entry.settled && Some(n) != node.entry);
        GateView {
            draining: false,
            restored: false,
            barrier_until: if open { Duration::ZERO } else { mono(node.barrier_until) },
            replayed: if open { Some(node.epoch) } else { node.replayed },
            journal: if earlier && !open { Journal::Pending } else { Journal::Reserved },
            hold: None,
        }
    }

    fn found(&mut self, at: usize) -> Found {
        let now = self.now;
        let flight = self.primary.flight.clone();
        let intent = flight.as_ref().and_then(|flight| flight.value.intent.clone());
        let other = &self.nodes[1 - at];
        let away = !other.alive || other.paused;
        let node = &mut self.nodes[at];
        let unchanged_for = Arc::make_mut(&mut node.watch).observe((), intent.as_ref(), mono(now));
        node.other_away = away;
        node.sighted = intent
            .as_ref()
            .map_or((0, 0), |intent| (digest::of(&(&intent.attempt, intent.fence)), now - unchanged_for.as_millis() as u64));
        let peers = flight.iter().flat_map(|flight| flight.value.others(&FIXED.names[at])).map(|name| self.peer(at, name));
        let found = Found {
            epoch: self.nodes[at].epoch,
            connection: self.primary.connection.value.clone(),
            version: self.primary.connection.version,
            peers: peers.collect(),
            flight: flight.map(|flight| ((*flight.value).clone(), flight.version)),
            unchanged_for,
        };
        self.tampered_found(found)
    }

    fn peer(&self, at: usize, name: &str) -> Peer {
        let (me, other) = (&self.nodes[at], &self.nodes[1 - at]);
        let since = other.beat_at.max(me.watching_since);
        let steady = self.now.saturating_sub(other.steady_since.max(me.watching_since));
        let steady = steady >= POLICY.lease().as_millis() as u64;
        Peer {
            node: name.to_owned(),
            silent_for: Duration::from_millis(self.now.saturating_sub(since)),
            forgotten: other.forgotten,
            settled: other.alive && !other.paused && steady && !other.has_pending(),
        }
    }

    fn judged(&self, at: usize) -> Event {
        let node = &self.nodes[at];
        let Some((answer, started)) = node.answer else { return Event::Unreadable { code: "no_answer" } };
        let started = Timestamp::from_millisecond(started).expect("a time of the model");
        let failure = |class, code: &str| ProviderFailure { class, code: code.to_owned(), status: 400, retry_after: None };
        let refused = |class, code| Event::Refused { failure: failure(class, code), is_final: false };
        match answer {
            Answer::Tokens { refresh, access } => {
                Event::Received { answer: Box::new(records::answer(access, refresh, started)), started }
            }
            Answer::Refused => {
                let is_final = self.mutant == Some(Mutant::KillAtOnce);
                Event::Refused { failure: failure(FailureClass::DeadGrant, "invalid_grant"), is_final }
            }
            Answer::Throttled => refused(FailureClass::Throttled, "slow_down"),
            Answer::ClientRefused => refused(FailureClass::IntegrationBroken, "invalid_client"),
            Answer::ServerError => refused(FailureClass::InDoubt, "server_error"),
        }
    }

    fn send(&mut self, at: usize, connection: &Connection, which: Which) -> Result<(), Broken> {
        let token = which.of(&connection.sets[&FIXED.set]).map(records::number).expect("a token to send");
        self.check_send(at, connection, token)?;
        let node = &mut self.nodes[at];
        let until = self.now + POLICY.call_deadline.as_millis() as u64;
        let started = node.wall(self.now).as_millisecond();
        node.answer = None;
        node.pc = Pc::Sent { token, until, answer: None, started };
        Ok(())
    }

    fn landed(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        (node.machine, node.answer, node.entry, node.pc, node.trace) = (None, None, None, Pc::Idle, 0);
        if node.job == Job::Flight {
            let surplus = node.journal.iter().filter(|entry| entry.settled).count().saturating_sub(RECENT);
            (0..surplus).for_each(|_| node.forget_oldest());
        }
        node.job = Job::Flight;
    }

    /// A mutant's flight, which ends without its machine's consent.
    fn land_without(&mut self, at: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[at];
        if let Some(entry) = node.entry {
            Arc::make_mut(&mut node.journal)[entry].settled = true;
        }
        self.landed(at);
        Ok(())
    }

    /// The caller that began the flight hangs up.
    pub fn hang_up(&mut self, at: usize) {
        if self.mutant == Some(Mutant::RequestOwns) {
            self.note_destroyed_by_hanging_up(at);
            self.landed(at);
        }
    }
}

impl Node {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.journal.iter().position(|entry| entry.settled) {
            Arc::make_mut(&mut self.journal).remove(oldest);
        }
    }
}

impl Copy {
    /// What an event says, as far as the machine could tell it from another; of records that were read just now their
    /// digests are known.
    fn told(&self, event: &Event) -> u64 {
        match event {
            Event::Found(found) => {
                let records = (&self.connection, &self.flight, found.epoch);
                let peers: Vec<_> = found.peers.iter().map(|peer| (peer.silent_for, peer.forgotten, peer.settled)).collect();
                digest::of(&(records, peers, found.unchanged_for))
            }
            Event::Gate(view) => digest::of(&(view.barrier_until, view.replayed, view.journal)),
            Event::Received { started, .. } => digest::of(&(1_u64, started.as_millisecond())),
            Event::Refused { failure, is_final } => digest::of(&(2_u64, failure.class, *is_final)),
            other => digest::of(&std::mem::discriminant(other)),
        }
    }
}

/// Whether an outcome brings tokens.
pub fn brings(outcome: &Outcome) -> Option<&Arc<Connection>> {
    match outcome {
        Outcome::Refreshed { connection, .. } => Some(connection),
        Outcome::Gone | Outcome::Failed(_) => None,
    }
}
