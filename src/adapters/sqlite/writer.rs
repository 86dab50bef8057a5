//! The one writer. It takes what waits, judges it in order inside one transaction, commits once, and
//! only then answers everybody: many callers share one fsync, and nobody hears of what is not on the
//! disk.
//!
//! Preconditions are judged before a batch's first write, so a batch is applied or not without a
//! savepoint; a write that fails (disk full, I/O error) ends the whole transaction.
//!
//! After a failed commit the connection is never used again: the kernel may have dropped the pages
//! that it could not write, so that a later fsync proves nothing about them. A new connection first
//! writes a row of its own and folds the log into the file. From then on the old transaction is there
//! for good or can never be, and its row in `groups` tells which.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::job::{Job, Outcome, Verdict, refuse};
use super::{file, rows};
use crate::ports::clock::Clock;
use crate::ports::kv::{AttemptId, Batch, Commit, KvError, SETTLE_WINDOW, Settled, ttl_millis};

/// Most jobs of one transaction.
const GROUP: usize = 256;

pub struct Writer {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// `None` after a failure, until a new one has proved itself.
    connection: Option<Connection>,
    /// The last number that a row of `groups` was given.
    last_group: i64,
    /// Attempts that were settled as not applied, until the wall-clock moment given. Kept in memory:
    /// a late arrival can only come through this process' queue.
    barred: HashMap<AttemptId, i64>,
    /// `COMMIT`, in one place so that a test can make it fail.
    pub(super) commit: fn(&Connection) -> rusqlite::Result<()>,
}

/// What one transaction has done so far.
#[derive(Default)]
struct Group {
    verdicts: Vec<Verdict>,
    attempts: Vec<u8>,
    wrote: bool,
}

impl Writer {
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, KvError> {
        let commit = |connection: &Connection| connection.execute_batch("COMMIT");
        let mut writer = Self { path: path.to_owned(), clock, connection: None, last_group: 0, barred: HashMap::new(), commit };
        writer.connection = Some(writer.prove()?);
        Ok(writer)
    }

    pub fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                jobs.push(job);
            }
            let mut more = self.serve(jobs);
            // What one transaction did not get to is collected while nobody waits.
            while more && queue.is_empty() {
                more = self.sweep_alone();
            }
        }
        if let Some(connection) = self.connection.take() {
            let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = folded.and(connection.close().map_err(|(_, error)| error)) {
                // Nothing is lost: the next start reads the log.
                tracing::warn!(%error, "the store was not folded on closing");
            }
        }
    }

    /// Does the jobs in one transaction and answers them. Says whether there is more to collect.
    pub(super) fn serve(&mut self, jobs: Vec<Job>) -> bool {
        let connection = match self.ready() {
            Ok(connection) => connection,
            Err(error) => {
                refuse(jobs, &error);
                return false;
            }
        };
        let mut group = Group::default();
        let now = self.clock.now().as_millisecond();
        let more = self.judge(&connection, jobs, &mut group, now).and_then(|()| self.close_group(&connection, &group, now));
        let outcome = match &more {
            Ok(_) => self.finish(connection, group.wrote),
            Err(error) => {
                discard(connection);
                Outcome::Failed(unwritten(error))
            }
        };
        for verdict in group.verdicts {
            verdict.answer(&outcome);
        }
        more.unwrap_or(false)
    }

    /// Judges each job in order. On an error everything so far is void, and the jobs not reached are
    /// answered here.
    fn judge(&mut self, connection: &Connection, jobs: Vec<Job>, group: &mut Group, now: i64) -> rusqlite::Result<()> {
        let mut begun = connection.execute_batch("BEGIN IMMEDIATE");
        for job in jobs {
            if let Err(error) = &begun {
                refuse([job], &unwritten(error));
                continue;
            }
            begun = self.judge_one(connection, job, group, now);
        }
        begun
    }

    fn judge_one(&mut self, connection: &Connection, job: Job, group: &mut Group, now: i64) -> rusqlite::Result<()> {
        let (done, verdict) = match job {
            Job::Commit(batch, _room, answer) => {
                let done = self.apply(connection, &batch, now);
                if let Ok(true) = done {
                    group.attempts.extend(batch.attempt.0);
                    group.wrote = true;
                }
                let commit = if let Ok(true) = done { Commit::Applied } else { Commit::Conflict };
                (done.map(drop), Verdict::Commit(commit, answer))
            }
            Job::Take(key, answer) => {
                let done = rows::take(connection, &key, now);
                group.wrote |= matches!(done, Ok(Some(_)));
                let taken = done.as_ref().ok().cloned().flatten();
                (done.map(drop), Verdict::Take(taken, answer))
            }
            Job::Settle(attempt, answer) => {
                let done = self.settle(connection, attempt, group, now);
                let settled = done.as_ref().copied().unwrap_or(Settled::NotApplied);
                (done.map(drop), Verdict::Settle(settled, answer))
            }
            Job::Ping(answer) => (Ok(()), Verdict::Ping(answer)),
        };
        group.verdicts.push(verdict);
        done
    }

    /// Whether the batch was applied.
    fn apply(&self, connection: &Connection, batch: &Batch, now: i64) -> rusqlite::Result<bool> {
        if self.barred.contains_key(&batch.attempt) {
            return Ok(false);
        }
        for precondition in &batch.preconditions {
            if !rows::holds(connection, precondition, now)? {
                return Ok(false);
            }
        }
        for write in &batch.writes {
            rows::write(connection, write, now)?;
        }
        Ok(true)
    }

    fn settle(&mut self, connection: &Connection, attempt: AttemptId, group: &Group, now: i64) -> rusqlite::Result<Settled> {
        if rows::is_among(attempt, &group.attempts) || rows::was_applied(connection, attempt)? {
            return Ok(Settled::Applied);
        }
        self.barred.retain(|_, until| *until > now);
        self.barred.insert(attempt, now.saturating_add(ttl_millis(SETTLE_WINDOW)));
        Ok(Settled::NotApplied)
    }

    /// The transaction's own row, and a step of collecting; says whether there is more to collect.
    fn close_group(&mut self, connection: &Connection, group: &Group, now: i64) -> rusqlite::Result<bool> {
        if !group.wrote {
            return Ok(false);
        }
        self.last_group += 1;
        rows::add_group(connection, self.last_group, now, &group.attempts)?;
        rows::sweep(connection, now)
    }

    fn finish(&mut self, connection: Connection, wrote: bool) -> Outcome {
        let error = match (self.commit)(&connection) {
            Ok(()) => {
                self.connection = Some(connection);
                return Outcome::Durable;
            }
            Err(error) => unwritten(&error),
        };
        tracing::error!(%error, "a commit failed; the store is opened anew");
        let in_doubt = self.last_group;
        discard(connection);
        let found = self.prove().and_then(|connection| {
            let found = rows::has_group(&connection, in_doubt).map_err(|error| unwritten(&error));
            self.connection = Some(connection);
            found
        });
        match found {
            Ok(true) if wrote => Outcome::Durable,
            Err(_) if wrote => Outcome::InDoubt(error),
            _ => Outcome::Failed(error),
        }
    }

    /// The connection, to be given back by [`Writer::finish`] or discarded.
    fn ready(&mut self) -> Result<Connection, KvError> {
        self.connection.take().map_or_else(|| self.prove(), Ok)
    }

    /// Opens a connection and has it prove itself, as the head of this file tells.
    fn prove(&mut self) -> Result<Connection, KvError> {
        let connection = file::open_writer(&self.path)?;
        let now = self.clock.now().as_millisecond();
        let prove = || -> rusqlite::Result<(i64, i64)> {
            let fence = rows::last_group(&connection)?.max(self.last_group) + 1;
            rows::add_group(&connection, fence, now, &[])?;
            let busy = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))?;
            Ok((fence, busy))
        };
        let (fence, busy) = prove().map_err(|error| unwritten(&error))?;
        if busy != 0 {
            return Err(KvError::Unavailable("the store's log could not be folded: the file is busy".into()));
        }
        self.last_group = fence;
        Ok(connection)
    }

    /// A step of collecting in a transaction of its own; says whether there may be more.
    fn sweep_alone(&mut self) -> bool {
        let Some(connection) = self.connection.take() else { return false };
        let now = self.clock.now().as_millisecond();
        let swept = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| rows::sweep(&connection, now));
        match swept {
            Ok(more) => matches!(self.finish(connection, false), Outcome::Durable) && more,
            Err(error) => {
                tracing::warn!(%error, "collecting what is past its time failed");
                discard(connection);
                false
            }
        }
    }
}

/// Ends a connection that failed; what it had begun is rolled back.
fn discard(connection: Connection) {
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "a failed connection to the store did not close");
    }
}

fn unwritten(error: &rusqlite::Error) -> KvError {
    file::fault(format!("a write failed: {error}"), error)
}
