//! What this node sees of the beats of the others. Wall clocks of nodes differ, so that only this node's
//! monotonic clock counts, and only between two looks that saw the same beat: time in which this node could
//! not look proves nothing.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::domain::node::NodeRecord;
use crate::refresh::Peer;
use crate::refresh::steal::Beats;
use crate::store::StoreError;

use super::Nodes;

/// What is known of a node that began something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerView {
    /// For so long its beat was seen not to change. A node without a record counts from this process' first look.
    pub silent: Duration,
    /// The operator said that it will not come back.
    pub forgotten: bool,
}

/// This node among those that work at present: they share the index of what is due, and each provider's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    place: usize,
    pub nodes: usize,
}

impl Share {
    /// Whether the part of this number is this node's. Nothing depends on the nodes' agreeing.
    pub fn has(self, part: usize) -> bool {
        part % self.nodes == self.place
    }
}

#[derive(Default)]
pub(super) struct Watched(RwLock<Looks>);

#[derive(Default)]
struct Looks {
    nodes: HashMap<String, Watch>,
    beats: Beats,
    first: Option<Duration>,
    last: Duration,
}

struct Watch {
    session: String,
    beat: u64,
    since: Duration,
    /// Silent for so long, it does not work.
    silence: Duration,
    stopped: bool,
    forgotten: bool,
}

impl Watch {
    fn is_live(&self, now: Duration) -> bool {
        !self.stopped && !self.forgotten && now.saturating_sub(self.since) < self.silence
    }
}

impl Watched {
    pub(super) fn owner(&self, id: &str) -> OwnerView {
        let looks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let watch = looks.nodes.get(id);
        let since = watch.map(|watch| watch.since).or(looks.first).unwrap_or(looks.last);
        OwnerView { silent: looks.last.saturating_sub(since), forgotten: watch.is_some_and(|watch| watch.forgotten) }
    }

    /// As a flight asks: whether what this node began may be ended. `steady` is how long it must have been
    /// beating for what its journal had to be in the store.
    pub(super) fn peer(&self, id: &str, steady: Duration) -> Peer {
        let OwnerView { silent, forgotten } = self.owner(id);
        let looks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let beating = looks.beats.peer(id, steady, looks.last);
        beating.unwrap_or(Peer { node: id.to_owned(), silent_for: silent, forgotten, settled: false })
    }

    /// `me` works, whatever was seen of it.
    pub(super) fn share(&self, me: &str) -> Share {
        let looks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let others = looks.nodes.iter().filter(|(id, watch)| *id != me && watch.is_live(looks.last));
        let (place, others) = others.fold((0, 0), |(place, count), (id, _)| (place + usize::from(id.as_str() < me), count + 1));
        Share { place, nodes: others + 1 }
    }

    pub(super) fn has_looked(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).first.is_some()
    }

    /// A look that began at `now`.
    fn saw(&self, nodes: Vec<NodeRecord>, now: Duration) {
        let mut looks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut looks.nodes);
        for node in &nodes {
            looks.beats.observe(&node.id, node.beat, node.journal_pending > 0, node.forgotten, now);
        }
        looks.first.get_or_insert(now);
        looks.last = looks.last.max(now);
        looks.nodes = nodes
            .into_iter()
            .map(|node| {
                let same = before.remove(&node.id).filter(|known| known.session == node.session && known.beat == node.beat);
                let since = same.map_or(now, |known| known.since);
                let (silence, NodeRecord { id, session, beat, stopped, forgotten, .. }) = (node.silence(), node);
                (id, Watch { session, beat, since, silence, stopped, forgotten })
            })
            .collect();
    }
}

impl Nodes {
    pub(super) async fn look(&self) -> Result<(), StoreError> {
        let now = self.core.clock.monotonic();
        self.watched.saw(self.list().await?, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn node(id: &str, beat: u64) -> NodeRecord {
        NodeRecord {
            id: id.into(),
            session: "s".into(),
            beat,
            at: Timestamp::UNIX_EPOCH,
            started_at: Timestamp::UNIX_EPOCH,
            every_ms: 5000,
            version: "0".into(),
            journal_pending: 0,
            stopped: false,
            forgotten: id == "gone",
            replayed: None,
        }
    }

    #[test]
    fn silence_is_counted_between_looks_alone() {
        let (watched, at) = (Watched::default(), Duration::from_secs);
        assert_eq!(watched.owner("a"), OwnerView { silent: Duration::ZERO, forgotten: false });
        watched.saw(vec![node("a", 1), node("gone", 1)], at(10));
        assert_eq!(watched.owner("a").silent, Duration::ZERO);
        // An hour without a look, and a beat meanwhile.
        watched.saw(vec![node("a", 2), node("gone", 1)], at(3610));
        assert_eq!(watched.owner("a").silent, Duration::ZERO);
        assert_eq!(watched.owner("gone"), OwnerView { silent: at(3600), forgotten: true });
        watched.saw(vec![node("a", 2)], at(3615));
        assert_eq!(watched.owner("a").silent, at(5));
        assert_eq!(watched.owner("nobody").silent, at(3605), "one without a record");
    }

    /// Whatever each saw last, the parts of nodes that see the same are all the parts, each once.
    #[test]
    fn nodes_that_work_share_everything() {
        let (watched, at) = (Watched::default(), Duration::from_secs);
        assert_eq!(watched.share("b"), Share { place: 0, nodes: 1 }, "nothing was seen yet");
        let stopped = NodeRecord { stopped: true, ..node("aa", 1) };
        watched.saw(vec![node("a", 1), stopped, node("b", 1), node("c", 1), node("gone", 1)], at(10));
        for part in 0..12 {
            let whose: Vec<_> = ["a", "b", "c"].into_iter().filter(|id| watched.share(id).has(part)).collect();
            assert_eq!(whose.len(), 1, "part {part} is of {whose:?}");
        }
        assert_eq!(watched.share("new"), Share { place: 3, nodes: 4 }, "one that has no record yet");
        // Three periods of its beat.
        watched.saw(vec![node("a", 2), node("b", 2), node("c", 1)], at(24));
        assert_eq!(watched.share("b"), Share { place: 1, nodes: 3 });
        watched.saw(vec![node("a", 2), node("b", 3), node("c", 1)], at(25));
        assert_eq!(watched.share("b"), Share { place: 1, nodes: 2 }, "c is silent");
        watched.saw(vec![node("b", 4), node("c", 2)], at(30));
        assert_eq!(watched.share("b"), Share { place: 0, nodes: 2 }, "c is back, and a is gone");
    }
}
