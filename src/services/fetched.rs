//! Remembering who fetches tokens, to the day, so that they are kept fresh for those who do; and telling once, by an event,
//! that the grant of one ends soon. Aside: a fetch waits for nothing and writes nothing itself, and one that is not noted is
//! noted the next time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::domain::connection::{Connection, GrantEnd};
use crate::domain::event::EventKind;
use crate::domain::ids::{ConnectionId, TenantId};
use crate::store::{Change, Store, StoreError, keys};

use super::Core;
use super::cached::Cached;

const DAY: Duration = Duration::from_secs(86_400);
/// Fetches that may wait to be noted; others are noted later.
const WAITING_MAX: usize = 1_000;
/// After a try to note one, the next is made after this.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Whose, which, and when its grant ends, where that is near.
type Note = (TenantId, ConnectionId, Option<GrantEnd>);

pub struct Fetched {
    core: Core,
    connections: Arc<Cached<Connection>>,
    to_note: mpsc::Sender<Note>,
    noted: Mutex<mpsc::Receiver<Note>>,
}

impl Fetched {
    pub fn new(core: Core, connections: Arc<Cached<Connection>>) -> Self {
        let (to_note, noted) = mpsc::channel(WAITING_MAX);
        Self { core, connections, to_note, noted: Mutex::new(noted) }
    }

    /// A token of this connection was served.
    pub fn note(&self, connection: &Connection) {
        if !connection.was_fetched_within(DAY, self.core.clock.now()) {
            self.put(connection, None);
        }
    }

    /// … whose grant ends then.
    pub fn note_end(&self, connection: &Connection, end: GrantEnd) {
        if end.is_news(connection, self.core.clock.now()) {
            self.put(connection, Some(end));
        }
    }

    /// Where too many wait, the next fetch is as good.
    fn put(&self, connection: &Connection, end: Option<GrantEnd>) {
        _ = self.to_note.try_send((connection.tenant.clone(), connection.id.clone(), end));
    }

    /// Writes down what was noted, until it is dropped.
    pub async fn run(&self) {
        let mut noted = self.noted.lock().await;
        let mut tried: HashMap<(ConnectionId, bool), Duration> = HashMap::new();
        while let Some((tenant, id, end)) = noted.recv().await {
            let now = self.core.clock.monotonic();
            if tried.len() >= WAITING_MAX {
                tried.retain(|_, at| now.saturating_sub(*at) < TRY_AGAIN);
            }
            // To have noted a fetch is no reason not to tell of an end.
            let what = (id.clone(), end.is_some());
            if tried.get(&what).is_some_and(|at| now.saturating_sub(*at) < TRY_AGAIN) {
                continue;
            }
            let mut written = self.write(&tenant, &id, end).await;
            if matches!(written, Err(StoreError::Conflict)) {
                written = self.write(&tenant, &id, end).await;
            }
            if let Err(error) = written {
                tracing::debug!(%error, "a fetch could not be noted");
            }
            tried.insert(what, now);
        }
    }

    async fn write(&self, tenant: &TenantId, id: &ConnectionId, end: Option<GrantEnd>) -> Result<(), StoreError> {
        let now = self.core.clock.now();
        let Some(before) = self.core.store.read(&keys::connection(tenant, id)).await? else { return Ok(()) };
        let news = end.filter(|end| end.is_news(&before.value, now));
        if before.value.is_gone() || (news.is_none() && before.value.was_fetched_within(DAY, now)) {
            return Ok(());
        }
        let mut after = before.value.clone().fetched(now);
        let mut change = Change::new();
        if let Some(end) = news {
            after = after.told_of(end);
            let detail = format!("the grant ends at {}", end.at);
            self.core.put_event(&mut change, &after, EventKind::ReauthorizationDue, Some(detail))?;
        }
        Store::put_connection(&mut change, &after, Some(&before))?;
        self.core.store.commit(change).await?;
        self.connections.note(id.as_str(), after, before.version + 1).await;
        Ok(())
    }
}
