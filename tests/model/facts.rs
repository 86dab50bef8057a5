//! What a machine is told of the world: the time, the gate, the records with what its node has seen of them, and what
//! an answer says.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use claviger::domain::connection::Connection;
use claviger::domain::tokens::{FailureClass, ProviderFailure};
use claviger::refresh::gate::{GateView, Journal};
use claviger::refresh::{At, Event, Found, Outcome, Peer};

use crate::digest;
use crate::mutants::Mutant;
use crate::node::{POLICY, mono};
use crate::provider::Answer;
use crate::records::{self, FIXED};
use crate::store::Copy;
use crate::world::World;

impl World {
    pub fn time_at(&self, at: usize) -> At {
        let node = &self.nodes[at];
        // The last check without its clock.
        let frozen = self.mutant == Some(Mutant::NoLastCheck) && node.checking;
        let reading = if frozen { node.announced_at } else { self.now };
        At { now: node.wall(self.now), mono: mono(reading), epoch: node.epoch }
    }

    pub fn gate(&self, at: usize) -> GateView {
        let node = &self.nodes[at];
        let open = match self.mutant {
            Some(Mutant::NoBarrier) => true,
            // Also the last check before a request, which the announcement's epoch makes up for.
            Some(Mutant::EndsUnheard) => node.checking,
            _ => false,
        };
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

    pub fn found(&mut self, at: usize) -> Found {
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

    pub fn judged(&self, at: usize) -> Event {
        let node = &self.nodes[at];
        let Some((answer, started)) = node.answer else { return Event::Unreadable { code: "no_answer" } };
        let started = Timestamp::from_millisecond(started).expect("a time of the model");
        let failure = |class, code: &str| ProviderFailure { class, code: code.to_owned(), status: 400, retry_after: None };
        let refused = |class, code| Event::Refused { failure: failure(class, code), is_final: false };
        match answer {
            Answer::Tokens { refresh, access } => Event::Received {
                answer: Box::new(records::answer(self.provider.kind.with(), access, refresh, started)),
                started,
            },
            Answer::Refused => {
                let is_final = self.mutant == Some(Mutant::KillAtOnce);
                Event::Refused { failure: failure(FailureClass::DeadGrant, "invalid_grant"), is_final }
            }
            Answer::Throttled => refused(FailureClass::Throttled, "slow_down"),
            Answer::ClientRefused => refused(FailureClass::IntegrationBroken, "invalid_client"),
            Answer::ServerError => refused(FailureClass::InDoubt, "server_error"),
        }
    }
}

impl Copy {
    /// What an event says, as far as the machine could tell it from another; of records that were read just now their
    /// digests are known.
    pub fn told(&self, event: &Event) -> u64 {
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
