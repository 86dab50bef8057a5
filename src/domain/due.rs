//! When a token is refreshed though nobody asks (docs/refresh.md, before anybody asks). Every node comes to the same
//! answer by itself: what spreads those who expire together is a hash, not a die.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::connection::{Connection, Status, TokenSet};
use super::ids::{ConnectionId, TokenSetName, digest_of};
use super::provider::{RefreshClass, RefreshSpec};

/// Up to so much of its life a token is refreshed earlier than it must be.
const JITTER_PERCENT: u32 = 20;
const DAY: Duration = Duration::from_secs(86_400);
/// A refresh token that dies when unused is used with at least so much, or a tenth, of that time left.
const IDLE_MARGIN: Duration = Duration::from_secs(2 * 86_400);

/// What is to be done about a token set now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    Later(Timestamp),
    /// Not before it is refreshed for somebody who asks.
    Never,
}

/// When it makes sense to look at these tokens: before they age, by what they say themselves. What their provider's
/// file and their use say is asked then ([`judge`]). Those that do not expire are looked at a day later.
pub fn first_look(id: &ConnectionId, name: &TokenSetName, set: &TokenSet) -> Option<Timestamp> {
    let tokens = &set.current;
    tokens.refresh.as_ref()?;
    match tokens.expires_at {
        Some(end) => before(end, tokens.soft() + jitter(id, name, set, tokens.life()?)),
        None => tokens.obtained_at.checked_add(DAY).ok().and_then(whole),
    }
}

/// What is to be done now. A token is kept fresh for those who have fetched one in the last `recently`; a refresh
/// token that would die unused is used in any case.
pub fn judge(connection: &Connection, name: &TokenSetName, provider: &RefreshSpec, recently: Duration, now: Timestamp) -> Due {
    let Some(set) = connection.set(name) else { return Due::Never };
    let over = matches!(connection.status, Status::NeedsReauth { .. } | Status::Revoked { .. });
    if over || set.current.refresh.is_none() || provider.class() == RefreshClass::None {
        return Due::Never;
    }
    let fresh = connection.was_fetched_within(recently, now).then(|| before_its_end(connection, name, set, provider)).flatten();
    let alive = before_it_dies(connection, name, set, provider);
    match fresh.into_iter().chain(alive).min() {
        Some(at) if at <= now => Due::Now,
        Some(at) => Due::Later(at),
        None => Due::Never,
    }
}

/// Where a refresh ends the access token that clients still hold, not before that one is of no use any more.
fn before_its_end(connection: &Connection, name: &TokenSetName, set: &TokenSet, provider: &RefreshSpec) -> Option<Timestamp> {
    let end = set.current.expires_at?;
    if provider.kills_access() { before(end, set.current.floor()) } else { first_look(&connection.id, name, set) }
}

/// No later than the provider's idle limit, or the end that it named, allows.
fn before_it_dies(connection: &Connection, name: &TokenSetName, set: &TokenSet, provider: &RefreshSpec) -> Option<Timestamp> {
    let tokens = &set.current;
    let idle = provider.idle_max().and_then(|idle| Some((tokens.obtained_at.checked_add(signed(idle)).ok()?, idle)));
    let named = tokens.refresh_expires_at.map(|end| {
        let life = Duration::try_from(end.duration_since(tokens.obtained_at)).unwrap_or_default();
        (end, life)
    });
    let margin = |(end, span): (Timestamp, Duration)| {
        let margin = IDLE_MARGIN.max(span / 10).min(span / 2);
        before(end, margin + jitter(&connection.id, name, set, span / 4))
    };
    idle.into_iter().chain(named).filter_map(margin).min()
}

/// The same for all nodes, and another for each connection and generation.
fn jitter(id: &ConnectionId, name: &TokenSetName, set: &TokenSet, life: Duration) -> Duration {
    let digest = digest_of("due", &[id.as_str(), name.as_str(), &set.generation.to_string()]);
    let [a, b, c, d, ..] = digest;
    let span = life / 100 * JITTER_PERCENT;
    // Four bytes are enough to part ten thousand.
    span.mul_f64(f64::from(u32::from_be_bytes([a, b, c, d])) / 2_f64.powi(32))
}

fn before(end: Timestamp, span: Duration) -> Option<Timestamp> {
    end.checked_sub(signed(span)).ok().and_then(whole)
}

/// The index counts in seconds.
fn whole(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second()).ok()
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}
