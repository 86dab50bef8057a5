//! Why a token that is served will not be refreshed.

use jiff::Timestamp;

use crate::domain::connection::Connection;
use crate::domain::ids::TokenSetName;

/// A refresh that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// A plain code.
    pub reason: String,
    pub at: Option<Timestamp>,
    pub retry_at: Option<Timestamp>,
}

/// What the record says of the last refresh, or of the whole connection.
pub(super) fn failing(connection: &Connection, set: &TokenSetName) -> Option<Failing> {
    let of_set = connection.set(set).and_then(|set| set.last_error.as_ref());
    let of_set = of_set.map(|error| Failing { reason: error.code.clone(), at: Some(error.at), retry_at: error.retry_at });
    let of_status = || connection.status.explained();
    of_set.or_else(|| {
        of_status().map(|status| Failing { reason: status.reason.to_owned(), at: Some(status.since), retry_at: None })
    })
}
