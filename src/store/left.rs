//! Intents that a node may leave behind: an index in the order of the time by which each one's request is over,
//! written in the same commits as the flight records. Whoever lists it finds, apart from what is under way for very
//! long, what was under way when a process ended.

use jiff::Timestamp;

use crate::domain::flight::{Flight, Intent};
use crate::domain::ids::{ConnectionId, TenantId, TokenSetName};
use crate::ports::kv::Key;

use super::entities::keys;
use super::error::StoreError;
use super::{Change, Store, Stored};

/// An entry of the index. Its flight record has the last word on whether it still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftEntry {
    pub over_at: Timestamp,
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub set: TokenSetName,
    pub node: String,
}

impl LeftEntry {
    fn of(tenant: &TenantId, id: &ConnectionId, set: &TokenSetName, intent: &Intent) -> Option<Self> {
        let (tenant, connection, set) = (tenant.clone(), id.clone(), set.clone());
        // The index counts in seconds.
        let over_at = Timestamp::from_second(intent.over_at?.as_second()).ok()?;
        Some(Self { over_at, tenant, connection, set, node: intent.node.clone() })
    }

    fn key(&self) -> Key {
        keys::left(&self.tenant, self.over_at, &self.connection, &self.set, &self.node)
    }

    /// Whether it is this intent that it speaks of.
    pub fn is_of(&self, intent: &Intent) -> bool {
        Self::of(&self.tenant, &self.connection, &self.set, intent).as_ref() == Some(self)
    }
}

impl Store {
    /// Up to `limit` entries of a partition, after `after`, whose requests are over at `now`: the oldest first.
    pub async fn left(
        &self,
        partition: u8,
        after: Option<&LeftEntry>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LeftEntry>, StoreError> {
        let after = after.map(|entry| entry.key().name);
        let partition = keys::connection_partition(partition);
        let page = self.kv.list(&partition, keys::LEFT.as_bytes(), after.as_deref(), limit).await?;
        let entries = page.entries.iter().filter_map(|entry| parse(&entry.name));
        Ok(entries.take_while(|entry| entry.over_at <= now).collect())
    }

    /// Puts a flight record into `change`, in the place of `before`, with the index entry of its intent.
    pub fn put_flight(
        change: &mut Change,
        (tenant, id, set): (&TenantId, &ConnectionId, &TokenSetName),
        flight: &Flight,
        before: Option<&Stored<Flight>>,
    ) -> Result<(), StoreError> {
        let entry = |flight: &Flight| LeftEntry::of(tenant, id, set, flight.intent.as_ref()?);
        let (old, new) = (before.and_then(|before| entry(&before.value)), entry(flight));
        if old != new {
            old.iter().for_each(|old| _ = change.unindex(old.key()));
            new.iter().for_each(|new| _ = change.index(new.key()));
        }
        change.store(&keys::flight(tenant, id, set), flight, before.map(|before| before.version), None)?;
        Ok(())
    }

    /// Takes an entry away that its flight record, as it was read with `version`, does not bear out.
    pub fn drop_left(change: &mut Change, entry: &LeftEntry, version: Option<u64>) {
        if let Some(version) = version {
            change.require(&keys::flight(&entry.tenant, &entry.connection, &entry.set), version);
        }
        change.unindex(entry.key());
    }
}

fn parse(name: &[u8]) -> Option<LeftEntry> {
    let mut parts = std::str::from_utf8(name).ok()?.strip_prefix(keys::LEFT)?.split('/');
    let over_at = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
    let tenant = TenantId::parse(parts.next()?).ok()?;
    let (connection, set) = (ConnectionId::parse(parts.next()?).ok()?, TokenSetName::parse(parts.next()?).ok()?);
    Some(LeftEntry { over_at, tenant, connection, set, node: parts.next()?.to_owned() })
}
