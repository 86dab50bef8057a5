//! What must hold in every state and at every step, judged from outside: by the provider's own books, and by what the
//! store, its replica and the disks hold. Invariants by their numbers in docs/refresh.md.

use std::sync::Arc;
use std::time::Duration;

use claviger::domain::connection::{Connection, Status, TokenSet, Tokens};
use claviger::domain::provider::RefreshClass;
use claviger::domain::secret::ExposeSecret as _;
use claviger::refresh::{Outcome, Setback, Why, Write};

use crate::facts;
use crate::node::{POLICY, Pc};
use crate::provider::{Answer, Kind};
use crate::records::{self, FIXED};
use crate::world::World;

/// With no more than this left an access token counts as ended: a twentieth of its life.
const FLOOR: Duration = Duration::from_millis(records::LIFE / 20);

/// A broken invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Broken(pub &'static str);

/// A grant that is lost, or taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The provider saw a reuse and ended the family.
    Revoked,
    /// The only token that the provider still takes is held nowhere.
    Orphan,
    /// The access token has ended that had to be extended while it lived, and the provider issued no other.
    Ended,
    /// `needs_reauth`, and a token that the provider takes is held.
    FalseDead,
}

/// What the oracle remembers about the present consent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    pub deleted: bool,
    /// An answer with tokens was destroyed between the provider and the journal: the first open window.
    pub destroyed: bool,
    /// A token was sent while the node that had sent it before was silent for longer than W: the second.
    pub stolen: bool,
    /// The store forgot the intent of a request under way: nobody else knows of it.
    pub forgotten: bool,
    pub journal_broken: bool,
    pub false_refusals: u8,
    /// The highest generation that any caller was given.
    pub told: u64,
    /// Of which generation how many requests were sent whose end their node does not know, and when the first ended.
    unknown: (u64, u8, u64),
    /// Of which generation the first request was announced when.
    announced: (u64, u64),
    refused: bool,
    pub sends: u32,
}

impl World {
    fn stored(connection: &Connection) -> Option<&TokenSet> {
        connection.sets.get(&FIXED.set)
    }

    pub fn set_generation(&self) -> u64 {
        Self::stored(&self.primary.connection.value).map_or(0, |set| set.generation)
    }

    fn is_current(&self, connection: &Connection) -> bool {
        !connection.is_gone() && connection.grant_id == self.grant()
    }

    fn rotates(&self) -> bool {
        self.provider.kind.class() != RefreshClass::Nonrotating
    }

    /// A state in which the grant is lost, as far as anybody can know.
    pub fn loss(&self) -> Option<Loss> {
        let connection = &self.primary.connection.value;
        let set = Self::stored(connection).filter(|_| self.is_current(connection))?;
        let held = records::number(&set.current);
        let family = self.provider.family(held);
        if family.revoked {
            return Some(Loss::Revoked);
        }
        let living = || self.provider.living(held, self.now);
        let alive = self.provider.accepts(held, self.now) || living().any(|token| self.is_held(set, token));
        let dead = matches!(connection.status, Status::NeedsReauth { .. });
        match (alive, dead) {
            (true, true) => Some(Loss::FalseDead),
            (false, _) if living().next().is_none() => Some(Loss::Ended),
            (false, _) => Some(Loss::Orphan),
            (true, false) => None,
        }
    }

    fn is_held(&self, set: &TokenSet, token: u32) -> bool {
        std::iter::once(&set.current).chain(&set.alternates).any(|tokens| records::number(tokens) == token)
            || self.nodes.iter().any(|node| node.will_replay(token, self.epoch) || node.holds_answer(token))
    }

    /// Whether this loss lies in one of the windows that no client can close.
    pub fn excused(&self, loss: Loss) -> bool {
        let Memory { destroyed, stolen, forgotten, .. } = self.memory;
        let windows = match self.provider.kind {
            Kind::Nonrotating => false,
            // A use of the old token is refused, and costs nothing.
            Kind::Plain | Kind::Extended => destroyed,
            // A window forgives either, but not both at once.
            Kind::Grace | Kind::NewestOnly => destroyed && stolen || forgotten,
            Kind::ShortGrace | Kind::Strict => destroyed || stolen || forgotten,
        };
        match loss {
            Loss::FalseDead => self.memory.false_refusals > 1,
            // Nobody asked in time.
            Loss::Ended => true,
            Loss::Revoked | Loss::Orphan => windows,
        }
    }

    pub fn check_state(&self) -> Result<(), Broken> {
        let connection = &self.primary.connection.value;
        if connection.grant_id != self.grant() {
            return Err(Broken("I7: an earlier consent is back"));
        }
        if self.memory.deleted && !connection.is_gone() {
            return Err(Broken("I7: a deleted connection is back"));
        }
        Ok(())
    }

    pub fn check_send(&mut self, at: usize, connection: &Connection, token: u32) -> Result<(), Broken> {
        self.memory.sends += 1;
        self.check_alive(at, connection, token)?;
        let family = |other: u32| other / 1000 == token / 1000;
        let other = &self.nodes[1 - at];
        let crossing = matches!(&other.pc, Pc::Sent { token, answer: None, .. } if other.alive && family(*token));
        let orphaned = self.orphans.iter().any(|orphan| family(orphan.token));
        if (crossing || orphaned) && self.rotates() && !self.memory.forgotten {
            return Err(Broken("I1: two requests in flight"));
        }
        if !self.is_current(connection) || self.memory.deleted {
            // A consent or a delete came after the announcement: the request is of another family, or of none.
            return Ok(());
        }
        let attempt = self.nodes[at].machine.as_ref().map(|machine| machine.attempt());
        let intent = self.replica.flight.as_ref().and_then(|flight| flight.value.intent.as_ref());
        if intent.map(|intent| &intent.attempt) != attempt.as_ref() {
            return Err(Broken("I11: a request without a durable intent"));
        }
        self.check_doubts(at, connection)
    }

    /// Where the access token is what is sent, none is that its node can know to have ended.
    fn check_alive(&self, at: usize, connection: &Connection, token: u32) -> Result<(), Broken> {
        let Some(set) = Self::stored(connection).filter(|_| self.provider.kind == Kind::Extended) else { return Ok(()) };
        let now = self.nodes[at].wall(self.now);
        let mut tokens = std::iter::once(&set.current).chain(&set.alternates);
        match tokens.find(|tokens| records::number(tokens) == token) {
            Some(sent) if records::left(sent, now).is_zero() => Err(Broken("I5: an access token that has ended was sent")),
            _ => Ok(()),
        }
    }

    /// I5 and the in-doubt rule: what may be lost by a retry is the access token that still lives.
    fn check_doubts(&self, at: usize, connection: &Connection) -> Result<(), Broken> {
        let Some(set) = Self::stored(connection) else { return Err(Broken("I7: a request for nothing")) };
        let (generation, unknown, since) = self.memory.unknown;
        let now = self.nodes[at].wall(self.now);
        let left = records::left(&set.current, now);
        if generation != set.generation || !self.rotates() || self.memory.refused || left.is_zero() {
            return Ok(());
        }
        let careful = matches!(self.provider.kind.class(), RefreshClass::RotateStrict);
        let early = left > FLOOR;
        let forgiven = match self.provider.kind.class() {
            RefreshClass::RotateGrace(window) => Duration::from_millis(self.now.saturating_sub(since + self.apart())) <= window,
            _ => false,
        };
        match unknown {
            0 => Ok(()),
            1 if careful && early => Err(Broken("I5: a strict token in doubt was sent again while its access token lived")),
            1 => Ok(()),
            _ if forgiven => Ok(()),
            _ => Err(Broken("I5: a second retry of a request in doubt")),
        }
    }

    /// Each node judges by its own clock.
    fn apart(&self) -> u64 {
        self.nodes.iter().map(|node| node.skew.unsigned_abs()).max().unwrap_or_default()
    }

    /// I12 of a token in doubt: who asks is not put off for its access token's sake once that has ended, nor for longer
    /// than the backoff or a confirmation takes while its provider still forgives, however often it was sent.
    fn check_rest(&self, at: usize, setback: &Setback) -> Result<(), Broken> {
        let (node, connection) = (&self.nodes[at], self.connection());
        let (Some(machine), Some(set)) = (&node.machine, Self::stored(connection)) else { return Ok(()) };
        let plan = machine.plan();
        let passed = !self.is_current(connection) || plan.grant != self.grant() || set.generation != plan.generation;
        if passed || setback.why != Why::Provider {
            return Ok(());
        }
        if setback.code == "in_doubt" && records::left(&set.current, node.wall(node.read_at)).is_zero() {
            return Err(Broken("I12: a token in doubt rests though its access token has ended"));
        }
        if setback.retry_after > Duration::from_millis(records::LIFE) {
            return Err(Broken("I12: a rest that outlives every access token"));
        }
        if self.forgives(plan.class, plan.generation) && setback.retry_after > self.backoff_at_most(plan.generation) {
            return Err(Broken("I12: a token in doubt rests though its provider still forgives"));
        }
        Ok(())
    }

    /// Since nobody can have sent this generation's token before the first announcement.
    fn forgives(&self, class: RefreshClass, generation: u64) -> bool {
        let RefreshClass::RotateGrace(window) = class else { return false };
        let (announced, since) = self.memory.announced;
        announced == generation && Duration::from_millis(self.now + self.apart() - since) < window
    }

    /// With one failure more than is recorded; or as long as a confirmation takes.
    fn backoff_at_most(&self, generation: u64) -> Duration {
        let flight = self.primary.flight.as_ref().filter(|flight| flight.value.generation == generation);
        let failures = flight.map_or(0, |flight| flight.value.backoff.failures);
        let longest = POLICY.backoff_base.saturating_mul(1 << failures.min(10));
        longest.clamp(POLICY.confirm_after, POLICY.backoff_cap) + Duration::from_millis(self.apart())
    }

    /// Whoever may be the first to send a token of this generation.
    pub fn note_announced(&mut self) {
        let generation = self.set_generation();
        let matters = matches!(self.provider.kind.class(), RefreshClass::RotateGrace(_));
        if matters && self.memory.announced.0 != generation {
            self.memory.announced = (generation, self.now);
        }
    }

    /// A request of this node has ended, and the node does not know how.
    pub fn note_unknown(&mut self, at: usize) {
        let Some(machine) = &self.nodes[at].machine else { return };
        if machine.plan().grant != self.grant() {
            return;
        }
        let generation = machine.plan().generation;
        let (known, count, since) = self.memory.unknown;
        let again = (generation, count.saturating_add(1), since);
        self.memory.unknown = if known == generation { again } else { (generation, 1, self.now) };
    }

    pub fn note_refused(&mut self, answer: Answer) {
        self.memory.refused |= answer == Answer::Refused;
    }

    /// A provider's answer is gone for good.
    pub fn note_destroyed(&mut self, answer: Answer) {
        self.memory.destroyed |= matches!(answer, Answer::Tokens { refresh: Some(_), .. });
    }

    /// A node dies, or a mutant's flight: what it knew alone is gone.
    pub fn note_destroyed_by_crash(&mut self, at: usize) {
        let node = &self.nodes[at];
        let in_socket = match &node.pc {
            Pc::Sent { answer, .. } => *answer,
            _ => None,
        };
        let in_memory = node.answer.map(|(answer, _)| answer).filter(|answer| match answer {
            Answer::Tokens { refresh: Some(token), .. } => !node.has_journaled(*token) && self.is_before_journal(at),
            _ => false,
        });
        if matches!(node.pc, Pc::Sent { .. }) || in_memory.is_some() {
            self.note_unknown(at);
        }
        if let Some(answer) = in_socket.or(in_memory) {
            self.note_destroyed(answer);
        }
    }

    /// The answer is about to be journaled; or the journal did not take it, and the replica has not got it.
    fn is_before_journal(&self, at: usize) -> bool {
        let journaling =
            matches!(&self.nodes[at].pc, Pc::Pending(effect) if matches!(**effect, claviger::refresh::Effect::Journal));
        journaling || self.memory.journal_broken
    }

    /// A caller that hangs up destroys nothing: no excuse.
    pub fn note_destroyed_by_hanging_up(&mut self, at: usize) {
        if matches!(self.nodes[at].pc, Pc::Sent { .. }) {
            self.note_unknown(at);
        }
    }

    /// An intent is taken from the other node, which is away.
    pub fn note_theft(&mut self, at: usize, write: &Write) {
        let owed = write.flight.as_ref().is_some_and(|put| put.record.owed.contains(&FIXED.names[1 - at]));
        let other = &self.nodes[1 - at];
        self.memory.stolen |= owed && (self.nodes[at].other_away || other.watching_since > other.announced_at);
    }

    /// A commit is durable: if the store has the living token, nothing is left of what went wrong before.
    pub fn acknowledged(&mut self) {
        let connection = &self.primary.connection.value;
        let Some(set) = Self::stored(connection).filter(|_| self.is_current(connection)) else { return };
        if set.generation > self.memory.announced.0 {
            self.memory.announced = (0, 0);
        }
        let held = records::number(&set.current);
        let family = self.provider.family(held);
        // As long as somebody holds an intent, a request that was announced before may still go out.
        let announced = self.primary.flight.as_ref().is_some_and(|flight| flight.value.intent.is_some());
        let quiet = !announced && self.orphans.is_empty() && set.generation > self.memory.unknown.0;
        if held == family.current && !family.revoked && quiet {
            (self.memory.destroyed, self.memory.stolen, self.memory.refused) = (false, false, false);
        }
    }

    pub fn check_settled(&self, at: usize) -> Result<(), Broken> {
        let node = &self.nodes[at];
        let connection = &self.primary.connection.value;
        let Some((Answer::Tokens { refresh: Some(token), .. }, _)) = node.answer else { return Ok(()) };
        // In another store than the one that acknowledged it, a settled entry is looked at again.
        if !self.is_current(connection) || self.grants_of(at) != self.grants || node.epoch != self.epoch {
            return Ok(());
        }
        let Some(set) = Self::stored(connection) else { return Ok(()) };
        let from = node.machine.as_ref().map_or(0, |machine| machine.plan().generation);
        let stored = std::iter::once(&set.current).chain(&set.alternates).any(|tokens| records::number(tokens) == token);
        if stored || set.current.from_generation > from {
            return Ok(());
        }
        Err(Broken("I2: a journal entry was given up that the store does not have"))
    }

    /// I4: the store shows no generation below what callers were given, but for what a journal is about to restore.
    pub fn check_read(&self) -> Result<(), Broken> {
        let generation = self.set_generation();
        let behind = self.nodes.iter().any(|node| node.has_pending() || node.has_beyond(self.grants, generation));
        if generation < self.memory.told && !behind && !self.memory.journal_broken && !self.memory.deleted {
            return Err(Broken("I4: a generation fell"));
        }
        Ok(())
    }

    /// I3: what callers are given is durable. And who is put off is put off for good reason.
    pub fn check_told(&mut self, at: usize, outcome: &Outcome) -> Result<(), Broken> {
        if let Outcome::Failed(setback) = outcome {
            return self.check_rest(at, setback);
        }
        let Some(connection) = facts::brings(outcome).filter(|connection| self.is_current(connection)) else { return Ok(()) };
        let Some(set) = Self::stored(connection) else { return Ok(()) };
        if !self.is_durable(set) && !self.memory.journal_broken {
            return Err(Broken("I3: tokens were given that are not durable"));
        }
        self.memory.told = self.memory.told.max(set.generation);
        Ok(())
    }

    fn is_durable(&self, set: &TokenSet) -> bool {
        let same = |tokens: &Tokens| tokens.access.expose_secret() == set.current.access.expose_secret();
        let Some(replica) = Self::stored(&self.replica.connection.value) else { return true };
        let stored = std::iter::once(&replica.current).chain(&replica.alternates).any(same);
        let journaled = |access| self.nodes.iter().any(|node| node.has_issued(access));
        stored || replica.generation > set.generation || set.current.access.expose_secret().parse().is_ok_and(journaled)
    }

    pub fn revoke_late(&mut self, at: usize) -> Result<(), Broken> {
        let grant = self.grants_of(at);
        if grant == self.grants && !self.primary.connection.value.is_gone() {
            return Err(Broken("I7: tokens of a living connection were revoked"));
        }
        self.provider.revoke((u32::from(grant) - 1) * 1000 + 1);
        Ok(())
    }

    /// A new consent, an import or a delete begins a new account.
    pub fn forget_memory(&mut self) {
        self.memory = Memory { sends: self.memory.sends, journal_broken: self.memory.journal_broken, ..Memory::default() };
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.primary.connection.value
    }
}
