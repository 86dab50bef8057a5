//! The admin socket: commands on the same machine reach a running server through a socket in its
//! folder, which belongs to its user alone. One line of JSON asks, one answers.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::domain::refusal::Refusal;
use crate::ports::journal::JournalState;
use crate::services::Services;
use crate::services::accounts::Verification;
use crate::store::{StoreError, Waiting};

/// Longest line, either way.
const LINE_MAX: u64 = 16 * 1024;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

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
}

/// What it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    TenantCreated { id: String, was_there: bool },
    Journal(JournalPage),
    Refused { detail: String },
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

/// Does what is asked: through the socket, or in a command that opened the store itself.
pub async fn perform(services: &Services, ask: Ask) -> Told {
    let told = match ask {
        Ask::CreateTenant { email, password } => create_tenant(services, &email, password.into()).await,
        Ask::ShowJournal { after } => show_journal(services, after).await,
    };
    told.unwrap_or_else(|refusal| Told::Refused { detail: refusal.detail })
}

async fn create_tenant(services: &Services, email: &str, password: SecretString) -> Result<Told, Refusal> {
    let tenant = services.accounts.create_tenant(email, password, Verification::Vouched).await?;
    Ok(Told::TenantCreated { id: tenant.id.to_string(), was_there: tenant.was_there })
}

async fn show_journal(services: &Services, after: u64) -> Result<Told, Refusal> {
    let waiting = services.journal.waiting(after, JOURNAL_PAGE).await.map_err(StoreError::from)?;
    Ok(Told::Journal(JournalPage::of(services.journal.state(), waiting)))
}

impl JournalPage {
    pub fn of(state: JournalState, waiting: Vec<Waiting>) -> Self {
        let JournalState { pending, used, capacity, broken } = state;
        Self { pending, used, capacity, broken, waiting }
    }
}

/// Asks the server that holds the folder.
pub async fn ask(socket: &Path, ask: &Ask) -> io::Result<Told> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut line = Zeroizing::new(serde_json::to_vec(ask)?);
        line.push(b'\n');
        stream.write_all(&line).await?;
        Ok(serde_json::from_slice(&read_line(&mut stream).await?)?)
    };
    timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
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

/// Answers one command after another; there is one operator.
pub(super) async fn serve(listener: UnixListener, services: &Services) {
    loop {
        match listener.accept().await {
            Err(cause) => return tracing::error!(%cause, "the admin socket broke down"),
            Ok((stream, _)) => match timeout(PATIENCE, answer(stream, services)).await {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => tracing::warn!(%cause, "a command at the admin socket was not answered"),
                Err(_) => tracing::warn!("a command at the admin socket took too long"),
            },
        }
    }
}

async fn answer(mut stream: UnixStream, services: &Services) -> io::Result<()> {
    let line = read_line(&mut stream).await?;
    let told = match serde_json::from_slice(&line) {
        Ok(ask) => perform(services, ask).await,
        Err(_) => Told::Refused { detail: "The running server does not know this command; is it another version?".to_owned() },
    };
    let mut line = serde_json::to_vec(&told)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read_line(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX as usize));
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line).await?;
    Ok(line)
}
