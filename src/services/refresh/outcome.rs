//! How a flight ends, for everybody who waits for it.

use std::time::Duration;

use crate::domain::connection::Connection;
use crate::services::cached::Found;
use crate::services::standing::Hold;

/// After a setback a node does not even look again for this long.
const REST_MAX: Duration = Duration::from_secs(2);
/// An operator takes his time.
const HELD_RETRY: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub enum Outcome {
    /// There are newer tokens, and they are durable.
    Refreshed(Found<Connection>),
    /// The connection is not there any more, or is of another consent.
    Gone,
    Failed(Setback),
}

#[derive(Debug, Clone)]
pub struct Setback {
    pub why: Why,
    /// A plain code for people and logs.
    pub code: String,
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The end user must consent again.
    NeedsReauth,
    /// The provider refuses the tenant's client, or the way it is asked.
    IntegrationBroken,
    /// The provider does not answer as it should.
    Provider,
    Store,
    /// This node must not send: see `services/standing`.
    Held,
    /// This node is stopping.
    Stopping,
}

impl Outcome {
    /// The flight goes on; this caller's patience ended.
    pub(super) fn late() -> Self {
        Self::failed(Why::Provider, "still_refreshing", Duration::from_secs(2))
    }

    /// The flight ended without a word, which only a bug can cause.
    pub(super) fn lost() -> Self {
        Self::failed(Why::Provider, "refresh_aborted", Duration::from_secs(5))
    }

    /// What the node's standing says against a send.
    pub(super) fn held(hold: &Hold) -> Self {
        Self::failed(Why::Held, hold.code(), HELD_RETRY)
    }

    pub(super) fn failed(why: Why, code: &str, retry_after: Duration) -> Self {
        Self::Failed(Setback { why, code: code.to_owned(), retry_after })
    }

    /// For how long the next asker is given this same outcome.
    pub(super) fn rest(&self) -> Duration {
        match self {
            Outcome::Failed(setback) => setback.retry_after.min(REST_MAX),
            Outcome::Refreshed(_) | Outcome::Gone => Duration::ZERO,
        }
    }
}
