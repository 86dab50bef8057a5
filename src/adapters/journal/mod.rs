//! The journal in one file of fixed size: blocks that are laid out once (`layout`), entries on them
//! (`blocks`), one thread that writes and syncs (`writer`), and the file itself (`file`).

mod blocks;
mod disk;
mod file;
mod layout;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ports::journal::{EntryId, Journal, JournalError, JournalState, Listed, Reservation};
use blocks::Blocks;
use disk::Memory;
use layout::Layout;
use writer::{Gauge, Job, Writer};

pub use file::JournalFileError;

/// The smallest and the largest journal, in bytes.
pub const BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=4 << 30;

pub struct BlockJournal {
    gauge: Gauge,
    /// `None` only while it is dropped. Not bounded by itself: appends are by what can be reserved, and
    /// nobody settles more than was appended.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl BlockJournal {
    /// Opens the file, and makes it (mode 0600, all its place taken) where there is none.
    pub fn open(path: &Path, bytes: u64) -> Result<Self, JournalFileError> {
        let blocks = file::open(path, bytes)?;
        Self::on(blocks).map_err(|cause| JournalFileError::Unusable(path.display().to_string(), cause))
    }

    /// Opens a file that is there, whatever its size.
    pub fn open_as_it_is(path: &Path) -> Result<Self, JournalFileError> {
        let blocks = file::open_as_it_is(path)?;
        Self::on(blocks).map_err(|cause| JournalFileError::Unusable(path.display().to_string(), cause))
    }

    /// Beside a store that is in memory too.
    pub fn in_memory(bytes: u64) -> io::Result<Self> {
        let layout = Layout::within(bytes);
        let disk = Memory::new(usize::try_from(layout.size()).map_err(io::Error::other)?);
        Self::on(Blocks::open(Box::new(disk), layout)?)
    }

    fn on(blocks: Blocks) -> io::Result<Self> {
        let gauge = Gauge::of(&blocks);
        let (jobs, queue) = mpsc::channel();
        let writer = Writer { blocks, gauge: gauge.clone() };
        let writer = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&queue))?;
        Ok(Self { gauge, jobs: Some(jobs), writer: Some(writer) })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Job) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let ended = || self.gauge.broken().unwrap_or_else(|| JournalError::Broken("its thread has ended".into()));
        self.jobs.as_ref().and_then(|jobs| jobs.send(job(answer)).ok()).ok_or_else(ended)?;
        answered.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl Journal for BlockJournal {
    fn reserve(&self, size: usize) -> Result<Reservation, JournalError> {
        self.gauge.reserve(size)
    }

    async fn append(&self, reservation: Reservation, entry: Bytes) -> Result<(), JournalError> {
        self.ask(|answer| Job::Append(reservation, entry, answer)).await
    }

    fn settle(&self, id: EntryId) {
        // A thread that has ended settles nothing, and the entry is found again at the next start.
        self.jobs.as_ref().map(|jobs| jobs.send(Job::Settle(id)));
    }

    async fn list(&self) -> Result<Vec<Listed>, JournalError> {
        self.ask(Job::List).await
    }

    async fn read(&self, id: EntryId) -> Result<Option<Bytes>, JournalError> {
        self.ask(|answer| Job::Read(id, answer)).await
    }

    fn state(&self) -> JournalState {
        self.gauge.state()
    }
}

impl Drop for BlockJournal {
    /// The thread finishes what waits and goes.
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the journal's thread ended in a panic");
        }
    }
}
