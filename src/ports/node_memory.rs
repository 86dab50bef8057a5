//! What a node remembers outside the store, so that a store which was put back to an earlier state can
//! be told. It outlives the process, and a write is whole or not there.

use std::io;

use async_trait::async_trait;

use crate::domain::node::Remembered;

#[async_trait]
pub trait NodeMemory: Send + Sync + 'static {
    /// `None` for a node that has never beaten.
    async fn recall(&self) -> io::Result<Option<Remembered>>;

    async fn remember(&self, remembered: &Remembered) -> io::Result<()>;
}

/// For a store that ends with the process: there is nothing to compare it with.
pub struct Forgetful;

#[async_trait]
impl NodeMemory for Forgetful {
    async fn recall(&self) -> io::Result<Option<Remembered>> {
        Ok(None)
    }

    async fn remember(&self, _: &Remembered) -> io::Result<()> {
        Ok(())
    }
}
