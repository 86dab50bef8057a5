//! Remembering who fetches tokens, to the day, so that they are kept fresh for those who do. Aside: a fetch waits for nothing
//! and writes nothing itself, and one that is not noted is noted the next time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};

use crate::domain::connection::Connection;
use crate::domain::ids::{ConnectionId, TenantId};
use crate::store::{Change, Store, StoreError, keys};

use super::Core;
use super::cached::Cached;

const DAY: Duration = Duration::from_secs(86_400);
/// Fetches that may wait to be noted; others are noted later.
const WAITING_MAX: usize = 1_000;
/// After a try to note one, the next is made after this.
const TRY_AGAIN: Duration = Duration::from_secs(60);

type Whose = (TenantId, ConnectionId);

pub struct Fetched {
    core: Core,
    connections: Arc<Cached<Connection>>,
    to_note: mpsc::Sender<Whose>,
    noted: Mutex<mpsc::Receiver<Whose>>,
}

impl Fetched {
    pub fn new(core: Core, connections: Arc<Cached<Connection>>) -> Self {
        let (to_note, noted) = mpsc::channel(WAITING_MAX);
        Self { core, connections, to_note, noted: Mutex::new(noted) }
    }

    /// A token of this connection was served.
    pub fn note(&self, connection: &Connection) {
        if !connection.was_fetched_within(DAY, self.core.clock.now()) {
            // Where too many wait, the next fetch is as good.
            _ = self.to_note.try_send((connection.tenant.clone(), connection.id.clone()));
        }
    }

    /// Writes down what was noted, until it is dropped.
    pub async fn run(&self) {
        let mut noted = self.noted.lock().await;
        let mut tried: HashMap<ConnectionId, Duration> = HashMap::new();
        while let Some((tenant, id)) = noted.recv().await {
            let now = self.core.clock.monotonic();
            if tried.len() >= WAITING_MAX {
                tried.retain(|_, at| now.saturating_sub(*at) < TRY_AGAIN);
            }
            if tried.get(&id).is_some_and(|at| now.saturating_sub(*at) < TRY_AGAIN) {
                continue;
            }
            let mut written = self.write(&tenant, &id).await;
            if matches!(written, Err(StoreError::Conflict)) {
                written = self.write(&tenant, &id).await;
            }
            if let Err(error) = written {
                tracing::debug!(%error, "a fetch could not be noted");
            }
            tried.insert(id, now);
        }
    }

    async fn write(&self, tenant: &TenantId, id: &ConnectionId) -> Result<(), StoreError> {
        let now = self.core.clock.now();
        let Some(before) = self.core.store.read(&keys::connection(tenant, id)).await? else { return Ok(()) };
        if before.value.is_gone() || before.value.was_fetched_within(DAY, now) {
            return Ok(());
        }
        let after = before.value.clone().fetched(now);
        let mut change = Change::new();
        Store::put_connection(&mut change, &after, Some(&before))?;
        self.core.store.commit(change).await?;
        self.connections.note(id.as_str(), after, before.version + 1).await;
        Ok(())
    }
}
