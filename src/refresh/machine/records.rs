//! Connection and flight record as one flight knows them, and the writes that are derived from them.

use std::sync::Arc;

use crate::domain::connection::{Connection, TokenSet};
use crate::domain::flight::{Flight, Intent};
use crate::refresh::effect::{FlightWrite, News, RecordWrite, Write};
use crate::refresh::event::Found;
use crate::refresh::outcome::Outcome;
use crate::refresh::plan::Plan;

/// Both records as last read, or written, by this flight.
#[derive(Debug, Clone)]
pub(super) struct Records {
    pub(super) found: Arc<Found>,
}

impl Records {
    pub(super) fn new(found: Box<Found>) -> Self {
        Self { found: Arc::from(found) }
    }

    /// The records now are what was written.
    pub(super) fn wrote(&mut self, write: &Write) {
        let found = Arc::make_mut(&mut self.found);
        if let RecordWrite::Put { version, after, .. } = &write.connection {
            (found.connection, found.version) = (after.clone(), version + 1);
        }
        if let Some(put) = &write.flight {
            found.flight = Some((put.record.clone(), put.version().map_or(1, |version| version + 1)));
        }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.found.connection
    }

    pub(super) fn set(&self, plan: &Plan) -> Option<&TokenSet> {
        self.found.connection.set(&plan.set)
    }

    pub(super) fn flight(&self) -> Option<&Flight> {
        self.found.flight.as_ref().map(|(flight, _)| flight)
    }

    pub(super) fn intent(&self) -> Option<&Intent> {
        self.flight()?.intent.as_ref()
    }

    /// The connection still is of the consent that the flight is for.
    pub(super) fn is_ours(&self, plan: &Plan) -> bool {
        !self.found.connection.is_gone() && self.found.connection.grant_id == plan.grant
    }

    pub(super) fn version(&self) -> u64 {
        self.found.version
    }

    /// A write that is derived from these records. Without a connection to put, it must still be the same.
    pub(super) fn write(&self, connection: Option<Connection>, flight: Option<Flight>, news: Vec<News>) -> Write {
        let version = self.version();
        let connection = match connection {
            Some(after) => RecordWrite::Put { before: self.connection().clone(), version, after: after.into() },
            None => RecordWrite::Require { version },
        };
        let flight = flight.map(|record| FlightWrite { before: self.found.flight.clone(), record });
        Write { epoch: self.found.epoch, connection, flight, news }
    }

    pub(super) fn refreshed(&self) -> Outcome {
        Outcome::Refreshed { connection: self.found.connection.clone(), version: Some(self.found.version) }
    }
}
