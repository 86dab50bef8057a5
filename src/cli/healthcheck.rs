//! `claviger healthcheck`: one plain HTTP request to the server of these settings, for containers
//! and service managers that have no HTTP client.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use crate::settings::{Layers, listen_address};

use super::ConfigArgs;
use super::failure::Failure;
use super::out;

const PATIENCE: Duration = Duration::from_secs(5);
const STATUS_LINE_MAX: u64 = 64;

const AFTER: &str = "\
Asks http://ADDRESS/readyz, where ADDRESS is `server.listen` of the settings (loopback where that is a wildcard).

Example:
  claviger healthcheck --address 127.0.0.1:8080

Exit codes: 0 ready, 1 not ready or not reached, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct HealthcheckArgs {
    /// Ask here instead.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: HealthcheckArgs) -> Result<(), Failure> {
    let address = match args.address {
        Some(address) => address,
        None => reachable(listen_address(&Layers::of_process(args.config.config))?),
    };
    let status = ask(address).map_err(Failure::from_io(format!("{address} does not answer")))?;
    match status.split(' ').nth(1) {
        Some("200") => out::line("ready"),
        _ => Err(Failure::Failed(format!("{address} is not ready: {}", status.trim()))),
    }
}

/// A wildcard is no address to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
        _ => listen,
    }
}

/// The status line of the answer.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    stream.take(STATUS_LINE_MAX).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned())
}
