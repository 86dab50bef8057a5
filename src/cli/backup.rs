//! `claviger backup` and `claviger restore`.

use std::path::PathBuf;

use clap::Args;

use crate::app::admin::{Ask, Told};
use crate::app::backup::{self, Manifest};
use crate::app::folder::{FolderError, NodeFolder};

use super::failure::Failure;
use super::operate::{self, Alone, PlaceArgs};
use super::{block_on, out};

const BACKUP: &str = "\
Copies the store as it is at one moment, and what this node's journal has beyond it, into one file of mode
0600 (a tar). The server goes on meanwhile, and writes the file itself; next to it, there must be room for
another copy. THE MASTER KEY IS NOT IN IT: keep that apart, for without it nobody can open the backup.

For a store in SQLite. A Redis is copied by its own means: see docs/operating.md.

Example:
  claviger backup /var/backups/claviger-$(date +%F)

Exit codes: 0 written and synced, 1 there is no backup, 2 wrong usage or settings.";

const RESTORE: &str = "\
Unpacks a backup to where `store.url` says, which must be empty, and hands the shipped journal to this node.
The whole file is checked first. The server then starts in restore mode: it serves what is valid and sends no
refresh until `claviger resume`, because refresh tokens may have been rotated since the backup was made.

On the machine of old, keep the node's folder (`node.data`) as it is: its own journal has what is newer.

Example:
  claviger restore /var/backups/claviger-2026-11-22

Exit codes: 0 restored (with --check: the backup is whole), 1 nothing was restored, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = BACKUP)]
pub struct BackupArgs {
    /// File to write.
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE)]
pub struct RestoreArgs {
    /// Backup to restore.
    file: PathBuf,
    /// Only read the backup to its end and hold it to its checksums.
    #[arg(long)]
    check: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub fn backup(args: BackupArgs) -> Result<(), Failure> {
    let file = std::path::absolute(&args.file).map_err(Failure::from_io(args.file.display()))?;
    let settings = args.place.settings()?;
    match operate::ask(settings, Ask::Backup { file: file.clone(), force: args.force }, Alone::Opens)? {
        Told::BackedUp { manifest } => {
            out::line(&format!("{}: {}", file.display(), shown(&manifest)))?;
            out::line("The master key is not in it: keep that apart, and not with the backup.")
        }
        _ => Err(Failure::odd_answer()),
    }
}

pub fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let failed = |error: backup::BackupError| Failure::Failed(error.to_string());
    let manifest = backup::verify(&args.file).map_err(failed)?;
    out::line(&format!("{}: {}", args.file.display(), shown(&manifest)))?;
    if args.check {
        return out::line("The backup is whole.");
    }
    let settings = args.place.settings()?;
    let folder = NodeFolder::claim(&settings.node.data).map_err(|error| match error {
        FolderError::Taken(path) => Failure::Failed(format!("a server runs on {path}: stop it first")),
        other => other.into(),
    })?;
    operate::confirmed("What was granted or refreshed since the backup, and is in no journal, is lost.", args.yes)?;
    let restored = block_on(async {
        let told = operate::printing(|progress| async move { backup::restore(settings, &folder, &args.file, &progress).await });
        told.await?.map_err(failed)
    })?;
    out::line(&format!("restored to {}; {} entries of the shipped journal wait", restored.place.display(), restored.entries))?;
    out::line("Start the server: it is in restore mode and refreshes nothing until `claviger resume`.")
}

fn shown(manifest: &Manifest) -> String {
    let Manifest { made_at, version, node, store, entries, .. } = manifest;
    format!("made at {made_at} by {node} (Claviger {version}), {} KiB of store, {entries} journal entries", store.bytes >> 10)
}
