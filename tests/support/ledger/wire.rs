//! The ledger on the network: one request per connection, answered as the script says.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::book::{Class, Issued};
use super::oracle::Presented;
use super::script::{End, Fault};
use super::{Desk, lock};

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

struct Request {
    class: Class,
    what: String,
    query: String,
    form: Vec<(String, String)>,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        self.form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

async fn serve(mut stream: impl Wire, desk: &Desk, door: usize) {
    let Some(request) = read(&mut stream).await else { return };
    let answer = match (request.what.as_str(), request.field("grant_type")) {
        ("token", "refresh_token") => return refresh(stream, desk, door, request.field("refresh_token")).await,
        ("token", "authorization_code") => {
            let issued = lock(&desk.book).grant(request.class, (desk.time)());
            answer(200, "", &tokens(&issued, true))
        }
        ("revoke", _) => {
            lock(&desk.book).revoke(request.field("token"), (desk.time)());
            answer(200, "", "")
        }
        ("authorize", _) => answer(302, &consented(&request.query), ""),
        _ => answer(404, "", r#"{"error":"not_found"}"#),
    };
    write(&mut stream, &answer).await;
}

/// Goes on to the end though the caller may have gone: a provider that has a request deals with it.
async fn refresh(mut stream: impl Wire, desk: &Desk, door: usize, token: &str) {
    let grant = lock(&desk.book).grant_of(token);
    let number = {
        let (arrived, token) = ((desk.time)(), token.to_owned());
        let mut presented = lock(&desk.presented);
        let (issued, end, finished) = (None, End::Whole, None);
        presented.push(Presented { grant, token, door, arrived, issued, refused: false, end, finished, whole: false });
        presented.len() - 1
    };
    desk.arrived.send_modify(|arrived| *arrived += 1);
    let Fault { before, after, end } = grant.map(|grant| lock(&desk.script).fault_for(grant)).unwrap_or_default();
    before.over().await;
    let issued = end.commits().then(|| {
        let now = (desk.time)();
        let issued = lock(&desk.book).refresh(token, now);
        let one = &mut lock(&desk.presented)[number];
        one.end = end;
        one.refused = issued.is_none();
        one.issued = issued.as_ref().map(|issued| (now, issued.access.clone(), issued.refresh.clone()));
        issued
    });
    after.over().await;
    let whole = deliver(&mut stream, end, issued.flatten()).await;
    let one = &mut lock(&desk.presented)[number];
    one.finished = Some((desk.time)());
    one.end = end;
    one.whole = whole;
}

/// Says whether the answer went out whole.
async fn deliver(stream: &mut impl Wire, end: End, issued: Option<Issued>) -> bool {
    let whole = match &issued {
        Some(issued) => answer(200, "", &tokens(issued, issued.rotated)),
        None => answer(400, "", r#"{"error":"invalid_grant"}"#),
    };
    match end {
        End::Whole => write(stream, &whole).await,
        End::Lost => false,
        End::Half => {
            let body = whole.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            write(stream, &whole[..(body + whole.len()) / 2]).await;
            false
        }
        End::Reset => {
            drop(stream.tcp().set_zero_linger());
            false
        }
        End::Hidden | End::Failed => {
            write(stream, &answer(500, "", "<h1>Bad gateway</h1>")).await;
            false
        }
        End::Throttled(seconds) => {
            write(stream, &answer(429, &format!("retry-after: {seconds}\r\n"), r#"{"error":"slow_down"}"#)).await;
            false
        }
    }
}

fn tokens(issued: &Issued, with_refresh: bool) -> String {
    let mut body = json!({ "access_token": issued.access, "token_type": "Bearer", "expires_in": issued.life.as_secs() });
    if with_refresh {
        body["refresh_token"] = json!(issued.refresh);
    }
    body.to_string()
}

/// Back to the broker with a code, as if the end user had said yes.
fn consented(query: &str) -> String {
    let param = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value);
    let mut back = url::Url::parse(&param("redirect_uri").unwrap_or_default()).expect("a redirect_uri");
    back.query_pairs_mut().append_pair("code", "yes").append_pair("state", &param("state").unwrap_or_default());
    format!("location: {back}\r\n")
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Ledger\r\ncontent-type: {kind}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
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
    let (class, what) = path.strip_prefix('/')?.split_once('/')?;
    let form = form_urlencoded::parse(&bytes[body..]).into_owned().collect();
    Some(Request { class: Class::of(class)?, what: what.to_owned(), query: query.to_owned(), form })
}
