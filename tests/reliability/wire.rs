//! The network between a node and its store, which can fail in the ways networks do.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Nothing arrives, either way, until it is fair again.
    Still,
    /// What the node says arrives, and no answer comes back.
    Deaf,
    /// No connection, new or old.
    Cut,
}

/// One way to a server, for one node.
pub struct Wire {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
}

impl Wire {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let shared = weather.clone();
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let weather = shared.subscribe();
                tokio::spawn(async move {
                    if *weather.borrow() != Weather::Cut
                        && let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await
                    {
                        carry(node, server, weather).await;
                    }
                });
            }
        });
        Self { port, weather }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(node: TcpStream, server: TcpStream, weather: watch::Receiver<Weather>) {
    drop((node.set_nodelay(true), server.set_nodelay(true)));
    let (from_node, to_node) = node.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = weather.clone();
    tokio::select! {
        () = pump(from_node, to_server, weather.clone(), |weather| matches!(weather, Weather::Fair | Weather::Deaf)) => {}
        () = pump(from_server, to_node, weather, |weather| weather == Weather::Fair) => {}
        _ = cut.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    lets: impl Fn(Weather) -> bool,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if weather.wait_for(|weather| lets(*weather)).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
