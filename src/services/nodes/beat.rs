//! One beat: the own record, one on. A conflict is the news that the store is not as it was left.

use crate::domain::node::{Cause, NodeRecord, Remembered, Sighting, is_failover, sighting};
use crate::services::standing::Mode;
use crate::store::{Change, StoreError, Stored, keys};

use super::{Nodes, Own, Suspicion};

/// How often a process that ends tries to say so.
const LEAVE_TRIES: usize = 3;

impl Nodes {
    /// Writes the next beat, follows what the operator decided, and looks at the others.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let mut own = self.own.lock().await;
        if self.core.standing.mode() == Mode::Twin {
            return Ok(());
        }
        match own.suspicion {
            None => self.beat_on(&mut own).await?,
            Some(_) => self.beat_anew(&mut own).await?,
        }
        if self.core.standing.mode() != Mode::Twin {
            self.follow(&mut own).await?;
            self.remember(&own).await;
        }
        drop(own);
        self.look().await
    }

    /// The process ends: whoever comes next under this name need not wait, and others need not either.
    pub async fn leave(&self) {
        let mut own = self.own.lock().await;
        for _ in 0..LEAVE_TRIES {
            match self.close(&mut own).await {
                // A beat that was under way when the process was told to stop has arrived meanwhile.
                Err(StoreError::Conflict) => {}
                Err(error) => return tracing::warn!(%error, "this node's record could not be closed"),
                Ok(()) => return self.remember(&own).await,
            }
        }
    }

    async fn close(&self, own: &mut Own) -> Result<(), StoreError> {
        let found = self.core.store.read(&keys::node(&self.me.id)).await?;
        let Some(found) = found.filter(|found| found.value.session == self.me.session) else { return Ok(()) };
        own.acknowledged = own.acknowledged.max(found.value.beat);
        let closed = NodeRecord { stopped: true, ..self.record(own) };
        self.commit(&closed, Some(found.version)).await?;
        self.acknowledged(own, found.version + 1);
        Ok(())
    }

    async fn beat_on(&self, own: &mut Own) -> Result<(), StoreError> {
        if self.beats_as_left(own).await? { Ok(()) } else { self.find_out(own).await }
    }

    /// The next beat, if the record is as this process left it.
    async fn beats_as_left(&self, own: &mut Own) -> Result<bool, StoreError> {
        let Some(version) = own.version.take() else { return Ok(false) };
        match self.commit(&self.record(own), Some(version)).await {
            Err(StoreError::Conflict) => return Ok(false),
            outcome => outcome?,
        }
        self.acknowledged(own, version + 1);
        Ok(true)
    }

    /// The record is not as this process left it, or it does not know how it left it.
    async fn find_out(&self, own: &mut Own) -> Result<(), StoreError> {
        let founded = self.core.store.is_same_instance().await?;
        let found = self.core.store.read(&keys::node(&self.me.id)).await?;
        let record = found.as_ref().map(|stored| &stored.value);
        let seen = sighting(record, &self.me.session, own.acknowledged);
        match (founded, seen) {
            (None, _) => self.suspect(own, Cause::Emptied, record),
            (Some(false), _) => self.suspect(own, Cause::OtherDeployment, record),
            (_, Sighting::Own) => return self.adopt(own, found).await,
            (_, lost) if is_failover(lost, own.acknowledged, self.policy.tolerance) => {
                tracing::warn!(?lost, "the store lacks its last moments, as after a failover: the journal is replayed");
                self.core.standing.fell_back();
                return self.adopt(own, found).await;
            }
            (_, Sighting::FellBack { .. }) => self.suspect(own, Cause::FellBack, record),
            (_, Sighting::Missing) => self.suspect(own, Cause::NodeMissing, record),
            (_, Sighting::Other) => self.core.standing.enter(Mode::Twin, self.core.standing.held()),
        }
        if own.suspicion.is_some() && founded == Some(true) { self.adopt(own, found).await } else { Ok(()) }
    }

    /// In the place of whatever is there, so that the node is listed while it is held. The store may be put
    /// back once more, or come back at all: then what was journaled goes over that, too.
    async fn beat_anew(&self, own: &mut Own) -> Result<(), StoreError> {
        if self.beats_as_left(own).await? || self.core.store.is_same_instance().await? != Some(true) {
            return Ok(());
        }
        let found = self.core.store.read(&keys::node(&self.me.id)).await?;
        match sighting(found.as_ref().map(|stored| &stored.value), &self.me.session, own.acknowledged) {
            Sighting::Own => {}
            Sighting::Other => {
                self.core.standing.enter(Mode::Twin, self.core.standing.held());
                return Ok(());
            }
            Sighting::FellBack { .. } | Sighting::Missing => self.core.standing.found_restored(),
        }
        self.adopt(own, found).await
    }

    /// The next beat, after the record as it was found.
    pub(super) async fn adopt(&self, own: &mut Own, found: Option<Stored<NodeRecord>>) -> Result<(), StoreError> {
        let version = found.as_ref().map(|stored| stored.version);
        own.acknowledged = own.acknowledged.max(found.map_or(0, |stored| stored.value.beat));
        self.commit(&self.record(own), version).await?;
        self.acknowledged(own, version.unwrap_or(0) + 1);
        Ok(())
    }

    pub(super) fn suspect(&self, own: &mut Own, cause: Cause, found: Option<&NodeRecord>) {
        let written_at = found.map(|found| found.at);
        own.suspicion = Some(Suspicion { cause, since: self.core.clock.now(), written_at });
        own.joined = None;
        self.core.standing.found_restored();
    }

    async fn commit(&self, record: &NodeRecord, version: Option<u64>) -> Result<(), StoreError> {
        let mut change = Change::new();
        change.store(&keys::node(&self.me.id), record, version, None)?;
        self.core.store.commit(change).await
    }

    fn acknowledged(&self, own: &mut Own, version: u64) {
        own.version = Some(version);
        own.acknowledged += 1;
    }

    /// What is remembered is what the next process holds the store to: nothing of a store in doubt.
    pub(super) async fn remember(&self, own: &Own) {
        if own.suspicion.is_some() || own.version.is_none() && own.acknowledged == 0 {
            return;
        }
        let (instance, session) = (self.core.store.instance(), self.me.session.clone());
        let remembered = Remembered { instance, session, beat: own.acknowledged };
        if let Err(error) = self.memory.remember(&remembered).await {
            tracing::error!(%error, "the node's folder does not take what is to be remembered of the store");
        }
    }
}
