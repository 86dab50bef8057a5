//! The node's own folder, `node.data`: made for this user alone, held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::ports::entropy::{Entropy, random};

const NODE_ID: &str = "node.id";

/// The folder, locked until this is dropped.
#[derive(Debug)]
pub struct NodeFolder {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("another claviger runs on the folder {0}; stop it, or use another folder")]
    Taken(String),
    #[error("the folder {0} cannot be used: {1}")]
    Unusable(String, #[source] io::Error),
}

impl NodeFolder {
    /// Makes the folder if there is none (mode 0700) and locks it. The operating system ends the
    /// lock with the process, so that a crash leaves nothing to clean up.
    pub fn claim(path: &Path) -> Result<Self, FolderError> {
        let unusable = |cause| FolderError::Unusable(path.display().to_string(), cause);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = private(OpenOptions::new().create(true)).open(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Taken(path.display().to_string())),
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// This node's name: made once, so that it is the same after a restart.
    pub fn node_id(&self, entropy: &dyn Entropy) -> io::Result<String> {
        if let Some(kept) = std::fs::read_to_string(self.file(NODE_ID)).ok().filter(|kept| !kept.trim().is_empty()) {
            return Ok(kept.trim().to_owned());
        }
        let fresh = format!("node-{}", hex::encode(random::<8>(entropy).map_err(io::Error::other)?));
        self.write_private(NODE_ID, &format!("{fresh}\n"))?;
        Ok(fresh)
    }

    /// Writes a file of mode 0600 whole, or leaves what was there.
    pub fn write_private(&self, name: &str, content: &str) -> io::Result<()> {
        write_private(&self.path, name, content)
    }
}

/// See [`NodeFolder::write_private`].
pub(super) fn write_private(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    if let Err(cause) = std::fs::remove_file(&beside)
        && cause.kind() != io::ErrorKind::NotFound
    {
        return Err(cause);
    }
    let mut file = private(OpenOptions::new().create_new(true)).open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.write(true).mode(0o600)
}

/// Where a running server listens for commands on the same machine.
pub fn admin_socket(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// The journal of the node whose folder this is.
pub fn journal(folder: &Path) -> PathBuf {
    folder.join("journal")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_holder_at_a_time_and_nothing_left_to_clean_up() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("deep/data");
        let held = NodeFolder::claim(&path).unwrap();
        let refusal = NodeFolder::claim(&path).unwrap_err();
        assert!(matches!(refusal, FolderError::Taken(_)));
        assert!(refusal.to_string().contains("deep/data"), "{refusal}");
        drop(held);
        NodeFolder::claim(&path).unwrap();
    }

    #[test]
    fn what_is_written_is_for_this_user_alone() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("data");
        let folder = NodeFolder::claim(&path).unwrap();
        folder.write_private("dev.env", "one").unwrap();
        folder.write_private("dev.env", "two").unwrap();
        assert_eq!(std::fs::read_to_string(folder.file("dev.env")).unwrap(), "two");
        assert_eq!((mode(&path), mode(&folder.file("dev.env"))), (0o700, 0o600));
    }

    #[test]
    fn a_file_in_the_way_is_said() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(NodeFolder::claim(&path), Err(FolderError::Unusable(..))));
    }
}
