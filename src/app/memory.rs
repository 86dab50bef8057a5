//! What a node remembers of its store, as a small file in its folder.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use crate::domain::node::Remembered;
use crate::ports::node_memory::NodeMemory;

use super::folder::write_private;

/// The file's name in `node.data`.
pub const FILE: &str = "node.state";

pub(super) struct FolderMemory(PathBuf);

impl FolderMemory {
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

#[async_trait]
impl NodeMemory for FolderMemory {
    async fn recall(&self) -> io::Result<Option<Remembered>> {
        match tokio::fs::read(self.0.join(FILE)).await {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        }
    }

    async fn remember(&self, remembered: &Remembered) -> io::Result<()> {
        let (folder, text) = (self.0.clone(), serde_json::to_string(remembered)?);
        spawn_blocking(move || write_private(&folder, FILE, &text)).await.map_err(io::Error::other)?
    }
}
