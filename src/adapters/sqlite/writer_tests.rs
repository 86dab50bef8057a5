//! What callers hear when a commit fails, and what is then in the file. A disk that fails on demand is
//! not to be had, so the one step `COMMIT` is made to fail, before or after it did its work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Error, ffi};
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};

use super::file;
use super::job::Job;
use super::writer::Writer;
use crate::ports::clock::Clock;
use crate::ports::kv::{AttemptId, Batch, Commit, Key, KvError, Partition, Precondition, Settled, Versioned, Write};

struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {}
}

struct Disk {
    folder: TempDir,
    writer: Writer,
}

fn failure() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), Some("the disk failed".into()))
}

fn works(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("COMMIT")
}

fn fails_before(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("ROLLBACK").and(Err(failure()))
}

fn fails_after(connection: &Connection) -> rusqlite::Result<()> {
    works(connection).and(Err(failure()))
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("store.db");
        file::make(&path).expect("a new file");
        let writer = Writer::open(&path, Arc::new(Still)).expect("a new store");
        Self { folder, writer }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn ask<T>(&mut self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> T {
        let (answer, mut answered) = oneshot::channel();
        self.writer.serve(vec![job(answer)]);
        answered.try_recv().expect("every caller is answered")
    }

    fn commit(&mut self, batch: Batch) -> Result<Commit, KvError> {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("room");
        self.ask(|answer| Job::Commit(batch, room, answer))
    }

    fn take(&mut self, name: &str) -> Result<Option<Versioned>, KvError> {
        self.ask(|answer| Job::Take(key(name), answer))
    }

    fn settle(&mut self, attempt: u8) -> Result<Settled, KvError> {
        self.ask(|answer| Job::Settle(AttemptId([attempt; 16]), answer))
    }
}

fn key(name: &str) -> Key {
    Key { partition: Partition::new("t.test").expect("a good name"), name: name.into() }
}

/// Makes `name`, which must not be there.
fn make(attempt: u8, name: &str) -> Batch {
    let write = Write::Put { key: key(name), version: 1, value: "x".into(), ttl: None };
    Batch { attempt: AttemptId([attempt; 16]), preconditions: vec![Precondition::Absent(key(name))], writes: vec![write] }
}

fn unavailable<T>(answer: &Result<T, KvError>) -> bool {
    matches!(answer, Err(KvError::Unavailable(_)))
}

#[test]
fn a_commit_that_failed_is_an_error_to_all_of_its_group() {
    let mut disk = Disk::new();
    assert_eq!(disk.commit(make(1, "there")), Ok(Commit::Applied));
    disk.writer.commit = fails_before;
    let (applied, mut first) = oneshot::channel();
    let (conflict, mut second) = oneshot::channel();
    let (taken, mut third) = oneshot::channel();
    let rooms = Arc::new(Semaphore::new(2));
    let room = || Arc::clone(&rooms).try_acquire_owned().expect("room");
    disk.writer.serve(vec![
        Job::Commit(make(2, "new"), room(), applied),
        // A conflict with something that then never was.
        Job::Commit(make(3, "new"), room(), conflict),
        Job::Take(key("there"), taken),
    ]);
    assert!(unavailable(&first.try_recv().expect("an answer")));
    assert!(unavailable(&second.try_recv().expect("an answer")));
    assert!(unavailable(&third.try_recv().expect("an answer")));
    disk.writer.commit = works;
    assert_eq!(disk.settle(2), Ok(Settled::NotApplied));
    assert_eq!(disk.commit(make(4, "new")), Ok(Commit::Applied), "nothing of it was written, and the store goes on");
    assert_eq!(disk.commit(make(5, "there")), Ok(Commit::Conflict), "nor was anything taken");
}

#[test]
fn a_commit_that_did_happen_is_found_out() {
    let mut disk = Disk::new();
    disk.writer.commit = fails_after;
    assert_eq!(disk.commit(make(1, "new")), Ok(Commit::Applied));
    assert_eq!(disk.take("new").map(|taken| taken.map(|taken| taken.version)), Ok(Some(1)));
    disk.writer.commit = works;
    assert_eq!(disk.take("new"), Ok(None));
    assert_eq!(disk.settle(1), Ok(Settled::Applied));
}

#[test]
fn what_cannot_be_found_out_is_unknown_until_it_can() {
    for (commit, outcome) in [(fails_before as fn(&Connection) -> _, Settled::NotApplied), (fails_after, Settled::Applied)] {
        let mut disk = Disk::new();
        assert_eq!(disk.commit(make(1, "there")), Ok(Commit::Applied));
        let (path, away) = (disk.path(), disk.path().with_extension("away"));
        std::fs::rename(&path, &away).expect("the file goes away");
        disk.writer.commit = commit;
        assert_eq!(disk.commit(make(2, "new")), Ok(Commit::Unknown));
        disk.writer.commit = works;
        for _ in 0..2 {
            assert!(unavailable(&disk.settle(2)));
            assert!(unavailable(&disk.commit(make(3, "more"))));
            assert!(unavailable(&disk.take("there")));
        }
        assert!(!path.exists(), "a store that vanished does not come back empty");
        std::fs::rename(&away, &path).expect("the file comes back");
        assert_eq!(disk.settle(2), Ok(outcome));
        assert_eq!(disk.take("new").map(|taken| taken.is_some()), Ok(outcome == Settled::Applied));
        assert_eq!(disk.commit(make(3, "more")), Ok(Commit::Applied));
    }
}

#[test]
fn a_take_in_doubt_fails_closed() {
    let mut disk = Disk::new();
    assert_eq!(disk.commit(make(1, "once")), Ok(Commit::Applied));
    std::fs::rename(disk.path(), disk.path().with_extension("away")).expect("the file goes away");
    disk.writer.commit = fails_after;
    assert!(unavailable(&disk.take("once")));
}

#[test]
fn connections_are_set_up_to_lose_and_leak_nothing() {
    let disk = Disk::new();
    let of = |connection: &Connection, name: &str| -> i64 {
        connection.pragma_query_value(None, name, |row| row.get(0)).expect("a setting")
    };
    let writer = file::open_writer(&disk.path()).expect("a second writer");
    let reader = file::open_reader(&disk.path()).expect("a reader");
    // FULL; and a reader writes nothing.
    assert_eq!((of(&writer, "synchronous"), of(&writer, "secure_delete"), of(&reader, "query_only")), (2, 1, 1));
    for connection in [&writer, &reader] {
        assert_eq!((of(connection, "trusted_schema"), of(connection, "busy_timeout")), (0, 5000));
    }
}
