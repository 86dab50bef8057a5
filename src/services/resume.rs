//! `claviger resume`: after a restore refreshes go on, carefully. First every node has replayed its journal,
//! since that may hold the tokens which the store lacks; then one connection of each provider is tried; then
//! the rest follow, except for providers that refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::domain::connection::{Connection, Status};
use crate::domain::ids::{ConnectionId, ProviderId, TokenSetName};
use crate::domain::node::{NodeRecord, Restoration};
use crate::store::{Sample, StoreError, keys};

use super::Services;
use super::refresh::{Order, Outcome, Why};
use super::standing::{Hold, Mode};

/// Takes what is said on the way to the end.
pub type Progress = mpsc::Sender<String>;

/// How long nodes that beat may take to replay their journals.
const REPLAY_PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections of one tenant and provider in one partition among which the one to be tried is chosen.
const SAMPLE: usize = 8;
/// Providers that are tried at the same time.
const AT_ONCE: usize = 8;
/// How long one trial may be put off by this node or its store, and how long each time.
const PUT_OFF: u32 = 60;
const PUT_OFF_STEP: Duration = Duration::from_secs(1);

/// One connection of a provider, and what came of refreshing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub provider: ProviderId,
    pub connection: ConnectionId,
    /// Why it was not refreshed.
    pub refused: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("nothing is held back: refreshes go on already")]
    NothingHeld,
    #[error("{}", .0.advice())]
    Held(Hold),
    #[error("the store is not this deployment's, or is empty: put it back first")]
    NoStore,
    #[error(
        "the journals of these nodes were not replayed, and may hold tokens that the store lacks: {}. Start each with its folder; \
         if one is lost, say `claviger node forget ID`; --force goes on without them", .0.join(", ")
    )]
    NotReplayed(Vec<String>),
}

/// A connection that could be tried.
struct Candidate {
    order: Order,
    provider: ProviderId,
    expires_at: Option<Timestamp>,
}

impl Services {
    /// Lets refreshes go on. `force` asks no other node and tries nothing.
    pub async fn resume(&self, force: bool, progress: &Progress) -> Result<Vec<Tried>, ResumeError> {
        let open = self.open_restoration().await?;
        if open.resumed_at.is_none() {
            self.replayed_everywhere(&open, force, progress).await?;
        }
        let tried = if force { Vec::new() } else { self.try_each_provider(&open, progress).await? };
        let refused = tried.iter().filter_map(|tried| Some((tried.provider.clone(), tried.refused.clone()?)));
        self.nodes.resume(refused.collect()).await?;
        Ok(tried)
    }

    async fn open_restoration(&self) -> Result<Restoration, ResumeError> {
        let mode = self.core.standing.mode();
        if let Some(hold) = self.core.standing.hold_all().filter(|_| !matches!(mode, Mode::Restored { .. })) {
            return Err(ResumeError::Held(hold));
        }
        let found = self.nodes.restoration().await?;
        match found.filter(|found| found.resumed_at.is_none() || !found.held.is_empty()) {
            Some(open) => Ok(open),
            None if mode == Mode::Normal => Err(ResumeError::NothingHeld),
            None => Err(ResumeError::NoStore),
        }
    }

    /// Returns when this node has replayed its journal, and every other that was not given up.
    async fn replayed_everywhere(&self, open: &Restoration, force: bool, progress: &Progress) -> Result<(), ResumeError> {
        let until = self.core.clock.monotonic() + REPLAY_PATIENCE;
        let mut said = String::new();
        loop {
            let missing = self.not_replayed(open, force).await?;
            let silent = |node: &NodeRecord| self.nodes.silence(&node.id).is_some_and(|silent| silent >= node.silence());
            let names = |nodes: &[NodeRecord]| nodes.iter().map(|node| node.id.clone()).collect::<Vec<_>>();
            if missing.is_empty() {
                return Ok(());
            }
            if missing.iter().all(silent) || self.core.clock.monotonic() >= until {
                return Err(ResumeError::NotReplayed(names(&missing)));
            }
            let text = format!("waiting for the journals of {}", names(&missing).join(", "));
            if text != said {
                _ = progress.send(text.clone()).await;
                said = text;
            }
            self.core.clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn not_replayed(&self, open: &Restoration, force: bool) -> Result<Vec<NodeRecord>, StoreError> {
        let own = |node: &NodeRecord| node.id == self.nodes.id();
        let done = |node: &NodeRecord| match own(node) {
            true => self.core.standing.is_replayed(),
            false => force || node.forgotten || node.stopped || node.replayed.as_ref() == Some(&open.id),
        };
        Ok(self.nodes.list().await?.into_iter().filter(|node| !done(node)).collect())
    }

    /// One connection of each provider that is held, several providers at once.
    async fn try_each_provider(&self, open: &Restoration, progress: &Progress) -> Result<Vec<Tried>, StoreError> {
        let again: Option<BTreeSet<ProviderId>> = open.resumed_at.map(|_| open.held.keys().cloned().collect());
        _ = progress.send("choosing one connection of each provider".to_owned()).await;
        let candidates = self.candidates(again.as_ref()).await?;
        let trials = stream::iter(candidates.into_values()).map(|candidate| self.try_one(candidate, progress));
        Ok(trials.buffer_unordered(AT_ONCE).collect().await)
    }

    /// Of each provider the connection whose token ended first: there a refresh is due, and costs the least.
    async fn candidates(&self, only: Option<&BTreeSet<ProviderId>>) -> Result<BTreeMap<ProviderId, Candidate>, StoreError> {
        let now = self.core.clock.now();
        let mut best: BTreeMap<ProviderId, Candidate> = BTreeMap::new();
        for partition in 0..=u8::MAX {
            for sample in self.core.store.sample(partition, SAMPLE).await? {
                let due = |found: &Candidate| found.expires_at.is_some_and(|end| end <= now);
                let wanted = only.is_none_or(|only| only.contains(&sample.provider));
                if !wanted || best.get(&sample.provider).is_some_and(due) {
                    continue;
                }
                for candidate in self.candidates_in(&sample).await? {
                    let known = best.get(&sample.provider);
                    let sooner = known.is_none_or(|known| ends(candidate.expires_at) < ends(known.expires_at));
                    if sooner {
                        best.insert(sample.provider.clone(), candidate);
                    }
                }
            }
        }
        Ok(best)
    }

    async fn candidates_in(&self, sample: &Sample) -> Result<Vec<Candidate>, StoreError> {
        let mut candidates = Vec::new();
        for id in &sample.connections {
            let found = self.core.store.read(&keys::connection(&sample.tenant, id)).await?;
            let Some(connection) = found.map(|stored| stored.value).filter(may_be_tried) else { continue };
            let Ok(active) = self.integrations.active(&sample.tenant, &connection.provider, &connection.integration).await else {
                continue;
            };
            let (refresh, now) = (active.provider.refresh(), self.core.clock.now());
            let refreshable = connection.sets.iter().filter(|(_, set)| refresh.refreshes_now(&set.current, now));
            candidates.extend(refreshable.map(|(name, set)| Candidate {
                order: order(&connection, name, set.generation, &active),
                provider: connection.provider.clone(),
                expires_at: set.current.expires_at,
            }));
        }
        Ok(candidates)
    }

    /// Why it was not refreshed.
    async fn trial(&self, order: Order) -> Option<String> {
        let _passes = self.core.standing.canary(order.connection.clone());
        let mut code = String::new();
        for _ in 0..PUT_OFF {
            let setback = match self.refresher.refreshed(order.clone()).await {
                Outcome::Refreshed { .. } => return None,
                Outcome::Gone => return Some("connection_gone".to_owned()),
                Outcome::Failed(setback) => setback,
            };
            code = setback.code;
            // Whether the provider has not been asked yet, or has not answered yet.
            if !matches!(setback.why, Why::Held | Why::Store) && code != "still_refreshing" {
                break;
            }
            self.core.clock.sleep(PUT_OFF_STEP).await;
        }
        Some(code)
    }

    async fn try_one(&self, candidate: Candidate, progress: &Progress) -> Tried {
        let Candidate { order, provider, .. } = candidate;
        let connection = order.connection.clone();
        let refused = self.trial(order).await;
        let outcome = refused.as_ref().map_or("refreshed".to_owned(), |code| format!("not refreshed ({code})"));
        _ = progress.send(format!("{provider}: {connection} {outcome}")).await;
        Tried { provider, connection, refused }
    }
}

fn may_be_tried(connection: &Connection) -> bool {
    !connection.is_gone() && !matches!(connection.status, Status::NeedsReauth { .. })
}

/// Tokens that do not end come last.
fn ends(expires_at: Option<Timestamp>) -> Timestamp {
    expires_at.unwrap_or(Timestamp::MAX)
}

fn order(connection: &Connection, set: &TokenSetName, generation: u64, active: &super::integrations::Active) -> Order {
    Order {
        tenant: connection.tenant.clone(),
        connection: connection.id.clone(),
        grant: connection.grant_id.clone(),
        set: set.clone(),
        generation,
        active: active.clone(),
    }
}
