//! What is to be done about one entry of the index: its connection's record has the last word.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::domain::connection::Connection;
use crate::domain::due::{self, Due};
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TokenSetName;
use crate::services::cached::Found;
use crate::services::integrations::Active;
use crate::services::refresh::Order;
use crate::store::{Change, DueEntry, Store, StoreError, Stored, keys};

use super::Sweeper;

/// What nobody can refresh now, since its provider is not enabled, is looked at again after this.
const DISABLED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A refresh that is to be made.
pub(super) struct Errand {
    pub order: Order,
    /// With which the grant was made.
    pub params: BTreeMap<String, String>,
}

impl Errand {
    pub fn of(record: &Connection, set: &TokenSetName, active: Active) -> Self {
        let generation = record.set(set).map_or(0, |set| set.generation);
        let (tenant, connection, grant) = (record.tenant.clone(), record.id.clone(), record.grant_id.clone());
        let order = Order { tenant, connection, grant, set: set.clone(), generation, active };
        Self { order, params: record.params.clone() }
    }
}

pub(super) enum Judged {
    Ready(Box<Errand>),
    /// The index has been put right.
    Done,
    /// Not to be found out now.
    Rest,
}

impl Sweeper {
    pub(super) async fn judge(&self, entry: &DueEntry) -> Judged {
        match self.try_to_judge(entry).await {
            Ok(judged) => judged,
            Err(error) => {
                tracing::debug!(%error, "something due could not be looked at");
                Judged::Rest
            }
        }
    }

    async fn try_to_judge(&self, entry: &DueEntry) -> Result<Judged, StoreError> {
        let key = keys::connection(&entry.tenant, &entry.connection);
        let found = self.means.connections.reread(entry.connection.as_str(), &key).await?;
        let Some(found) = found else { return self.drop_entry(entry, None).await };
        let holds = found.record.set(&entry.set).and_then(|set| set.due) == Some(entry.at);
        if !holds {
            return self.drop_entry(entry, Some(found.version)).await;
        }
        let record = &found.record;
        let now = self.means.core.clock.now();
        let active = match self.means.integrations.active(&record.tenant, &record.provider, &record.integration).await {
            Ok(active) => active,
            Err(refusal) if matches!(refusal.code, ErrorCode::StoreUnavailable | ErrorCode::Internal) => return Ok(Judged::Rest),
            Err(_) => return self.postpone(entry, &found, Due::Later(now + DISABLED_FOR)).await,
        };
        match due::judge(record, &entry.set, active.provider.refresh(), self.policy.recently, now) {
            Due::Now => Ok(Judged::Ready(Box::new(Errand::of(record, &entry.set, active)))),
            later => self.postpone(entry, &found, later).await,
        }
    }

    /// The index says what the record does not: an older version wrote the record, or it is gone.
    async fn drop_entry(&self, entry: &DueEntry, version: Option<u64>) -> Result<Judged, StoreError> {
        let mut change = Change::new();
        if let Some(version) = version {
            change.require(&keys::connection(&entry.tenant, &entry.connection), version);
        }
        Store::drop_due(&mut change, entry);
        self.commit(change).await
    }

    async fn postpone(&self, entry: &DueEntry, found: &Found<Connection>, due: Due) -> Result<Judged, StoreError> {
        let at = match due {
            Due::Later(at) => Some(at),
            Due::Now | Due::Never => None,
        };
        let before = Stored { value: Connection::clone(&found.record), version: found.version };
        let after = before.value.clone().due_at(&entry.set, at);
        let mut change = Change::new();
        Store::put_connection(&mut change, &after, Some(&before))?;
        let judged = self.commit(change).await?;
        if matches!(judged, Judged::Done) {
            self.means.connections.note(entry.connection.as_str(), after, before.version + 1).await;
        }
        Ok(judged)
    }

    async fn commit(&self, change: Change) -> Result<Judged, StoreError> {
        match self.means.core.store.commit(change).await {
            Ok(()) => Ok(Judged::Done),
            Err(StoreError::Conflict) => Ok(Judged::Rest),
            Err(error) => Err(error),
        }
    }
}
