//! Listing connections: 256 ordered ranges, walked in order. A filter is an index, so that a listing
//! costs what it returns.

use futures::future::try_join_all;

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, EndUserId, IntegrationId, ProviderId, TenantId};
use crate::ports::kv::Key;

use super::due;
use super::entities::keys;
use super::error::StoreError;
use super::record::Stored;
use super::{Change, Store};

/// How many partitions are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How many connections are looked at for one of an integration.
const LOOKED_AT_ONCE: usize = 100;

/// Which connections of a tenant. The narrowest index is walked; the rest is checked on what it finds.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    pub provider: Option<ProviderId>,
    pub end_user: Option<EndUserId>,
    pub status: Option<String>,
}

#[derive(Debug)]
pub struct ConnectionPage {
    pub connections: Vec<Connection>,
    /// The last connection looked at, when there may be more; a page may be short and still have it.
    pub next: Option<ConnectionId>,
}

/// Ids of one partition, and whether it holds more behind them.
struct Ids {
    ids: Vec<ConnectionId>,
    more: bool,
}

impl ConnectionFilter {
    fn admits(&self, connection: &Connection) -> bool {
        self.provider.as_ref().is_none_or(|wanted| *wanted == connection.provider)
            && self.end_user.as_ref().is_none_or(|wanted| *wanted == connection.end_user)
            && self.status.as_deref().is_none_or(|wanted| wanted == connection.status.as_str())
    }

    fn prefix(&self, tenant: &TenantId) -> String {
        match (&self.end_user, &self.status, &self.provider) {
            (Some(end_user), _, _) => keys::end_user_prefix(tenant, end_user),
            (None, Some(status), _) => keys::status_prefix(tenant, status),
            (None, None, Some(provider)) => keys::provider_prefix(tenant, provider),
            (None, None, None) => format!("g/{tenant}/"),
        }
    }

    fn partitions(&self, tenant: &TenantId, after: Option<&ConnectionId>) -> std::ops::RangeInclusive<u8> {
        let first = after.map_or(0, ConnectionId::partition);
        match &self.end_user {
            None => first..=u8::MAX,
            Some(end_user) => {
                let only = ConnectionId::partition_of(tenant, end_user);
                only..=only
            }
        }
    }
}

impl Store {
    /// Up to `limit` connections after `after`, ordered by id.
    pub async fn connections(
        &self,
        tenant: &TenantId,
        filter: &ConnectionFilter,
        after: Option<&ConnectionId>,
        limit: usize,
    ) -> Result<ConnectionPage, StoreError> {
        let prefix = filter.prefix(tenant);
        let partitions: Vec<u8> = filter.partitions(tenant, after).collect();
        let mut page = ConnectionPage { connections: Vec::new(), next: None };
        let mut last_seen = None;
        for chunk in partitions.chunks(ASKED_AT_ONCE) {
            let asked = chunk.iter().map(|partition| {
                let from = after.filter(|id| id.partition() == *partition);
                self.ids_in(*partition, &prefix, from, limit + 1)
            });
            for Ids { ids, more } in try_join_all(asked).await? {
                for id in ids {
                    if page.connections.len() == limit {
                        page.next = last_seen;
                        return Ok(page);
                    }
                    let found = self.read(&keys::connection(tenant, &id)).await?.map(|stored| stored.value);
                    page.connections.extend(found.filter(|connection| !connection.is_gone() && filter.admits(connection)));
                    last_seen = Some(id);
                }
                if more {
                    page.next = last_seen;
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Whether any connection of a provider is left, of one integration or of all.
    pub async fn has_connections(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        integration: Option<&IntegrationId>,
    ) -> Result<bool, StoreError> {
        let filter = ConnectionFilter { provider: Some(provider.clone()), ..ConnectionFilter::default() };
        let mut after = None;
        loop {
            let page = self.connections(tenant, &filter, after.as_ref(), LOOKED_AT_ONCE).await?;
            if page.connections.iter().any(|found| integration.is_none_or(|wanted| *wanted == found.integration_id)) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// Puts a connection into `change`: the grant, in the place of `before`, and its index entries.
    pub fn put_connection(
        change: &mut Change,
        connection: &Connection,
        before: Option<&Stored<Connection>>,
    ) -> Result<(), StoreError> {
        let (tenant, id, status) = (&connection.tenant, &connection.id, connection.status.as_str());
        // A tombstone has no index entries.
        let indexed = before.map(|before| &before.value).filter(|old| !old.is_gone()).map(|old| old.status.as_str());
        if let Some(old) = indexed.filter(|old| *old != status) {
            change.unindex(keys::by_status(tenant, old, id));
        }
        if indexed != Some(status) {
            change.index(keys::by_status(tenant, status, id));
        }
        if indexed.is_none() {
            change.index(keys::by_provider(tenant, &connection.provider, id));
            change.index(keys::by_end_user(tenant, &connection.end_user, id));
        }
        due::index(change, before.map(|before| &before.value), Some(connection));
        change.store(&keys::connection(tenant, id), connection, before.map(|before| before.version), None)?;
        Ok(())
    }

    /// Puts a connection's end into `change`: a tombstone without tokens, which keeps the version
    /// going for `keep` so that nothing in flight can revive it, and no index entries.
    pub fn bury_connection(
        change: &mut Change,
        buried: &Connection,
        before: &Stored<Connection>,
        keep: std::time::Duration,
    ) -> Result<(), StoreError> {
        let (tenant, id) = (&buried.tenant, &buried.id);
        change.unindex(keys::by_status(tenant, before.value.status.as_str(), id));
        change.unindex(keys::by_provider(tenant, &buried.provider, id));
        change.unindex(keys::by_end_user(tenant, &buried.end_user, id));
        due::index(change, Some(&before.value), None);
        change.replace(&keys::connection(tenant, id), buried, before.version, Some(keep))?;
        Ok(())
    }

    async fn ids_in(&self, partition: u8, prefix: &str, after: Option<&ConnectionId>, limit: usize) -> Result<Ids, StoreError> {
        let partition = keys::connection_partition(partition);
        let after: Option<Key> = after.map(|id| Key { partition: partition.clone(), name: format!("{prefix}{id}").into_bytes() });
        let mut after = after.map(|key| key.name);
        let mut ids = Vec::new();
        loop {
            let page = self.kv.list(&partition, prefix.as_bytes(), after.as_deref(), limit.min(1000)).await?;
            let names = page.entries.iter().filter_map(|entry| std::str::from_utf8(&entry.name).ok()?.strip_prefix(prefix));
            ids.extend(names.filter_map(|id| ConnectionId::parse(id).ok()));
            match page.next {
                Some(next) if ids.len() < limit => after = Some(next),
                next => return Ok(Ids { ids, more: next.is_some() }),
            }
        }
    }
}
