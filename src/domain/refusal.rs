//! What a caller is told when something cannot be done: a stable code and a sentence that says what
//! to do. The cause, if any, is for the log alone.

use std::time::Duration;

use jiff::Timestamp;

use super::error_code::ErrorCode;

/// A refusal, fit to be shown to the caller. Never holds a secret or a provider's raw words.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct Refusal {
    pub code: ErrorCode,
    pub detail: String,
    /// The request's field at fault, where there is one.
    pub field: Option<String>,
    /// Where the end user can connect (again).
    pub authorize_url: Option<String>,
    pub retry_after: Option<Duration>,
    /// What lies behind it.
    pub reason: Option<Box<Reason>>,
    /// For the log, never for the caller.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A plain code, and since when it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub since: Option<Timestamp>,
}

impl Refusal {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, authorize_url: None, retry_after: None, reason: None, cause: None }
    }

    /// A field of the request is not acceptable: `field` and a rule, as in "must have …".
    pub fn field(field: &str, rule: impl AsRef<str>) -> Self {
        let mut refusal = Self::new(ErrorCode::InvalidRequest, format!("`{field}` {}.", rule.as_ref()));
        refusal.field = Some(field.to_owned());
        refusal
    }

    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub fn with_reason(mut self, reason: impl Into<String>, since: Option<Timestamp>) -> Self {
        self.reason = Some(Box::new(Reason { code: reason.into(), since }));
        self
    }

    pub fn with_authorize_url(mut self, url: impl Into<String>) -> Self {
        self.authorize_url = Some(url.into());
        self
    }
}
