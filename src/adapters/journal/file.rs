//! The journal's file: how it is made, whose it is, and how it changes its size.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::blocks::Blocks;
use super::disk::Disk;
use super::layout::{BLOCK, BadHead, Layout};
use crate::ports::journal::{FILL_MAX, Standing};

/// Zeros that are written at once while a file is made.
const FILLING: usize = 1 << 20;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalFileError {
    #[error("another claviger uses the journal {0}; stop it, or use another folder")]
    Taken(String),
    #[error("the journal {0} cannot be used: {1}")]
    Unusable(String, #[source] io::Error),
    #[error("the journal {0} was written by a newer Claviger (format {1}); run that version or a newer one")]
    Newer(String, u32),
    #[error("{0} is no journal, or is damaged at its head; put back the right file, or move it away to lose what waits in it")]
    Damaged(String),
    #[error(
        "the journal {path} holds {pending} entries that wait for the store and do not fit into so little; set `journal.bytes` to {bytes} or more"
    )]
    TooSmall { path: String, pending: u64, bytes: u64 },
}

/// Opens the journal, and makes it where there is none. One of another size is written anew, with all
/// that is pending.
pub fn open(path: &Path, bytes: u64) -> Result<Blocks, JournalFileError> {
    let unusable = |cause| JournalFileError::Unusable(path.display().to_string(), cause);
    let wanted = Layout::within(bytes);
    if !path.try_exists().map_err(unusable)? {
        return renew(path, wanted, None).map_err(unusable);
    }
    let blocks = open_as_it_is(path)?;
    let whole = path.metadata().map_err(unusable)?.len() >= blocks.layout().size();
    if blocks.layout() == wanted && whole {
        return Ok(blocks);
    }
    let (pending, taken) = blocks.pending();
    if taken * 100 >= u64::from(wanted.blocks) * FILL_MAX {
        let bytes = (taken * 100 / FILL_MAX + 1) * (BLOCK as u64 + 16) + 4 * BLOCK as u64;
        return Err(JournalFileError::TooSmall { path: path.display().to_string(), pending, bytes });
    }
    renew(path, wanted, Some(&blocks)).map_err(unusable)
}

/// Opens a file that is there, for this user alone and this process alone.
pub fn open_as_it_is(path: &Path) -> Result<Blocks, JournalFileError> {
    let unusable = |cause| JournalFileError::Unusable(path.display().to_string(), cause);
    let file = private(OpenOptions::new().read(true).write(true)).open(path).map_err(unusable)?;
    lock(&file, path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    let layout = layout(&file, path)?;
    Blocks::open(Box::new(file), layout).map_err(unusable)
}

fn layout(file: &File, path: &Path) -> Result<Layout, JournalFileError> {
    let mut head = [0; BLOCK];
    let shown = || path.display().to_string();
    file.read(&mut head, 0).map_err(|cause| JournalFileError::Unusable(shown(), cause))?;
    Layout::from_head(&head).map_err(|why| match why {
        BadHead::Damaged => JournalFileError::Damaged(shown()),
        BadHead::Newer(format) => JournalFileError::Newer(shown(), format),
    })
}

/// A new file with all its place taken, and what is pending in the old one, which it replaces.
fn renew(path: &Path, layout: Layout, old: Option<&Blocks>) -> io::Result<Blocks> {
    let beside = beside(path);
    match std::fs::remove_file(&beside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = private(OpenOptions::new().read(true).write(true).create_new(true)).open(&beside)?;
    fill(&mut file, layout)?;
    lock(&file, path).map_err(io::Error::other)?;
    let mut blocks = Blocks::open(Box::new(file), layout)?;
    if let Some(old) = old {
        for listed in old.list().iter().filter(|listed| listed.standing == Standing::Pending) {
            let entry = old.read(listed.id.0)?.ok_or(io::ErrorKind::InvalidData)?;
            blocks.place(listed.id.0, &entry)?;
        }
    }
    blocks.sync()?;
    std::fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(blocks)
}

/// Zeros from end to end: from here on a write changes no metadata and, on file systems that write in
/// place, needs no room.
fn fill(file: &mut File, layout: Layout) -> io::Result<()> {
    let zeros = vec![0; FILLING];
    let mut at = 0;
    while at < layout.size() {
        let length = usize::try_from(layout.size() - at).unwrap_or(FILLING).min(FILLING);
        file.write(&zeros[..length], at)?;
        at += length as u64;
    }
    file.write(&layout.head(), 0)?;
    file.sync_all()
}

fn lock(file: &File, path: &Path) -> Result<(), JournalFileError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalFileError::Taken(path.display().to_string())),
        Err(TryLockError::Error(cause)) => Err(JournalFileError::Unusable(path.display().to_string(), cause)),
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
