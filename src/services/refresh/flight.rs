//! One flight, from take-off to landing: read again, announce (lease and intent, durable), send once,
//! commit by generation. What the provider answered with success is never thrown away: the flight
//! goes on until the store has it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::call::HttpAnswer;
use crate::domain::connection::{Connection, Flight, Intent, Lease, Status, TokenSet, Tokens};
use crate::domain::provider::RefreshClass;
use crate::domain::secret::SecretString;
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};
use crate::oauth::{token_request, token_response};
use crate::ports::entropy::random;
use crate::ports::outbound::CallError;
use crate::services::cached::Found;
use crate::store::{StoreError, Stored, keys};

use super::outcome::{Outcome, Setback, Why};
use super::{Order, Refresher, landing};

/// A lease outlives the call and its commit by far; REFRESH.md: three call deadlines.
const LEASE_DEADLINES: u32 = 3;
/// How often a flight of another node is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Step 14: within so long of an answer in doubt, where a replay harms nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A flight whose intent is durable: it may send.
pub(super) struct Announced<'a> {
    pub node: &'a Refresher,
    pub order: &'a Order,
    pub tokens: Tokens,
    pub rotation: RefreshClass,
    /// What the record said before this flight.
    pub before: Flight,
    pub attempt: String,
}

/// What the provider made of the request.
pub(super) enum Verdict {
    Received { answer: Box<TokenAnswer>, started: Timestamp },
    Failed(ProviderFailure),
}

pub(super) async fn fly(node: &Refresher, order: &Order) -> Outcome {
    if let Some(setback) = node.tripped(&order.active) {
        return Outcome::Failed(setback);
    }
    let (found, flight) = match read(node, order).await {
        Ok(read) => read,
        Err(error) => return store_setback(&error),
    };
    let set = match judge(node, order, found, flight.as_ref().map(|stored| &stored.value)) {
        Ok(set) => set,
        Err(outcome) => return outcome,
    };
    let announced = match announce(node, order, set, flight).await {
        Ok(announced) => announced,
        Err(StoreError::Conflict) => return await_other(node, order).await,
        Err(error) => return store_setback(&error),
    };
    match announced.send().await {
        Verdict::Received { answer, started } => landing::commit_received(&announced, *answer, started).await,
        Verdict::Failed(failure) => landing::commit_failure(&announced, failure).await,
    }
}

type Read = (Option<Found<Connection>>, Option<Stored<Flight>>);

pub(super) async fn read(node: &Refresher, order: &Order) -> Result<Read, StoreError> {
    let key = keys::connection(&order.tenant, &order.connection);
    let found = node.connections.reread(order.connection.as_str(), &key).await?;
    let flight = node.core.store.read(&keys::flight(&order.tenant, &order.connection, &order.set)).await?;
    Ok((found, flight))
}

/// Whether there is anything to do; the set to refresh if so.
fn judge(
    node: &Refresher,
    order: &Order,
    found: Option<Found<Connection>>,
    flight: Option<&Flight>,
) -> Result<TokenSet, Outcome> {
    let now = node.core.clock.now();
    let found = found.filter(|found| is_ours(order, &found.record)).ok_or(Outcome::Gone)?;
    let set = found.record.set(&order.set).cloned().ok_or(Outcome::Gone)?;
    if set.generation != order.generation {
        return Err(Outcome::Refreshed(found));
    }
    if let Status::NeedsReauth { reason, .. } = &found.record.status {
        return Err(Outcome::failed(Why::NeedsReauth, reason, Duration::ZERO));
    }
    if set.current.refresh.is_none() || order.active.provider.refresh().class() == RefreshClass::None {
        return Err(Outcome::failed(Why::NeedsReauth, "no_refresh_token", Duration::ZERO));
    }
    match flight.and_then(|flight| resting(flight, now)) {
        Some(setback) => Err(Outcome::Failed(setback)),
        None => Ok(set),
    }
}

pub(super) fn is_ours(order: &Order, connection: &Connection) -> bool {
    !connection.is_gone() && connection.grant_id == order.grant
}

/// The setback that an earlier flight recorded, while its rest lasts.
fn resting(flight: &Flight, now: Timestamp) -> Option<Setback> {
    let backoff = &flight.backoff;
    let left = Duration::try_from(backoff.not_before?.duration_since(now)).ok().filter(|left| !left.is_zero())?;
    let why = backoff.class.map_or(Why::Provider, landing::why);
    Some(Setback { why, code: backoff.code.clone(), retry_after: left })
}

/// Lease and intent in one write, judged by the version that was read: of two nodes one may send.
async fn announce<'a>(
    node: &'a Refresher,
    order: &'a Order,
    set: TokenSet,
    stored: Option<Stored<Flight>>,
) -> Result<Announced<'a>, StoreError> {
    let now = node.core.clock.now();
    let version = stored.as_ref().map(|stored| stored.version);
    let before = stored.map(|stored| stored.value).unwrap_or_default();
    if before.lease.as_ref().is_some_and(|lease| lease.owner != node.node && lease.until > now) {
        return Err(StoreError::Conflict);
    }
    let attempt = hex::encode(random::<16>(node.core.entropy.as_ref())?);
    let rotation = order.active.provider.refresh().class();
    let fence = before.fence + 1;
    let intent = Intent {
        attempt: attempt.clone(),
        node: node.node.clone(),
        fence,
        grant_id: order.grant.clone(),
        from_generation: set.generation,
        prepared_at: now,
        class: rotation.as_str().to_owned(),
    };
    let until = now + SignedDuration::try_from(node.policy.call_deadline * LEASE_DEADLINES).unwrap_or_default();
    let lease = Lease { owner: node.node.clone(), until };
    let flight =
        Flight { generation: set.generation, fence, lease: Some(lease), intent: Some(intent), backoff: before.backoff.clone() };
    let mut change = crate::store::Change::new();
    change.store(&keys::flight(&order.tenant, &order.connection, &order.set), &flight, version, None)?;
    node.core.store.commit(change).await?;
    Ok(Announced { node, order, tokens: set.current, rotation, before, attempt })
}

/// Another node flies: its commit is waited for, with the patience of one call.
async fn await_other(node: &Refresher, order: &Order) -> Outcome {
    let give_up = node.core.clock.monotonic() + node.policy.call_deadline;
    while node.core.clock.monotonic() < give_up {
        node.core.clock.sleep(LOOK_EVERY).await;
        match read(node, order).await {
            Ok((Some(found), _)) if is_ours(order, &found.record) => {
                if found.record.set(&order.set).is_some_and(|set| set.generation != order.generation) {
                    return Outcome::Refreshed(found);
                }
            }
            Ok(_) => return Outcome::Gone,
            Err(error) => return store_setback(&error),
        }
    }
    Outcome::failed(Why::Provider, "refreshing_elsewhere", Duration::from_secs(1))
}

impl Announced<'_> {
    async fn send(&self) -> Verdict {
        let first = self.send_once().await;
        let retry_harmless = matches!(self.rotation, RefreshClass::RotateGrace(_) | RefreshClass::Unknown);
        let in_doubt = matches!(&first, Verdict::Failed(failure) if failure.class == FailureClass::InDoubt);
        if !in_doubt || !retry_harmless || self.before.backoff.class == Some(FailureClass::InDoubt) {
            return first;
        }
        self.node.core.clock.sleep(RETRY_PAUSE).await;
        self.send_once().await
    }

    async fn send_once(&self) -> Verdict {
        let (active, set) = (&self.order.active, &self.order.set);
        let started = self.node.core.clock.now();
        let connection_params = self.client_params().await;
        let client = active.client(&connection_params);
        let call = match token_request::refresh(&active.provider, &client, set, &self.tokens) {
            Ok(call) => call,
            Err(error) => {
                tracing::warn!(%error, "a refresh cannot be built");
                return Verdict::Failed(own_failure(FailureClass::Misconfigured, "request_not_possible"));
            }
        };
        match self.node.outbound.call(call, self.node.policy.call_deadline).await {
            Ok(answer) => self.judge_answer(&answer, started),
            Err(CallError::NotSent(why)) => {
                tracing::warn!(why, "a refresh was not sent");
                Verdict::Failed(own_failure(FailureClass::NotSent, "not_reached"))
            }
            Err(CallError::InDoubt(why)) => {
                tracing::warn!(why, "a refresh has no whole answer");
                Verdict::Failed(own_failure(FailureClass::InDoubt, "no_answer"))
            }
        }
    }

    fn judge_answer(&self, answer: &HttpAnswer, started: Timestamp) -> Verdict {
        match token_response::judge_refresh(&self.order.active.provider, &self.order.set, answer, started) {
            Ok(answer) => Verdict::Received { answer: Box::new(answer), started },
            Err(failure) => Verdict::Failed(failure),
        }
    }

    /// The params with which this grant was made; the integration's stand in for what it lacks.
    async fn client_params(&self) -> std::collections::BTreeMap<String, String> {
        let mut params = self.order.active.integration.params.clone();
        let key = keys::connection(&self.order.tenant, &self.order.connection);
        if let Ok(Some(found)) = self.node.connections.read(self.order.connection.as_str(), || key).await {
            params.extend(found.record.params.clone());
        }
        params
    }
}

fn own_failure(class: FailureClass, code: &str) -> ProviderFailure {
    ProviderFailure { class, code: code.to_owned(), status: 0, retry_after: None }
}

pub(super) fn store_setback(error: &StoreError) -> Outcome {
    tracing::warn!(%error, "a refresh could not use the store");
    Outcome::failed(Why::Store, "store_unavailable", Duration::from_secs(1))
}

/// What the answer brought for the set that was asked for.
pub(super) fn received(
    answer: &mut TokenAnswer,
    order: &Order,
    before: &TokenSet,
    started: Timestamp,
    node: &str,
) -> Option<Tokens> {
    let issued = answer.sets.remove(&order.set)?;
    let empty = |token: &SecretString| secrecy::ExposeSecret::expose_secret(token).is_empty();
    debug_assert!(!empty(&issued.access_token), "an answer without an access token is a failure");
    Some(Tokens::issued(issued, Some(before), started, node))
}
