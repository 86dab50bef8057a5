//! One machine at a time for each token set of a connection, replays included. In-process only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::ids::{ConnectionId, TokenSetName};

pub(super) type Lane = (ConnectionId, TokenSetName);

#[derive(Default)]
pub(super) struct Lanes(Arc<Table>);

#[derive(Default)]
struct Table(Mutex<HashMap<Lane, Arc<tokio::sync::Mutex<()>>>>);

/// The lane is this machine's until it is dropped.
pub(super) struct Entered {
    table: Arc<Table>,
    lane: Lane,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Lanes {
    /// Waits until the lane is free; first come, first served.
    pub async fn enter(&self, lane: Lane) -> Entered {
        let turn = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).entry(lane.clone()).or_default().clone();
        let guard = Some(turn.lock_owned().await);
        Entered { table: self.0.clone(), lane, guard }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut table = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits holds a share of it.
        if table.get(&self.lane).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            table.remove(&self.lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(n: u8) -> Lane {
        let id = ConnectionId::parse(&format!("con_{}", format!("{n:x}").repeat(34))).unwrap();
        (id, TokenSetName::default_set())
    }

    #[tokio::test]
    async fn a_lane_is_one_machines_and_leaves_nothing_behind() {
        let lanes = Lanes::default();
        let first = lanes.enter(lane(1)).await;
        let _other = lanes.enter(lane(2)).await;
        let mut second = std::pin::pin!(lanes.enter(lane(1)));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(lanes.0.0.lock().unwrap().keys().cloned().collect::<Vec<_>>(), [lane(2)]);
    }
}
