//! The end of a flight: what was received becomes durable, what failed is remembered.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::{Connection, Rotation, Status};
use crate::domain::event::EventKind;
use crate::domain::flight::{Backoff, Flight};
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};
use crate::oauth::token_request;
use crate::ports::entropy::random;
use crate::store::{Change, Store, StoreError, Stored, keys};

use super::flight::{Announced, is_ours, received};
use super::outcome::{Outcome, Setback, Why};
use super::schedule;

const COMMIT_PAUSE_MIN: Duration = Duration::from_millis(50);
const COMMIT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Others write the same records at most so often in a row.
const RECORD_TRIES: usize = 16;

/// Commits until it is done. Nobody sees the new tokens before that.
pub(super) async fn commit_received(flight: &Announced<'_>, answer: TokenAnswer, started: Timestamp) -> Outcome {
    let mut pause = COMMIT_PAUSE_MIN;
    loop {
        match try_commit(flight, answer.clone(), started).await {
            Ok(outcome) => return outcome,
            Err(StoreError::Conflict) => {}
            Err(error) => tracing::error!(%error, "new tokens wait for the store"),
        }
        flight.node.core.clock.sleep(pause).await;
        pause = (pause * 2).min(COMMIT_PAUSE_MAX);
    }
}

/// Judged by consent and generation, never by the lease (docs/refresh.md, step 5).
async fn try_commit(flight: &Announced<'_>, mut answer: TokenAnswer, started: Timestamp) -> Result<Outcome, StoreError> {
    let (node, order) = (flight.node, flight.order);
    let now = node.core.clock.now();
    let Some((stored, record)) = reread(flight).await? else {
        revoke_late(flight, answer, started).await;
        return Ok(Outcome::Gone);
    };
    let Some(set) = stored.value.set(&order.set) else { return Ok(Outcome::Gone) };
    let Some(tokens) = received(&mut answer, order, set, started, &node.node) else { return Ok(Outcome::Gone) };
    let scopes_before = set.current.scopes.clone();
    let (connection, rotation) = stored.value.clone().rotated(&order.grant, &order.set, order.generation, tokens, now);
    match rotation {
        Rotation::OtherGrant => return Ok(Outcome::Gone),
        Rotation::Known => return newest(flight).await,
        Rotation::Advanced | Rotation::KeptAside => {}
    }
    let connection = connection.with_metadata(answer.metadata);
    let mut change = Change::new();
    let set = connection.set(&order.set);
    let landed = landed(flight, record.as_ref(), set.map_or(order.generation, |set| set.generation), Backoff::default());
    if let Some(landed) = landed {
        put_flight(&mut change, flight, &landed, record.as_ref())?;
    }
    node.core.put_event(&mut change, &connection, EventKind::Refreshed, None)?;
    if set.is_some_and(|set| set.current.scopes != scopes_before) {
        node.core.put_event(&mut change, &connection, EventKind::ScopesChanged, None)?;
    }
    Store::put_connection(&mut change, &connection, Some(&stored))?;
    node.core.store.commit(change).await?;
    let found = node.connections.note(order.connection.as_str(), connection, stored.version + 1).await;
    Ok(Outcome::Refreshed(found))
}

/// What others, or an earlier attempt of this flight, have stored.
async fn newest(flight: &Announced<'_>) -> Result<Outcome, StoreError> {
    let (node, order) = (flight.node, flight.order);
    let key = keys::connection(&order.tenant, &order.connection);
    let found = node.connections.reread(order.connection.as_str(), &key).await?;
    Ok(found.filter(|found| is_ours(order, &found.record)).map_or(Outcome::Gone, Outcome::Refreshed))
}

type Current = (Stored<Connection>, Option<Stored<Flight>>);

/// Both records as they are now; `None` when the connection is gone or of another consent.
async fn reread(flight: &Announced<'_>) -> Result<Option<Current>, StoreError> {
    let (store, order) = (&flight.node.core.store, flight.order);
    let stored = store.read(&keys::connection(&order.tenant, &order.connection)).await?;
    let record = store.read(&keys::flight(&order.tenant, &order.connection, &order.set)).await?;
    Ok(stored.filter(|stored| is_ours(order, &stored.value)).map(|stored| (stored, record)))
}

/// The flight record after this flight; `None` when another has taken over since.
fn landed(flight: &Announced<'_>, record: Option<&Stored<Flight>>, generation: u64, backoff: Backoff) -> Option<Flight> {
    let current = &record?.value;
    let mine = current.intent.as_ref().is_some_and(|intent| intent.attempt == flight.attempt);
    mine.then_some(Flight { generation, fence: current.fence, lease: None, intent: None, backoff, ..Flight::default() })
}

fn put_flight(
    change: &mut Change,
    flight: &Announced<'_>,
    landed: &Flight,
    record: Option<&Stored<Flight>>,
) -> Result<(), StoreError> {
    let order = flight.order;
    let key = keys::flight(&order.tenant, &order.connection, &order.set);
    change.store(&key, landed, record.map(|stored| stored.version), None)?;
    Ok(())
}

/// The connection was deleted while the provider answered: nothing comes back, and the late tokens
/// are ended where the provider can. After a new consent they are left alone: ending them could end
/// the consent.
async fn revoke_late(flight: &Announced<'_>, mut answer: TokenAnswer, started: Timestamp) {
    let (node, order) = (flight.node, flight.order);
    let key = keys::connection(&order.tenant, &order.connection);
    let deleted =
        matches!(node.core.store.read(&key).await, Ok(found) if found.as_ref().is_none_or(|found| found.value.is_gone()));
    let Some(issued) = answer.sets.remove(&order.set).filter(|_| deleted) else { return };
    let late = crate::domain::connection::Tokens::issued(issued, None, started, &node.node);
    let client = order.active.client(&flight.params);
    if let Ok(Some(call)) = token_request::revoke(&order.active.provider, &client, &late) {
        let ended = node.outbound.call(call, node.policy.call_deadline).await.is_ok();
        tracing::info!(connection = %order.connection, ended, "late tokens of a deleted connection");
    }
}

/// Remembers a failure: when to try again, what to tell people.
pub(super) async fn commit_failure(flight: &Announced<'_>, failure: ProviderFailure) -> Outcome {
    let order = flight.order;
    tracing::info!(connection = %order.connection, class = ?failure.class, code = failure.code, status = failure.status, "refresh failed");
    let setback = setback(flight, &failure);
    if setback.why == Why::IntegrationBroken {
        flight.node.trip(&order.active, setback.clone());
    }
    for _ in 0..RECORD_TRIES {
        match try_commit_failure(flight, &failure, &setback).await {
            Ok(outcome) => return outcome,
            Err(StoreError::Conflict) => {}
            // The intent stays, and tells the next flight that this one's end is not known.
            Err(error) => {
                tracing::warn!(%error, "a failed refresh could not be recorded");
                break;
            }
        }
    }
    Outcome::Failed(setback)
}

fn setback(flight: &Announced<'_>, failure: &ProviderFailure) -> Setback {
    let node = flight.node;
    let counted = schedule::Failure {
        class: failure.class,
        retry_after: failure.retry_after,
        failures: flight.before.failures + 1,
        rotation: flight.rotation,
        tokens: &flight.tokens,
    };
    let die = random::<8>(node.core.entropy.as_ref()).map_or(0, u64::from_be_bytes);
    let wait = schedule::wait(&counted, &node.policy, node.core.clock.now(), die);
    Setback { why: why(failure.class), code: failure.code.clone(), retry_after: wait }
}

async fn try_commit_failure(flight: &Announced<'_>, failure: &ProviderFailure, setback: &Setback) -> Result<Outcome, StoreError> {
    let (node, order) = (flight.node, flight.order);
    let now = node.core.clock.now();
    let Some((stored, record)) = reread(flight).await? else { return Ok(Outcome::Gone) };
    if let Some(set) = stored.value.set(&order.set).filter(|set| set.generation != order.generation) {
        if let Some(landed) = landed(flight, record.as_ref(), set.generation, Backoff::default()) {
            let mut change = Change::new();
            put_flight(&mut change, flight, &landed, record.as_ref())?;
            node.core.store.commit(change).await?;
        }
        return newest(flight).await;
    }
    let backoff = backoff(flight, failure, setback, now);
    let over = is_over(&backoff, failure, now, node.policy.confirm_after);
    let why = if over { Why::NeedsReauth } else { setback.why };
    let outcome = Outcome::Failed(Setback { why, ..setback.clone() });
    // Whoever has taken over since will know better; or an earlier attempt to record this arrived.
    let Some(landed) = landed(flight, record.as_ref(), order.generation, backoff) else { return Ok(outcome) };
    let connection = marked(flight, &stored.value, failure, over, now);
    let mut change = Change::new();
    put_flight(&mut change, flight, &landed, record.as_ref())?;
    if let Some(kind) = event_of(&stored.value, &connection, flight) {
        node.core.put_event(&mut change, &connection, kind, Some(failure.code.clone()))?;
    }
    Store::put_connection(&mut change, &connection, Some(&stored))?;
    node.core.store.commit(change).await?;
    node.connections.note(order.connection.as_str(), connection, stored.version + 1).await;
    Ok(outcome)
}

fn backoff(flight: &Announced<'_>, failure: &ProviderFailure, setback: &Setback, now: Timestamp) -> Backoff {
    let before = &flight.before;
    // The integration rests as a whole: its connections need not, and new credentials help at once.
    let own_rest = setback.why != Why::IntegrationBroken;
    let not_before = SignedDuration::try_from(setback.retry_after).ok().and_then(|wait| now.checked_add(wait).ok());
    let refused = failure.class == FailureClass::DeadGrant;
    Backoff {
        failures: before.failures.saturating_add(1),
        not_before: not_before.filter(|_| own_rest),
        class: Some(failure.class),
        code: failure.code.clone(),
        refused_since: if refused { before.refused_since.or(Some(now)) } else { None },
    }
}

/// I6: a grant is over when the provider said so twice, some time apart; providers are known to say
/// so falsely during an outage.
fn is_over(backoff: &Backoff, failure: &ProviderFailure, now: Timestamp, confirm_after: Duration) -> bool {
    let since = backoff.refused_since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
    failure.class == FailureClass::DeadGrant && since.is_some_and(|since| since >= confirm_after)
}

fn marked(flight: &Announced<'_>, connection: &Connection, failure: &ProviderFailure, over: bool, now: Timestamp) -> Connection {
    let connection = connection.clone().refresh_failed(&flight.order.set, failure.class, &failure.code, now);
    let may_have_rotated = flight.rotation != crate::domain::provider::RefreshClass::Nonrotating;
    match failure.class {
        _ if over => connection.needs_reauth(&failure.code, now),
        FailureClass::InDoubt if may_have_rotated => connection.in_doubt(&failure.code, now),
        _ => connection,
    }
}

fn event_of(before: &Connection, after: &Connection, flight: &Announced<'_>) -> Option<EventKind> {
    match &after.status {
        status if *status == before.status => (flight.before.failures == 0).then_some(EventKind::RefreshFailed),
        Status::NeedsReauth { .. } => Some(EventKind::NeedsReauth),
        Status::InDoubt { .. } => Some(EventKind::InDoubt),
        Status::Active | Status::Revoked { .. } => None,
    }
}

pub(super) fn why(class: FailureClass) -> Why {
    match class {
        FailureClass::IntegrationBroken | FailureClass::Misconfigured => Why::IntegrationBroken,
        FailureClass::DeadGrant | FailureClass::Throttled | FailureClass::InDoubt | FailureClass::NotSent => Why::Provider,
    }
}
