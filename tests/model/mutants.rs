//! The protocol with one of its parts left out. The product has no switch for that: the world tampers with what passes
//! between the machine and the rest, so that the machine believes in a part that is not there.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use claviger::domain::connection::Connection;
use claviger::domain::flight::Flight;
use claviger::refresh::{Found, Write};

use crate::store::Record;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// The journal's disk is memory.
    NoJournal,
    /// The intent is not stored.
    NoIntent,
    /// After a failover, or a start, a node sends without having replayed, and without waiting for others.
    NoBarrier,
    /// A node does not notice that the store is another one.
    NoEpoch,
    /// A landing clears whoever holds the lease.
    ReleaseAny,
    /// A commit counts only for who holds the lease.
    FenceCommit,
    /// `invalid_grant` ends a grant at once.
    KillAtOnce,
    /// The flight ends with the request of its caller.
    RequestOwns,
    /// Writes are applied whatever version they were judged by.
    NoVersionCheck,
    /// An intent is taken without waiting.
    StealAtOnce,
    /// Who meets a conflict gives its tokens up.
    DropOnConflict,
    /// What is in doubt is sent again, and again.
    RetryForever,
    /// Between announcing and sending nobody looks at the clock.
    NoLastCheck,
    /// A commit counts as durable when the primary has it.
    NoWait,
    /// After a restart a node sends again what it was sending, with no wait for the request under way.
    OwnAtOnce,
    /// A sibling of a refused token is neither kept nor tried.
    NoAlternates,
    /// A node whose intent was taken is not remembered.
    NothingOwed,
    /// Nobody notices that an access token has ended.
    NeverEnds,
    /// Every access token is taken to have ended.
    AlwaysEnded,
    /// In a grace window a token in doubt is sent once more, and then rests like any other.
    OnceInWindow,
    /// A grant whose access token has ended is over, whatever the journals may still say.
    EndsUnheard,
    /// A settled entry is never looked at again.
    SettledForGood,
}

impl Mutant {
    pub const ALL: [Mutant; 22] = [
        Mutant::NoJournal,
        Mutant::NoIntent,
        Mutant::NoBarrier,
        Mutant::NoEpoch,
        Mutant::ReleaseAny,
        Mutant::FenceCommit,
        Mutant::KillAtOnce,
        Mutant::RequestOwns,
        Mutant::NoVersionCheck,
        Mutant::StealAtOnce,
        Mutant::DropOnConflict,
        Mutant::RetryForever,
        Mutant::NoLastCheck,
        Mutant::NoWait,
        Mutant::OwnAtOnce,
        Mutant::NoAlternates,
        Mutant::NothingOwed,
        Mutant::NeverEnds,
        Mutant::AlwaysEnded,
        Mutant::OnceInWindow,
        Mutant::EndsUnheard,
        Mutant::SettledForGood,
    ];
}

impl Mutant {
    /// For people.
    pub fn left_out(self) -> &'static str {
        match self {
            Mutant::NoJournal => "the journal",
            Mutant::NoIntent => "the intent",
            Mutant::NoBarrier => "replay before the first request, and the wait for others",
            Mutant::NoEpoch => "noticing another store",
            Mutant::ReleaseAny => "the owner's check at the release",
            Mutant::FenceCommit => "commit by generation (it goes by the lease)",
            Mutant::KillAtOnce => "confirming a refusal",
            Mutant::RequestOwns => "a flight of its own (it ends with its caller)",
            Mutant::NoVersionCheck => "versions",
            Mutant::StealAtOnce => "the wait before an intent is taken",
            Mutant::DropOnConflict => "keeping what met a conflict",
            Mutant::RetryForever => "the limit of retries in doubt",
            Mutant::NoLastCheck => "the last look at the clock",
            Mutant::NoWait => "waiting for the replica",
            Mutant::OwnAtOnce => "the wait for one's own request after a restart",
            Mutant::NoAlternates => "alternates",
            Mutant::NothingOwed => "remembering whose intent was taken",
            Mutant::NeverEnds => "noticing that an access token has ended",
            Mutant::AlwaysEnded => "sparing an access token that lives",
            Mutant::OnceInWindow => "asking again in a grace window, however often",
            Mutant::EndsUnheard => "hearing the journals before an ended token ends its grant",
            Mutant::SettledForGood => "looking at settled entries again in another store",
        }
    }
}

impl World {
    /// What reaches the store.
    pub fn tampered(&self, write: &Write, announces: bool) -> Write {
        let mut write = write.clone();
        if let Some(put) = &mut write.flight {
            match self.mutant {
                Some(Mutant::NoIntent) if announces => put.record.intent = None,
                Some(Mutant::NothingOwed) => put.record.owed.clear(),
                _ => {}
            }
        }
        write
    }

    /// What the machine finds.
    pub fn tampered_found(&self, mut found: Found) -> Found {
        match self.mutant {
            Some(Mutant::StealAtOnce) => {
                found.unchanged_for = Duration::from_secs(3600);
                found.peers.iter_mut().for_each(|peer| peer.silent_for = Duration::from_secs(3600));
            }
            Some(Mutant::RetryForever) => {
                if let Some((flight, _)) = &mut found.flight {
                    (flight.doubts, flight.doubted_at, flight.backoff.not_before) = (0, None, None);
                }
            }
            Some(Mutant::NeverEnds) => found.connection = with_life(&found.connection, SignedDuration::from_hours(1000)),
            Some(Mutant::AlwaysEnded) => found.connection = with_life(&found.connection, SignedDuration::ZERO),
            Some(Mutant::OnceInWindow) => {
                if let Some((flight, _)) = found.flight.as_mut().filter(|(flight, _)| flight.doubts > 1) {
                    flight.doubted_at = None;
                }
            }
            Some(Mutant::KillAtOnce) => found.peers.iter_mut().for_each(|peer| peer.settled = true),
            Some(Mutant::NoAlternates) => {
                let mut connection = Connection::clone(&found.connection);
                connection.sets.values_mut().for_each(|set| set.alternates.clear());
                found.connection = Arc::new(connection);
            }
            _ => {}
        }
        found
    }

    pub fn drops_receipt(&self, at: usize, announces: bool) -> bool {
        let mine = |attempt: &str| self.nodes[at].machine.as_ref().is_some_and(|machine| machine.attempt() == attempt);
        let holder = self.primary.flight.as_ref().and_then(|flight| flight.value.intent.as_ref());
        self.mutant == Some(Mutant::FenceCommit) && !announces && !holder.is_some_and(|intent| mine(&intent.attempt))
    }

    pub fn release_whoever_holds(&mut self) {
        let Some(flight) = &self.primary.flight else { return };
        let freed = Flight { lease: None, intent: None, ..(*flight.value).clone() };
        self.primary.flight = Some(Record::flight(freed, flight.version + 1));
        self.primary.writes += 1;
    }
}

/// The same access tokens with another life.
fn with_life(connection: &Connection, life: SignedDuration) -> Arc<Connection> {
    let mut connection = connection.clone();
    for set in connection.sets.values_mut() {
        let current = &mut set.current;
        current.expires_at = current.obtained_at.checked_add(life).ok();
    }
    Arc::new(connection)
}
