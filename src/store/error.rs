//! How storage fails, by outcome.

use std::time::Duration;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::ports::entropy::EntropyError;
use crate::ports::journal::JournalError;
use crate::ports::kv::KvError;

use super::seal::SealError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first: read again and judge anew.
    #[error("somebody else wrote first")]
    Conflict,
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// What was read is not what was written, or cannot be opened.
    #[error("the store holds what it should not: {0}")]
    Broken(String),
}

/// Why the store could not be opened at start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("none of the keys in `keys.master` opens this store; it was made with another master key")]
    WrongMasterKey,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KvError> for StoreError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Unavailable(why) => StoreError::Unavailable(why),
            KvError::Refused(why) | KvError::Corrupt(why) => StoreError::Broken(why),
        }
    }
}

impl From<EntropyError> for StoreError {
    fn from(error: EntropyError) -> Self {
        StoreError::Unavailable(error.to_string())
    }
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Corrupt(why) => StoreError::Broken(why),
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        StoreError::Broken(error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let refusal = match &error {
            StoreError::Conflict => {
                Refusal::new(ErrorCode::Conflict, "Somebody else changed this at the same moment; try again.")
            }
            StoreError::Unavailable(_) => {
                Refusal::new(ErrorCode::StoreUnavailable, "The store cannot be reached at the moment; try again shortly.")
                    .with_retry_after(Duration::from_secs(2))
            }
            StoreError::Broken(_) => {
                Refusal::new(ErrorCode::Internal, "Something went wrong on our side; the log has the details.")
            }
        };
        refusal.with_cause(error)
    }
}
