//! The store, as small as it can be: ordered keys in partitions, atomic batches with
//! preconditions. Everything Claviger keeps goes through these five calls.
//!
//! Promises that every adapter keeps (`tests/store` checks each):
//! - a [`Batch`] is applied whole or not at all, and durably before [`Commit::Applied`] is answered;
//! - of many writers with the same precondition exactly one is applied;
//! - of many [`Kv::take`]s of one key exactly one gets the value;
//! - [`Kv::list`] walks a partition in byte order; a key that is there throughout is met exactly once,
//!   whatever others write meanwhile;
//! - keys and values are arbitrary bytes: key names to 1 KiB, values to 1 MiB and a little more;
//! - a value past its time to live is not seen again; when it is collected is the adapter's affair;
//! - a commit that ends in an error wrote nothing and never will; one whose answer was lost is
//!   [`Commit::Unknown`], and [`Kv::settle`] says what became of it.

use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Longest name of a key, without its partition.
pub const NAME_MAX: usize = 1024;
/// Largest value: 1 MiB of plaintext and room for its seal.
pub const VALUE_MAX: usize = 1024 * 1024 + 4096;
/// Most preconditions and writes of one batch, together.
pub const BATCH_MAX: usize = 256;
/// Most bytes of values in one batch.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most entries of one page.
pub const PAGE_MAX: usize = 1000;
/// A page ends early once its values reach this many bytes.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Longest time to live: ten years.
pub const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
/// How long the outcome of a commit can be asked for.
pub const SETTLE_WINDOW: Duration = Duration::from_secs(600);

/// Where a key lives; a batch touches one. In Redis it is the hash tag. Lower-case letters, digits,
/// `.`, `_`: `t.tnt_0190…`, `c.7f`, `s.03`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(String);

impl Partition {
    /// `None` for a name with other characters, an empty one, or more than 64 bytes.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
        (!name.is_empty() && name.len() <= 64 && name.bytes().all(allowed)).then_some(Self(name))
    }

    /// For names whose parts are known to be well formed: any other character becomes `_`.
    pub fn of(kind: &str, id: &str) -> Self {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
        Self(kind.chars().chain(id.chars()).map(|c| if allowed(c) { c } else { '_' }).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub partition: Partition,
    pub name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    pub version: u64,
    pub value: Bytes,
}

/// A condition on a key, judged in the same moment as the writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No live value.
    Absent(Key),
    /// A live value with exactly this version.
    Version(Key, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The writer chooses the version (expected + 1, or 1 for a new key), since the seal binds it.
    /// Where reuse of a deleted key could confuse, the layer above puts a tombstone value instead of
    /// deleting, so that versions go on. A time to live counts in milliseconds, rounded up.
    Put { key: Key, version: u64, value: Bytes, ttl: Option<Duration> },
    /// Deleting what is not there is no error.
    Delete { key: Key },
}

/// Names one attempt to commit, so that its outcome can be asked for. Random, and never used for a
/// second commit: whoever tries again takes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptId(pub [u8; 16]);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub attempt: AttemptId,
    pub preconditions: Vec<Precondition>,
    pub writes: Vec<Write>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Applied,
    /// A precondition does not hold, or the attempt was settled before it arrived; nothing was written.
    Conflict,
    /// The answer was lost: ask [`Kv::settle`].
    Unknown,
}

/// What became of an attempt whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Applied,
    /// It was not applied and, from now on, cannot be: settling also bars a late arrival.
    NotApplied,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Vec<u8>,
    pub version: u64,
    pub value: Bytes,
}

/// One page of a listing. `next` is the name after which the following page begins; `None` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    pub entries: Vec<Entry>,
    pub next: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    #[error("the store cannot take this: {0}")]
    Refused(String),
    #[error("the store answered what it never should: {0}")]
    Corrupt(String),
}

#[async_trait]
pub trait Kv: Send + Sync + 'static {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError>;

    /// Entries whose names begin with `prefix`, in byte order, after the name `after`; at most
    /// `limit` (1-1000). A page may be short and still have a `next`.
    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError>;

    /// Reads and deletes; one caller gets the value. An error may have taken it: what is taken once
    /// fails closed.
    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError>;

    /// Applies the writes in their order, if all preconditions hold. Refuses what [`Batch::check`] does.
    /// An error means that nothing was written; a lost answer is no error but [`Commit::Unknown`].
    async fn commit(&self, batch: Batch) -> Result<Commit, KvError>;

    /// Settles an [`Commit::Unknown`] of the last [`SETTLE_WINDOW`].
    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError>;

    /// Whether the store can be reached and takes writes.
    async fn ping(&self) -> Result<(), KvError>;

    /// Counts how often the store behind this adapter was seen to be another one than before: a server
    /// that was restarted, promoted, exchanged or emptied. Never without such a cause (a connection that
    /// was cut and made anew to the same server is none), and 0 for ever where there is no server.
    ///
    /// No call is answered by another store while this still says the old number: who finds it unchanged
    /// after a commit knows that no store has taken the place of the one before. What was acknowledged
    /// under an older number may be missing now. The adapter looks by itself, at least once a second.
    fn epoch(&self) -> u64 {
        0
    }

    /// Whether other nodes may work with this store.
    fn is_shared(&self) -> bool {
        false
    }

    /// Writes the whole store, as it is at one moment, into the empty file at `path`, on the disk when this
    /// returns; nobody else waits for it. Refused by a store that is copied by means of its own.
    async fn snapshot(&self, path: &Path) -> Result<(), KvError> {
        Err(KvError::Refused(format!("a snapshot in {} is not made by this store", path.display())))
    }

    /// What this store can lose, and how to change that, each in a sentence to the operator.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Batch {
    /// The partition all keys share; a batch that is empty, too long, mixed or oversized is refused.
    /// Each adapter calls this first.
    pub fn check(&self) -> Result<&Partition, KvError> {
        if self.preconditions.len() + self.writes.len() > BATCH_MAX {
            return refused("a batch is too long");
        }
        let keys = self.preconditions.iter().map(Precondition::key).chain(self.writes.iter().map(Write::key));
        let mut partition = None;
        for key in keys {
            if *partition.get_or_insert(&key.partition) != &key.partition {
                return refused("a batch must stay in one partition");
            }
            check_name(&key.name)?;
        }
        let mut total = 0;
        for write in &self.writes {
            total += write.check()?;
        }
        if total > BATCH_BYTES_MAX {
            return refused("a batch is too large");
        }
        partition.map_or_else(|| refused("a batch must not be empty"), Ok)
    }
}

fn refused<T>(why: &str) -> Result<T, KvError> {
    Err(KvError::Refused(why.to_owned()))
}

/// Each adapter calls this first for a key that is not in a batch.
pub fn check_name(name: &[u8]) -> Result<(), KvError> {
    if name.len() > NAME_MAX { refused("a key's name is too long") } else { Ok(()) }
}

/// Each adapter calls this first for a listing.
pub fn check_listing(prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<(), KvError> {
    check_name(prefix)?;
    check_name(after.unwrap_or_default())?;
    if (1..=PAGE_MAX).contains(&limit) { Ok(()) } else { refused("a page has 1 to 1000 entries") }
}

/// The names that begin with `prefix` and follow `after`, as bounds in byte order.
pub fn name_range(prefix: &[u8], after: Option<&[u8]>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let lower = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
        _ => Bound::Included(prefix.to_vec()),
    };
    // The least name above all that begin with the prefix: its last byte that can grow, grown.
    let upper = prefix.iter().rposition(|&byte| byte != u8::MAX).map_or(Bound::Unbounded, |last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        Bound::Excluded(end)
    });
    (lower, upper)
}

/// A time to live in the unit that stores count in: whole milliseconds, at least one.
pub fn ttl_millis(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX).max(1)
}

impl Precondition {
    pub fn key(&self) -> &Key {
        match self {
            Precondition::Absent(key) | Precondition::Version(key, _) => key,
        }
    }
}

impl Write {
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    /// The size of what it puts.
    fn check(&self) -> Result<usize, KvError> {
        match self {
            Write::Put { value, .. } if value.len() > VALUE_MAX => refused("a value is too large"),
            Write::Put { ttl: Some(ttl), .. } if *ttl > TTL_MAX => refused("a time to live is too long"),
            Write::Put { value, .. } => Ok(value.len()),
            Write::Delete { .. } => Ok(0),
        }
    }
}
