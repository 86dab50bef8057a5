//! How the sandbox keeps things: one partition, JSON values, codes and tokens by their SHA-256 alone.
//! A grant's record is the hinge: whatever happens to a grant writes it, so that of several calls in
//! the same moment one is applied and the others look again.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::SandboxError;
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::ports::entropy::{Entropy, random};
use crate::ports::kv::{AttemptId, Batch, Commit, Key, Kv, KvError, Partition, Precondition, Settled, Write};

/// The key layout.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// `client/ID`: a hash of its secret.
    Client(&'a str),
    /// `grant/ID`: a consent and what became of it.
    Grant(&'a str),
    /// `code/HASH`: the grant it is for.
    Code(&'a str),
    /// `access/HASH`: the grant, scopes and expiry.
    Access(&'a str),
    /// `refresh/HASH`: the grant, and when it was first used.
    Refresh(&'a str),
}

pub(super) struct Records {
    kv: Arc<dyn Kv>,
    entropy: Arc<dyn Entropy>,
    partition: Partition,
}

/// A record and the version it was read at.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) version: u64,
}

/// What is to be written, with what it rests on.
#[derive(Default)]
pub(super) struct Change {
    preconditions: Vec<Precondition>,
    writes: Vec<Write>,
}

/// Under what a code, token or client secret is kept.
pub(super) fn fingerprint(secret: &SecretString) -> String {
    hex::encode(Sha256::digest(secret.expose_secret().as_bytes()))
}

impl Records {
    pub(super) fn new(kv: Arc<dyn Kv>, entropy: Arc<dyn Entropy>) -> Self {
        #[expect(clippy::expect_used, reason = "the name is a constant of the allowed letters")]
        let partition = Partition::new("sandbox").expect("a valid name");
        Self { kv, entropy, partition }
    }

    pub(super) async fn ping(&self) -> Result<(), KvError> {
        self.kv.ping().await
    }

    pub(super) async fn read<T: DeserializeOwned>(&self, place: Place<'_>) -> Result<Option<Found<T>>, SandboxError> {
        let Some(stored) = self.kv.get(&self.key(place)).await? else { return Ok(None) };
        Ok(Some(Found { value: serde_json::from_slice(&stored.value)?, version: stored.version }))
    }

    /// Adds to `change` a record that takes the place of the version `found` (`None`: of nothing).
    pub(super) fn put<T: Serialize>(
        &self,
        change: &mut Change,
        (place, found): (Place<'_>, Option<u64>),
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<(), SandboxError> {
        let key = self.key(place);
        change.preconditions.push(match found {
            None => Precondition::Absent(key.clone()),
            Some(version) => Precondition::Version(key.clone(), version),
        });
        let value = serde_json::to_vec(value)?.into();
        change.writes.push(Write::Put { key, version: found.unwrap_or(0) + 1, value, ttl });
        Ok(())
    }

    pub(super) fn delete(&self, change: &mut Change, place: Place<'_>) {
        change.writes.push(Write::Delete { key: self.key(place) });
    }

    /// Whether the change was applied; `false` when somebody else was first.
    pub(super) async fn commit(&self, change: Change) -> Result<bool, SandboxError> {
        let attempt = AttemptId(random(&*self.entropy)?);
        let batch = Batch { attempt, preconditions: change.preconditions, writes: change.writes };
        Ok(match self.kv.commit(batch).await? {
            Commit::Applied => true,
            Commit::Conflict => false,
            Commit::Unknown => self.kv.settle(&self.partition, attempt).await? == Settled::Applied,
        })
    }

    fn key(&self, place: Place<'_>) -> Key {
        let name = match place {
            Place::Client(id) => format!("client/{id}"),
            Place::Grant(id) => format!("grant/{id}"),
            Place::Code(hash) => format!("code/{hash}"),
            Place::Access(hash) => format!("access/{hash}"),
            Place::Refresh(hash) => format!("refresh/{hash}"),
        };
        Key { partition: self.partition.clone(), name: name.into_bytes() }
    }
}
