//! A proxy before a Redis that can lose an answer, or hold a request back and deliver it late.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to the next script that comes by; after it, all goes through again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server gets it, and the connection breaks before its answer.
    Answer,
    /// The connection breaks, and the request is kept.
    Request,
}

#[derive(Default)]
struct State {
    cut: Option<Cut>,
    kept: Vec<u8>,
}

pub struct Proxy {
    port: u16,
    server: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    // With the server down, the client's connection simply ends.
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        pass(client, server, state).await;
                    }
                });
            }
        });
        Self { port, server, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn cut_next(&self, cut: Cut) {
        self.state.lock().expect("no test panicked with the lock").cut = Some(cut);
    }

    /// Whether the cut that was asked for has happened.
    pub fn has_cut(&self) -> bool {
        self.state.lock().expect("no test panicked with the lock").cut.is_none()
    }

    /// Delivers the request that was kept, and returns what the server says to it: to the script,
    /// and then to what goes with it.
    pub async fn deliver_late(&self) -> String {
        let kept = std::mem::take(&mut self.state.lock().expect("no test panicked with the lock").kept);
        assert!(!kept.is_empty(), "a request was kept");
        let mut server = TcpStream::connect(("127.0.0.1", self.server)).await.expect("the server");
        server.write_all(&kept).await.expect("sending");
        let mut answer = vec![0; 1024];
        let read = server.read(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }
}

async fn pass(client: TcpStream, server: TcpStream, state: Arc<Mutex<State>>) {
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let cut = Notify::new();
    tokio::select! {
        () = requests(client_read, server_write, &state, &cut) => {}
        () = answers(server_read, client_write, &cut) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &Mutex<State>, cut: &Notify) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let request = &bytes[..read];
        // By its hash: what the adapter sends by itself, to look after the server, goes by its text.
        let is_script = request.windows(7).any(|word| word == b"EVALSHA");
        let now = is_script.then(|| state.lock().expect("no test panicked with the lock").cut.take()).flatten();
        match now {
            None => {}
            Some(Cut::Request) => {
                state.lock().expect("no test panicked with the lock").kept = request.to_vec();
                return;
            }
            Some(Cut::Answer) => cut.notify_one(),
        }
        if to.write_all(request).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: &Notify) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        // The server has done its work once it answers; then the connection may break.
        if futures::FutureExt::now_or_never(cut.notified()).is_some() {
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
