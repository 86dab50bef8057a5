//! The one thread that touches the disk. While it syncs one group of entries the next one gathers, so
//! that many entries share a sync. A write or a sync that failed ends it for good: what the disk holds
//! after that is not known to anybody, and asking again would only hide it (the first failure is told
//! once, and the pages it was about are forgotten).

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::blocks::Blocks;
use super::layout::{BLOCK, blocks_for};
use crate::ports::journal::{EntryId, FILL_MAX, JournalError, JournalState, Listed, Reservation};

/// Most entries of one sync.
const GROUP: usize = 256;

type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

pub enum Job {
    Append(Reservation, Bytes, Answer<()>),
    Settle(EntryId),
    List(Answer<Vec<Listed>>),
    Read(EntryId, Answer<Option<Bytes>>),
}

/// What is known of the journal without asking the thread. Counts blocks.
#[derive(Clone)]
pub struct Gauge(Arc<Mutex<Level>>);

struct Level {
    capacity: u64,
    entries: u64,
    pending: u64,
    reserved: u64,
    next: u64,
    broken: Option<String>,
}

/// Blocks that are spoken for.
struct Room {
    gauge: Gauge,
    blocks: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gauge.level().reserved -= self.blocks;
    }
}

impl Gauge {
    pub fn of(blocks: &Blocks) -> Self {
        let (entries, pending) = blocks.pending();
        let capacity = u64::from(blocks.layout().blocks);
        let level = Level { capacity, entries, pending, reserved: 0, next: blocks.next(), broken: None };
        Self(Arc::new(Mutex::new(level)))
    }

    pub fn reserve(&self, size: usize) -> Result<Reservation, JournalError> {
        let blocks = u64::from(blocks_for(size));
        let mut level = self.level();
        if let Some(why) = &level.broken {
            return Err(JournalError::Broken(why.clone()));
        }
        let used = level.pending + level.reserved;
        if used * 100 >= level.capacity * FILL_MAX || used + blocks > level.capacity {
            return Err(JournalError::NearlyFull);
        }
        level.reserved += blocks;
        level.next += 1;
        let id = EntryId(level.next - 1);
        drop(level);
        Ok(Reservation::new(id, size, Room { gauge: self.clone(), blocks }))
    }

    pub fn state(&self) -> JournalState {
        let level = self.level();
        JournalState {
            pending: level.entries,
            used: (level.pending + level.reserved) * BLOCK as u64,
            capacity: level.capacity * BLOCK as u64,
            broken: level.broken.clone(),
        }
    }

    pub fn broken(&self) -> Option<JournalError> {
        self.level().broken.clone().map(JournalError::Broken)
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        // A few additions, which cannot end half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Writer {
    pub blocks: Blocks,
    pub gauge: Gauge,
}

/// What waits for the sync.
#[derive(Default)]
struct Group {
    appended: Vec<(Reservation, Answer<()>)>,
    /// Something was written since the last sync.
    dirty: bool,
}

impl Writer {
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut group = Group::default();
        while let Ok(first) = jobs.recv() {
            self.take(first, &mut group);
            while group.appended.len() < GROUP {
                match jobs.try_recv() {
                    Ok(job) => self.take(job, &mut group),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if !group.appended.is_empty() {
                self.finish(&mut group);
            }
        }
        if group.dirty {
            self.finish(&mut group);
        }
    }

    fn take(&mut self, job: Job, group: &mut Group) {
        match job {
            Job::Append(reservation, entry, answer) => match self.append(&reservation, &entry) {
                Ok(()) => {
                    group.dirty = true;
                    group.appended.push((reservation, answer));
                }
                Err(error) => drop(answer.send(Err(error))),
            },
            Job::Settle(entry) => group.dirty |= self.settle(entry),
            Job::List(answer) => drop(answer.send(Ok(self.blocks.list()))),
            Job::Read(entry, answer) => {
                let read = self.blocks.read(entry.0).map(|entry| entry.map(Bytes::from));
                drop(answer.send(read.map_err(|cause| JournalError::Corrupt(format!("entry {}: {cause}", entry.0)))));
            }
        }
    }

    fn append(&mut self, reservation: &Reservation, entry: &[u8]) -> Result<(), JournalError> {
        if let Some(broken) = self.gauge.broken() {
            return Err(broken);
        }
        if entry.len() > reservation.size {
            return Err(JournalError::TooLarge(entry.len()));
        }
        let placed = self.blocks.place(reservation.id.0, entry);
        let taken = placed.map_err(|cause| self.give_up("a write", &cause))?;
        let mut level = self.gauge.level();
        level.entries += 1;
        level.pending += taken;
        Ok(())
    }

    /// Whether anything was written.
    fn settle(&mut self, entry: EntryId) -> bool {
        if self.gauge.broken().is_some() {
            return false;
        }
        match self.blocks.settle(entry.0) {
            Ok(None) => false,
            Ok(Some(freed)) => {
                let mut level = self.gauge.level();
                level.entries -= 1;
                level.pending -= freed;
                true
            }
            Err(cause) => {
                self.give_up("a write", &cause);
                false
            }
        }
    }

    /// Syncs, and only then tells those who wait.
    fn finish(&mut self, group: &mut Group) {
        let synced = match self.gauge.broken() {
            Some(broken) => Err(broken),
            None => self.blocks.sync().map_err(|cause| self.give_up("a sync", &cause)),
        };
        group.dirty = false;
        for (reservation, answer) in group.appended.drain(..) {
            drop(reservation);
            // A caller that went away is not told; its entry is there all the same.
            drop(answer.send(synced.clone()));
        }
    }

    fn give_up(&mut self, what: &str, cause: &io::Error) -> JournalError {
        let why = format!("{what} failed: {cause}");
        tracing::error!(why, "the journal is broken: nothing is sent to providers until this node is started anew");
        self.gauge.level().broken.get_or_insert(why.clone());
        JournalError::Broken(why)
    }
}
