//! A node that will never come back: its record says so, and others may end what it began.

use std::time::Duration;

use crate::domain::node::NodeRecord;
use crate::store::{Change, StoreError, keys};

use super::Nodes;

/// How often a silent node is looked after before it is given up.
const LOOKS_PER_SILENCE: u32 = 6;

#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no node {0}; `claviger node list` names them")]
    Unknown(String),
    #[error("the node {0} beats: stop it first, it comes to an end by itself")]
    Beats(String),
}

impl Nodes {
    /// Gives up a node that is silent. What only its journal has is lost with it, unless its folder comes back.
    pub async fn forget(&self, id: &str) -> Result<(), ForgetError> {
        let key = keys::node(id);
        let unknown = || ForgetError::Unknown(id.to_owned());
        let before = self.core.store.read(&key).await?.ok_or_else(unknown)?;
        if before.value.forgotten {
            return Ok(());
        }
        if id == self.me.id {
            return Err(ForgetError::Beats(id.to_owned()));
        }
        if !before.value.stopped {
            self.outwatch(&before.value).await?;
        }
        let mut change = Change::new();
        let forgotten = NodeRecord { forgotten: true, ..before.value };
        change.replace(&key, &forgotten, before.version, None)?;
        match self.core.store.commit(change).await {
            Err(StoreError::Conflict) => return Err(ForgetError::Beats(id.to_owned())),
            outcome => outcome?,
        }
        tracing::warn!(node = id, "given up: what it began may be ended by others");
        Ok(self.look().await?)
    }

    async fn outwatch(&self, before: &NodeRecord) -> Result<(), ForgetError> {
        let step = (before.silence() / LOOKS_PER_SILENCE).max(Duration::from_millis(10));
        let until = self.core.clock.monotonic() + before.silence().saturating_sub(self.owner(&before.id).silent);
        while self.core.clock.monotonic() < until {
            self.core.clock.sleep(step).await;
            let now = self.core.store.read(&keys::node(&before.id)).await?;
            if now.is_none_or(|now| (now.value.session, now.value.beat) != (before.session.clone(), before.beat)) {
                return Err(ForgetError::Beats(before.id.clone()));
            }
        }
        Ok(())
    }
}
