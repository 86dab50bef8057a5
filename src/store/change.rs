//! The unit of work: conditions and writes that are applied whole or not at all, in one partition.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::ports::kv::{Key, Precondition};

use super::error::StoreError;
use super::record::{Protection, Record, RecordKey};

pub(super) enum Draft {
    Put { key: Key, version: u64, kind: &'static str, protection: Protection, plain: Zeroizing<Vec<u8>>, ttl: Option<Duration> },
    Delete(Key),
}

/// Collects what one commit does. Every record's write names the state it was derived from, except
/// where the last writer may win.
#[derive(Default)]
pub struct Change {
    preconditions: Vec<Precondition>,
    drafts: Vec<Draft>,
}

impl Change {
    pub fn new() -> Self {
        Self::default()
    }

    /// A record that must not be there yet.
    pub fn create<R: Record>(&mut self, key: &RecordKey<R>, record: &R, ttl: Option<Duration>) -> Result<&mut Self, StoreError> {
        self.preconditions.push(Precondition::Absent(key.key.clone()));
        self.put(key, record, 1, ttl)
    }

    /// A record in the place of the one that was read with `version`.
    pub fn replace<R: Record>(
        &mut self,
        key: &RecordKey<R>,
        record: &R,
        version: u64,
        ttl: Option<Duration>,
    ) -> Result<&mut Self, StoreError> {
        self.preconditions.push(Precondition::Version(key.key.clone(), version));
        self.put(key, record, version + 1, ttl)
    }

    /// [`Change::create`] or [`Change::replace`], by whether something was read.
    pub fn store<R: Record>(
        &mut self,
        key: &RecordKey<R>,
        record: &R,
        read_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<&mut Self, StoreError> {
        match read_version {
            None => self.create(key, record, ttl),
            Some(version) => self.replace(key, record, version, ttl),
        }
    }

    /// A record that is not written, and must still be as it was read.
    pub fn require<R: Record>(&mut self, key: &RecordKey<R>, version: u64) -> &mut Self {
        self.preconditions.push(Precondition::Version(key.key.clone(), version));
        self
    }

    /// Deletes the record that was read with `version`.
    pub fn remove<R: Record>(&mut self, key: &RecordKey<R>, version: u64) -> &mut Self {
        self.preconditions.push(Precondition::Version(key.key.clone(), version));
        self.drafts.push(Draft::Delete(key.key.clone()));
        self
    }

    /// Deletes whatever is there.
    pub fn discard<R: Record>(&mut self, key: &RecordKey<R>) -> &mut Self {
        self.drafts.push(Draft::Delete(key.key.clone()));
        self
    }

    /// An index entry: its name says it all.
    pub fn index(&mut self, key: Key) -> &mut Self {
        let plain = Zeroizing::new(Vec::new());
        self.drafts.push(Draft::Put { key, version: 1, kind: "index", protection: Protection::Plain, plain, ttl: None });
        self
    }

    pub fn unindex(&mut self, key: Key) -> &mut Self {
        self.drafts.push(Draft::Delete(key));
        self
    }

    pub(super) fn into_parts(self) -> (Vec<Precondition>, Vec<Draft>) {
        (self.preconditions, self.drafts)
    }

    fn put<R: Record>(
        &mut self,
        key: &RecordKey<R>,
        record: &R,
        version: u64,
        ttl: Option<Duration>,
    ) -> Result<&mut Self, StoreError> {
        let plain =
            serde_json::to_vec(record).map_err(|cause| StoreError::Broken(format!("{} cannot be written: {cause}", R::KIND)))?;
        let (key, protection) = (key.key.clone(), key.protection.clone());
        self.drafts.push(Draft::Put { key, version, kind: R::KIND, protection, plain: Zeroizing::new(plain), ttl });
        Ok(self)
    }
}
