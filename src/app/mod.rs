//! Composition: the only place, with the commands, that names adapters. `build` binds and composes,
//! `run_until_stopped` serves, and stops in an order that loses nothing.

pub mod admin;
pub mod backup;
mod compose;
pub mod folder;
mod http;
mod memory;
pub mod operator;
pub mod process;
mod stores;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::web;
use url::Url;

use crate::adapters::journal::JournalFileError;
use crate::adapters::mail::MailSettingError;
use crate::adapters::outbound::TlsSetupError;
use crate::adapters::redis::RedisStartError;
use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::ports::journal::Journal;
use crate::ports::kv::{Kv, KvError};
use crate::ports::mail::Mail;
use crate::ports::outbound::Outbound;
use crate::services::Services;
use crate::services::catalogue::CatalogueError;
use crate::services::nodes::EnterError;
use crate::services::sandbox::Sandbox;
use crate::settings::{self, Mode, Settings};
use crate::store::{JournalOpenError, OpenError};
use crate::web::State;

use compose::World;
use folder::{NodeFolder, admin_socket};
use http::Running;

pub use http::BindError;

/// Clients leave this port out of `Host`.
const HTTP_PORT: u16 = 80;

/// Capabilities that a test brings itself; what is `None` is the real one.
#[derive(Default)]
pub struct Parts {
    pub clock: Option<Arc<dyn Clock>>,
    pub entropy: Option<Arc<dyn Entropy>>,
    pub kv: Option<Arc<dyn Kv>>,
    pub journal: Option<Arc<dyn Journal>>,
    pub outbound: Option<Arc<dyn Outbound>>,
    pub mail: Option<Arc<dyn Mail>>,
    /// What provider files ask of the deployment, besides the sandbox's origin.
    pub deployment: BTreeMap<String, String>,
    /// The operator knows that the store was restored, whether or not it shows.
    pub restored: bool,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the store {0} cannot be opened: {1}")]
    Sqlite(String, #[source] KvError),
    #[error(transparent)]
    Redis(#[from] RedisStartError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    JournalFile(#[from] JournalFileError),
    #[error(transparent)]
    Journal(#[from] JournalOpenError),
    #[error("outgoing calls cannot be set up: {0}")]
    Outbound(#[from] TlsSetupError),
    #[error(transparent)]
    Mail(#[from] MailSettingError),
    #[error("the provider files cannot be used:\n{0}")]
    Catalogue(#[from] CatalogueError),
    #[error(
        "the store is empty, but this node has worked with it: it was emptied, or `store.url` leads elsewhere. \
         Put it back (docs/operating.md); or, to begin anew, remove {0}"
    )]
    Emptied(String),
    #[error(
        "the store is of another deployment than the one this node works for: is `store.url` right? If it is, give the \
         node another `node.data` folder; if the store was exchanged on purpose, start with `claviger serve --restored`"
    )]
    OtherDeployment,
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("the server cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A server that is bound and composed and does not answer yet.
pub struct Application {
    settings: settings::Server,
    listener: TcpListener,
    ops: Option<TcpListener>,
    ops_address: Option<SocketAddr>,
    sandbox: Option<(TcpListener, Arc<Sandbox>)>,
    address: SocketAddr,
    state: web::Data<State>,
    /// Held until the end: the lock goes with it.
    folder: NodeFolder,
}

impl Application {
    /// Binds first (port 0 takes a free one), opens the store, founding an empty one, and composes
    /// all use cases.
    pub async fn build(settings: Settings, folder: NodeFolder, parts: Parts) -> Result<Self, BuildError> {
        let server = settings.server.clone();
        let listener = http::bind("server.listen", server.listen)?;
        let address = listener.local_addr()?;
        let ops = server.ops_listen.map(|address| http::bind("server.ops_listen", address)).transpose()?;
        let public_url = origin_or(server.public_url.as_ref(), address);
        let ops_address = ops.as_ref().map(TcpListener::local_addr).transpose()?;
        let addresses = [Some(address), ops_address];
        let hosts = (settings.mode == Mode::Dev).then(|| own_hosts(addresses.into_iter().flatten(), &public_url));
        let world = World::of(&parts);
        let sandbox = sandbox(&world, &settings, &folder, address)?;
        let origin = sandbox.as_ref().map(|(_, sandbox)| sandbox.issuer().to_owned());
        let place = compose::Place { public_url, sandbox: origin, folder: &folder };
        let restored = parts.restored;
        let services = world.services(settings, parts, place).await?;
        services.nodes.enter(restored).await?;
        services.refresher.begin().await;
        let trusted_proxies = server.trusted_proxies.clone();
        let state = web::Data::new(State { services, trusted_proxies, hosts });
        Ok(Self { settings: server, listener, ops, ops_address, sandbox, address, state, folder })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operator's listener is, if there is one.
    pub fn ops_address(&self) -> Option<SocketAddr> {
        self.ops_address
    }

    /// Where the sandbox is reached, if there is one.
    pub fn sandbox_origin(&self) -> Option<&str> {
        self.sandbox.as_ref().map(|(_, sandbox)| sandbox.issuer())
    }

    pub fn services(&self) -> &Services {
        &self.state.services
    }

    pub fn folder(&self) -> &NodeFolder {
        &self.folder
    }

    /// Serves until `stop` returns. Then: accept no more, finish requests, finish flights, close; the
    /// sandbox last, since a flight may be under way to it.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Self { settings, listener, ops, sandbox, address, state, folder, .. } = self;
        let sandbox = sandbox.map(|(listener, sandbox)| http::sandbox(listener, &settings, sandbox)).transpose()?;
        let sandbox = sandbox.map(Running::start);
        let mut public = Running::start(http::public(listener, &settings, state.clone())?);
        let ops = ops.map(|listener| http::ops(listener, &settings, state.clone())).transpose()?.map(Running::start);
        let admin = admin::bind(&admin_socket(folder.path()))?;
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "serving");
        tokio::select! {
            () = stop => {}
            () = state.services.aside() => {}
            () = admin::serve(admin, &state.services) => return Err(io::Error::other("the admin socket broke down")),
            ended = public.failed() => return ended.and(Err(io::Error::other("the server ended by itself"))),
        }
        tracing::info!("stopping: finishing what is under way");
        state.services.stopping.store(true, Ordering::Relaxed);
        public.stop().await?;
        state.services.drain().await;
        state.services.accounts.finish().await;
        state.services.nodes.leave().await;
        for running in [ops, sandbox].into_iter().flatten() {
            running.stop().await?;
        }
        drop(state);
        drop(folder);
        tracing::info!("stopped");
        Ok(())
    }
}

/// The use cases without any listener: for a command that needs the store while no server runs.
pub async fn services(settings: Settings, folder: &NodeFolder) -> Result<Services, BuildError> {
    let place = compose::Place { public_url: String::new(), sandbox: None, folder };
    World::of(&Parts::default()).services(settings, Parts::default(), place).await
}

/// The sandbox and its listener, where the settings want one.
fn sandbox(
    world: &World,
    settings: &Settings,
    folder: &NodeFolder,
    server: SocketAddr,
) -> Result<Option<(TcpListener, Arc<Sandbox>)>, BuildError> {
    let Some(wanted) = &settings.sandbox else { return Ok(None) };
    let listener = match wanted.listen {
        Some(address) => http::bind("sandbox.listen", address)?,
        None => http::bind_next("sandbox.listen", server, settings.server.listen)?,
    };
    let issuer = origin_or(wanted.public_url.as_ref(), listener.local_addr()?);
    Ok(Some((listener, world.sandbox(settings, folder, issuer)?)))
}

/// The URL without a slash at its end, or the address itself.
fn origin_or(url: Option<&Url>, address: SocketAddr) -> String {
    url.map_or_else(|| format!("http://{address}"), |url| url.as_str().trim_end_matches('/').to_owned())
}

/// The `Host` values `dev` answers to: whatever means its listeners, and the public URL's.
fn own_hosts(addresses: impl Iterator<Item = SocketAddr>, public_url: &str) -> Vec<String> {
    let names = ["localhost", "127.0.0.1", "[::1]"];
    let mut hosts: Vec<String> = public_url.split_once("://").map(|(_, authority)| authority.to_owned()).into_iter().collect();
    for port in addresses.map(|address| address.port()) {
        hosts.extend(names.map(|name| format!("{name}:{port}")));
        if port == HTTP_PORT {
            hosts.extend(names.map(str::to_owned));
        }
    }
    hosts
}
