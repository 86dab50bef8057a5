//! How a flight ends, for everybody who waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::connection::Connection;
use crate::domain::tokens::FailureClass;

#[derive(Debug, Clone)]
pub enum Outcome {
    /// There are newer tokens, and they are durable: in the store, then with the version they have there; or
    /// in this node's journal, while the store is away.
    Refreshed {
        connection: Arc<Connection>,
        version: Option<u64>,
    },
    /// The connection is not there any more, or is of another consent.
    Gone,
    Failed(Setback),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    pub why: Why,
    /// A plain code for people and logs.
    pub code: String,
    /// When it makes sense to ask again.
    pub retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The end user must consent again.
    NeedsReauth,
    /// The provider refuses the tenant's client, or the way it is asked.
    IntegrationBroken,
    /// The provider does not answer as it should, or another node is asking it.
    Provider,
    /// The store, or this node's journal, does not take what must be durable.
    Store,
    /// The operator holds refreshes back, or has to.
    Held,
    /// This node is stopping.
    Stopping,
}

impl Outcome {
    pub fn failed(why: Why, code: &str, retry_after: Duration) -> Self {
        Self::Failed(Setback { why, code: code.to_owned(), retry_after })
    }
}

impl From<FailureClass> for Why {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::IntegrationBroken | FailureClass::Misconfigured | FailureClass::SubjectRefused => {
                Why::IntegrationBroken
            }
            FailureClass::DeadGrant | FailureClass::Throttled | FailureClass::InDoubt | FailureClass::NotSent => Why::Provider,
        }
    }
}
