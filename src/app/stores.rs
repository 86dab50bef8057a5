//! The stores that the settings name: the broker's, and the sandbox's own.

use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::adapters::journal::BlockJournal;
use crate::adapters::memory::MemoryKv;
use crate::adapters::redis::{RedisKv, RedisOptions};
use crate::adapters::sqlite::SqliteKv;
use crate::ports::clock::Clock;
use crate::ports::journal::Journal;
use crate::ports::kv::Kv;
use crate::settings::{Place, Settings, StoreSettings};

use super::{BuildError, folder};

const SANDBOX_FILE: &str = "sandbox.db";

pub(super) async fn open(settings: &StoreSettings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Kv>, BuildError> {
    match &settings.place {
        Place::Memory => Ok(Arc::new(MemoryKv::new(clock.clone()))),
        Place::Sqlite(path) => sqlite(path, clock),
        Place::Redis(url) => {
            let min_replicas = settings.min_replicas.unwrap_or_else(|| replicas_by_kind(url));
            let options = RedisOptions { url: url.clone(), allow_volatile: settings.allow_volatile, min_replicas };
            Ok(Arc::new(RedisKv::connect(&options).await?))
        }
    }
}

/// The sandbox plays a stranger, so it shares no store: a file in the node's folder, or memory where
/// the broker's is in memory too.
pub(super) fn open_sandbox(settings: &StoreSettings, folder: &Path, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Kv>, BuildError> {
    match &settings.place {
        Place::Memory => Ok(Arc::new(MemoryKv::new(clock.clone()))),
        Place::Sqlite(_) | Place::Redis(_) => sqlite(&folder.join(SANDBOX_FILE), clock),
    }
}

fn sqlite(path: &Path, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Kv>, BuildError> {
    let opened = SqliteKv::open(path, clock.clone());
    Ok(Arc::new(opened.map_err(|cause| BuildError::Sqlite(path.display().to_string(), cause))?))
}

/// The node's journal. A store in memory ends with the process, and so does what belongs to it.
pub(super) fn open_journal(settings: &Settings, folder: &Path) -> Result<Arc<dyn Journal>, BuildError> {
    match &settings.store.place {
        Place::Memory => Ok(Arc::new(BlockJournal::in_memory(settings.journal.bytes)?)),
        Place::Sqlite(_) | Place::Redis(_) => Ok(Arc::new(BlockJournal::open(&folder::journal(folder), settings.journal.bytes)?)),
    }
}

/// A lone server has no replica to wait for; the other kinds exist to have one.
fn replicas_by_kind(url: &SecretString) -> u32 {
    u32::from(url.expose_secret().contains("+sentinel://") || url.expose_secret().contains("+cluster://"))
}
