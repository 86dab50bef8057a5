//! Connections: listing, showing, importing, and ending them.

mod imports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;

use crate::domain::caller::Caller;
use crate::domain::connection::{Connection, NewConnection, TokenSet};
use crate::domain::error_code::ErrorCode;
use crate::domain::event::{Event, EventKind};
use crate::domain::flight::Flight;
use crate::domain::ids::{Account, ConnectionId, EndUserId, GrantId, IntegrationName, ProviderId, TenantId, TokenSetName};
use crate::domain::page::{Limit, Page};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::domain::secret::SecretString;
use crate::domain::tokens::{IssuedTokens, Lifetime, TokenAnswer};
use crate::oauth::{token_request, token_response};
use crate::ports::entropy::random;
use crate::ports::outbound::Outbound;
use crate::store::{Change, Store, StoreError, Stored, keys};

pub use crate::store::ConnectionFilter as Filter;

use super::Core;
use super::cached::Cached;
use super::integrations::{Active, Integrations};
use imports::{check_import, check_signed};

/// A tombstone outlives every flight, cache and paused node by far.
const TOMBSTONE: Duration = Duration::from_secs(30 * 86_400);
const HISTORY_SHOWN: usize = 100;
/// A change that loses a race is judged anew, so often.
const TRIES: usize = 8;
const REVOKE_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Connections {
    core: Core,
    integrations: Arc<Integrations>,
    connections: Arc<Cached<Connection>>,
    outbound: Arc<dyn Outbound>,
    runtime: Handle,
    node: String,
}

/// One connection, by whose and which.
#[derive(Debug, Clone)]
pub struct Which {
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub end_user: EndUserId,
    pub account: Account,
}

/// What became of the grant at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtProvider {
    Revoked,
    /// The provider has no way to revoke, or the integration is not enabled any more.
    NotSupported,
    /// It was asked and did not say yes; the tokens here are gone all the same.
    Failed,
}

/// A connection as its tenant sees it.
#[derive(Debug)]
pub struct Shown {
    pub connection: Connection,
    /// When the end user must consent again, however well it is refreshed.
    pub grant_ends_at: Option<Timestamp>,
}

/// A grant from elsewhere.
#[derive(Debug)]
pub struct Import {
    pub which: Which,
    pub token_set: TokenSetName,
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    /// Of OAuth 1.0a.
    pub token_secret: Option<SecretString>,
    pub token_type: Option<String>,
    pub expiry: Option<Expiry>,
    pub scopes: Option<Vec<String>>,
    pub metadata: BTreeMap<String, serde_json::Value>,
    pub params: BTreeMap<String, String>,
    pub replace: Replace,
}

/// When an imported access token ends.
#[derive(Debug, Clone, Copy)]
pub enum Expiry {
    At(Timestamp),
    Within(SignedDuration),
}

/// Whether an import may take the place of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    Refused,
    Allowed,
}

impl Connections {
    pub fn new(
        core: Core,
        integrations: Arc<Integrations>,
        connections: Arc<Cached<Connection>>,
        outbound: Arc<dyn Outbound>,
        runtime: Handle,
        node: String,
    ) -> Self {
        Self { core, integrations, connections, outbound, runtime, node }
    }

    pub async fn list(
        &self,
        caller: &Caller,
        filter: &Filter,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Page<Shown>, Refusal> {
        let tenant = caller.require(Scope::ConnectionsRead)?;
        let bad_cursor = |_| Refusal::field("cursor", "must be a `next` of an earlier answer");
        let after = cursor.map(ConnectionId::parse).transpose().map_err(bad_cursor)?;
        let page = self.core.store.connections(tenant, filter, after.as_ref(), limit.get()).await?;
        let mut items = Vec::new();
        for connection in page.connections {
            items.push(self.shown(connection).await);
        }
        Ok(Page { items, next: page.next.map(String::from) })
    }

    /// What its provider's file says of it, where that is still known.
    pub async fn shown(&self, connection: Connection) -> Shown {
        let active = self.integrations.known(&connection.tenant, &connection.provider, &connection.integration).await;
        let end = active.ok().flatten().and_then(|active| connection.grant_end(active.provider.refresh()));
        Shown { grant_ends_at: end.map(|end| end.at), connection }
    }

    /// One connection and what happened to it, newest first.
    pub async fn show(&self, caller: &Caller, id: &str) -> Result<(Shown, Vec<Event>), Refusal> {
        let tenant = caller.require(Scope::ConnectionsRead)?;
        let id = ConnectionId::parse(id).map_err(|_| not_found())?;
        let stored = self.core.store.read(&keys::connection(tenant, &id)).await?;
        let connection = stored.map(|stored| stored.value).filter(|connection| !connection.is_gone()).ok_or_else(not_found)?;
        Ok((self.shown(connection).await, self.history(tenant, &id).await?))
    }

    /// Ends a connection: first here, so that nothing can revive it, then at the provider where that
    /// has a way. In a task of its own: a caller that hangs up stops nothing.
    pub async fn revoke(&self, caller: &Caller, which: Which) -> Result<AtProvider, Refusal> {
        let tenant = caller.require(Scope::ConnectionsWrite)?.clone();
        let id = which.id(&tenant);
        let service = self.clone();
        let ended = self.runtime.spawn(async move { service.end(&tenant, &id).await });
        joined(ended.await)?.ok_or_else(not_found)
    }

    /// Ends all connections of an end user.
    pub async fn forget_end_user(
        &self,
        caller: &Caller,
        end_user: EndUserId,
    ) -> Result<Vec<(ConnectionId, AtProvider)>, Refusal> {
        let tenant = caller.require(Scope::ConnectionsWrite)?.clone();
        let service = self.clone();
        let ended = self.runtime.spawn(async move { service.end_all(&tenant, end_user).await });
        joined(ended.await)
    }

    /// Brings a grant from elsewhere; it is refreshed here from now on, and must be nowhere else.
    pub async fn import(&self, caller: &Caller, import: Import) -> Result<Shown, Refusal> {
        let tenant = caller.require(Scope::ConnectionsWrite)?;
        check_import(&import)?;
        let which = import.which.clone();
        let active = self.integrations.active(tenant, &which.provider, &which.integration).await?;
        check_signed(&import, active.provider.grant())?;
        let settled =
            active.provider.settle_params(&import.params, crate::domain::provider::NeededBy::Link, &active.integration.params)?;
        let id = which.id(tenant);
        let key = keys::connection(tenant, &id);
        let before = self.core.store.read(&key).await?;
        let occupied = before.as_ref().is_some_and(|before| !before.value.is_gone());
        if occupied && import.replace == Replace::Refused {
            let detail = "This end user has connected already; send `replace=true` to put the imported grant in its place.";
            return Err(Refusal::new(ErrorCode::Conflict, detail));
        }
        let connection = self.imported(tenant, &active, import, settled.public)?;
        self.save_new(&connection, before.as_ref(), (EventKind::Imported, None)).await?;
        Ok(self.shown(connection).await)
    }

    /// Puts a new grant in the place of whatever is there, with its flight records, index entries and
    /// event in one commit. This node serves it at once.
    pub async fn save_new(
        &self,
        connection: &Connection,
        before: Option<&Stored<Connection>>,
        (kind, detail): (EventKind, Option<String>),
    ) -> Result<(), StoreError> {
        let (tenant, id) = (&connection.tenant, &connection.id);
        let mut change = Change::new();
        for (name, set) in &connection.sets {
            let key = keys::flight(tenant, id, name);
            let old = self.core.store.read(&key).await?;
            let fence = old.as_ref().map_or(0, |old| old.value.fence);
            let flight = Flight { generation: set.generation, fence, ..Flight::default() };
            Store::put_flight(&mut change, (tenant, id, name), &flight, old.as_ref())?;
        }
        let unused = before.iter().flat_map(|before| before.value.sets.keys()).filter(|set| connection.set(set).is_none());
        unused.for_each(|set| {
            change.discard(&keys::flight(tenant, id, set));
        });
        self.core.put_event(&mut change, connection, kind, detail)?;
        Store::put_connection(&mut change, connection, before)?;
        self.core.store.commit(change).await?;
        let version = before.map_or(1, |before| before.version + 1);
        self.connections.note(id.as_str(), connection.clone(), version).await;
        Ok(())
    }

    async fn history(&self, tenant: &TenantId, id: &ConnectionId) -> Result<Vec<Event>, StoreError> {
        let range = keys::events(tenant, id);
        let (mut events, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let (found, next) = self.core.store.list(&range, after.as_deref(), 1000).await?;
            events.extend(found.into_iter().map(|(_, stored)| stored.value));
            let surplus = events.len().saturating_sub(HISTORY_SHOWN);
            events.drain(..surplus);
            if next.is_none() {
                break;
            }
            after = next;
        }
        events.reverse();
        Ok(events)
    }

    fn imported(
        &self,
        tenant: &TenantId,
        active: &Active,
        import: Import,
        params: BTreeMap<String, String>,
    ) -> Result<Connection, Refusal> {
        let now = self.core.clock.now();
        let issued = IssuedTokens {
            access_token: import.access_token,
            refresh_token: import.refresh_token,
            token_secret: import.token_secret,
            token_type: import.token_type.unwrap_or_else(|| active.provider.grant().token_type().to_owned()),
            expires_at: import.expiry.map(|expiry| expiry.moment(now)).transpose()?,
            lifetime: Lifetime::Named,
            refresh_expires_at: None,
            scopes: import.scopes,
        };
        let answer = TokenAnswer { sets: BTreeMap::from([(import.token_set, issued)]), metadata: import.metadata, subject: None };
        let new = NewConnection {
            tenant: tenant.clone(),
            end_user: import.which.end_user,
            provider: import.which.provider,
            integration: import.which.integration,
            integration_id: active.integration.id.clone(),
            account: import.which.account,
            grant_id: GrantId::from_random(random(self.core.entropy.as_ref()).map_err(StoreError::from)?),
            confirmed: true,
            params,
            asked_scopes: active.integration.scopes.clone(),
            named_scopes: Vec::new(),
            renewal: active.provider.refresh().renewal(),
            received_by: self.node.clone(),
        };
        Ok(Connection::established(new, answer, None, now, now))
    }

    async fn end_all(&self, tenant: &TenantId, end_user: EndUserId) -> Result<Vec<(ConnectionId, AtProvider)>, Refusal> {
        let filter = Filter { end_user: Some(end_user), ..Filter::default() };
        let (mut ended, mut after) = (Vec::new(), None);
        loop {
            let page = self.core.store.connections(tenant, &filter, after.as_ref(), 100).await?;
            for connection in page.connections {
                let at_provider = self.end(tenant, &connection.id).await?;
                ended.extend(at_provider.map(|at_provider| (connection.id, at_provider)));
            }
            if page.next.is_none() {
                return Ok(ended);
            }
            after = page.next;
        }
    }

    /// `None` when there is nothing to end.
    async fn end(&self, tenant: &TenantId, id: &ConnectionId) -> Result<Option<AtProvider>, Refusal> {
        let Some(ended) = self.bury(tenant, id).await? else { return Ok(None) };
        let active = self.integrations.active(tenant, &ended.provider, &ended.integration).await;
        let Ok(active) = active else { return Ok(Some(AtProvider::NotSupported)) };
        let mut worst = AtProvider::NotSupported;
        for set in ended.sets.values() {
            let outcome = self.revoke_at_provider(&active, &ended, set).await;
            worst = match (worst, outcome) {
                (AtProvider::Failed, _) | (_, AtProvider::Failed) => AtProvider::Failed,
                (AtProvider::Revoked, _) | (_, AtProvider::Revoked) => AtProvider::Revoked,
                _ => AtProvider::NotSupported,
            };
        }
        Ok(Some(worst))
    }

    /// Leaves a tombstone; answers what was there.
    async fn bury(&self, tenant: &TenantId, id: &ConnectionId) -> Result<Option<Connection>, Refusal> {
        let key = keys::connection(tenant, id);
        for _ in 0..TRIES {
            let stored = self.core.store.read(&key).await?.filter(|stored| !stored.value.is_gone());
            let Some(stored) = stored else { return Ok(None) };
            let buried = stored.value.clone().buried(self.core.clock.now());
            let mut change = Change::new();
            stored.value.sets.keys().for_each(|set| {
                change.discard(&keys::flight(tenant, id, set));
            });
            self.core.put_event(&mut change, &buried, EventKind::Revoked, None)?;
            Store::bury_connection(&mut change, &buried, &stored, TOMBSTONE)?;
            match self.core.store.commit(change).await {
                Ok(()) => {
                    self.connections.note(id.as_str(), buried, stored.version + 1).await;
                    return Ok(Some(stored.value));
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    async fn revoke_at_provider(&self, active: &Active, ended: &Connection, set: &TokenSet) -> AtProvider {
        let mut params = active.integration.params.clone();
        params.extend(ended.params.clone());
        let Ok(moment) = self.core.moment() else { return AtProvider::Failed };
        let client = active.client(&params).knowing(&ended.metadata).at(moment);
        let call = match token_request::revoke(&active.provider, &client, &set.current) {
            Ok(Some(call)) => call,
            Ok(None) => return AtProvider::NotSupported,
            Err(error) => {
                tracing::warn!(%error, "a revocation cannot be built");
                return AtProvider::Failed;
            }
        };
        match self.outbound.call(call, REVOKE_DEADLINE).await {
            Ok(answer) => match token_response::judge_revoke(&active.provider, &answer, self.core.clock.now()) {
                Ok(()) => AtProvider::Revoked,
                Err(failure) => {
                    tracing::warn!(code = failure.code, status = failure.status, "a provider refused a revocation");
                    AtProvider::Failed
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a revocation did not reach the provider");
                AtProvider::Failed
            }
        }
    }
}

impl Expiry {
    fn moment(self, now: Timestamp) -> Result<Timestamp, Refusal> {
        match self {
            Expiry::At(at) => Ok(at),
            Expiry::Within(span) => now.checked_add(span).map_err(|_| Refusal::field("expires_in", "is too long")),
        }
    }
}

impl Which {
    pub fn id(&self, tenant: &TenantId) -> ConnectionId {
        let integration = crate::domain::ids::IntegrationId::derive(tenant, &self.provider, &self.integration);
        ConnectionId::derive(tenant, &self.end_user, &integration, &self.account)
    }
}

fn joined<T>(task: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<T, Refusal> {
    task.unwrap_or_else(|cause| Err(Refusal::new(ErrorCode::Internal, "Something went wrong on our side.").with_cause(cause)))
}

fn not_found() -> Refusal {
    Refusal::new(ErrorCode::ConnectionNotFound, "There is no such connection; `GET /connections` lists yours.")
}
