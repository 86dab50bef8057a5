//! What must always hold, as far as one flight can see it. Checked in every debug
//! build, and by the model and the ledger tests from outside.

use jiff::Timestamp;

use crate::domain::connection::{Connection, Status, TokenSet, Tokens};
use crate::domain::flight::Flight;
use crate::domain::provider::RefreshClass;

use super::effect::{RecordWrite, Which, Write};
use super::event::Peer;
use super::plan::Plan;
use super::{schedule, steal};

/// A broken invariant, by its number and in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Debug builds only.
pub fn hold(check: impl FnOnce() -> Result<(), Broken>) {
    if cfg!(debug_assertions) {
        let held = check();
        debug_assert!(held.is_ok(), "{held:?}");
    }
}

/// Before a request: I5, I11. A durable intent of this flight's node for this very generation, no other doubt
/// about it than its class allows, and a token that is there.
pub fn may_send(
    connection: &Connection,
    flight: Option<&Flight>,
    plan: &Plan,
    which: Which,
    now: Timestamp,
) -> Result<(), Broken> {
    let set = live_set(connection, plan).ok_or(Broken("I7: a request for a grant that is gone"))?;
    let flight = flight.ok_or(Broken("I11: a request without a flight record"))?;
    let intent = flight.intent.as_ref().ok_or(Broken("I11: a request without an intent"))?;
    if intent.node != plan.node || intent.grant_id != plan.grant || intent.from_generation != plan.generation {
        return Err(Broken("I11: a request under another's intent"));
    }
    if set.generation != plan.generation {
        return Err(Broken("I5: a request of a generation that has passed"));
    }
    if which.of(set).is_none_or(|tokens| !plan.with.is_in(tokens)) {
        return Err(Broken("I5: a request without a token"));
    }
    let doubt = schedule::Doubt { count: flight.doubts, since: flight.doubted_at };
    if !schedule::rest_in_doubt(plan.class, doubt, &set.current, now).is_zero() {
        return Err(Broken("I5: a token in doubt that must rest"));
    }
    Ok(())
}

/// A commit of received tokens: I2, I4, I7, I8.
pub fn kept(before: &Connection, write: &Write, plan: &Plan) -> Result<(), Broken> {
    let RecordWrite::Put { after, .. } = &write.connection else { return Ok(()) };
    if before.is_gone() || before.grant_id != plan.grant {
        return Err(Broken("I7: tokens for a grant that is gone"));
    }
    let (Some(old), Some(new)) = (before.set(&plan.set), after.set(&plan.set)) else {
        return Err(Broken("I2: a token set vanished"));
    };
    follows(old, new)
}

/// From one stored set to the next: I2, I4, I8.
pub fn follows(old: &TokenSet, new: &TokenSet) -> Result<(), Broken> {
    if new.generation < old.generation {
        return Err(Broken("I4: a generation fell"));
    }
    let superseded = new.current.from_generation >= old.generation;
    let has = |tokens: &Tokens| std::iter::once(&new.current).chain(&new.alternates).any(|kept| kept.are(tokens));
    if !superseded && !has(&old.current) {
        return Err(Broken("I2: the current tokens were dropped without a child"));
    }
    let parents = std::iter::once(&new.current).chain(&new.alternates);
    if new.generation > 1 && parents.into_iter().any(|tokens| tokens.from_generation >= new.generation) {
        return Err(Broken("I8: tokens that are their own parent"));
    }
    Ok(())
}

/// Before `needs_reauth`: I6.
pub fn may_bury(connection: &Connection, flight: &Flight, plan: &Plan, peers: &[Peer]) -> Result<(), Broken> {
    let set = live_set(connection, plan).ok_or(Broken("I7: a verdict on a grant that is gone"))?;
    if set.generation != plan.generation {
        return Err(Broken("I6: not the newest token was refused"));
    }
    if set.alternates.iter().any(|aside| plan.with.is_in(aside) && !flight.tried.contains(&aside.obtained_at)) {
        return Err(Broken("I6: an alternate was not tried"));
    }
    if flight.intent.is_some() {
        return Err(Broken("I6: a request is outstanding"));
    }
    if !steal::all_settled(flight.owed.iter().map(String::as_str), peers) {
        return Err(Broken("I6: another node may hold a newer token"));
    }
    Ok(())
}

/// I14, at rest: with this flight record the connection must not say that all is well.
pub fn tells_the_truth(connection: &Connection, flight: &Flight, plan: &Plan) -> Result<(), Broken> {
    let Some(set) = live_set(connection, plan) else { return Ok(()) };
    let nonrotating = plan.class == RefreshClass::Nonrotating;
    let doubtful = (flight.doubts > 0 && !nonrotating) || flight.backoff.refused_since.is_some();
    let doubtful = doubtful && flight.generation == set.generation;
    if doubtful && flight.intent.is_none() && matches!(connection.status, Status::Active) {
        return Err(Broken("I14: a grant in doubt is shown as active"));
    }
    Ok(())
}

fn live_set<'a>(connection: &'a Connection, plan: &Plan) -> Option<&'a TokenSet> {
    let live = !connection.is_gone() && connection.grant_id == plan.grant;
    connection.set(&plan.set).filter(|_| live)
}
