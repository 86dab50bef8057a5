//! Looking at the index: which partitions may have something due, and which of them are this node's.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::{DueEntry, StoreError};

use super::Sweeper;
use super::board::Board;
use super::judge::Errand;

/// What others wrote meanwhile is seen after this, at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Who else is there is asked so often.
const COUNT_NODES: Duration = Duration::from_secs(10);
/// What another node should have refreshed so long ago is anybody's.
const OTHERS_OVERDUE: SignedDuration = SignedDuration::from_secs(60);
const PAGE: usize = 200;
pub(super) const PARTITIONS: usize = 256;

/// What is remembered of the index. It is found out again after a restart.
pub(super) struct Looks {
    partitions: Vec<Looked>,
    count_again: Duration,
}

#[derive(Clone, Default)]
struct Looked {
    /// Nothing is due before.
    quiet_until: Duration,
    /// What is before this entry has been seen, since `from_start`.
    seen: Option<DueEntry>,
    from_start: Option<Duration>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { partitions: vec![Looked::default(); PARTITIONS], count_again: Duration::ZERO }
    }
}

impl Sweeper {
    /// Nodes share the partitions; nothing depends on their agreeing.
    pub(super) fn is_mine(&self, partition: usize) -> bool {
        let (place, count) = *self.place.lock().unwrap_or_else(PoisonError::into_inner);
        partition % count.max(1) == place
    }

    /// Finds what is due.
    pub(super) async fn look(&self, looks: &mut Looks, board: &mut Board<Errand>) {
        let now = self.means.core.clock.monotonic();
        if looks.count_again <= now {
            looks.count_again = now + COUNT_NODES;
            if let Err(error) = self.count_nodes().await {
                tracing::debug!(%error, "the nodes could not be counted");
            }
        }
        for partition in 0..PARTITIONS {
            let horizon = if self.is_mine(partition) { SignedDuration::ZERO } else { OTHERS_OVERDUE };
            let Some(looked) = looks.partitions.get_mut(partition).filter(|looked| looked.quiet_until <= now) else { continue };
            if board.is_full() {
                return;
            }
            // Partitions are numbered in a byte.
            let number = u8::try_from(partition).unwrap_or_default();
            if let Err(error) = self.look_at(number, looked, horizon, board).await {
                tracing::debug!(%error, "the sweep waits for the store");
                looked.quiet_until = now + LOOK_AGAIN;
                return;
            }
        }
    }

    async fn look_at(
        &self,
        partition: u8,
        looked: &mut Looked,
        horizon: SignedDuration,
        board: &mut Board<Errand>,
    ) -> Result<(), StoreError> {
        let clock = &self.means.core.clock;
        let (now, today) = (clock.monotonic(), clock.now());
        let until = today.checked_sub(horizon).unwrap_or(today);
        if looked.from_start.is_none_or(|at| at + LOOK_AGAIN <= now) {
            (looked.seen, looked.from_start) = (None, Some(now));
        }
        while !board.is_full() {
            let page = self.means.core.store.due(partition, looked.seen.as_ref(), until, PAGE).await?;
            looked.seen = page.due.last().cloned().or(looked.seen.take());
            let more = page.due.len() == PAGE;
            page.due.into_iter().for_each(|entry| board.found(entry));
            if !more {
                looked.quiet_until = now + page.next.map_or(LOOK_AGAIN, |next| until_then(next, until)).min(LOOK_AGAIN);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Nodes that beat, this one among them: they share the partitions, and each provider's rate.
    async fn count_nodes(&self) -> Result<(), StoreError> {
        let nodes = &self.means.nodes;
        let mut live: Vec<String> =
            nodes.list().await?.into_iter().filter(|node| nodes.is_live(node)).map(|node| node.id).collect();
        live.push(nodes.id().to_owned());
        live.sort_unstable();
        live.dedup();
        let place = live.iter().position(|id| id == nodes.id()).unwrap_or_default();
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = (place, live.len());
        self.means.refresher.admission().share_among(u32::try_from(live.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}

fn until_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
