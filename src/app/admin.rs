//! The admin socket: commands on the same machine reach a running server through a socket in its
//! folder, which belongs to its user alone. One line of JSON asks; lines of progress answer, and a last one.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::domain::node::NodeRecord;
use crate::ports::journal::JournalState;
use crate::services::Services;
use crate::services::sweep::SweepState;
use crate::store::Waiting;

use super::backup::Manifest;
use super::operator::perform;

/// Longest question, and longest line of an answer.
const ASK_MAX: u64 = 16 * 1024;
const TOLD_MAX: u64 = 4 * 1024 * 1024;
/// How long either side waits for the other's next line.
const PATIENCE: Duration = Duration::from_secs(60);
/// A long piece of work says so often that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Lines of progress that may wait for a slow reader.
const PROGRESS: usize = 64;

/// What a command may ask. It holds a password, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Ask {
    CreateTenant {
        email: String,
        password: String,
    },
    /// What waits in the journal, after the entry of this number.
    ShowJournal {
        after: u64,
    },
    /// Pause, resume or look at the refreshing that nobody asked for.
    Sweep {
        order: SweepOrder,
    },
    ListNodes,
    ForgetNode {
        id: String,
    },
    Resume {
        force: bool,
    },
    Backup {
        file: PathBuf,
        force: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepOrder {
    Pause,
    Resume,
    Status,
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// More comes.
    Progress {
        text: String,
    },
    /// Nothing new, but it goes on.
    Busy,
    TenantCreated {
        id: String,
        was_there: bool,
    },
    Journal(JournalPage),
    Sweep(SweepState),
    Nodes {
        nodes: Vec<NodeLine>,
    },
    Forgotten,
    Resumed {
        tried: Vec<TriedLine>,
    },
    BackedUp {
        manifest: Manifest,
    },
    Refused {
        detail: String,
    },
}

/// The journal's state, and some of what waits in it, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct JournalPage {
    pub pending: u64,
    /// Bytes, as are `capacity`'s.
    pub used: u64,
    pub capacity: u64,
    pub broken: Option<String>,
    pub waiting: Vec<Waiting>,
}

/// Entries of one page: they fit into a line.
pub const JOURNAL_PAGE: usize = 20;

impl JournalPage {
    pub fn of(state: JournalState, waiting: Vec<Waiting>) -> Self {
        let JournalState { pending, used, capacity, broken } = state;
        Self { pending, used, capacity, broken, waiting }
    }
}

/// A connection that was refreshed, to see whether its provider's others may follow.
#[derive(Debug, Serialize, Deserialize)]
pub struct TriedLine {
    pub provider: String,
    pub connection: String,
    pub refused: Option<String>,
}

/// A node as it is listed.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeLine {
    pub node: NodeRecord,
    /// For so long the node that was asked saw it not beat; not known where none was asked.
    pub silent: Option<Duration>,
    /// It is the node that was asked.
    pub here: bool,
}

/// Asks the server that holds the folder; `progress` is told what comes before the end.
pub async fn ask(socket: &Path, ask: &Ask, progress: &mpsc::Sender<String>) -> io::Result<Told> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut line = Zeroizing::new(serde_json::to_vec(ask)?);
    line.push(b'\n');
    within(stream.write_all(&line)).await?;
    let mut lines = BufReader::new(stream);
    loop {
        match serde_json::from_slice(&within(read_line(&mut lines, TOLD_MAX)).await?)? {
            Told::Progress { text } => _ = progress.send(text).await,
            Told::Busy => {}
            told => return Ok(told),
        }
    }
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Binds the socket. Whoever holds the folder's lock may replace what a crash left there.
pub(super) fn bind(socket: &Path) -> io::Result<UnixListener> {
    let named = |cause: io::Error| io::Error::new(cause.kind(), format!("the admin socket {}: {cause}", socket.display()));
    listen_on(socket).map_err(named)
}

fn listen_on(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers commands until it is dropped, and with it whatever they began.
pub(super) async fn serve(listener: UnixListener, services: &Services) {
    let mut commands = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Err(cause) => return tracing::error!(%cause, "the admin socket broke down"),
                Ok((stream, _)) => commands.push(answer(stream, services)),
            },
            Some(answered) = commands.next() => if let Err(cause) = answered {
                tracing::warn!(%cause, "a command at the admin socket was not answered");
            },
        }
    }
}

/// A command whose asker went away is given up.
async fn answer(stream: UnixStream, services: &Services) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let line = within(read_line(&mut stream, ASK_MAX)).await?;
    let Ok(ask) = serde_json::from_slice(&line) else {
        let detail = "The running server does not know this command; is it another version?".to_owned();
        return tell(&mut stream, &Told::Refused { detail }).await;
    };
    let (progress, mut said) = mpsc::channel(PROGRESS);
    let mut work = std::pin::pin!(perform(services, ask, &progress));
    loop {
        let told = tokio::select! {
            biased;
            Some(text) = said.recv() => Told::Progress { text },
            told = &mut work => return tell_last(&mut stream, &mut said, &told).await,
            () = services.core.clock.sleep(SIGN_OF_LIFE) => Told::Busy,
        };
        tell(&mut stream, &told).await?;
    }
}

async fn tell_last(stream: &mut BufReader<UnixStream>, said: &mut mpsc::Receiver<String>, told: &Told) -> io::Result<()> {
    while let Ok(text) = said.try_recv() {
        tell(stream, &Told::Progress { text }).await?;
    }
    tell(stream, told).await
}

async fn tell(stream: &mut BufReader<UnixStream>, told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    within(stream.write_all(&line)).await
}

async fn read_line(lines: &mut (impl AsyncBufRead + Unpin), most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::new());
    lines.take(most).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
