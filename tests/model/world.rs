//! The world: two nodes that run the real machine, a store with a replica, a provider, a clock, and what can go
//! wrong with each. One action at a time; whatever is possible is enabled.

use std::hash::{Hash, Hasher};

use claviger::domain::connection::Status;
use claviger::domain::ids::GrantId;

use crate::digest::Mix;
use crate::mutants::Mutant;
use crate::node::{Node, Pc};
use crate::oracle::Memory;
use crate::provider::{Kind, Provider};
use crate::records;
use crate::store::{Copy, Record};

/// What may still happen. The search spends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub asks: u8,
    pub crashes: u8,
    /// Answers that are lost after the provider did it.
    pub lost: u8,
    /// Requests that are lost before the provider sees them, and requests that never go out.
    pub dropped: u8,
    pub failovers: u8,
    /// Failovers to a replica that lacks what others had acknowledged; and whether they may come while a request is
    /// under way, whose intent is forgotten then.
    pub rollbacks: u8,
    pub under_way: bool,
    pub pauses: u8,
    /// Commits whose answer is lost, reads that fail.
    pub away: u8,
    /// Answers that are no tokens: throttled, refused falsely, a gateway's error.
    pub odd: u8,
    pub broken_journals: u8,
    pub consents: u8,
    pub imports: u8,
    pub deletes: u8,
    pub forgets: u8,
    /// Callers that hang up: they change nothing.
    pub hangups: u8,
    pub short: u8,
    pub lease: u8,
    pub long: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Ask(usize),
    Step(usize),
    /// The pending store operation's answer is lost; `true`: after it was applied.
    Away(usize, bool),
    Provider(usize),
    Odd(usize, Odd),
    Deliver(usize),
    Lose(usize),
    Drop(usize),
    NotSent(usize),
    BreakJournal(usize),
    Crash(usize),
    Restart(usize),
    Pause(usize),
    Resume(usize),
    Forget(usize),
    HangUp(usize),
    Replicate,
    Failover,
    /// To the store as it was before this and all later writes.
    Rollback(usize),
    Orphan(usize),
    Consent,
    Import,
    Delete,
    Tick(Tick),
}

impl Action {
    pub fn is_fault(self) -> bool {
        !matches!(
            self,
            Action::Ask(_)
                | Action::Step(_)
                | Action::Provider(_)
                | Action::Deliver(_)
                | Action::Replicate
                | Action::Restart(_)
                | Action::Resume(_)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Odd {
    Throttled,
    Refused,
    ClientRefused,
    /// The provider did it, and a gateway says that it failed.
    HiddenSuccess,
    ServerError,
}

const ODD: [Odd; 5] = [Odd::Throttled, Odd::Refused, Odd::ClientRefused, Odd::HiddenSuccess, Odd::ServerError];

/// Steps of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tick {
    /// Above the reconcile barrier and every short pause.
    Short,
    /// Above what makes a lease dead.
    Lease,
    /// Above the end of the access token and the time after which a node is taken for gone.
    Long,
}

impl Tick {
    pub fn millis(self) -> u64 {
        match self {
            Tick::Short => 3_000,
            Tick::Lease => 45_000,
            Tick::Long => 400_000,
        }
    }
}

/// A request whose node died: the provider may still see it, while its call would have lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Orphan {
    pub token: u32,
    pub until: u64,
}

#[derive(Debug, Clone)]
pub struct World {
    pub now: u64,
    pub epoch: u64,
    pub primary: Copy,
    pub replica: Copy,
    /// What the primary was before each write, as long as it can fall back.
    pub history: Vec<Copy>,
    pub provider: Provider,
    pub nodes: [Node; 2],
    pub orphans: Vec<Orphan>,
    pub budget: Budget,
    pub memory: Memory,
    pub mutant: Option<Mutant>,
    /// A flight waits for another node's, and does not only look once.
    pub patient: bool,
    /// Consents so far; their number names the grant.
    pub grants: u8,
    pub flights: u32,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.now, self.epoch, &self.primary, &self.replica, &self.history, &self.provider).hash(state);
        (&self.nodes, &self.orphans, &self.budget, &self.memory, self.grants, self.flights).hash(state);
    }
}

impl World {
    /// A grant whose access token is due, and two idle nodes.
    pub fn new(kind: Kind, budget: Budget, mutant: Option<Mutant>, skew: i64) -> Self {
        let mut provider = Provider::new(kind);
        let first = provider.consent(records::LIFE - records::DUE);
        let connection = Record::connection(records::connection(1, kind.with(), first, records::DUE), 1);
        let copy = Copy { connection, flight: Some(Record::flight(records::flight(), 1)), writes: 0 };
        Self {
            now: 0,
            epoch: 0,
            replica: copy.clone(),
            primary: copy,
            history: Vec::new(),
            provider,
            nodes: [Node::new(0, 0), Node::new(1, skew)],
            orphans: Vec::new(),
            budget,
            memory: Memory::default(),
            mutant,
            patient: false,
            grants: 1,
            flights: 0,
        }
    }

    pub fn digest(&self) -> u64 {
        let mut mix = Mix::default();
        self.hash(&mut mix);
        mix.finish()
    }

    pub fn grant(&self) -> GrantId {
        records::grant(self.grants)
    }

    /// Nothing can come between a write and its replication that makes a difference: they are one step.
    pub fn is_simple(&self) -> bool {
        self.budget.failovers == 0 && self.budget.pauses == 0 && self.replica.writes + 1 == self.primary.writes
    }

    pub fn is_deleted(&self) -> bool {
        matches!(self.primary.connection.value.status, Status::Revoked { .. })
    }

    pub fn enabled(&self, into: &mut Vec<Action>) {
        into.clear();
        for at in 0..self.nodes.len() {
            self.enabled_at(at, into);
        }
        let left = &self.budget;
        let behind = self.replica.writes != self.primary.writes;
        if behind {
            into.push(Action::Replicate);
        }
        if behind && left.failovers > 0 {
            into.push(Action::Failover);
        }
        if left.rollbacks > 0 && (left.under_way || self.nodes.iter().all(Node::is_between_requests)) {
            into.extend((0..self.history.len()).map(Action::Rollback));
        }
        into.extend((0..self.orphans.len()).map(Action::Orphan));
        for (left, action) in [(left.consents, Action::Consent), (left.imports, Action::Import), (left.deletes, Action::Delete)] {
            if left > 0 && !(action == Action::Delete && self.is_deleted()) {
                into.push(action);
            }
        }
        for (left, tick) in [(left.short, Tick::Short), (left.lease, Tick::Lease), (left.long, Tick::Long)] {
            if left > 0 && self.may_tick(tick) {
                into.push(Action::Tick(tick));
            }
        }
    }

    fn enabled_at(&self, at: usize, into: &mut Vec<Action>) {
        let (node, left) = (&self.nodes[at], &self.budget);
        if !node.alive {
            if !node.forgotten {
                into.push(Action::Restart(at));
            }
            if left.forgets > 0 && !node.forgotten {
                into.push(Action::Forget(at));
            }
            return;
        }
        if let Pc::Sent { answer: None, .. } = &node.pc {
            into.push(Action::Provider(at));
            if left.odd > 0 {
                into.extend(ODD.map(|odd| Action::Odd(at, odd)));
            }
        }
        if node.is_busy() && left.crashes > 0 {
            into.push(Action::Crash(at));
        }
        if node.paused {
            into.push(Action::Resume(at));
            return;
        }
        if node.is_busy() && left.pauses > 0 {
            into.push(Action::Pause(at));
        }
        if node.machine.is_some() && left.hangups > 0 {
            into.push(Action::HangUp(at));
        }
        self.steps_of(at, into);
    }

    fn steps_of(&self, at: usize, into: &mut Vec<Action>) {
        let (node, left) = (&self.nodes[at], &self.budget);
        match &node.pc {
            Pc::Idle => {
                let replay = node.must_replay(self);
                if replay {
                    into.push(Action::Step(at));
                }
                // Of flights that come before the replay only one that would end its grant unasked could do harm.
                let may_end = self.provider.kind == Kind::Extended;
                let open = !replay || may_end || self.mutant == Some(Mutant::NoBarrier);
                if open && left.asks > 0 && !self.is_deleted() {
                    into.push(Action::Ask(at));
                }
            }
            Pc::Pending(effect) => {
                into.push(Action::Step(at));
                if left.away > 0 && crate::node::is_of_store(effect) {
                    into.push(Action::Away(at, false));
                    into.push(Action::Away(at, true));
                }
                if left.broken_journals > 0 && matches!(**effect, claviger::refresh::Effect::Journal) {
                    into.push(Action::BreakJournal(at));
                }
            }
            Pc::Acking { .. } if node.may_ack(self) => into.push(Action::Step(at)),
            Pc::Acking { .. } => {}
            Pc::Sleeping { until } if *until <= self.now => into.push(Action::Step(at)),
            Pc::Sleeping { .. } => {}
            Pc::Sent { answer: Some(_), .. } => {
                into.push(Action::Deliver(at));
                if left.lost > 0 {
                    into.push(Action::Lose(at));
                }
            }
            Pc::Sent { answer: None, .. } if left.dropped > 0 => into.extend([Action::Drop(at), Action::NotSent(at)]),
            Pc::Sent { .. } => {}
        }
    }

    /// Time passes for those who wait. A node that is neither paused nor dead does what it has to do first; a
    /// request has ended when its deadline passes, whoever waits for it.
    fn may_tick(&self, tick: Tick) -> bool {
        let then = self.now + tick.millis();
        self.nodes.iter().all(|node| {
            let in_flight = matches!(&node.pc, Pc::Sent { answer: None, until, .. } if node.alive && *until < then);
            let waits = match &node.pc {
                Pc::Idle => !node.must_replay(self) || self.mutant == Some(Mutant::NoBarrier),
                Pc::Sleeping { until } => *until > self.now && (tick == Tick::Short || *until >= then),
                Pc::Sent { answer: None, .. } => true,
                Pc::Acking { .. } => !node.may_ack(self) && tick == Tick::Short,
                Pc::Pending(_) | Pc::Sent { .. } => false,
            };
            !in_flight && (!node.alive || node.paused || waits)
        })
    }

    pub fn tick(&mut self, tick: Tick) {
        self.now += tick.millis();
        let now = self.now;
        self.orphans.retain(|orphan| orphan.until > now);
        for node in &mut self.nodes {
            if node.alive && !node.paused {
                if now - node.beat_at > 15_000 + tick.millis() {
                    node.steady_since = now;
                }
                node.beat_at = now;
            }
        }
    }
}
