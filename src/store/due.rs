//! What is due when: an index beside the connections, in the order of time, written in the same commit as they are.

use jiff::Timestamp;

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, TenantId, TokenSetName};

use super::entities::keys;
use super::error::StoreError;
use super::{Change, Store};

/// An entry of the index. Its connection's record has the last word on whether it still holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueEntry {
    pub at: Timestamp,
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub set: TokenSetName,
}

/// The first entries of a partition.
#[derive(Debug, Default)]
pub struct DuePage {
    /// Those that are due, in the order of time.
    pub due: Vec<DueEntry>,
    /// When the next one is, if that is known; `None`: nothing else is there.
    pub next: Option<Timestamp>,
}

impl Store {
    /// Up to `limit` entries of a partition that are due at `now`, after `after`. Costs what it gives, and one entry.
    pub async fn due(
        &self,
        partition: u8,
        after: Option<&DueEntry>,
        now: Timestamp,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let after = after.map(|entry| keys::due(&entry.tenant, entry.at, &entry.connection, &entry.set).name);
        let partition = keys::connection_partition(partition);
        let page = self.kv.list(&partition, keys::DUE.as_bytes(), after.as_deref(), limit.clamp(1, 999) + 1).await?;
        let mut found = DuePage::default();
        for entry in page.entries {
            let Some(entry) = parse(&entry.name) else { continue };
            if entry.at > now || found.due.len() == limit {
                found.next = Some(entry.at);
                return Ok(found);
            }
            found.due.push(entry);
        }
        found.next = page.next.and(Some(now));
        Ok(found)
    }

    /// Takes an entry away that its connection does not bear out.
    pub fn drop_due(change: &mut Change, entry: &DueEntry) {
        change.unindex(keys::due(&entry.tenant, entry.at, &entry.connection, &entry.set));
    }
}

/// Brings the index from what it says of `before` to what it is to say of `after`.
pub(super) fn index(change: &mut Change, before: Option<&Connection>, after: Option<&Connection>) {
    let of = |connection: Option<&Connection>| {
        let sets =
            connection.into_iter().flat_map(|connection| connection.sets.iter().map(move |(name, set)| (connection, name, set)));
        sets.filter_map(|(connection, name, set)| Some(keys::due(&connection.tenant, set.due?, &connection.id, name)))
            .collect::<Vec<_>>()
    };
    let (old, new) = (of(before), of(after));
    old.iter().filter(|key| !new.contains(key)).for_each(|key| _ = change.unindex(key.clone()));
    new.into_iter().filter(|key| !old.contains(key)).for_each(|key| _ = change.index(key));
}

fn parse(name: &[u8]) -> Option<DueEntry> {
    let mut parts = std::str::from_utf8(name).ok()?.strip_prefix(keys::DUE)?.split('/');
    let at = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
    let tenant = TenantId::parse(parts.next()?).ok()?;
    let (connection, set) = (ConnectionId::parse(parts.next()?).ok()?, TokenSetName::parse(parts.next()?).ok()?);
    Some(DueEntry { at, tenant, connection, set })
}
