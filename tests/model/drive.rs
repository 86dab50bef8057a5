//! The real machine, driven over the world's store, provider and disk. What a driver does at once with no word to
//! anybody else is one step; whatever others could see, or a crash could come between, is a step of its own.

use std::sync::Arc;
use std::time::Duration;

use claviger::domain::connection::Connection;
use claviger::refresh::{Effect, Event, Machine, Plan, Policy, Receipt, Which, Write};

use crate::digest;
use crate::mutants::Mutant;
use crate::node::{Entry, Job, POLICY, Pc, RECENT, mono};
use crate::oracle::Broken;
use crate::records::{self, FIXED};
use crate::world::World;

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
        if entry.settled && self.mutant == Some(Mutant::SettledForGood) {
            return Ok(());
        }
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
            with: self.provider.kind.with(),
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
                self.nodes[at].read_at = self.now;
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
        if announces {
            self.note_announced();
        }
        let write = &self.tampered(write, announces);
        if self.drops_receipt(at, announces) {
            return self.land_without(at);
        }
        if write.epoch != self.epoch && self.mutant != Some(Mutant::NoEpoch) {
            return self.feed(at, Event::Conflict);
        }
        if !self.put(write, self.mutant == Some(Mutant::NoVersionCheck)) {
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

    fn put(&mut self, write: &Write, unjudged: bool) -> bool {
        let before = self.primary.clone();
        let applied = self.primary.apply(write, unjudged);
        if applied && self.budget.rollbacks > 0 {
            self.history.push(before);
        }
        applied
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
                    self.put(write, false);
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
                    self.check_told(at, &outcome)?;
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
