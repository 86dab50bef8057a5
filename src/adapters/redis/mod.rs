//! The store in Redis (or Valkey; one server, Sentinel or Cluster). Each partition is a hash tag:
//!
//! - `{P}/d/NAME`: a value, as 8 bytes of version and the value, with its time to live
//! - `{P}/i`: the names in byte order, a sorted set whose scores are all 0
//! - `{P}/e`: the names of values with a time to live, by the moment it ends
//! - `{P}/a/ATTEMPT`: what became of an attempt to commit, for the settle window
//! - `{N}/marker`, one on each server that writes: where it is, the data are (see `server`)
//!
//! Every change is one script, which keeps these in step. Nothing is ever found by SCAN.

mod address;
mod find;
mod identity;
mod keeper;
mod link;
mod place;
mod routes;
mod safety;
mod script;
mod server;
mod slots;

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{FromRedisValue, Value};

use self::address::{Address, Kind};
use self::keeper::Keeper;
use self::link::Fault;
use self::place::Written;
use self::routes::Routes;
use self::safety::Waiting;
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::ports::kv::{
    AttemptId, Batch, Commit, Entries, Entry, Key, Kv, KvError, PAGE_BYTES, Partition, Precondition, SETTLE_WINDOW, Settled,
    Versioned, Write, check_listing, check_name, name_range, ttl_millis,
};

/// Values fetched at a time while their sizes are not known.
const FIRST_FETCH: usize = 32;
const FETCH_MAX: usize = 256;

pub struct RedisOptions {
    /// `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`; may hold a password.
    pub url: SecretString,
    /// Start even though the server's settings can lose grants.
    pub allow_volatile: bool,
    /// Replicas that must have a write before it counts.
    pub min_replicas: u32,
}

/// Why there is no store. Each text says which setting, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisStartError {
    #[error("{0}")]
    Address(String),
    #[error("Redis (store.url) cannot be reached: {0}")]
    Unreachable(String),
    #[error("Redis (store.url) cannot be used: {0}")]
    Unusable(String),
    #[error("Redis could lose grants: {}. Or set store.allow_volatile = true to accept the loss.", .0.join("; "))]
    Unsafe(Vec<String>),
}

pub struct RedisKv {
    keeper: Arc<Keeper>,
}

impl RedisKv {
    pub async fn connect(options: &RedisOptions) -> Result<Self, RedisStartError> {
        let address = Address::parse(options.url.expose_secret()).map_err(RedisStartError::Address)?;
        let unreachable = |fault: Fault| RedisStartError::Unreachable(fault.to_string());
        let waiting = Waiting { min_replicas: options.min_replicas, failover: address.kind != Kind::Server };
        let routes = Routes::open(address, options.min_replicas).await.map_err(unreachable)?;
        let settings = safety::learn(&routes).await.map_err(unreachable)?;
        if let Some(why) = settings.iter().find_map(|settings| settings.unusable()) {
            return Err(RedisStartError::Unusable(why));
        }
        let dangers = safety::dangers(&settings, waiting);
        if !dangers.is_empty() && !options.allow_volatile {
            return Err(RedisStartError::Unsafe(dangers));
        }
        Ok(Self { keeper: Keeper::new(routes, waiting, &settings) })
    }

    fn routes(&self) -> &Arc<Routes> {
        &self.keeper.routes
    }

    async fn names(
        &self,
        partition: &Partition,
        range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        count: usize,
    ) -> Result<Vec<Vec<u8>>, KvError> {
        let edge = |bound: Bound<Vec<u8>>, open: &str| match bound {
            Bound::Included(name) => [b"[".to_vec(), name].concat(),
            Bound::Excluded(name) => [b"(".to_vec(), name].concat(),
            Bound::Unbounded => open.as_bytes().to_vec(),
        };
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(index(partition)).arg(edge(range.0, "-")).arg(edge(range.1, "+")).arg("LIMIT").arg(0).arg(count);
        read_as(self.routes().read(partition, &command).await?)
    }

    /// The values of these names in order; fewer if they grow too large.
    async fn values(&self, partition: &Partition, names: &[Vec<u8>]) -> Result<Vec<Option<Versioned>>, KvError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < names.len() && bytes < PAGE_BYTES {
            let room = (PAGE_BYTES - bytes).checked_div(bytes / found.len().max(1));
            let fetch = if found.is_empty() { FIRST_FETCH } else { room.unwrap_or(FETCH_MAX).clamp(1, FETCH_MAX) };
            let mut command = redis::cmd("MGET");
            for name in names[found.len()..].iter().take(fetch) {
                command.arg(value_key(partition, name));
            }
            for value in read_as::<Vec<Option<Vec<u8>>>>(self.routes().read(partition, &command).await?)? {
                bytes += value.as_ref().map_or(0, Vec::len);
                found.push(value.map(unpack).transpose()?);
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn change(
        &self,
        partition: &Partition,
        script: &script::Lua,
        keys: &[Vec<u8>],
        arguments: &[Vec<u8>],
    ) -> Result<Written, Fault> {
        self.routes().write(partition, script, keys, arguments).await
    }
}

#[async_trait]
impl Kv for RedisKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let value = self.routes().read(&key.partition, redis::cmd("GET").arg(value_key(&key.partition, &key.name))).await?;
        read_as::<Option<Vec<u8>>>(value)?.map(unpack).transpose()
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        check_listing(prefix, after, limit)?;
        // One more than asked for tells whether there is more.
        let names = self.names(partition, name_range(prefix, after), limit + 1).await?;
        let values = self.values(partition, &names[..names.len().min(limit)]).await?;
        let next = (values.len() < names.len()).then(|| names.get(values.len().wrapping_sub(1)).cloned()).flatten();
        let expired = values.contains(&None);
        let found = names.into_iter().zip(values);
        let entry = |(name, value): (Vec<u8>, Option<Versioned>)| {
            value.map(|Versioned { version, value }| Entry { name, version, value })
        };
        let entries = found.filter_map(entry).collect();
        if expired {
            // A name without a value: collect such names, so that later pages are not short. Its failure harms nobody.
            let _ = self.change(partition, &script::SWEEP, &[index(partition), ends(partition)], &[]).await;
        }
        Ok(Entries { entries, next })
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let keys = [index(&key.partition), ends(&key.partition), value_key(&key.partition, &key.name)];
        // A lost answer may have taken the value with it. Asking again would say "there was none", which a caller
        // would read as "somebody else has it"; so it is an error, and whatever the value stood for is not done.
        let taken = self.change(&key.partition, &script::TAKE, &keys, &[]).await?;
        if !taken.replicated {
            return Err(KvError::Unavailable("too few replicas confirmed that the value was taken".into()));
        }
        read_as::<Option<Vec<u8>>>(taken.value)?.map(unpack).transpose()
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        let partition = batch.check()?;
        let (keys, arguments) = commit_arguments(partition, &batch);
        match self.change(partition, &script::COMMIT, &keys, &arguments).await {
            Ok(written) if !written.replicated => Ok(Commit::Unknown),
            Ok(written) => Ok(if read_as(written.value)? { Commit::Applied } else { Commit::Conflict }),
            Err(Fault::Lost(error)) => {
                tracing::warn!(error, "the answer to a commit was lost");
                Ok(Commit::Unknown)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        let (keys, arguments) = ([attempt_key(partition, attempt)], [settle_window()]);
        let settled = match self.change(partition, &script::SETTLE, &keys, &arguments).await {
            // Settling twice says the same twice.
            Err(Fault::Lost(_)) => self.change(partition, &script::SETTLE, &keys, &arguments).await?,
            other => other?,
        };
        if !settled.replicated {
            return Err(KvError::Unavailable("too few replicas have the outcome".into()));
        }
        Ok(if read_as(settled.value)? { Settled::Applied } else { Settled::NotApplied })
    }

    async fn ping(&self) -> Result<(), KvError> {
        Ok(self.routes().look().await?)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn epoch(&self) -> u64 {
        self.routes().epoch()
    }

    fn notes(&self) -> Vec<String> {
        self.keeper.notes()
    }
}

fn commit_arguments(partition: &Partition, batch: &Batch) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let value_of = |key: &Key| value_key(partition, &key.name);
    let mut keys = vec![index(partition), ends(partition), attempt_key(partition, batch.attempt)];
    keys.extend(batch.preconditions.iter().map(|precondition| value_of(precondition.key())));
    keys.extend(batch.writes.iter().map(|write| value_of(write.key())));
    let count = |count: usize| count.to_string().into_bytes();
    let mut arguments = vec![settle_window(), count(batch.preconditions.len()), count(batch.writes.len())];
    arguments.extend(batch.preconditions.iter().map(|precondition| match precondition {
        Precondition::Absent(_) => Vec::new(),
        Precondition::Version(_, version) => version.to_be_bytes().to_vec(),
    }));
    for write in &batch.writes {
        let (ttl, value) = match write {
            Write::Delete { .. } => (b"d".to_vec(), Vec::new()),
            Write::Put { version, value, ttl, .. } => {
                let ttl = ttl.map(|ttl| ttl_millis(ttl).to_string().into_bytes());
                (ttl.unwrap_or_default(), [&version.to_be_bytes(), &value[..]].concat())
            }
        };
        arguments.extend([ttl, value]);
    }
    (keys, arguments)
}

fn settle_window() -> Vec<u8> {
    ttl_millis(SETTLE_WINDOW).to_string().into_bytes()
}

fn index(partition: &Partition) -> Vec<u8> {
    format!("{{{}}}/i", partition.as_str()).into_bytes()
}

fn ends(partition: &Partition) -> Vec<u8> {
    format!("{{{}}}/e", partition.as_str()).into_bytes()
}

/// The scripts know that a name begins one byte after the length of the index's key.
fn value_key(partition: &Partition, name: &[u8]) -> Vec<u8> {
    [format!("{{{}}}/d/", partition.as_str()).as_bytes(), name].concat()
}

fn attempt_key(partition: &Partition, attempt: AttemptId) -> Vec<u8> {
    [format!("{{{}}}/a/", partition.as_str()).as_bytes(), &attempt.0].concat()
}

fn unpack(stored: Vec<u8>) -> Result<Versioned, KvError> {
    let stored = Bytes::from(stored);
    let version = stored.first_chunk().ok_or_else(|| KvError::Corrupt("a value has no version".into()))?;
    Ok(Versioned { version: u64::from_be_bytes(*version), value: stored.slice(8..) })
}

fn read_as<T: FromRedisValue>(value: Value) -> Result<T, KvError> {
    T::from_redis_value(value).map_err(|error| KvError::Corrupt(error.to_string()))
}

impl From<Fault> for KvError {
    fn from(fault: Fault) -> Self {
        KvError::Unavailable(fault.to_string())
    }
}
