//! Typed persistence, written once for every adapter. It alone seals and unseals: what goes into the
//! `Kv` port is ciphertext, except records that hold no secret and that scripts must read.

mod change;
mod connections;
mod due;
mod entities;
mod error;
mod journal;
pub mod keyring;
mod left;
mod record;
pub mod seal;
mod survey;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;
use zeroize::Zeroizing;

use crate::domain::ids::TenantId;
use crate::ports::entropy::{Entropy, random};
use crate::ports::journal::Journal;
use crate::ports::kv::{AttemptId, Batch, Commit, Key, Kv, KvError, Precondition, Settled, Write};

pub use change::Change;
pub use connections::{ConnectionFilter, ConnectionPage};
pub use due::{DueEntry, DuePage};
pub use entities::{EmailClaim, OneTimeCode, ReusableLink, keys};
pub use error::{OpenError, StoreError};
pub use journal::{Arrival, JournalOpenError, SealedJournal, Sent, Shipped, Waiting, waiting};
pub use keyring::{Keyring, MasterKey};
pub use left::LeftEntry;
pub use record::{Protection, Record, RecordKey, RecordRange, Stored};
pub use survey::Sample;

use keyring::DataKey;
use seal::Context;

/// Tenants whose data key is kept unwrapped in memory.
const DATA_KEYS_CACHED: u64 = 10_000;
/// A lost answer is asked after so many times before the caller is told.
const SETTLE_ATTEMPTS: usize = 3;

/// The store: a `Kv`, the keys that open it, and the deployment all seals are bound to.
pub struct Store {
    kv: Arc<dyn Kv>,
    entropy: Arc<dyn Entropy>,
    keyring: Arc<Keyring>,
    deployment: [u8; 16],
    system: Arc<DataKey>,
    tenants: Cache<TenantId, Arc<DataKey>>,
}

/// One page of typed records: names and values, and where the next page begins.
pub type Listing<R> = (Vec<(Vec<u8>, Stored<R>)>, Option<Vec<u8>>);

impl Store {
    /// Opens the store, founding it when it is empty. A master key that does not open it is an error.
    pub async fn open(kv: Arc<dyn Kv>, entropy: Arc<dyn Entropy>, keyring: impl Into<Arc<Keyring>>) -> Result<Self, OpenError> {
        let keyring = keyring.into();
        let foundation = keyring::found_or_open(kv.as_ref(), entropy.as_ref(), &keyring).await?;
        Ok(Self {
            kv,
            entropy,
            keyring,
            deployment: foundation.deployment,
            system: Arc::new(foundation.system),
            tenants: Cache::new(DATA_KEYS_CACHED),
        })
    }

    /// Whether the store was founded; an empty one is founded by [`Store::open`].
    pub async fn is_founded(kv: &dyn Kv) -> Result<bool, StoreError> {
        Ok(kv.get(&keys::deployment()).await?.is_some())
    }

    /// What the store was founded as, in hex.
    pub fn instance(&self) -> String {
        hex::encode(self.deployment)
    }

    /// Whether the store is still the deployment that was opened; `None` when it is empty or was emptied.
    pub async fn is_same_instance(&self) -> Result<Option<bool>, StoreError> {
        let found = self.kv.get(&keys::deployment()).await?;
        Ok(found.map(|found| found.value.as_ref() == self.deployment.as_slice()))
    }

    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.kv.ping().await?)
    }

    /// How often another store was seen in the place of this one ([`Kv::epoch`]).
    pub fn epoch(&self) -> u64 {
        self.kv.epoch()
    }

    /// Whether other nodes may work with this store ([`Kv::is_shared`]).
    pub fn is_shared(&self) -> bool {
        self.kv.is_shared()
    }

    /// What this store can lose ([`Kv::notes`]).
    pub fn notes(&self) -> Vec<String> {
        self.kv.notes()
    }

    /// The node's journal, sealed with this store's keys and bound to it.
    pub async fn journal(&self, journal: Arc<dyn Journal>) -> Result<SealedJournal, JournalOpenError> {
        SealedJournal::open(journal, self.keyring.clone(), self.entropy.clone(), self.deployment).await
    }

    /// Writes the whole store into the empty file at `path` ([`Kv::snapshot`]).
    pub async fn snapshot(&self, path: &Path) -> Result<(), KvError> {
        self.kv.snapshot(path).await
    }

    pub async fn read<R: Record>(&self, key: &RecordKey<R>) -> Result<Option<Stored<R>>, StoreError> {
        match self.kv.get(&key.key).await? {
            None => Ok(None),
            Some(found) => Ok(Some(self.open_record(key, found.version, &found.value).await?)),
        }
    }

    /// Reads and deletes: of many callers one gets the record.
    pub async fn take<R: Record>(&self, key: &RecordKey<R>) -> Result<Option<R>, StoreError> {
        match self.kv.take(&key.key).await? {
            None => Ok(None),
            Some(found) => Ok(Some(self.open_record(key, found.version, &found.value).await?.value)),
        }
    }

    pub async fn list<R: Record>(
        &self,
        range: &RecordRange<R>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Listing<R>, StoreError> {
        let page = self.kv.list(&range.partition, &range.prefix, after, limit).await?;
        let mut records = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let key = range.key(entry.name);
            let record = self.open_record(&key, entry.version, &entry.value).await?;
            records.push((key.key.name, record));
        }
        Ok((records, page.next))
    }

    /// Applies a change whole, or not at all. A lost answer is settled here.
    pub async fn commit(&self, change: Change) -> Result<(), StoreError> {
        let attempt = AttemptId(random(self.entropy.as_ref())?);
        let (preconditions, drafts) = change.into_parts();
        let mut writes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            writes.push(self.seal_draft(draft).await?);
        }
        let batch = Batch { attempt, preconditions, writes };
        let partition = batch.check()?.clone();
        match self.kv.commit(batch).await? {
            Commit::Applied => Ok(()),
            Commit::Conflict => Err(StoreError::Conflict),
            Commit::Unknown => self.settle(&partition, attempt).await,
        }
    }

    /// Makes a tenant's data key, once; safe to repeat.
    pub async fn ensure_data_key(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let key = keys::data_key(tenant);
        if self.kv.get(&key).await?.is_some() {
            return Ok(());
        }
        let fresh = DataKey::random(self.entropy.as_ref())?;
        let value = self.keyring.wrap(&fresh, &self.context(&key, keyring::DATA_KEY_KIND, 1), self.entropy.as_ref())?;
        let batch = Batch {
            attempt: AttemptId(random(self.entropy.as_ref())?),
            preconditions: vec![Precondition::Absent(key.clone())],
            writes: vec![Write::Put { key, version: 1, value: Bytes::from(value), ttl: None }],
        };
        match self.kv.commit(batch).await? {
            Commit::Applied | Commit::Conflict => Ok(()),
            Commit::Unknown => Err(StoreError::Unavailable("the answer to a commit was lost".into())),
        }
    }

    /// A keyed hash for looking up what must not be stored in plain: one-time tokens, key secrets,
    /// addresses. `purpose` keeps the uses apart.
    pub fn lookup_hash(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        self.system.keyed_hash(purpose, value)
    }

    async fn settle(&self, partition: &crate::ports::kv::Partition, attempt: AttemptId) -> Result<(), StoreError> {
        let mut last = String::new();
        for _ in 0..SETTLE_ATTEMPTS {
            match self.kv.settle(partition, attempt).await {
                Ok(Settled::Applied) => return Ok(()),
                Ok(Settled::NotApplied) => return Err(StoreError::Unavailable("the commit did not reach the store".into())),
                Err(cause) => last = cause.to_string(),
            }
        }
        Err(StoreError::Unavailable(format!("the answer to a commit was lost: {last}")))
    }

    async fn seal_draft(&self, draft: change::Draft) -> Result<Write, StoreError> {
        match draft {
            change::Draft::Delete(key) => Ok(Write::Delete { key }),
            change::Draft::Put { key, version, kind, protection, plain, ttl } => {
                let value = match self.data_key(&protection).await? {
                    None => plain.to_vec(),
                    Some(data_key) => {
                        let nonce = random(self.entropy.as_ref())?;
                        data_key.seal(nonce, &self.context(&key, kind, version), &plain)?
                    }
                };
                Ok(Write::Put { key, version, value: Bytes::from(value), ttl })
            }
        }
    }

    async fn open_record<R: Record>(&self, key: &RecordKey<R>, version: u64, value: &[u8]) -> Result<Stored<R>, StoreError> {
        let plain = match self.data_key(&key.protection).await? {
            None => Zeroizing::new(value.to_vec()),
            Some(data_key) => data_key.open(&self.context(&key.key, R::KIND, version), value)?,
        };
        let value = serde_json::from_slice(&plain)
            .map_err(|_| StoreError::Broken(format!("a record of kind {} cannot be read", R::KIND)))?;
        Ok(Stored { value, version })
    }

    async fn data_key(&self, protection: &Protection) -> Result<Option<Arc<DataKey>>, StoreError> {
        match protection {
            Protection::Plain => Ok(None),
            Protection::System => Ok(Some(self.system.clone())),
            Protection::Tenant(tenant) => self.tenant_key(tenant).await.map(Some),
        }
    }

    async fn tenant_key(&self, tenant: &TenantId) -> Result<Arc<DataKey>, StoreError> {
        if let Some(known) = self.tenants.get(tenant).await {
            return Ok(known);
        }
        let key = keys::data_key(tenant);
        let found = self.kv.get(&key).await?.ok_or_else(|| StoreError::Broken("a tenant has no data key".into()))?;
        let context = self.context(&key, keyring::DATA_KEY_KIND, found.version);
        let opened = Arc::new(self.keyring.unwrap(&context, &found.value)?);
        self.tenants.insert(tenant.clone(), opened.clone()).await;
        Ok(opened)
    }

    fn context<'a>(&'a self, key: &'a Key, kind: &'a str, version: u64) -> Context<'a> {
        Context { deployment: &self.deployment, partition: key.partition.as_str(), kind, key: &key.name, version }
    }
}
