//! The ledger on the network: one request per connection, answered as the desk says, or less.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::desk::{Desk, Reply, Request};
use super::script::End;

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, desk: Arc<Desk>, door: usize) {
    loop {
        // Out of file handles, say; whoever waits is served when there are some.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (tls, desk) = (tls.clone(), desk.clone());
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            match tls {
                None => serve(stream, &desk, door).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &desk, door).await;
                    }
                }
            }
        });
    }
}

/// The connection itself, beneath TLS or not.
trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Goes on to the end though the caller may have gone: a provider that has a request deals with it.
async fn serve(mut stream: impl Wire, desk: &Desk, door: usize) {
    let Some(request) = read(&mut stream).await else { return };
    if request.is_refresh() {
        let (number, end, reply) = desk.refresh(door, request.field("refresh_token")).await;
        let whole = deliver(&mut stream, end, &reply).await;
        desk.finished(number, whole);
    } else {
        write(&mut stream, &bytes(&desk.answer(&request))).await;
    }
}

/// Says whether the answer went out whole.
async fn deliver(stream: &mut impl Wire, end: End, reply: &Reply) -> bool {
    let whole = bytes(reply);
    match end {
        End::Whole => write(stream, &whole).await,
        End::Lost => false,
        End::Half => {
            write(stream, &whole[..whole.len() - reply.body.len() / 2]).await;
            false
        }
        End::Reset => {
            drop(stream.tcp().set_zero_linger());
            false
        }
        End::Hidden | End::Failed | End::Throttled(_) => {
            write(stream, &whole).await;
            false
        }
    }
}

fn bytes(reply: &Reply) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Ledger\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\nconnection: close\r\n\r\n{}", reply.body.len(), reply.body);
    head.into_bytes()
}

async fn write(stream: &mut impl Wire, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok() && stream.shutdown().await.is_ok()
}

/// `None` if the caller goes before the request is whole, or asks for no class of ours.
async fn read(stream: &mut impl Wire) -> Option<Request> {
    let mut bytes = Vec::with_capacity(1024);
    let body = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
    };
    let head = String::from_utf8_lossy(&bytes[..body]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    while bytes.len() < body + length.unwrap_or(0) {
        stream.read_buf(&mut bytes).await.ok().filter(|read| *read > 0)?;
    }
    let target = head.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request::of(path, query, &bytes[body..])
}
