//! Looking after what a process left in the midst of a refresh (docs/refresh.md, "Another node's intent"). A
//! provider may have rotated, and some forgive a second use of the old token for a while only: so nobody waits
//! until somebody asks. What may be sent, and when, the flight decides. This is no refresh ahead of time,
//! and goes on while the sweep is paused.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};

use crate::domain::error_code::ErrorCode;
use crate::store::{Change, LeftEntry, Store, StoreError, keys};

use super::judge::Errand;
use super::look::PARTITIONS;
use super::{AT_ONCE, Sweeper};

const LOOK_EVERY: Duration = Duration::from_secs(10);
const PAGE: usize = 200;
/// The rest is found by the next look.
const FOUND_MAX: usize = 20_000;

impl Sweeper {
    /// Looks until it is dropped.
    pub async fn look_after_left(&self) {
        let core = &self.means.core;
        // What an earlier process of this node left cannot be judged before its last requests have ended.
        core.clock.sleep(self.means.refresher.policy().call_deadline).await;
        loop {
            if core.standing.hold_all().is_none()
                && let Err(error) = self.see_to_all_left().await
            {
                tracing::debug!(%error, "what was left in the midst of a refresh waits for the store");
            }
            core.clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn see_to_all_left(&self) -> Result<(), StoreError> {
        let found = self.find_left().await?;
        if !found.is_empty() {
            tracing::info!(refreshes = found.len(), "looking after refreshes that did not come to their end");
        }
        stream::iter(found)
            .for_each_concurrent(AT_ONCE, async |entry| {
                if let Err(error) = self.see_to_left(&entry).await {
                    tracing::debug!(%error, "a refresh that did not come to its end waits for the store");
                }
            })
            .await;
        Ok(())
    }

    /// Own ones, and others' in this node's part of the index.
    async fn find_left(&self) -> Result<Vec<LeftEntry>, StoreError> {
        let (core, node, share) = (&self.means.core, self.means.nodes.id(), self.means.nodes.share());
        let (now, mut found) = (core.clock.now(), Vec::new());
        for partition in 0..PARTITIONS {
            // Partitions are numbered in a byte.
            let number = u8::try_from(partition).unwrap_or_default();
            let mut after = None;
            loop {
                let page = core.store.left(number, after.as_ref(), now, PAGE).await?;
                let more = page.len() == PAGE && found.len() < FOUND_MAX;
                after = page.last().cloned();
                found.extend(page.into_iter().filter(|entry| entry.node == node || share.has(partition)));
                if !more {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn see_to_left(&self, entry: &LeftEntry) -> Result<(), StoreError> {
        let store = &self.means.core.store;
        let flight = store.read(&keys::flight(&entry.tenant, &entry.connection, &entry.set)).await?;
        let version = flight.as_ref().map(|stored| stored.version);
        let key = keys::connection(&entry.tenant, &entry.connection);
        let found = self.means.connections.reread(entry.connection.as_str(), &key).await?;
        let intent = flight.and_then(|stored| stored.value.intent).filter(|intent| entry.is_of(intent));
        let (Some(intent), Some(found)) = (intent, found) else { return self.drop_left(entry, version).await };
        let record = &found.record;
        let generation = record.set(&entry.set).map(|set| set.generation);
        // Of an older generation or an earlier consent nothing is left to be found out.
        if record.is_over() || intent.grant_id != record.grant_id || generation != Some(intent.from_generation) {
            return self.drop_left(entry, version).await;
        }
        match self.means.integrations.active(&record.tenant, &record.provider, &record.integration).await {
            Ok(active) => {
                self.means.refresher.refreshed(Errand::of(record, &entry.set, active).order).await;
                Ok(())
            }
            Err(refusal) if matches!(refusal.code, ErrorCode::StoreUnavailable | ErrorCode::Internal) => Ok(()),
            // Who enables it again, and asks, meets the intent.
            Err(_) => self.drop_left(entry, version).await,
        }
    }

    async fn drop_left(&self, entry: &LeftEntry, version: Option<u64>) -> Result<(), StoreError> {
        let mut change = Change::new();
        Store::drop_left(&mut change, entry, version);
        match self.means.core.store.commit(change).await {
            // Somebody has written there since, and the index with it.
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
