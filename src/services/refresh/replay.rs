//! What the journal holds is committed before anything is sent: at the start, and when the store behind this
//! node has become another one. Then what was settled lately is looked at again, too, since a store that took
//! the place of another may have lost what that one acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};

use crate::domain::provider::{Provider, RefreshClass, RefreshWith};
use crate::ports::journal::{EntryId, JournalError, Standing};
use crate::refresh::{Machine, Receipt};
use crate::store::Sent;

use crate::services::integrations::Active;

use super::Refresher;
use super::gatekeeper::Line;
use super::lanes::Lane;
use super::pilot::{Errand, Pilot};

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Settled entries are looked at again that are this much older than the newest entry, at the most: longer
/// than a replica lags behind that is fit to be promoted.
const LATELY: SignedDuration = SignedDuration::from_mins(15);
/// Between two tries to read what a replay needs.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Lanes that are replayed at once.
const AT_ONCE: usize = 16;

/// An entry to be replayed.
struct Due {
    id: EntryId,
    line: Line,
    from_generation: u64,
}

impl Refresher {
    /// Replays the journal and looks after the store, aside, until this node ends.
    pub async fn begin(self: &Arc<Self>) {
        // Whoever asks first is answered with what the journal has; but a store that is away holds up nobody.
        tokio::select! {
            biased;
            () = self.look() => {}
            () = self.means.core.clock.sleep(self.policy.call_deadline) => {}
        }
        let (node, end, clock) = (Arc::downgrade(self), self.end.clone(), self.means.core.clock.clone());
        let watch = async move {
            while let Some(node) = node.upgrade() {
                node.look().await;
                drop(node);
                clock.sleep(LOOK_EVERY).await;
            }
        };
        self.means.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = watch => {}
            }
        });
    }

    async fn look(&self) {
        let core = &self.means.core;
        let fallbacks = core.standing.fallbacks();
        let epoch = core.store.epoch() + fallbacks;
        self.means.nodes.note_journal(self.means.journal.state().pending);
        let reconcile = if core.store.is_shared() { self.policy.of_flight().reconcile } else { Duration::ZERO };
        if self.gate.saw_epoch(epoch, core.clock.monotonic(), reconcile) {
            tracing::warn!(
                epoch,
                "another store is in the place of the one before: the journal is replayed, and nothing is sent before"
            );
            self.means.connections.distrust_all();
        }
        if self.gate.is_replayed(epoch) {
            return;
        }
        // Another store may be an earlier one, put back: a beat tells, and nothing is sent before it did.
        let replayed = self.replay().await;
        match (replayed, self.means.nodes.beat().await) {
            (Ok(()), Ok(())) => {
                self.gate.replayed(epoch);
                core.standing.note_replayed(fallbacks);
            }
            (Ok(()), Err(error)) => {
                tracing::warn!(%error, "whether the store is the one it was is not known, so that no refresh is sent")
            }
            (Err(error), _) => tracing::error!(%error, "the journal cannot be replayed, so that no refresh is sent"),
        }
    }

    /// Returns when every entry has been committed, found to be of no use, or kept for another program.
    async fn replay(&self) -> Result<(), JournalError> {
        let due = self.due().await?;
        let entries: usize = due.values().map(Vec::len).sum();
        if entries > 0 {
            tracing::info!(entries, "replaying the journal");
        }
        stream::iter(due).for_each_concurrent(AT_ONCE, |(lane, entries)| self.replay_lane(lane, entries)).await;
        Ok(())
    }

    async fn replay_lane(&self, lane: Lane, entries: Vec<Due>) {
        for due in entries {
            let _lane = self.lanes.enter(lane.clone()).await;
            self.replay_one(due).await;
        }
    }

    async fn replay_one(&self, due: Due) {
        let arrival = match self.means.journal.read(due.id).await {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return,
            Err(error) => return tracing::error!(entry = due.id.0, %error, "an entry of the journal cannot be read; it is kept"),
        };
        let sent = &arrival.sent;
        let (provider, active) = self.understood(sent).await;
        let unknown = (RefreshClass::Unknown, RefreshWith::RefreshToken);
        let how = provider.as_ref().map_or(unknown, |provider| (provider.refresh().class(), provider.refresh().with()));
        let seed = match self.seed() {
            Ok(seed) => seed,
            Err(error) => return tracing::error!(%error, "an entry of the journal is not replayed now"),
        };
        let plan = self.plan((sent.grant.clone(), sent.set.clone(), sent.from_generation), how, seed);
        // The flight that wrote it may have settled it while this replay waited for its lane.
        let settled = !self.gate.is_waiting(&due.line, due.id);
        let receipt = Receipt { attempt: sent.attempt.clone(), settled };
        let errand = Errand {
            tenant: sent.tenant.clone(),
            connection: sent.connection.clone(),
            provider_id: sent.provider.clone(),
            integration: sent.integration.clone(),
            provider,
            active,
        };
        Pilot::new(self, &errand, Machine::replay(plan, receipt)).with_entry(due.id, arrival).replayed().await;
    }

    /// The provider that sent this, and its client, where they are still known. Asks until the store tells.
    async fn understood(&self, sent: &Sent) -> (Option<Arc<Provider>>, Option<Active>) {
        let integrations = &self.means.integrations;
        loop {
            match integrations.known(&sent.tenant, &sent.provider, &sent.integration).await {
                Ok(Some(active)) => return (Some(active.provider.clone()), Some(active)),
                Ok(None) => return (integrations.listed(sent.provider.as_str()).ok(), None),
                Err(error) => {
                    tracing::warn!(%error, "the journal waits for the store");
                    self.means.core.clock.sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// What is pending, and of what was settled lately the newest of each line, by lane and oldest first.
    async fn due(&self) -> Result<BTreeMap<Lane, Vec<Due>>, JournalError> {
        let listed = self.means.journal.list().await?;
        let mut due: BTreeMap<Lane, Vec<Due>> = BTreeMap::new();
        // No failover, but a restore: that may go back further than any replica lags.
        let all = self.means.core.standing.was_restored();
        // A store of this node's own, which is as it was left, has what it acknowledged. To look at all of that again would
        // keep a node that has just started from refreshing anything for seconds.
        let may_lack = all || self.means.core.store.is_shared() || self.gate.saw_another_store();
        let (mut newest, mut lately): (Option<Timestamp>, bool) = (None, may_lack);
        for listed in listed.iter().rev() {
            if listed.standing == Standing::Settled && !lately {
                continue;
            }
            let sent = match (self.means.journal.read(listed.id).await, listed.standing) {
                (Ok(Some(arrival)), _) => arrival.sent,
                (Ok(None), _) | (Err(_), Standing::Settled) => continue,
                (Err(error), Standing::Pending) => {
                    tracing::error!(entry = listed.id.0, %error, "an entry of the journal cannot be read; it is kept");
                    continue;
                }
            };
            let line = line_of(&sent);
            if listed.standing == Standing::Pending {
                self.gate.waits(line.clone(), listed.id);
            }
            lately &= all || newest.get_or_insert(sent.started_at).duration_since(sent.started_at) <= LATELY;
            let lane = due.entry((sent.connection, sent.set)).or_default();
            let led = lane.iter().any(|due| due.line == line && due.from_generation >= sent.from_generation);
            if listed.standing == Standing::Pending || (lately && !led) {
                lane.insert(0, Due { id: listed.id, line, from_generation: sent.from_generation });
            }
        }
        Ok(due)
    }
}

fn line_of(sent: &Sent) -> Line {
    (sent.connection.clone(), sent.set.clone(), sent.grant.clone())
}
