//! Calls to providers. No redirects, no retries, no proxy, no cookies, no compression; a fresh
//! connection each time; the answer is read whole within a size limit or not at all.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::call::{HttpAnswer, HttpCall};

/// Largest answer that is read.
pub const ANSWER_MAX: usize = 256 * 1024;

/// Why there is no answer. What matters is whether the provider can have seen the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request never left: address refused, DNS, connect or TLS failed.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// It may have been sent, and no whole answer came back.
    #[error("no whole answer came back: {0}")]
    InDoubt(String),
}

#[async_trait]
pub trait Outbound: Send + Sync + 'static {
    /// Sends once; `deadline` covers everything from name lookup to the answer's last byte.
    async fn call(&self, call: HttpCall, deadline: Duration) -> Result<HttpAnswer, CallError>;
}
