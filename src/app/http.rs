//! The listeners: sockets first, so that ports are known before anything is composed; servers on
//! them later.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

use crate::services::sandbox::Sandbox;
use crate::settings;
use crate::web::{State, configure, configure_ops, middleware, sandbox as sandbox_routes};

/// Open connections of the sandbox.
const SANDBOX_CONNECTIONS: usize = 1000;
const BACKLOG: u32 = 1024;
/// How many ports after the server's are tried for the sandbox.
const NEXT_PORTS: u16 = 50;
/// How long a connection may take to end after its last answer.
const DISCONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Binds; an error names the setting.
pub(super) fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    listen_on(address).map_err(|cause| BindError { setting, address, cause })
}

/// The first free port of the next ones; any where the first was left to chance.
pub(super) fn bind_next(setting: &'static str, first: SocketAddr, asked: SocketAddr) -> Result<TcpListener, BindError> {
    if asked.port() == 0 {
        return bind(setting, asked);
    }
    let mut last = bind(setting, following(first, 1));
    for step in 2..=NEXT_PORTS {
        if last.is_ok() {
            break;
        }
        last = bind(setting, following(first, step));
    }
    last
}

fn following(address: SocketAddr, step: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().checked_add(step).unwrap_or(0))
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {cause}")]
pub struct BindError {
    setting: &'static str,
    address: SocketAddr,
    #[source]
    cause: io::Error,
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// A server that runs in its own task.
pub(super) struct Running {
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    pub(super) fn start(server: Server) -> Self {
        Self { handle: server.handle(), task: tokio::spawn(server) }
    }

    /// Stops accepting, lets requests under way finish, and ends.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        self.handle.stop(true).await;
        Self::ended(&mut self.task).await
    }

    /// Returns when the server ended by itself, which it should not.
    pub(super) async fn failed(&mut self) -> io::Result<()> {
        Self::ended(&mut self.task).await
    }

    async fn ended(task: &mut JoinHandle<io::Result<()>>) -> io::Result<()> {
        task.await.map_err(io::Error::other)?
    }
}

/// The API and the pages.
pub(super) fn public(listener: TcpListener, limits: &settings::Server, state: web::Data<State>) -> io::Result<Server> {
    let server =
        HttpServer::new(move || App::new().app_data(state.clone()).wrap(from_fn(middleware::observe)).configure(configure))
            .keep_alive(limits.keep_alive)
            .client_request_timeout(limits.head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .max_connections(limits.max_connections)
            .shutdown_timeout(limits.stop_timeout.as_secs())
            .disable_signals();
    let server = if limits.workers == 0 { server } else { server.workers(limits.workers) };
    Ok(server.listen(listener)?.run())
}

/// Health and metrics, on a listener that the public does not reach.
pub(super) fn ops(listener: TcpListener, limits: &settings::Server, state: web::Data<State>) -> io::Result<Server> {
    let server =
        HttpServer::new(move || App::new().app_data(state.clone()).wrap(from_fn(middleware::observe)).configure(configure_ops))
            .workers(1)
            .client_request_timeout(limits.head_timeout)
            .shutdown_timeout(1)
            .disable_signals();
    Ok(server.listen(listener)?.run())
}

/// The sandbox, on an origin of its own.
pub(super) fn sandbox(listener: TcpListener, limits: &settings::Server, sandbox: Arc<Sandbox>) -> io::Result<Server> {
    let server = HttpServer::new(move || App::new().configure(|config| sandbox_routes::configure(config, sandbox.clone())))
        .workers(1)
        .client_request_timeout(limits.head_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .max_connections(SANDBOX_CONNECTIONS)
        .shutdown_timeout(1)
        .disable_signals();
    Ok(server.listen(listener)?.run())
}
