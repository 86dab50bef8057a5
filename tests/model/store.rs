//! The store: a primary and one replica that lags behind it. A record is kept with its version and its digest.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use claviger::domain::connection::Connection;
use claviger::domain::flight::Flight;
use claviger::refresh::{RecordWrite, Write};

use crate::digest;

#[derive(Debug, Clone)]
pub struct Record<R> {
    pub value: Arc<R>,
    pub version: u64,
    digest: u64,
}

/// One copy of what there is.
#[derive(Debug, Clone)]
pub struct Copy {
    pub connection: Record<Connection>,
    pub flight: Option<Record<Flight>>,
    /// Writes so far.
    pub writes: u64,
}

impl Record<Connection> {
    pub fn connection(value: Connection, version: u64) -> Self {
        Self { digest: digest::of_connection(&value), value: value.into(), version }
    }
}

impl Record<Flight> {
    pub fn flight(value: Flight, version: u64) -> Self {
        Self { digest: digest::of_flight(&value), value: value.into(), version }
    }
}

impl<R> Hash for Record<R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.digest, self.version).hash(state);
    }
}

impl Hash for Copy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.connection, &self.flight, self.writes).hash(state);
    }
}

impl Copy {
    /// Applies a write, if its versions are those that are here, or whatever they are.
    pub fn apply(&mut self, write: &Write, unjudged: bool) -> bool {
        if !unjudged && !self.admits(write) {
            return false;
        }
        if let RecordWrite::Put { after, .. } = &write.connection {
            let version = self.connection.version + 1;
            self.connection = Record { digest: digest::of_connection(after), value: after.clone(), version };
        }
        if let Some(put) = &write.flight {
            let version = self.flight.as_ref().map_or(1, |flight| flight.version + 1);
            self.flight = Some(Record::flight(put.record.clone(), version));
        }
        self.writes += 1;
        true
    }

    fn admits(&self, write: &Write) -> bool {
        let connection = match &write.connection {
            RecordWrite::Require { version } | RecordWrite::Put { version, .. } => *version == self.connection.version,
        };
        let flight = write.flight.as_ref().is_none_or(|put| put.version() == self.flight.as_ref().map(|flight| flight.version));
        connection && flight
    }
}
