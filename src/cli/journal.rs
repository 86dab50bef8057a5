//! `claviger journal`: what a node received and the store may not have yet. Through the server where one
//! runs on the folder; else from the file itself, for which no store is needed.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::mpsc;

use crate::adapters::journal::BlockJournal;
use crate::app::admin::{self, Ask, JOURNAL_PAGE, JournalPage, Told};
use crate::app::folder::{self, FolderError, NodeFolder, admin_socket};
use crate::ports::journal::{Journal as _, JournalError};
use crate::settings::{Layers, Mode, Settings};
use crate::store::{Waiting, waiting};

use super::failure::Failure;
use super::{ConfigArgs, block_on, dev, out};

const AFTER: &str = "\
An entry waits while the store cannot be reached, and is committed when it can be again, or at the
node's next start. No secret is shown.

Example:
  claviger journal show --config /etc/claviger/claviger.toml
  ENTRY   SINCE                     PROVIDER   CONNECTION   SET      GENERATION BYTES
  41      2026-11-22T10:15:00.123Z  sandbox    con_9f03…    default  7          1402
  1 entry waits for the store; 0.1 % of 128 MiB is in use.

Exit codes: 0 shown, 1 the journal cannot be read or is broken, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct ShowArgs {
    /// Folder of `claviger dev`, instead of the settings of `serve`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn show(args: ShowArgs) -> Result<(), Failure> {
    let layers = Layers::of_process(args.config.config);
    let settings = match &args.data {
        Some(data) => Settings::load(&dev::layers(layers, data), Mode::Dev)?,
        None => Settings::load(&layers, Mode::Serve)?,
    };
    block_on(async {
        match NodeFolder::claim(&settings.node.data) {
            Ok(folder) => show_file(&settings, &folder).await,
            Err(FolderError::Taken(_)) => show_running(&settings.node.data).await,
            Err(other) => Err(other.into()),
        }
    })
}

async fn show_running(folder: &Path) -> Result<(), Failure> {
    let socket = admin_socket(folder);
    let what = || format!("the server that runs on {} does not answer at {}", folder.display(), socket.display());
    let mut listing = Listing::default();
    let (progress, _) = mpsc::channel(1);
    loop {
        match admin::ask(&socket, &Ask::ShowJournal { after: listing.last }, &progress).await.map_err(Failure::from_io(what()))? {
            Told::Journal(page) if page.waiting.is_empty() => return listing.end(&page),
            Told::Journal(page) => listing.rows(&page.waiting)?,
            Told::Refused { detail } => return Err(Failure::Failed(detail)),
            _ => return Err(Failure::odd_answer()),
        }
    }
}

async fn show_file(settings: &Settings, folder: &NodeFolder) -> Result<(), Failure> {
    let path = folder::journal(folder.path());
    if !path.exists() {
        return out::line("Nothing waits for the store: this node has no journal yet.");
    }
    let unreadable = |cause: JournalError| Failure::Failed(cause.to_string());
    let journal = BlockJournal::open_as_it_is(&path).map_err(|cause| Failure::Failed(cause.to_string()))?;
    let mut listing = Listing::default();
    loop {
        let page = waiting(&journal, &settings.keys, listing.last, JOURNAL_PAGE).await.map_err(unreadable)?;
        if page.is_empty() {
            return listing.end(&JournalPage::of(journal.state(), page));
        }
        listing.rows(&page)?;
    }
}

/// A table that grows page by page.
#[derive(Default)]
struct Listing {
    last: u64,
}

impl Listing {
    fn rows(&mut self, page: &[Waiting]) -> Result<(), Failure> {
        if self.last == 0 {
            out::line(&row(["ENTRY", "SINCE", "PROVIDER", "CONNECTION", "SET", "GENERATION", "BYTES"]))?;
        }
        for Waiting { entry, size, sent } in page {
            self.last = *entry;
            let (number, size) = (entry.to_string(), size.to_string());
            match sent {
                Err(why) => out::line(&format!("{number:<7} cannot be read: {why} ({size} bytes)"))?,
                Ok(sent) => {
                    let (since, generation) = (sent.started_at.to_string(), sent.from_generation.to_string());
                    let (provider, connection) = (sent.provider.as_str(), sent.connection.as_str());
                    out::line(&row([&number, &since, provider, connection, sent.set.as_str(), &generation, &size]))?;
                }
            }
        }
        Ok(())
    }

    fn end(&self, page: &JournalPage) -> Result<(), Failure> {
        let entries = match page.pending {
            0 => "Nothing waits".to_owned(),
            1 => "1 entry waits".to_owned(),
            many => format!("{many} entries wait"),
        };
        let tenths = (page.used * 1000).checked_div(page.capacity).unwrap_or(0);
        let (percent, rest, mebibytes) = (tenths / 10, tenths % 10, page.capacity >> 20);
        out::line(&format!("{entries} for the store; {percent}.{rest} % of {mebibytes} MiB is in use."))?;
        match &page.broken {
            None => Ok(()),
            Some(why) => Err(Failure::Failed(format!("the journal is broken until this node is started anew: {why}"))),
        }
    }
}

fn row([entry, since, provider, connection, set, generation, bytes]: [&str; 7]) -> String {
    format!("{entry:<7} {since:<25} {provider:<16} {connection:<38} {set:<10} {generation:<10} {bytes}")
}
