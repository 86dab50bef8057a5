//! What an operator can set: typed, checked, and complete before anything else runs. It reads files
//! and the environment once; nothing below it reads either.

mod read;
mod reader;
mod show;
mod source;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::adapters::outbound::Allow;
use crate::domain::secret::SecretString;
use crate::services::accounts::Signup;
use crate::services::defined::Definitions;
use crate::services::integrations::RedirectStyle;
use crate::services::refresh::RefreshPolicy;
use crate::services::sweep::SweepPolicy;
use crate::store::Keyring;

pub use show::{Shown, effective};
pub use source::{DEFAULTS, Layers};

/// What the settings are for: production asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Loopback only, everything in one folder.
    Dev,
    Serve,
}

/// Everything that can be set, checked.
#[derive(Debug)]
pub struct Settings {
    pub mode: Mode,
    pub server: Server,
    pub node: Node,
    pub journal: Journal,
    pub store: StoreSettings,
    pub keys: Keyring,
    pub accounts: Accounts,
    pub mail: Option<Mail>,
    pub connect: Connect,
    pub refresh: RefreshPolicy,
    pub sweep: SweepPolicy,
    pub cache: Cache,
    pub providers: Providers,
    pub egress: Vec<Allow>,
    pub sandbox: Option<Sandbox>,
    pub telemetry: Telemetry,
}

#[derive(Debug, Clone)]
pub struct Providers {
    /// Files that add to the catalogue.
    pub dir: Option<PathBuf>,
    /// Whether tenants may define their own.
    pub custom: Definitions,
}

#[derive(Debug, Clone)]
pub struct Server {
    pub listen: SocketAddr,
    pub ops_listen: Option<SocketAddr>,
    /// Without a slash at its end. Only `dev` may do without: it then takes the address it got.
    pub public_url: Option<Url>,
    pub trusted_proxies: Vec<IpAddr>,
    pub workers: usize,
    pub max_connections: usize,
    pub keep_alive: Duration,
    pub head_timeout: Duration,
    pub stop_timeout: Duration,
}

#[derive(Debug)]
pub struct Node {
    pub data: PathBuf,
    pub id: Option<String>,
    /// From one beat to the next.
    pub beat: Duration,
}

#[derive(Debug)]
pub struct Journal {
    /// Of the file, which never grows.
    pub bytes: u64,
}

#[derive(Debug)]
pub struct StoreSettings {
    pub place: Place,
    pub min_replicas: Option<u32>,
    pub allow_volatile: bool,
}

/// Where everything is kept.
pub enum Place {
    Memory,
    Sqlite(PathBuf),
    /// May hold a password.
    Redis(SecretString),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Memory => f.write_str("Memory"),
            Place::Sqlite(path) => write!(f, "Sqlite({})", path.display()),
            Place::Redis(_) => f.write_str("Redis"),
        }
    }
}

#[derive(Debug)]
pub struct Accounts {
    pub signup: Signup,
}

#[derive(Debug)]
pub struct Mail {
    /// May hold a password.
    pub url: SecretString,
    pub from: String,
}

#[derive(Debug)]
pub struct Connect {
    pub link_ttl: Duration,
    pub state_ttl: Duration,
    /// For so long a grant that was obtained is offered to a store that does not answer.
    pub keep_trying: Duration,
    pub redirect: RedirectStyle,
}

#[derive(Debug)]
pub struct Cache {
    pub bytes: u64,
    pub trust: Duration,
    pub cut_off: Duration,
}

#[derive(Debug)]
pub struct Sandbox {
    /// `None` only in `dev`: the next free port after the server's.
    pub listen: Option<SocketAddr>,
    pub public_url: Option<Url>,
}

#[derive(Debug)]
pub struct Telemetry {
    pub log: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// A setting that will not do: which one, where it came from, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub setting: String,
    pub what: String,
}

/// Everything that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "one setting must be mended:")?,
            n => writeln!(f, "{n} settings must be mended:")?,
        }
        for Problem { setting, what } in &self.0 {
            writeln!(f, "  {setting}: {what}")?;
        }
        Ok(())
    }
}

impl Settings {
    /// The settings that hold, or all that is wrong with them.
    pub fn load(layers: &Layers, mode: Mode) -> Result<Self, Problems> {
        let (values, unknown) = layers.values()?;
        read::settings(&values, mode, unknown)
    }
}

/// `server.listen` alone, for whoever only wants to call the server.
pub fn listen_address(layers: &Layers) -> Result<SocketAddr, Problems> {
    let (values, unknown) = layers.values()?;
    read::listen_address(&values, unknown)
}

#[cfg(test)]
mod tests;
