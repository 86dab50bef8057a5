//! get-access-token: a working token for an end user. The fresh path writes nothing and, with a warm
//! cache, reads nothing.

mod failing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::caller::Caller;
use crate::domain::connection::{Connection, Freshness, Status, TokenSet};
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::{Account, ConnectionId, EndUserId, IntegrationName, ProviderId, TokenSetName};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::store::{RecordKey, StoreError, keys};

use super::Core;
use super::cached::{Cached, Found};
use super::connect::{Connect, MadeLink};
use super::fetched::Fetched;
use super::integrations::{Active, Integrations};
use super::refresh::{Order, Outcome, Refresher, Setback, Why};
use super::signing::Signing;

pub use failing::Failing;
use failing::failing;

/// A flight may end without an answer for this caller's generation (a new consent came in between);
/// then it is looked at anew, so often.
const LOOKS: usize = 3;

pub struct Vault {
    core: Core,
    integrations: Arc<Integrations>,
    connections: Arc<Cached<Connection>>,
    refresher: Arc<Refresher>,
    connect: Connect,
    fetched: Fetched,
}

/// Which token, and how fresh.
#[derive(Debug)]
pub struct TokenQuery {
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub end_user: EndUserId,
    pub account: Account,
    pub token_set: Option<TokenSetName>,
    /// At least so much life left.
    pub min_ttl: Option<Duration>,
    pub refresh: Refresh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    WhenDue,
    Forced,
}

/// A token that works, and what the tenant should know besides.
pub struct Served {
    pub connection: Arc<Connection>,
    pub set: TokenSetName,
    pub now: Timestamp,
    pub warning: Option<Warning>,
    /// When the end user must consent again, however well it is refreshed.
    pub grant_ends_at: Option<Timestamp>,
    /// Of [`Warning::RefreshFailing`] and [`Warning::ReauthorizationRequired`].
    pub failing: Option<Failing>,
    /// Where the provider's calls are signed.
    pub signing: Option<Signing>,
}

/// Why a served token is not as good as it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// It was refreshed a moment ago; the forced refresh called nobody.
    RecentlyRefreshed,
    /// It works, but its refresh fails at present.
    RefreshFailing,
    /// It works to its end; after that the end user must connect again.
    ReauthorizationRequired,
    /// It ends soon, and cannot be refreshed, or is too young for it.
    ExpiresSoon,
    /// It is refreshed as it should be, but its grant ends soon.
    ReauthorizationDue,
}

impl Warning {
    fn is_of_a_failure(self) -> bool {
        matches!(self, Warning::RefreshFailing | Warning::ReauthorizationRequired)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Warning::RecentlyRefreshed => "recently_refreshed",
            Warning::RefreshFailing => "refresh_failing",
            Warning::ReauthorizationRequired => "reauthorization_required",
            Warning::ExpiresSoon => "expires_soon",
            Warning::ReauthorizationDue => "reauthorization_due",
        }
    }
}

/// Who asks for what, of which integration.
struct Asked<'a> {
    caller: &'a Caller,
    active: Active,
    query: &'a TokenQuery,
}

/// What is to be done about a token.
enum Need {
    Nothing(Option<Warning>),
    /// Serve it, and refresh behind the caller's back.
    Soon,
    Now,
}

impl Vault {
    pub fn new(
        core: Core,
        integrations: Arc<Integrations>,
        connections: Arc<Cached<Connection>>,
        refresher: Arc<Refresher>,
        connect: Connect,
    ) -> Self {
        let fetched = Fetched::new(core.clone(), connections.clone());
        Self { core, integrations, connections, refresher, connect, fetched }
    }

    /// Writes down who fetches tokens, until it is dropped.
    pub async fn note_fetches(&self) {
        self.fetched.run().await;
    }

    pub async fn token(&self, caller: &Caller, query: TokenQuery) -> Result<Served, Refusal> {
        let tenant = caller.require(Scope::TokensRead)?;
        let active = self.integrations.active(tenant, &query.provider, &query.integration).await?;
        let served = self.served(Asked { caller, active: active.clone(), query: &query }).await?;
        let end = served.connection.grant_end(active.provider.refresh());
        end.into_iter().for_each(|end| self.fetched.note_end(&served.connection, end));
        // What is wrong now says more than what will be.
        let due = end.filter(|end| end.is_near(served.now)).map(|_| Warning::ReauthorizationDue);
        let (warning, grant_ends_at) = (served.warning.or(due), end.map(|end| end.at));
        Ok(Served { signing: Signing::of(&active, &served.connection)?, warning, grant_ends_at, ..served })
    }

    async fn served(&self, asked: Asked<'_>) -> Result<Served, Refusal> {
        let (tenant, query) = (asked.caller.tenant(), asked.query);
        let id = ConnectionId::derive(tenant, &query.end_user, &asked.active.integration.id, &query.account);
        let key = || keys::connection(tenant, &id);
        let mut found = self.look_up(&id, key).await?;
        if found.as_ref().is_some_and(|found| found.record.is_gone()) {
            // An absence is never taken from the cache: the end user may just have connected elsewhere.
            found = self.connections.reread(id.as_str(), &key()).await?;
        }
        for _ in 0..LOOKS {
            let Some(current) = found.filter(|found| !found.record.is_gone()) else {
                return Err(self.not_connected(&asked).await);
            };
            let name = chosen_set(&current.record, query.token_set.as_ref())?;
            let current = self.refresher.newest(current, &name);
            let Some(set) = current.record.set(&name) else { return Err(no_such_set(&current.record)) };
            let now = self.core.clock.now();
            let order = || order(&asked.active, &current, &name, set.generation);
            match self.need(&asked, &current.record, set, now)? {
                Need::Nothing(warning) => {
                    self.fetched.note(&current.record);
                    return Ok(served(&current, name, now, warning));
                }
                Need::Soon => {
                    self.refresher.start(order());
                    let warning = set.last_error.is_some().then_some(Warning::RefreshFailing);
                    return Ok(served(&current, name, now, warning));
                }
                Need::Now => {
                    let outcome = self.refresher.refreshed(order()).await;
                    // That may have taken long: who was cut off meanwhile is not served.
                    self.integrations.active(tenant, &query.provider, &query.integration).await?;
                    found = match outcome {
                        Outcome::Refreshed { connection, version } => {
                            let newer = Found { record: connection, version: version.unwrap_or(current.version) };
                            if newer.record.set(&name).is_some() {
                                return Ok(served(&newer, name, self.core.clock.now(), None));
                            }
                            Some(newer)
                        }
                        Outcome::Gone => self.connections.reread(id.as_str(), &key()).await?,
                        Outcome::Failed(setback) => {
                            let still = self.look_up(&id, key).await?.map(|still| self.refresher.newest(still, &name));
                            if still.as_ref().is_some_and(|still| is_same(&still.record, &current.record, &name)) {
                                return self.make_do(&asked, &current, name, setback).await;
                            }
                            still
                        }
                    };
                }
            }
        }
        Err(Refusal::new(ErrorCode::Conflict, "The connection is being changed at this moment; try again."))
    }

    /// The connection as last read. While the store is away, what this node's journal has of it stands in.
    async fn look_up(
        &self,
        id: &ConnectionId,
        key: impl FnOnce() -> RecordKey<Connection>,
    ) -> Result<Option<Found<Connection>>, StoreError> {
        match self.connections.read(id.as_str(), key).await {
            Err(StoreError::Unavailable(why)) => self.refresher.held(id).map(Some).ok_or(StoreError::Unavailable(why)),
            other => other,
        }
    }

    fn need(&self, asked: &Asked<'_>, connection: &Connection, set: &TokenSet, now: Timestamp) -> Result<Need, Refusal> {
        let Asked { active, query, .. } = asked;
        let tokens = &set.current;
        let over = matches!(connection.status, Status::NeedsReauth { .. });
        let how = active.provider.refresh();
        // A provider that refuses to refresh so young a token is not asked.
        let early = how.not_before(tokens).is_some_and(|at| now < at);
        let refreshable = how.refreshes(tokens) && !early;
        check_min_ttl(query, set)?;
        let freshness = tokens.freshness(now);
        if query.refresh == Refresh::Forced && how.refreshes(tokens) && !over {
            let enough = early || (freshness != Freshness::Stale && self.was_just_refreshed(set, now));
            return Ok(if enough { Need::Nothing(Some(Warning::RecentlyRefreshed)) } else { Need::Now });
        }
        let short = query.min_ttl.is_some_and(|wanted| tokens.left(now).is_some_and(|left| left < wanted));
        Ok(match freshness {
            // Judged by the flight alone, which knows why.
            Freshness::Stale if !early => Need::Now,
            _ if over => Need::Nothing(Some(Warning::ReauthorizationRequired)),
            Freshness::Fresh if !short => Need::Nothing(None),
            _ if !refreshable => Need::Nothing(Some(Warning::ExpiresSoon)),
            _ if short => Need::Now,
            Freshness::Fresh | Freshness::Ageing | Freshness::Stale => Need::Soon,
        })
    }

    fn was_just_refreshed(&self, set: &TokenSet, now: Timestamp) -> bool {
        let interval = self.refresher.policy().force_interval;
        set.last_refreshed_at.is_some_and(|at| Duration::try_from(now.duration_since(at)).is_ok_and(|since| since < interval))
    }

    /// The refresh failed: what still works is served with a warning, else the caller is told what to do.
    async fn make_do(
        &self,
        asked: &Asked<'_>,
        current: &Found<Connection>,
        name: TokenSetName,
        setback: Setback,
    ) -> Result<Served, Refusal> {
        let now = self.core.clock.now();
        if current.record.set(&name).is_some_and(|set| set.current.is_alive(now)) {
            let warning = match setback.why {
                Why::NeedsReauth if setback.code == "no_refresh_token" => Warning::ExpiresSoon,
                Why::NeedsReauth => Warning::ReauthorizationRequired,
                _ => Warning::RefreshFailing,
            };
            let at_hand = self
                .connections
                .read(current.record.id.as_str(), || keys::connection(&current.record.tenant, &current.record.id))
                .await;
            let newest = at_hand.ok().flatten().filter(|newest| is_same(&newest.record, &current.record, &name));
            let served = served(newest.as_ref().unwrap_or(current), name, now, Some(warning));
            // What this node was just told is newer than the record, which may not say it at all.
            let retry_at = SignedDuration::try_from(setback.retry_after).ok().and_then(|after| now.checked_add(after).ok());
            let failing =
                |known: Option<Failing>| Failing { at: known.and_then(|known| known.at), reason: setback.code, retry_at };
            let failing = warning.is_of_a_failure().then(|| failing(served.failing));
            return Ok(Served { failing, ..served });
        }
        let status = current.record.status.explained();
        let since = status.map(|status| status.since);
        Err(match setback.why {
            Why::NeedsReauth => {
                let detail = "The provider no longer refreshes this connection; the end user must connect again.";
                let refusal = Refusal::new(ErrorCode::ReauthorizationRequired, detail).with_reason(setback.code, since);
                self.with_link(refusal, asked).await
            }
            Why::IntegrationBroken => {
                let detail = format!(
                    "The provider refuses this integration's client ({}); check client id, secret and scopes with `POST /enable-provider`. The connection itself is kept.",
                    setback.code
                );
                Refusal::new(ErrorCode::IntegrationBroken, detail).with_reason(setback.code, None)
            }
            Why::Provider => {
                let advice = status.map_or("The connection is kept.", |status| status.advice);
                let detail =
                    format!("The token has expired and the provider does not refresh it at present ({}). {advice}", setback.code);
                let refusal = Refusal::new(ErrorCode::ProviderUnavailable, detail).with_reason(setback.code, since);
                refusal.with_retry_after(setback.retry_after)
            }
            Why::Store => {
                let detail = "The store cannot be reached, so that no token can be refreshed safely; try again shortly.";
                Refusal::new(ErrorCode::StoreUnavailable, detail).with_retry_after(setback.retry_after)
            }
            Why::Held => {
                let detail = format!(
                    "The token has expired, and this server holds back refreshes ({}): its store was restored, and the next token may be in use elsewhere. Its operator ends that with `claviger resume`; the connection is kept.",
                    setback.code
                );
                Refusal::new(ErrorCode::RestoreMode, detail).with_retry_after(setback.retry_after)
            }
            Why::Stopping => {
                let detail = "This server is stopping; another, or the same in a moment, will answer.";
                Refusal::new(ErrorCode::ShuttingDown, detail).with_retry_after(setback.retry_after)
            }
        })
    }

    async fn not_connected(&self, asked: &Asked<'_>) -> Refusal {
        let provider = &asked.active.provider;
        if provider.grant().is_minted() {
            let detail = format!("There is no connection yet; `POST /authorize-{}` makes it at once.", provider.id());
            return Refusal::new(ErrorCode::ConnectionNotFound, detail);
        }
        let detail = "This end user has not connected this provider; send them through the authorize link.";
        self.with_link(Refusal::new(ErrorCode::ConnectionNotFound, detail), asked).await
    }

    /// Adds the link that mends it, for callers who may make links.
    async fn with_link(&self, refusal: Refusal, asked: &Asked<'_>) -> Refusal {
        if !asked.caller.may(Scope::LinksWrite) || asked.active.provider.grant().is_minted() {
            return refusal;
        }
        match self.link(&asked.active, asked.query).await {
            Ok(link) => refusal.with_authorize_url(link.authorize_url),
            // A link that needs params of its own cannot be guessed; the answer stands without it.
            Err(error) => {
                tracing::debug!(%error, "no link for an error answer");
                refusal
            }
        }
    }

    async fn link(&self, active: &Active, query: &TokenQuery) -> Result<MadeLink, Refusal> {
        let subject = self.connect.subject(active, &query.end_user, &query.account, &BTreeMap::new())?;
        self.connect.reusable_link(subject).await
    }
}

/// The set that was asked for, else `default`, else the first.
fn chosen_set(connection: &Connection, asked: Option<&TokenSetName>) -> Result<TokenSetName, Refusal> {
    let default = TokenSetName::default_set();
    let chosen = match asked {
        Some(name) => connection.sets.contains_key(name).then(|| name.clone()),
        None if connection.sets.contains_key(&default) => Some(default),
        None => connection.sets.keys().next().cloned(),
    };
    chosen.ok_or_else(|| no_such_set(connection))
}

/// The same tokens of the same consent.
fn is_same(one: &Connection, other: &Connection, set: &TokenSetName) -> bool {
    let generation = |connection: &Connection| connection.set(set).map(|set| set.generation);
    one.grant_id == other.grant_id && !one.is_gone() && generation(one) == generation(other)
}

fn no_such_set(connection: &Connection) -> Refusal {
    let known: Vec<_> = connection.sets.keys().map(TokenSetName::as_str).collect();
    Refusal::field("token_set", format!("is not one that this connection has: {}", known.join(", ")))
}

/// More than the provider ever gives would refresh on each call, and never be content.
fn check_min_ttl(query: &TokenQuery, set: &TokenSet) -> Result<(), Refusal> {
    let longest = set.current.life().map(|life| life.saturating_sub(set.current.floor()));
    match (query.min_ttl, longest) {
        (Some(wanted), Some(longest)) if wanted > longest => {
            let rule = format!("must be at most {} seconds: this provider's tokens do not live longer", longest.as_secs());
            Err(Refusal::field("min_ttl", rule))
        }
        _ => Ok(()),
    }
}

fn order(active: &Active, found: &Found<Connection>, set: &TokenSetName, generation: u64) -> Order {
    let connection = &found.record;
    Order {
        tenant: connection.tenant.clone(),
        connection: connection.id.clone(),
        grant: connection.grant_id.clone(),
        set: set.clone(),
        generation,
        active: active.clone(),
    }
}

fn served(found: &Found<Connection>, set: TokenSetName, now: Timestamp, warning: Option<Warning>) -> Served {
    let failing = warning.filter(|warning| warning.is_of_a_failure()).and_then(|_| failing(&found.record, &set));
    Served { connection: found.record.clone(), set, now, warning, grant_ends_at: None, failing, signing: None }
}
