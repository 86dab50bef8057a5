//! `claviger backup` and `claviger restore`: one file with a snapshot of the store, what the node's journal
//! has beyond it, and a manifest. Everything secret in it is sealed, and the master key is not in it.

mod archive;
mod manifest;
mod restore;
mod write;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::adapters::journal::JournalFileError;
use crate::ports::journal::JournalError;
use crate::ports::kv::KvError;
use crate::services::nodes::EnterError;
use crate::store::{JournalOpenError, OpenError, StoreError};

pub use manifest::Manifest;
pub use restore::{Restored, restore};
pub use write::write;

use manifest::{FORMAT, MANIFEST, Part};

/// Why there is no backup, or no restored store.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} is there already; give another name, or --force to replace it")]
    Exists(PathBuf),
    #[error("{0} is being written by another backup, or was left by one that was cut off: then remove it")]
    UnderWay(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error(
        "only a store in SQLite is copied here; one in Redis is copied by its own means, and the file `journal` of each node with it: docs/operating.md says how"
    )]
    NotSqlite,
    #[error("{0} is no whole backup: {1}")]
    Damaged(PathBuf, String),
    #[error("{0} is there already: the store is restored into an empty place, so move it (and what is beside it) away first")]
    StoreExists(PathBuf),
    #[error("the folder {0} belongs to a node of another deployment: give an empty `node.data`")]
    OtherDeployment(PathBuf),
    #[error("the backup holds another store than its manifest says")]
    OtherInstance,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    JournalOpen(#[from] JournalOpenError),
    #[error(transparent)]
    JournalFile(#[from] JournalFileError),
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("{0}")]
    CutShort(String),
}

impl BackupError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File(path, cause)
    }
}

/// Reads the whole file and holds it to its manifest; `each` gets the content of every part, in order.
fn read_through(path: &Path, mut each: impl FnMut(&str, &[u8]) -> io::Result<()>) -> Result<Manifest, BackupError> {
    let damaged = |why: String| BackupError::Damaged(path.to_owned(), why);
    let mut from = BufReader::new(File::open(path).map_err(BackupError::at(path))?);
    let manifest = read_manifest(&mut from).map_err(|cause| damaged(cause.to_string()))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("it was made by Claviger {}, in another form than this one reads", manifest.version)));
    }
    for (name, part) in [(manifest::STORE, &manifest.store), (manifest::JOURNAL, &manifest.journal)] {
        let read = read_part(&mut from, name, part, &mut |bytes| each(name, bytes));
        read.map_err(|cause| damaged(format!("{name}: {cause}")))?;
    }
    match archive::next(&mut from).map_err(|cause| damaged(cause.to_string()))? {
        None => Ok(manifest),
        Some((name, _)) => Err(damaged(format!("it holds {name}, which its manifest does not name"))),
    }
}

fn read_manifest(from: &mut impl Read) -> io::Result<Manifest> {
    let Some((_, size)) = archive::next(from)?.filter(|(name, size)| name == MANIFEST && *size < 1 << 20) else {
        return Err(io::Error::other("it does not begin with a manifest"));
    };
    let mut text = Vec::new();
    from.take(size).read_to_end(&mut text)?;
    skip_padding(from, size)?;
    Ok(serde_json::from_slice(&text)?)
}

fn read_part(from: &mut impl Read, name: &str, part: &Part, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    if archive::next(from)? != Some((name.to_owned(), part.bytes)) {
        return Err(io::Error::other("it is not where, or not as long as, the manifest says"));
    }
    let (mut hash, mut left, mut buffer) = (Sha256::new(), part.bytes, vec![0; 1 << 20]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        from.read_exact(&mut buffer[..most])?;
        hash.update(&buffer[..most]);
        each(&buffer[..most])?;
        left -= most as u64;
    }
    skip_padding(from, part.bytes)?;
    if hex::encode(hash.finalize()) == part.sha256 {
        Ok(())
    } else {
        Err(io::Error::other("its content is not what was backed up"))
    }
}

fn skip_padding(from: &mut impl Read, size: u64) -> io::Result<()> {
    from.read_exact(&mut [0; 512][..archive::padding(size)])
}

/// Reads a backup to its end and says what it is; nothing is touched.
pub fn verify(path: &Path) -> Result<Manifest, BackupError> {
    read_through(path, |_, _| Ok(()))
}
