//! Tokens that are in this node's journal and not in the store yet, because the store is away: what this node
//! answers with meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, TokenSetName};
use crate::services::cached::Found;

use super::lanes::Lane;

#[derive(Default)]
pub(super) struct Ahead(Mutex<BTreeMap<Lane, Arc<Connection>>>);

impl Ahead {
    pub fn put(&self, lane: Lane, connection: Arc<Connection>) {
        self.table().insert(lane, connection);
    }

    /// The store has them, or something newer, or they are of no use any more.
    pub fn remove(&self, lane: &Lane) {
        self.table().remove(lane);
    }

    /// The record as it was found, or what this node has beyond it: the same consent, further on.
    pub fn or_found(&self, found: Found<Connection>, set: &TokenSetName) -> Found<Connection> {
        let table = self.table();
        let Some(ahead) = table.get(&(found.record.id.clone(), set.clone())) else { return found };
        let generation = |connection: &Connection| connection.set(set).map(|set| set.generation);
        let further = ahead.grant_id == found.record.grant_id && generation(ahead) > generation(&found.record);
        if further && !found.record.is_gone() { Found { record: ahead.clone(), version: found.version } } else { found }
    }

    /// What this node has of a connection that cannot be read.
    pub fn instead(&self, id: &ConnectionId) -> Option<Found<Connection>> {
        let table = self.table();
        let (_, record) = table.iter().find(|((connection, _), _)| connection == id)?;
        Some(Found { record: record.clone(), version: 0 })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Lane, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
