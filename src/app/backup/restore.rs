//! Restoring: everything is put together beside its place, the shipped journal is handed to this node's,
//! the store is marked as restored, and only then does it get its name. A crash before that leaves nothing
//! but files to write over; after it the server starts in restore mode.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::adapters::sqlite::SqliteKv;
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::app::folder::NodeFolder;
use crate::app::memory::FolderMemory;
use crate::app::operator::Progress;
use crate::app::stores;
use crate::ports::clock::Clock;
use crate::ports::journal::EntryId;
use crate::ports::node_memory::NodeMemory as _;
use crate::services::Core;
use crate::services::nodes::{EnterError, NodePolicy, Nodes};
use crate::services::standing::Standing;
use crate::settings::{Place, Settings};
use crate::store::{SealedJournal, Shipped, Store, StoreError};

use super::{BackupError, Manifest, manifest, read_through};

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    pub manifest: Manifest,
    pub place: PathBuf,
    /// Entries of the shipped journal that this node will commit when it starts.
    pub entries: usize,
}

/// Restores into an empty place. The folder is held, so that no server runs on it.
pub async fn restore(settings: Settings, folder: &NodeFolder, file: &Path, progress: &Progress) -> Result<Restored, BackupError> {
    let Place::Sqlite(place) = &settings.store.place else { return Err(BackupError::NotSqlite) };
    let place = place.clone();
    for taken in [place.clone(), beside(&place, "-wal")] {
        if taken.exists() {
            return Err(BackupError::StoreExists(taken));
        }
    }
    let scratch = beside(&place, ".restoring");
    _ = progress.send("checking and unpacking the backup".to_owned()).await;
    let (from, to) = (file.to_owned(), scratch.clone());
    let unpacked = spawn_blocking(move || unpack(&from, &to)).await;
    let (manifest, entries) = unpacked.map_err(|cause| BackupError::CutShort(cause.to_string()))??;
    let count = entries.len();
    _ = progress.send(format!("taking over {count} entries of the shipped journal")).await;
    prepare(settings, folder, &scratch, (&manifest, entries)).await?;
    std::fs::rename(&scratch, &place).map_err(BackupError::at(&place))?;
    sync_folder(&place).map_err(BackupError::at(&place))?;
    Ok(Restored { manifest, place, entries: count })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// The store at `to`, and the journal's entries. What an earlier attempt left is written over.
fn unpack(from: &Path, to: &Path) -> Result<(Manifest, Vec<Shipped>), BackupError> {
    for left in ["", "-wal", "-shm"].map(|ending| beside(to, ending)) {
        match std::fs::remove_file(&left) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(BackupError::File(left, cause)),
            _ => {}
        }
    }
    // First to the end, so that nothing comes of a damaged file.
    super::verify(from)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut store = made.map_err(BackupError::at(to))?;
    let mut journal = Vec::new();
    let manifest = read_through(
        from,
        |name, bytes| {
            if name == manifest::STORE { store.write_all(bytes) } else { journal.write_all(bytes) }
        },
    )?;
    store.sync_all().map_err(BackupError::at(to))?;
    let entries = entries_of(Bytes::from(journal));
    let entries = entries.filter(|entries| entries.len() == manifest.entries);
    let damaged = || BackupError::Damaged(from.to_owned(), "its journal cannot be read".to_owned());
    Ok((manifest, entries.ok_or_else(damaged)?))
}

/// See `write::in_one`.
fn entries_of(mut bytes: Bytes) -> Option<Vec<Shipped>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (id, length) = (EntryId(u64::from_be_bytes(*id)), u32::from_be_bytes(*length) as usize);
        if rest.len() < length {
            return None;
        }
        entries.push(Shipped { id, sealed: bytes.slice(12..12 + length) });
        bytes = bytes.slice(12 + length..);
    }
    Some(entries)
}

/// Opens the unpacked store with the keys of the settings, marks it, and hands the entries to the node's journal.
async fn prepare(
    settings: Settings,
    folder: &NodeFolder,
    scratch: &Path,
    (manifest, entries): (&Manifest, Vec<Shipped>),
) -> Result<(), BackupError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let entropy = Arc::new(SystemEntropy);
    let kv = Arc::new(SqliteKv::open(scratch, clock.clone())?);
    let file = stores::open_journal(&settings, folder.path()).map_err(|error| BackupError::CutShort(error.to_string()))?;
    let store = Arc::new(Store::open(kv.clone(), entropy.clone(), settings.keys).await?);
    if store.instance() != manifest.instance {
        return Err(BackupError::OtherInstance);
    }
    let memory = Arc::new(FolderMemory::of(folder.path()));
    let known = memory.recall().await.map_err(EnterError::Memory)?;
    if known.is_some_and(|known| known.instance != manifest.instance) {
        return Err(BackupError::OtherDeployment(folder.path().to_owned()));
    }
    let id = settings.node.id.map_or_else(|| folder.node_id(entropy.as_ref()), Ok).map_err(BackupError::at(folder.path()))?;
    let core = Core { store: store.clone(), clock, entropy, public_url: "".into(), standing: Arc::new(Standing::unknown()) };
    let policy = NodePolicy { beat: settings.node.beat, tolerance: 0 };
    Nodes::new(core, memory, policy, id).map_err(StoreError::from)?.declare_restored().await?;
    take_in(&store.journal(file).await?, &entries).await?;
    drop(store);
    // The last holder folds the log into the file: without its log the file must be whole.
    Arc::into_inner(kv).map(drop).ok_or_else(|| BackupError::CutShort("the restored store is still in use".to_owned()))
}

/// In their order. One that cannot be read here could not be there either: it is told of, and the others are taken.
async fn take_in(journal: &SealedJournal, entries: &[Shipped]) -> Result<(), BackupError> {
    for entry in entries {
        match journal.take_in(entry).await {
            Err(StoreError::Broken(why)) => {
                tracing::error!(entry = entry.id.0, why, "an entry of the shipped journal is left out")
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
