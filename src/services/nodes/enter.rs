//! How a process takes its node's place: it compares the store with what the folder remembers, makes sure
//! that nobody else has its name, and knows where it stands before anything is sent.

use std::io;

use crate::domain::node::{Arrival, Cause, NodeRecord, arrival};
use crate::ports::entropy::EntropyError;
use crate::store::{StoreError, Stored, keys};

use super::{Nodes, Own};

/// Why a process cannot take its place.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error(
        "what the node's folder remembers of the store cannot be read ({0}); if the file is damaged, move it away and start with --restored"
    )]
    Memory(io::Error),
    #[error(
        "another process works under the name {0} in this store, perhaps on a copy of this node's folder; \
         stop it, or give this one a `node.data` folder of its own (and a `node.id` of its own, where that is set)"
    )]
    NameInUse(String),
}

impl Nodes {
    /// Takes the node's place. `said`: the operator knows that the store was restored, whether or not that shows.
    pub async fn enter(&self, said: bool) -> Result<(), EnterError> {
        let remembered = self.memory.recall().await.map_err(EnterError::Memory)?;
        let mut found = self.core.store.read(&keys::node(&self.me.id)).await?;
        let instance = self.core.store.instance();
        let record = found.as_ref().map(|stored| &stored.value);
        let arrived = arrival(remembered.as_ref(), &instance, record, self.policy.tolerance);
        let mut own = self.own.lock().await;
        own.acknowledged = remembered.filter(|remembered| remembered.instance == instance).map_or(0, |last| last.beat);
        match arrived {
            Arrival::Expected => {}
            Arrival::Failover => self.core.standing.fell_back(),
            Arrival::Restored(cause) => self.suspect(&mut own, cause, record),
            Arrival::NameInUse => found = self.outwait(found).await?,
        }
        if said {
            self.suspect(&mut own, Cause::Said, None);
        }
        self.take_place(&mut own, found).await
    }

    async fn take_place(&self, own: &mut Own, found: Option<Stored<NodeRecord>>) -> Result<(), EnterError> {
        match self.adopt(own, found).await {
            // Somebody has beaten in between.
            Err(StoreError::Conflict) => return Err(EnterError::NameInUse(self.me.id.clone())),
            outcome => outcome?,
        }
        self.follow(own).await?;
        self.remember(own).await;
        self.look().await?;
        Ok(())
    }

    /// Watches a record that somebody else left. Whoever is alive beats within that time.
    async fn outwait(&self, found: Option<Stored<NodeRecord>>) -> Result<Option<Stored<NodeRecord>>, EnterError> {
        let Some(left) = &found else { return Ok(found) };
        let silence = left.value.silence().max(self.policy.beat);
        tracing::warn!(node = self.me.id, ?silence, "this node's record was left by another process: watching whether it beats");
        let until = self.core.clock.monotonic() + silence;
        while self.core.clock.monotonic() < until {
            self.core.clock.sleep(self.policy.beat).await;
            let now = self.core.store.read(&keys::node(&self.me.id)).await?;
            if now.as_ref().map(|stored| stored.version) != Some(left.version) {
                return Err(EnterError::NameInUse(self.me.id.clone()));
            }
        }
        Ok(found)
    }
}
