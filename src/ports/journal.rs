//! A node's journal: what it received and the store may not have yet, durable on the node's own disk. An
//! entry is opaque here; `store` seals it.
//!
//! Promises that every adapter keeps:
//! - an entry that [`Journal::append`] acknowledged is found after a crash, until it is settled;
//! - an entry is found whole or not at all; what was cut off while being written is no entry;
//! - who holds a [`Reservation`] finds room: the journal's size is fixed, and its place taken beforehand;
//! - a settled entry stays readable until its place is needed, the oldest going first;
//! - after a write or a sync that failed nothing is acknowledged any more: the journal is *broken* until
//!   the next start.

use async_trait::async_trait;
use bytes::Bytes;

/// A new reservation is refused once so much of the journal is in use, in percent.
pub const FILL_MAX: u64 = 80;

/// Names an entry; never given twice by one journal. Later entries have greater ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// Room for one entry, whose id is known already, since the seal binds it. Dropping it gives the room back.
pub struct Reservation {
    pub id: EntryId,
    /// Most bytes that the entry may have.
    pub size: usize,
    _room: Box<dyn Send + Sync>,
}

impl Reservation {
    /// `room` gives itself back when it is dropped.
    pub fn new(id: EntryId, size: usize, room: impl Send + Sync + 'static) -> Self {
        Self { id, size, _room: Box::new(room) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The store may not have it yet.
    Pending,
    /// The store has it; it is kept while its place is not needed.
    Settled,
}

/// An entry, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub id: EntryId,
    /// In bytes.
    pub size: usize,
    pub standing: Standing,
}

/// How full the journal is and whether it works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalState {
    /// Entries that wait for the store.
    pub pending: u64,
    /// Bytes that pending entries and reservations take.
    pub used: u64,
    /// Bytes there are for entries.
    pub capacity: u64,
    /// Why it takes nothing any more.
    pub broken: Option<String>,
}

impl JournalState {
    /// No reservation is given in this state.
    pub fn is_nearly_full(&self) -> bool {
        self.used * 100 >= self.capacity * FILL_MAX
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("the journal is nearly full: what it holds waits for the store")]
    NearlyFull,
    #[error("the journal takes nothing any more: {0}")]
    Broken(String),
    #[error("an entry of {0} bytes does not fit its reservation")]
    TooLarge(usize),
    #[error("the journal holds what it should not: {0}")]
    Corrupt(String),
}

#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Room for an entry of at most `size` bytes.
    fn reserve(&self, size: usize) -> Result<Reservation, JournalError>;

    /// Returns when the entry is on the disk. Once called it is written, whether or not its caller stays.
    async fn append(&self, reservation: Reservation, entry: Bytes) -> Result<(), JournalError>;

    /// The store has what the entry holds. A crash may undo this; it is never waited for.
    fn settle(&self, id: EntryId);

    /// Every readable entry, oldest first.
    async fn list(&self) -> Result<Vec<Listed>, JournalError>;

    /// `None` when a settled entry's place has been given away.
    async fn read(&self, id: EntryId) -> Result<Option<Bytes>, JournalError>;

    fn state(&self) -> JournalState;
}
