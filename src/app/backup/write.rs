//! Making a backup while the server works. The journal is looked at before the snapshot and read after it:
//! what waited before, or came since, may not be in the snapshot; everything else was settled, and is.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::app::operator::Progress;
use crate::ports::journal::{EntryId, Standing};
use crate::ports::kv::KvError;
use crate::services::Services;
use crate::store::Shipped;

use super::BackupError;
use super::archive::Archive;
use super::manifest::{FORMAT, JOURNAL, MANIFEST, Manifest, Part, STORE};

const TELL_EVERY: Duration = Duration::from_secs(2);

/// What exists while a backup is made; removed when it is done or given up.
struct Scratch {
    snapshot: PathBuf,
    partial: PathBuf,
}

impl Scratch {
    fn beside(target: &Path) -> Result<Self, BackupError> {
        let named = |ending: &str| PathBuf::from(format!("{}.{ending}", target.display()));
        let (partial, snapshot) = (named("partial"), named("partial-store"));
        make(&partial)?;
        let scratch = Self { snapshot, partial };
        make(&scratch.snapshot)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in [&self.snapshot, &self.partial] {
            match std::fs::remove_file(path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%cause, path = %path.display(), "was left")
                }
                _ => {}
            }
        }
    }
}

/// A new file for this user alone.
fn make(path: &Path) -> Result<File, BackupError> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => BackupError::UnderWay(path.to_owned()),
        _ => BackupError::File(path.to_owned(), cause),
    })
}

/// Writes a backup to `target`, whole or not at all.
pub async fn write(services: &Services, target: &Path, force: bool, progress: &Progress) -> Result<Manifest, BackupError> {
    let is_free = || if !force && target.exists() { Err(BackupError::Exists(target.to_owned())) } else { Ok(()) };
    is_free()?;
    let scratch = Scratch::beside(target)?;
    let before = services.journal.list().await?;
    let newest = before.last().map_or(0, |last| last.id.0);
    snapshot(services, &scratch.snapshot, progress).await?;
    let waited = |id: EntryId| before.iter().any(|listed| listed.id == id && listed.standing == Standing::Pending);
    let after = services.journal.list().await?;
    let beyond: Vec<EntryId> = after.iter().map(|listed| listed.id).filter(|id| id.0 > newest || waited(*id)).collect();
    let entries = services.journal.ship(&beyond).await;
    _ = progress.send("writing the backup".to_owned()).await;
    let manifest = describe(services, &entries).await?;
    let partial = scratch.partial.clone();
    let snapshot = scratch.snapshot.clone();
    let manifest = spawn_blocking(move || pack(&partial, &snapshot, manifest, &entries)).await;
    let manifest = manifest.map_err(|cause| BackupError::CutShort(cause.to_string()))?.map_err(BackupError::at(target))?;
    is_free()?;
    place(&scratch.partial, target).map_err(BackupError::at(target))?;
    Ok(manifest)
}

async fn snapshot(services: &Services, path: &Path, progress: &Progress) -> Result<(), BackupError> {
    _ = progress.send("taking a snapshot of the store".to_owned()).await;
    let mut copying = std::pin::pin!(services.core.store.snapshot(path));
    loop {
        tokio::select! {
            copied = &mut copying => return copied.map_err(|error| match error {
                KvError::Refused(_) => BackupError::NotSqlite,
                error => error.into(),
            }),
            () = services.core.clock.sleep(TELL_EVERY) => {
                let mebibytes = std::fs::metadata(path).map_or(0, |meta| meta.len()) >> 20;
                _ = progress.send(format!("taking a snapshot of the store: {mebibytes} MiB so far")).await;
            }
        }
    }
}

/// What can be said before the snapshot was read.
async fn describe(services: &Services, entries: &[Shipped]) -> Result<Manifest, BackupError> {
    let unread = || Part { bytes: 0, sha256: String::new() };
    Ok(Manifest {
        format: FORMAT,
        made_at: services.core.clock.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: services.core.store.instance(),
        node: services.nodes.id().to_owned(),
        beat: services.nodes.last_beat().await,
        store: unread(),
        journal: unread(),
        entries: entries.len(),
    })
}

fn pack(partial: &Path, snapshot: &Path, manifest: Manifest, entries: &[Shipped]) -> io::Result<Manifest> {
    let (mut store, journal) = (File::open(snapshot)?, in_one(entries)?);
    let manifest = Manifest { store: measured(&mut store)?, journal: measured(&mut journal.as_slice())?, ..manifest };
    let text = serde_json::to_vec_pretty(&manifest)?;
    store.rewind()?;
    let mut archive = Archive(io::BufWriter::new(OpenOptions::new().write(true).open(partial)?));
    archive.append(MANIFEST, text.len() as u64, &mut text.as_slice())?;
    archive.append(STORE, manifest.store.bytes, &mut store)?;
    archive.append(JOURNAL, manifest.journal.bytes, &mut journal.as_slice())?;
    let mut file = archive.finish()?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(manifest)
}

/// One entry after another: number u64, length u32, bytes.
fn in_one(entries: &[Shipped]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for Shipped { id, sealed } in entries {
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(sealed);
    }
    Ok(bytes)
}

fn measured(from: &mut impl io::Read) -> io::Result<Part> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(Part { bytes, sha256: hex::encode(hash.finalize()) });
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Under its name, and on the disk as that.
fn place(partial: &Path, target: &Path) -> io::Result<()> {
    std::fs::rename(partial, target)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
