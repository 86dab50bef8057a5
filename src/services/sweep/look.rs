//! Looking at the index: which partitions may have something due, and which of them are this node's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::{DueEntry, StoreError};

use super::Sweeper;
use super::board::Board;
use super::judge::Errand;

/// What others wrote meanwhile is seen after this, at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// What another node should have refreshed so long ago is anybody's.
const OTHERS_OVERDUE: SignedDuration = SignedDuration::from_secs(60);
const PAGE: usize = 200;
pub(super) const PARTITIONS: usize = 256;

/// What is remembered of the index. It is found out again after a restart.
pub(super) struct Looks {
    partitions: Vec<Looked>,
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
        Self { partitions: vec![Looked::default(); PARTITIONS] }
    }
}

impl Sweeper {
    /// Finds what is due.
    pub(super) async fn look(&self, looks: &mut Looks, board: &mut Board<Errand>) {
        let now = self.means.core.clock.monotonic();
        let share = self.means.nodes.share();
        self.means.refresher.admission().share_among(u32::try_from(share.nodes).unwrap_or(u32::MAX));
        for partition in 0..PARTITIONS {
            let horizon = if share.has(partition) { SignedDuration::ZERO } else { OTHERS_OVERDUE };
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
}

fn until_then(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
