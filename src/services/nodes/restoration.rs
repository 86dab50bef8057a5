//! The restoration record, which holds every node of a deployment or lets all of them go on. A node that
//! finds the store changed opens one, or joins the one that is open; `claviger resume` closes it.

use std::collections::BTreeMap;

use crate::domain::ids::ProviderId;
use crate::domain::node::{Cause, Restoration};
use crate::ports::entropy::random;
use crate::services::standing::Mode;
use crate::store::{Change, StoreError, Stored, keys};

use super::{Nodes, Own, Suspicion};

impl Nodes {
    /// The restoration as it stands.
    pub async fn restoration(&self) -> Result<Option<Restoration>, StoreError> {
        Ok(self.core.store.read(&keys::restoration()).await?.map(|stored| stored.value))
    }

    /// Ends what holds this deployment, except for these providers. Every node follows with its next beat,
    /// this one at once.
    pub async fn resume(&self, held: BTreeMap<ProviderId, String>) -> Result<(), StoreError> {
        let mut own = self.own.lock().await;
        if let Some(stored) = self.core.store.read(&keys::restoration()).await? {
            let resumed_at = stored.value.resumed_at.or(Some(self.core.clock.now()));
            let resumed = Restoration { resumed_at, held, ..stored.value };
            let mut change = Change::new();
            change.replace(&keys::restoration(), &resumed, stored.version, None)?;
            self.core.store.commit(change).await?;
        }
        self.follow(&mut own).await?;
        self.remember(&own).await;
        Ok(())
    }

    /// Holds back the deployment in this store from now on: the operator knows that it was put back.
    pub async fn declare_restored(&self) -> Result<(), StoreError> {
        let mut own = self.own.lock().await;
        self.suspect(&mut own, Cause::Said, None);
        self.follow(&mut own).await
    }

    /// Takes this node's standing from the record, and opens one where this node alone knows that it must.
    pub(super) async fn follow(&self, own: &mut Own) -> Result<(), StoreError> {
        if let Some(Suspicion { cause: cause @ (Cause::Emptied | Cause::OtherDeployment), since, .. }) = own.suspicion
            && self.core.store.is_same_instance().await? != Some(true)
        {
            // Nothing is written where it does not belong.
            self.core.standing.enter(Mode::Restored { since, cause }, BTreeMap::new());
            return Ok(());
        }
        loop {
            let found = self.core.store.read(&keys::restoration()).await?;
            match self.judge(own, found.as_ref().map(|stored| &stored.value)) {
                Some((mode, held)) => {
                    if mode == Mode::Normal {
                        own.suspicion = None;
                    }
                    self.core.standing.enter(mode, held);
                    return Ok(());
                }
                None => self.open(own, found).await?,
            }
        }
    }

    /// `None`: a new record must be opened.
    fn judge(&self, own: &mut Own, found: Option<&Restoration>) -> Option<(Mode, BTreeMap<ProviderId, String>)> {
        match (found, own.suspicion) {
            (None, None) => Some((Mode::Normal, BTreeMap::new())),
            (None, Some(_)) => None,
            (Some(open), _) if open.resumed_at.is_none() => {
                own.joined = Some(open.id.clone());
                Some((Mode::Restored { since: open.since, cause: open.cause }, BTreeMap::new()))
            }
            (Some(closed), suspicion) => {
                let known = own.joined.as_ref() == Some(&closed.id) || suspicion.is_none_or(|found| found.is_of(closed));
                known.then(|| (Mode::Normal, closed.held.clone()))
            }
        }
    }

    async fn open(&self, own: &Own, found: Option<Stored<Restoration>>) -> Result<(), StoreError> {
        let Some(Suspicion { cause, since, .. }) = own.suspicion else { return Ok(()) };
        let id = hex::encode(random::<8>(self.core.entropy.as_ref())?);
        let opened = Restoration { id, since, cause, by: self.me.id.clone(), resumed_at: None, held: BTreeMap::new() };
        let mut change = Change::new();
        change.store(&keys::restoration(), &opened, found.map(|stored| stored.version), None)?;
        match self.core.store.commit(change).await {
            // Somebody else has opened it: it is read again.
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Suspicion {
    /// A node that was away finds what the others have seen to: its record is from before that.
    fn is_of(&self, closed: &Restoration) -> bool {
        self.cause != Cause::Said && self.written_at.is_some_and(|at| at < closed.since)
    }
}
