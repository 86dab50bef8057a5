//! One flight, from take-off to landing: read again, announce (lease and intent, durable), send once,
//! commit by generation. What the provider answered with success is never thrown away: the flight
//! goes on until the store has it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::call::HttpAnswer;
use crate::domain::connection::{Connection, Status, TokenSet, Tokens};
use crate::domain::flight::{Backoff, Flight, Intent, Lease};
use crate::domain::provider::RefreshClass;
use crate::domain::secret::SecretString;
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};
use crate::oauth::{token_request, token_response};
use crate::ports::entropy::random;
use crate::ports::outbound::CallError;
use crate::services::cached::Found;
use crate::store::{Change, StoreError, Stored, keys};

use super::outcome::{Outcome, Setback, Why};
use super::{Order, Refresher, landing, schedule};

/// A lease outlives the call and its commit by far; three call deadlines.
pub(super) const LEASE_DEADLINES: u32 = 3;
/// How often a flight of another node is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Within so long of an answer in doubt, where a replay harms nothing.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A flight that is outrun by other writers of the same records this often gives up.
const OUTRUN_MAX: usize = 16;

/// A flight whose intent is durable: it may send.
pub(super) struct Announced<'a> {
    pub node: &'a Refresher,
    pub order: &'a Order,
    pub tokens: Tokens,
    /// The params with which this grant was made; the integration's stand in for what it lacks.
    pub params: BTreeMap<String, String>,
    pub rotation: RefreshClass,
    /// What earlier flights of this generation left.
    pub before: Backoff,
    pub attempt: String,
}

/// What the provider made of the request.
pub(super) enum Verdict {
    Received { answer: Box<TokenAnswer>, started: Timestamp },
    Failed(ProviderFailure),
}

/// Why nothing was announced.
enum Held {
    /// There is nothing to send.
    Ended(Outcome),
    /// Another node flies.
    Elsewhere,
    /// Somebody wrote between reading and announcing: judge anew.
    Outrun,
}

pub(super) async fn fly(node: &Refresher, order: &Order) -> Outcome {
    if let Some(setback) = node.tripped(&order.active) {
        return Outcome::Failed(setback);
    }
    let announced = match cleared(node, order).await {
        Ok(announced) => announced,
        Err(outcome) => return outcome,
    };
    match announced.send().await {
        Verdict::Received { answer, started } => landing::commit_received(&announced, *answer, started).await,
        Verdict::Failed(failure) => landing::commit_failure(&announced, failure).await,
    }
}

/// Announces as soon as nobody else flies; another node's flight is waited for with the patience of
/// one call, and whatever it leaves is judged anew.
async fn cleared<'a>(node: &'a Refresher, order: &'a Order) -> Result<Announced<'a>, Outcome> {
    let give_up = node.core.clock.monotonic() + node.policy.call_deadline;
    let mut outrun = 0;
    while outrun < OUTRUN_MAX && node.core.clock.monotonic() < give_up {
        match prepare(node, order).await {
            Ok(announced) => return Ok(announced),
            Err(Held::Ended(outcome)) => return Err(outcome),
            Err(Held::Elsewhere) => node.core.clock.sleep(LOOK_EVERY).await,
            Err(Held::Outrun) => outrun += 1,
        }
    }
    Err(Outcome::failed(Why::Provider, "refreshing_elsewhere", Duration::from_secs(1)))
}

/// Reads, judges, announces. The flight record is read first: who has committed since has also
/// written there, so that the announcement fails.
async fn prepare<'a>(node: &'a Refresher, order: &'a Order) -> Result<Announced<'a>, Held> {
    let unread = |error: StoreError| Held::Ended(store_setback(&error));
    let flight = node.core.store.read(&keys::flight(&order.tenant, &order.connection, &order.set)).await.map_err(unread)?;
    let key = keys::connection(&order.tenant, &order.connection);
    let found = node.connections.reread(order.connection.as_str(), &key).await.map_err(unread)?;
    let found = found.filter(|found| is_ours(order, &found.record)).ok_or(Held::Ended(Outcome::Gone))?;
    judge(node, order, &found, flight.as_ref().map(|stored| &stored.value))?;
    announce(node, order, &found, flight).await.map_err(|error| match error {
        StoreError::Conflict => Held::Outrun,
        error => unread(error),
    })
}

/// Whether there is anything to send, and whether it is this node's turn.
fn judge(node: &Refresher, order: &Order, found: &Found<Connection>, flight: Option<&Flight>) -> Result<(), Held> {
    if let Some(hold) = node.core.standing.hold(&found.record.provider, &order.connection) {
        return Err(Held::Ended(Outcome::held(&hold)));
    }
    let now = node.core.clock.now();
    let ended = |why, code: &str, wait| Held::Ended(Outcome::failed(why, code, wait));
    let set = found.record.set(&order.set).ok_or(Held::Ended(Outcome::Gone))?;
    if set.generation != order.generation {
        return Err(Held::Ended(Outcome::Refreshed(found.clone())));
    }
    if let Status::NeedsReauth { reason, .. } = &found.record.status {
        return Err(ended(Why::NeedsReauth, reason, Duration::ZERO));
    }
    let rotation = order.active.provider.refresh().class();
    if set.current.refresh.is_none() || rotation == RefreshClass::None {
        return Err(ended(Why::NeedsReauth, "no_refresh_token", Duration::ZERO));
    }
    let Some(flight) = flight else { return Ok(()) };
    if flight.lease.as_ref().is_some_and(|lease| lease.owner != node.node && lease.until > now) {
        return Err(Held::Elsewhere);
    }
    if let Some(setback) = resting(flight, order.generation, now) {
        return Err(Held::Ended(Outcome::Failed(setback)));
    }
    // Nobody knows how that flight ended: it is in doubt (docs/refresh.md, steps 13 and 14).
    let unresolved =
        flight.intent.as_ref().is_some_and(|intent| intent.grant_id == order.grant && intent.from_generation == order.generation);
    match schedule::rest_of_family(rotation, &set.current, now).filter(|rest| unresolved && !rest.is_zero()) {
        Some(rest) => Err(ended(Why::Provider, "in_doubt", rest)),
        None => Ok(()),
    }
}

pub(super) fn is_ours(order: &Order, connection: &Connection) -> bool {
    !connection.is_gone() && connection.grant_id == order.grant
}

/// What earlier flights of this generation left; of an older one it says nothing any more.
fn backoff_of(flight: Option<&Flight>, generation: u64) -> Backoff {
    flight.filter(|flight| flight.generation == generation).map(|flight| flight.backoff.clone()).unwrap_or_default()
}

/// The setback that an earlier flight recorded, while its rest lasts.
fn resting(flight: &Flight, generation: u64, now: Timestamp) -> Option<Setback> {
    let backoff = backoff_of(Some(flight), generation);
    let left = Duration::try_from(backoff.not_before?.duration_since(now)).ok().filter(|left| !left.is_zero())?;
    let why = backoff.class.map_or(Why::Provider, landing::why);
    Some(Setback { why, code: backoff.code, retry_after: left })
}

/// Lease and intent in one write, judged by the versions that were read (docs/refresh.md, step 4): of two
/// nodes one may send, and none from a generation that has passed.
async fn announce<'a>(
    node: &'a Refresher,
    order: &'a Order,
    found: &Found<Connection>,
    stored: Option<Stored<Flight>>,
) -> Result<Announced<'a>, StoreError> {
    let now = node.core.clock.now();
    let Some(set) = found.record.set(&order.set) else { return Err(StoreError::Conflict) };
    let version = stored.as_ref().map(|stored| stored.version);
    let before = backoff_of(stored.as_ref().map(|stored| &stored.value), order.generation);
    let attempt = hex::encode(random::<16>(node.core.entropy.as_ref())?);
    let rotation = order.active.provider.refresh().class();
    let fence = stored.map_or(0, |stored| stored.value.fence) + 1;
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
    let flight = Flight {
        generation: set.generation,
        fence,
        lease: Some(lease),
        intent: Some(intent),
        backoff: before.clone(),
        ..Flight::default()
    };
    let mut change = Change::new();
    change.require(&keys::connection(&order.tenant, &order.connection), found.version);
    change.store(&keys::flight(&order.tenant, &order.connection, &order.set), &flight, version, None)?;
    node.core.store.commit(change).await?;
    let mut params = order.active.integration.params.clone();
    params.extend(found.record.params.clone());
    Ok(Announced { node, order, tokens: set.current.clone(), params, rotation, before, attempt })
}

impl Announced<'_> {
    async fn send(&self) -> Verdict {
        let first = self.send_once().await;
        let retry_harmless = matches!(self.rotation, RefreshClass::RotateGrace(_) | RefreshClass::Unknown);
        let in_doubt = matches!(&first, Verdict::Failed(failure) if failure.class == FailureClass::InDoubt);
        if !in_doubt || !retry_harmless || self.before.class == Some(FailureClass::InDoubt) {
            return first;
        }
        self.node.core.clock.sleep(RETRY_PAUSE).await;
        self.send_once().await
    }

    async fn send_once(&self) -> Verdict {
        let (active, set) = (&self.order.active, &self.order.set);
        let started = self.node.core.clock.now();
        let client = active.client(&self.params);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older generation left is not held against the next, so that one false refusal does not
    /// end a grant (I6) and no rest outlives its reason.
    #[test]
    fn a_rest_ends_with_its_generation() {
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let backoff = Backoff { failures: 3, not_before: Some(later), refused_since: Some(now), ..Backoff::default() };
        let flight = Flight { generation: 2, backoff, ..Flight::default() };
        for (generation, held) in [(1, false), (2, true), (3, false)] {
            assert_eq!(resting(&flight, generation, now).is_some(), held, "{generation}");
            assert_eq!(backoff_of(Some(&flight), generation).refused_since.is_some(), held, "{generation}");
        }
        assert_eq!(resting(&flight, 2, now).unwrap().retry_after, Duration::from_secs(60));
        assert!(resting(&flight, 2, later).is_none());
        assert_eq!(backoff_of(None, 2), Backoff::default());
    }
}
