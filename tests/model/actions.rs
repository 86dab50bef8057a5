//! What each action does to the world.

use claviger::domain::flight::Flight;
use claviger::refresh::Event;

use crate::node::{Node, Pc};
use crate::oracle::Broken;
use crate::provider::Answer;
use crate::records;
use crate::store::{Copy, Record};
use crate::world::{Action, Odd, Orphan, Tick, World};

impl World {
    pub fn apply(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Ask(at) => {
                self.budget.asks -= 1;
                self.ask(at)?;
            }
            Action::Step(at) => self.step(at)?,
            Action::Away(at, applied) => {
                self.budget.away -= 1;
                self.away(at, applied)?;
            }
            Action::Provider(at) => self.answer(at, None),
            Action::Odd(at, odd) => {
                self.budget.odd -= 1;
                self.answer(at, Some(odd));
            }
            Action::Deliver(at) => self.delivered(at)?,
            Action::Lose(at) => {
                self.budget.lost -= 1;
                self.lost(at)?;
            }
            Action::Drop(at) => {
                self.budget.dropped -= 1;
                self.note_unknown(at);
                self.feed(at, Event::NoAnswer { code: "no_answer" })?;
            }
            Action::NotSent(at) => {
                self.budget.dropped -= 1;
                self.feed(at, Event::NotSent { code: "not_reached" })?;
            }
            Action::BreakJournal(at) => {
                self.budget.broken_journals -= 1;
                self.memory.journal_broken = true;
                self.feed(at, Event::NotJournaled)?;
            }
            Action::HangUp(at) => {
                self.budget.hangups -= 1;
                self.hang_up(at);
            }
            other => self.apply_outside(other)?,
        }
        self.check_state()
    }

    /// What happens to nodes, store and connection from outside.
    fn apply_outside(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Crash(at) => self.crash(at),
            Action::Restart(at) => self.nodes[at].restart(self.epoch, self.now),
            Action::Pause(at) => {
                self.budget.pauses -= 1;
                self.nodes[at].paused = true;
            }
            Action::Resume(at) => self.nodes[at].resume(self.now),
            Action::Forget(at) => self.forget(at),
            Action::Replicate => self.replica = self.primary.clone(),
            Action::Failover => {
                self.budget.failovers -= 1;
                self.fail_over(self.replica.clone());
            }
            Action::Rollback(n) => {
                self.budget.rollbacks -= 1;
                let behind = self.history[n].clone();
                self.history.truncate(if self.budget.rollbacks > 0 { n } else { 0 });
                self.memory.forgotten |= !self.nodes.iter().all(Node::is_between_requests);
                self.replica = behind.clone();
                self.fail_over(behind);
            }
            Action::Orphan(n) => {
                let orphan = self.orphans.swap_remove(n);
                let answer = self.provider.refresh(orphan.token, self.now);
                self.note_destroyed(answer);
            }
            Action::Consent => {
                self.budget.consents -= 1;
                self.consent(records::DUE);
            }
            Action::Import => {
                self.budget.imports -= 1;
                self.consent(records::LIFE);
            }
            Action::Delete => self.delete(),
            Action::Tick(tick) => {
                let left = match tick {
                    Tick::Short => &mut self.budget.short,
                    Tick::Lease => &mut self.budget.lease,
                    Tick::Long => &mut self.budget.long,
                };
                *left -= 1;
                self.tick(tick);
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, at: usize, odd: Option<Odd>) {
        let Pc::Sent { token, .. } = self.nodes[at].pc else { return };
        let given = match odd {
            None => self.provider.refresh(token, self.now),
            Some(Odd::Throttled) => Answer::Throttled,
            Some(Odd::ClientRefused) => Answer::ClientRefused,
            Some(Odd::ServerError) => Answer::ServerError,
            Some(Odd::Refused) => {
                self.memory.false_refusals += 1;
                Answer::Refused
            }
            Some(Odd::HiddenSuccess) => {
                let hidden = self.provider.refresh(token, self.now);
                self.note_destroyed(hidden);
                Answer::ServerError
            }
        };
        if let Pc::Sent { answer, .. } = &mut self.nodes[at].pc {
            *answer = Some(given);
        }
    }

    fn delivered(&mut self, at: usize) -> Result<(), Broken> {
        if let Pc::Sent { answer: Some(answer), .. } = self.nodes[at].pc {
            if answer == Answer::ServerError {
                self.note_unknown(at);
            }
            self.note_refused(answer);
        }
        self.deliver(at)
    }

    fn lost(&mut self, at: usize) -> Result<(), Broken> {
        if let Pc::Sent { answer: Some(answer), .. } = self.nodes[at].pc {
            self.note_destroyed(answer);
        }
        self.note_unknown(at);
        self.feed(at, Event::NoAnswer { code: "no_answer" })
    }

    fn crash(&mut self, at: usize) {
        self.budget.crashes -= 1;
        self.note_destroyed_by_crash(at);
        if let Pc::Sent { token, until, answer: None, .. } = self.nodes[at].pc {
            self.orphans.push(Orphan { token, until });
        }
        self.nodes[at].die();
    }

    /// Its disk is gone with it.
    fn forget(&mut self, at: usize) {
        self.budget.forgets -= 1;
        let entries = std::mem::take(&mut self.nodes[at].journal);
        entries.iter().filter(|entry| !entry.settled).for_each(|entry| self.note_destroyed(entry.answer));
        // What its journal alone held was given to callers, and is gone with the disk.
        self.memory.told = 0;
        self.nodes[at].forgotten = true;
    }

    fn fail_over(&mut self, promoted: Copy) {
        for node in &mut self.nodes {
            if let Pc::Acking { write, known } = &mut node.pc {
                *known = known.or(Some(*write <= promoted.writes));
            }
        }
        self.primary = promoted;
        self.epoch += 1;
    }

    /// Durable at once: consents and deletes wait for their replicas too.
    fn consent(&mut self, age: u64) {
        let first = self.provider.consent(self.now + records::LIFE - age);
        self.grants += 1;
        let version = self.primary.connection.version + 1;
        self.primary.connection =
            Record::connection(records::at(self.grants, self.provider.kind.with(), first, self.now, age), version);
        let (fence, version) = self.primary.flight.as_ref().map_or((0, 0), |flight| (flight.value.fence, flight.version));
        let flight = Flight { fence, ..records::flight() };
        self.primary.flight = Some(Record::flight(flight, version + 1));
        self.settle_outside();
    }

    fn delete(&mut self) {
        self.budget.deletes -= 1;
        let before = &self.primary.connection;
        let buried = claviger::domain::connection::Connection::clone(&before.value).buried(records::wall(self.now, 0));
        self.primary.connection = Record::connection(buried, before.version + 1);
        self.primary.flight = None;
        self.settle_outside();
        self.memory.deleted = true;
    }

    fn settle_outside(&mut self) {
        self.primary.writes += 1;
        self.replica = self.primary.clone();
        self.forget_memory();
    }
}
