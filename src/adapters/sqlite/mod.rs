//! The store in one SQLite file, the embedded default. Writes go through one thread that groups the
//! commits of many callers into one transaction (`writer`); reads have connections of their own
//! (`reader`). Two processes on one file are kept apart by the lock of the data folder, not here.

mod file;
mod job;
mod reader;
mod rows;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::job::Job;
use self::reader::Readers;
use self::writer::Writer;
use crate::ports::clock::Clock;
use crate::ports::kv::{
    AttemptId, BATCH_BYTES_MAX, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, VALUE_MAX, Versioned, Write,
    check_listing, check_name,
};

/// Jobs that wait for the writer. Whoever finds the queue full waits for room.
const QUEUE: usize = 1024;
/// Bytes of values that may wait for the writer, in KiB.
const QUEUE_KIB: usize = 4 * BATCH_BYTES_MAX / 1024;

pub struct SqliteKv {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    readers: Arc<Readers>,
    /// `None` only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl SqliteKv {
    /// Opens the file, and makes it (mode 0600; its folder must be there) where there is none. Refuses one that a newer
    /// Claviger or another program wrote.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, KvError> {
        file::make(path)?;
        let writer = Writer::open(path, Arc::clone(&clock))?;
        let readers = Arc::new(Readers::open(path)?);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new().name("sqlite-writer".into()).spawn(move || writer.run(queue));
        let writer = writer.map_err(|error| KvError::Unavailable(format!("no thread for the writer: {error}")))?;
        let path = path.to_owned();
        Ok(Self { path, clock, readers, jobs: Some(jobs), room: Arc::new(Semaphore::new(QUEUE_KIB)), writer: Some(writer) })
    }

    /// Queues a job for the writer. From then on it is done or not done whether or not its caller stays.
    async fn queue(&self, job: Job) -> Result<(), KvError> {
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(job).await.map_err(|_| stopped())
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

fn stopped() -> KvError {
    KvError::Unavailable("the store's writer has stopped".into())
}

/// Work on a connection that may take long enough to hold up others on an async thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, KvError> + Send + 'static) -> Result<T, KvError> {
    let cut_short = |error| KvError::Unavailable(format!("a read was cut short: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(cut_short)?
}

#[async_trait]
impl Kv for SqliteKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let now = self.now();
        if let Some(found) = self.readers.get_small(key, now)? {
            return Ok(found);
        }
        let (readers, key) = (Arc::clone(&self.readers), key.clone());
        blocking(move || readers.get_any(&key, now)).await
    }

    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        check_listing(prefix, after, limit)?;
        let (readers, partition, now) = (Arc::clone(&self.readers), partition.clone(), self.now());
        let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
        blocking(move || readers.list(&partition, &prefix, after.as_deref(), limit, now)).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        check_name(&key.name)?;
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Take(key.clone(), answer)).await?;
        answered.await.map_err(|_| stopped())?
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        batch.check()?;
        let size = |write: &Write| if let Write::Put { value, .. } = write { value.len() } else { 0 };
        let kib = batch.writes.iter().map(size).sum::<usize>().div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let room = room.map_err(|error| KvError::Unavailable(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Commit(batch, room, answer)).await?;
        // A writer that ended with the job in its hands may have done it.
        answered.await.unwrap_or(Ok(Commit::Unknown))
    }

    async fn settle(&self, _: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Settle(attempt, answer)).await?;
        answered.await.map_err(|_| stopped())?
    }

    /// A connection of its own reads one state from beginning to end, however much is written meanwhile.
    async fn snapshot(&self, path: &Path) -> Result<(), KvError> {
        let (from, to) = (self.path.clone(), path.to_owned());
        blocking(move || file::snapshot(&from, &to)).await
    }

    async fn ping(&self) -> Result<(), KvError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Ping(answer)).await?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for SqliteKv {
    /// The writer finishes what waits, folds the log into the file and goes.
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended in a panic");
        }
    }
}

const _: () = assert!(VALUE_MAX <= BATCH_BYTES_MAX && BATCH_BYTES_MAX <= 1024 * QUEUE_KIB);
