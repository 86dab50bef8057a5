//! What is asked of the writer, and what each caller is told at the end.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::ports::kv::{AttemptId, Batch, Commit, Key, KvError, Settled, Versioned};

type Answer<T> = oneshot::Sender<Result<T, KvError>>;

pub enum Job {
    /// With the room it takes in the queue.
    Commit(Batch, OwnedSemaphorePermit, Answer<Commit>),
    Take(Key, Answer<Option<Versioned>>),
    Settle(AttemptId, Answer<Settled>),
    Ping(Answer<()>),
}

/// A job that was judged inside the transaction, and what to say once that is on the disk.
pub enum Verdict {
    Commit(Commit, Answer<Commit>),
    Take(Option<Versioned>, Answer<Option<Versioned>>),
    Settle(Settled, Answer<Settled>),
    Ping(Answer<()>),
}

/// How a transaction ended.
pub enum Outcome {
    /// On the disk; or there was nothing to write.
    Durable,
    Failed(KvError),
    /// The commit failed, and so did finding out.
    InDoubt(KvError),
}

impl Verdict {
    pub fn answer(self, outcome: &Outcome) {
        // A caller that went away is not told; that is all it means.
        match (self, outcome) {
            (Verdict::Commit(commit, answer), Outcome::Durable) => drop(answer.send(Ok(commit))),
            (Verdict::Commit(_, answer), Outcome::InDoubt(_)) => drop(answer.send(Ok(Commit::Unknown))),
            (Verdict::Commit(_, answer), Outcome::Failed(error)) => drop(answer.send(Err(error.clone()))),
            (Verdict::Take(taken, answer), Outcome::Durable) => drop(answer.send(Ok(taken))),
            (Verdict::Settle(settled, answer), Outcome::Durable) => drop(answer.send(Ok(settled))),
            (Verdict::Ping(answer), Outcome::Durable) => drop(answer.send(Ok(()))),
            // In doubt, a value may be gone without anybody having it: what is taken once fails closed.
            (Verdict::Take(_, answer), Outcome::Failed(error) | Outcome::InDoubt(error)) => drop(answer.send(Err(error.clone()))),
            (Verdict::Settle(_, answer), Outcome::Failed(error) | Outcome::InDoubt(error)) => {
                drop(answer.send(Err(error.clone())));
            }
            (Verdict::Ping(answer), Outcome::Failed(error) | Outcome::InDoubt(error)) => drop(answer.send(Err(error.clone()))),
        }
    }
}

/// Nothing of these jobs was done.
pub fn refuse(jobs: impl IntoIterator<Item = Job>, error: &KvError) {
    for job in jobs {
        match job {
            Job::Commit(_, _, answer) => drop(answer.send(Err(error.clone()))),
            Job::Take(_, answer) => drop(answer.send(Err(error.clone()))),
            Job::Settle(_, answer) => drop(answer.send(Err(error.clone()))),
            Job::Ping(answer) => drop(answer.send(Err(error.clone()))),
        }
    }
}
