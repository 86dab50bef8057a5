//! What a backup says of itself, and the files in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub const MANIFEST: &str = "manifest.json";
pub const STORE: &str = "store.sqlite";
pub const JOURNAL: &str = "journal";
/// Raised when an older Claviger could not restore what a newer one writes.
pub const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub made_at: Timestamp,
    /// The Claviger that made it.
    pub version: String,
    /// The deployment that the store was founded as, in hex.
    pub instance: String,
    /// The node that made it, and its beat.
    pub node: String,
    pub beat: u64,
    pub store: Part,
    pub journal: Part,
    /// Entries of that node's journal.
    pub entries: usize,
}

/// A file in the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
}
