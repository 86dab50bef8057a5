//! Time. The wall clock judges a token's expiry; the monotonic clock judges leases, caches and
//! deadlines.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns when [`Clock::monotonic`] has advanced by `span`.
    async fn sleep(&self, span: Duration);
}
