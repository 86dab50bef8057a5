//! When a token is refreshed though nobody asks (docs/refresh.md, "Before anybody asks"). Every node comes to the same
//! answer by itself: what spreads those who expire together is a hash, not a die.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::connection::{Connection, TokenSet};
use super::ids::{ConnectionId, TokenSetName, digest_of};
use super::provider::{RefreshSpec, RefreshWith};

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
pub fn first_look(id: &ConnectionId, name: &TokenSetName, set: &TokenSet, renewal: Option<RefreshWith>) -> Option<Timestamp> {
    let tokens = &set.current;
    renewal.filter(|with| with.is_in(tokens))?;
    match tokens.expires_at {
        Some(end) => before(end, tokens.soft() + jitter(id, name, set, tokens.life()?)),
        None if renewal == Some(RefreshWith::Client) => None,
        None => tokens.obtained_at.checked_add(DAY).ok().and_then(whole),
    }
}

/// What is to be done now. A token is kept fresh for those who have fetched one in the last `recently`; a refresh
/// token that would die unused is used in any case.
pub fn judge(connection: &Connection, name: &TokenSetName, provider: &RefreshSpec, recently: Duration, now: Timestamp) -> Due {
    let Some(set) = connection.set(name) else { return Due::Never };
    if connection.is_over() || !provider.refreshes(&set.current) {
        return Due::Never;
    }
    let fresh = connection.was_fetched_within(recently, now).then(|| before_its_end(connection, name, set, provider)).flatten();
    let alive = before_it_dies(connection, name, set, provider);
    let early = provider.not_before(&set.current);
    match fresh.into_iter().chain(alive).min().map(|at| early.map_or(at, |early| at.max(early))) {
        Some(at) if at <= now => Due::Now,
        Some(at) => Due::Later(at),
        None => Due::Never,
    }
}

/// Where a refresh ends the access token that clients still hold, not before that one is of no use any more.
fn before_its_end(connection: &Connection, name: &TokenSetName, set: &TokenSet, provider: &RefreshSpec) -> Option<Timestamp> {
    let end = set.current.expires_at?;
    if provider.kills_access() {
        before(end, set.current.floor())
    } else {
        first_look(&connection.id, name, set, provider.renewal())
    }
}

/// No later than the provider's idle limit, or the end that it named, allows. A token that extends itself dies of its
/// own end, and one that is minted of nothing.
fn before_it_dies(connection: &Connection, name: &TokenSetName, set: &TokenSet, provider: &RefreshSpec) -> Option<Timestamp> {
    let tokens = &set.current;
    let idle = provider.idle_max().and_then(|idle| Some((tokens.obtained_at.checked_add(signed(idle)).ok()?, idle)));
    let end = match provider.with() {
        RefreshWith::RefreshToken => tokens.refresh_expires_at,
        RefreshWith::AccessToken => tokens.expires_at,
        RefreshWith::Client => return None,
    };
    let named = end.map(|end| {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::connection::NewConnection;
    use crate::domain::ids::{Account, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId};
    use crate::domain::tokens::{IssuedTokens, Lifetime, TokenAnswer};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A connection of this end user, with a token of this life.
    fn connection(end_user: &str, life: Option<i64>, refresh: Option<&str>) -> Connection {
        let (tenant, provider) = (TenantId::from_uuid(uuid::Uuid::from_u128(1)), ProviderId::parse("acme").unwrap());
        let integration = IntegrationName::of_provider(&provider);
        let issued = IssuedTokens {
            access_token: "at".into(),
            refresh_token: refresh.map(Into::into),
            token_secret: None,
            token_type: "Bearer".into(),
            expires_at: life.map(at),
            lifetime: Lifetime::Named,
            refresh_expires_at: None,
            scopes: None,
        };
        let new = NewConnection {
            integration_id: IntegrationId::derive(&tenant, &provider, &integration),
            tenant,
            end_user: EndUserId::parse(end_user).unwrap(),
            provider,
            integration,
            account: Account::default_account(),
            grant_id: GrantId::from_random([1; 16]),
            confirmed: true,
            params: BTreeMap::new(),
            asked_scopes: Vec::new(),
            named_scopes: Vec::new(),
            renewal: Some(RefreshWith::RefreshToken),
            received_by: "n".into(),
        };
        let sets = BTreeMap::from([(TokenSetName::default_set(), issued)]);
        Connection::established(new, TokenAnswer { sets, metadata: BTreeMap::new(), subject: None }, None, at(0), at(0))
    }

    fn due(connection: &Connection) -> Option<Timestamp> {
        connection.set(&TokenSetName::default_set()).unwrap().due
    }

    /// Before it ages and at most a fifth of its life earlier, whatever its life; and those of one second lie apart.
    #[test]
    fn a_token_is_looked_at_before_it_ages() {
        for life in [1, 60, 600, 3_600, 86_400, 5_184_000] {
            let (mut seen, all) = (std::collections::BTreeSet::new(), 500);
            for n in 0..all {
                let connection = connection(&format!("user-{n}"), Some(life), Some("rt"));
                let tokens = &connection.set(&TokenSetName::default_set()).unwrap().current;
                let looked = due(&connection).unwrap();
                let ages = life - i64::try_from(tokens.soft().as_secs()).unwrap();
                assert!(looked <= at(ages) && looked >= at(ages - life / 5 - 1), "{life}: {looked}");
                seen.insert(looked);
            }
            let places = usize::try_from(life / 5).unwrap().max(1);
            assert!(seen.len() >= places.min(all) / 2, "{life}: {} moments", seen.len());
        }
    }

    #[test]
    fn what_cannot_be_refreshed_or_is_over_is_never_looked_at() {
        assert_eq!(due(&connection("ada", Some(3600), None)), None);
        let endless = connection("ada", None, Some("rt"));
        assert_eq!(due(&endless), Some(at(86_400)));
        let over = connection("ada", Some(3600), Some("rt")).needs_reauth("invalid_grant", at(1));
        assert_eq!(due(&over), None);
        assert_eq!(due(&over.fetched(at(2))), None, "a fetch revives nothing");
    }

    /// As an older version wrote it, which knows no due times.
    #[test]
    fn a_record_of_old_gets_its_time_with_the_next_fetch() {
        let new = connection("ada", Some(3600), Some("rt"));
        let mut old = serde_json::to_value(&new).unwrap();
        old["sets"]["default"].as_object_mut().unwrap().remove("due");
        old.as_object_mut().unwrap().remove("fetched_at");
        let old: Connection = serde_json::from_value(old).unwrap();
        assert!(due(&old).is_none() && !old.was_fetched_within(Duration::MAX, at(0)));
        let fetched = old.fetched(at(10));
        assert_eq!((due(&fetched), fetched.fetched_at), (due(&new), Some(at(10))));
    }
}
