//! The store, for a pilot: both records read together, and both judged in one commit.

use std::sync::PoisonError;

use crate::domain::connection::Connection;
use crate::domain::flight::Flight;
use crate::refresh::{Event, Found, Peer, RecordWrite, Write};
use crate::services::cached;
use crate::store::{Change, Store, StoreError, Stored, keys};

use super::{Errand, Pilot};

impl Pilot<'_> {
    /// The flight record first: who has committed since has also written there, so that an announcement fails.
    pub(super) async fn read(&mut self) -> Option<Event> {
        let (means, (tenant, connection)) = (&self.node.means, (&self.errand.tenant, &self.errand.connection));
        let epoch = self.node.epoch();
        let key = keys::connection(tenant, connection);
        let records = async {
            let flight = means.core.store.read(&keys::flight(tenant, connection, &self.machine.plan().set)).await?;
            Ok((flight, means.connections.reread(connection.as_str(), &key).await?))
        };
        match records.await {
            Ok((flight, Some(found))) => {
                self.params.extend(found.record.params.clone());
                let flight = flight.map(|stored| (stored.value, stored.version));
                Some(Event::Found(Box::new(self.found(epoch, found, flight))))
            }
            Ok((_, None)) => self.absent().await,
            Err(StoreError::Broken(why)) if self.replays => {
                tracing::error!(connection = %connection, why, "a journal entry is kept: its connection cannot be read");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a refresh could not read the store");
                Some(Event::StoreAway)
            }
        }
    }

    /// No grant and no tombstone: a deletion of long ago, or a store that lost more than that. Only of a store
    /// that is known to be the same is an absence believed.
    async fn absent(&self) -> Option<Event> {
        let core = &self.node.means.core;
        let same = core.standing.hold_all().is_none() && matches!(core.store.is_same_instance().await, Ok(Some(true)));
        match same {
            true => Some(Event::Absent),
            false if self.replays => {
                tracing::warn!(connection = %self.errand.connection, "a journal entry is kept: the store lacks its connection");
                None
            }
            false => Some(Event::StoreAway),
        }
    }

    fn found(&self, epoch: u64, read: cached::Found<Connection>, flight: Option<(Flight, u64)>) -> Found {
        let intent = flight.as_ref().and_then(|(flight, _)| flight.intent.as_ref());
        let now = self.node.means.core.clock.monotonic();
        let mut sightings = self.node.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged_for = sightings.observe(self.lane(), intent, now);
        drop(sightings);
        let others = flight.iter().flat_map(|(flight, _)| flight.others(self.node.node()));
        let lease = self.machine.plan().policy.lease();
        let peers: Vec<Peer> = others.map(|other| self.node.means.nodes.peer(other, lease)).collect();
        Found { epoch, connection: read.record, version: read.version, flight, unchanged_for, peers }
    }

    /// Versions of one store say nothing about another: a write that may have reached another one than it was
    /// derived from counts as one whose answer was lost.
    pub(super) async fn commit(&self, write: &Write) -> Event {
        if write.epoch != self.node.epoch() {
            return Event::Conflict;
        }
        let committed = async {
            let change = self.change(write)?;
            self.node.means.core.store.commit(change).await
        };
        match committed.await {
            Ok(()) if write.epoch != self.node.epoch() => Event::NotCommitted,
            Ok(()) => {
                if let RecordWrite::Put { version, after, .. } = &write.connection {
                    let (id, after) = (self.errand.connection.as_str(), Connection::clone(after));
                    self.node.means.connections.note(id, after, version + 1).await;
                }
                Event::Committed
            }
            Err(StoreError::Conflict) => Event::Conflict,
            Err(error) => {
                tracing::warn!(%error, "a refresh could not write to the store");
                Event::NotCommitted
            }
        }
    }

    fn change(&self, write: &Write) -> Result<Change, StoreError> {
        let Errand { tenant, connection, .. } = self.errand;
        let mut change = Change::new();
        match &write.connection {
            RecordWrite::Require { version } => _ = change.require(&keys::connection(tenant, connection), *version),
            RecordWrite::Put { before, version, after } => {
                for news in &write.news {
                    self.node.means.core.put_event(&mut change, after, news.kind, news.detail.clone())?;
                }
                let before = Stored { value: Connection::clone(before), version: *version };
                Store::put_connection(&mut change, after, Some(&before))?;
            }
        }
        if let Some(flight) = &write.flight {
            let before = flight.before.clone().map(|(value, version)| Stored { value, version });
            Store::put_flight(&mut change, (tenant, connection, &self.machine.plan().set), &flight.record, before.as_ref())?;
        }
        Ok(change)
    }
}
