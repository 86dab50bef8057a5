//! The port against servers that misbehave on a raw socket; the guard has tests of its own below.

#[path = "../../../tests/support/forbidden.rs"]
mod forbidden;
mod guard;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Long enough for any answer that comes at all.
const PATIENT: Duration = Duration::from_secs(20);
/// For servers that never answer.
const SHORT: Duration = Duration::from_millis(300);

/// What a server does once it has read the request.
#[derive(Clone)]
enum Then {
    Close(Vec<u8>),
    Hold(Vec<u8>),
    Reset(Vec<u8>),
    /// This block again and again, until the caller hangs up.
    Endless(Vec<u8>, Vec<u8>),
    /// Says this and closes, without having read a byte.
    Greet(Vec<u8>),
}

/// A server on loopback that plays one script to every caller.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Server {
    async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, connections: Arc::default(), requests: Arc::default() };
        let (connections, requests) = (server.connections.clone(), server.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(stream, then.clone(), requests.clone()));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn play(mut stream: TcpStream, then: Then, requests: Arc<std::sync::Mutex<Vec<String>>>) {
    if let Then::Greet(bytes) = then {
        drop(stream.write_all(&bytes).await);
        return;
    }
    let request = read_request(&mut stream).await;
    requests.lock().unwrap().push(request);
    match then {
        Then::Close(bytes) => drop(stream.write_all(&bytes).await),
        Then::Hold(bytes) => {
            drop(stream.write_all(&bytes).await);
            // Until the caller gives up.
            drop(stream.read(&mut [0; 16]).await);
        }
        Then::Reset(bytes) => {
            drop(stream.write_all(&bytes).await);
            stream.set_zero_linger().unwrap();
        }
        Then::Endless(head, block) => {
            drop(stream.write_all(&head).await);
            while stream.write_all(&block).await.is_ok() {}
        }
        Then::Greet(_) => {}
    }
}

/// Head and, by its content-length, body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut block = [0; 4096];
        match stream.read(&mut block).await {
            Ok(0) | Err(_) => return text,
            Ok(n) => read.extend_from_slice(&block[..n]),
        }
    }
}

/// A resolver of names for tests; the machine's is never asked.
enum FakeNames {
    Each(Vec<IpAddr>),
    Never,
    Unknown,
    /// Another answer to each question, in turns; counts the questions.
    Fickle(Arc<AtomicUsize>, Vec<Vec<IpAddr>>),
}

#[async_trait]
impl Names for FakeNames {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            FakeNames::Each(found) => Ok(found.clone()),
            FakeNames::Never => std::future::pending().await,
            FakeNames::Unknown => Err(io::Error::other("no such name")),
            FakeNames::Fickle(asked, answers) => {
                let turn = asked.fetch_add(1, Ordering::SeqCst);
                Ok(answers[turn % answers.len()].clone())
            }
        }
    }
}

fn outbound(policy: EgressPolicy, names: FakeNames) -> ReqwestOutbound {
    let user_agent = user_agent(Some("https://auth.example.com"));
    ReqwestOutbound { tls: tls().unwrap(), policy: Arc::new(policy), names: Arc::new(names), user_agent }
}

/// As `claviger dev` calls: this machine is allowed.
fn on_loopback() -> ReqwestOutbound {
    let policy = EgressPolicy { loopback: Loopback::Allowed, allow: Vec::new() };
    outbound(policy, FakeNames::Each(vec![Ipv4Addr::LOCALHOST.into()]))
}

fn post(url: &str) -> HttpCall {
    let headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    HttpCall { method: Method::Post, url: url.parse().unwrap(), headers, body: b"grant_type=refresh_token".to_vec() }
}

async fn played(then: Then, deadline: Duration) -> (Result<HttpAnswer, CallError>, Server) {
    let server = Server::start(then).await;
    let answer = on_loopback().call(post(&server.url()), deadline).await;
    (answer, server)
}

fn with_length(length: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

fn chunked(length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n");
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer.extend_from_slice(b"\r\n0\r\n\r\n");
    answer
}

#[tokio::test]
async fn a_call_is_sent_as_built_and_its_answer_read_whole() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nX-Odd: a\xffb\r\ncontent-length: 5\r\n\r\n{\"a\":".to_vec();
    let (answer, server) = played(Then::Close(answer), PATIENT).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (400, b"{\"a\":".as_slice()));
    assert_eq!(answer.header("x-odd"), Some("a\u{fffd}b"));

    let request = server.requests.lock().unwrap().pop().unwrap();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=refresh_token"), "{request}");
    assert!(request.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port)), "{request}");
    for absent in ["accept-encoding", "cookie", "referer", "authorization"] {
        assert!(!request.contains(absent), "{absent} in {request}");
    }
    let named = concat!("\r\nuser-agent: claviger/", env!("CARGO_PKG_VERSION"), " (+https://auth.example.com)\r\n");
    assert!(request.contains(named), "{request}");
}

#[tokio::test]
async fn a_callers_own_name_stands_alone() {
    let server = Server::start(Then::Close(with_length(0))).await;
    let call = HttpCall { headers: vec![("user-agent".to_owned(), "acme-sync/1.0".to_owned())], ..post(&server.url()) };
    on_loopback().call(call, PATIENT).await.unwrap();
    let request = server.requests.lock().unwrap().pop().unwrap();
    assert!(request.contains("\r\nuser-agent: acme-sync/1.0\r\n") && request.matches("user-agent").count() == 1, "{request}");
}

#[test]
fn a_contact_that_no_header_may_hold_is_left_out() {
    assert_eq!(user_agent(None), PRODUCT);
    assert_eq!(user_agent(Some("https://auth.example.com\r\nx: y")), PRODUCT);
}

#[tokio::test]
async fn a_post_without_a_body_says_so() {
    let server = Server::start(Then::Close(with_length(0))).await;
    let call = HttpCall { body: Vec::new(), ..post(&server.url()) };
    on_loopback().call(call, PATIENT).await.unwrap();
    assert!(server.requests.lock().unwrap()[0].contains("\r\ncontent-length: 0\r\n"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let canary = Server::start(Then::Close(with_length(0))).await;
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", canary.url());
        let (answer, _) = played(Then::Close(redirect.into_bytes()), PATIENT).await;
        assert_eq!(answer.unwrap().status, status);
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn each_call_has_its_own_connection() {
    let server = Server::start(Then::Hold(with_length(2))).await;
    let outbound = on_loopback();
    for _ in 0..3 {
        outbound.call(post(&server.url()), PATIENT).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn an_answer_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    for build in [with_length, chunked] {
        let (answer, _) = played(Then::Close(build(ANSWER_MAX)), PATIENT).await;
        assert_eq!(answer.unwrap().body.len(), ANSWER_MAX);
        let (answer, _) = played(Then::Hold(build(ANSWER_MAX + 1)), PATIENT).await;
        assert_eq!(answer, Err(CallError::InDoubt("the answer is longer than 256 KiB".to_owned())));
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_the_size_limit() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let (answer, _) = played(Then::Endless(head, vec![b'x'; 8192]), PATIENT).await;
    assert_eq!(answer, Err(CallError::InDoubt("the answer is longer than 256 KiB".to_owned())));
}

#[tokio::test]
async fn once_connected_every_failure_is_in_doubt_and_nothing_is_sent_twice() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_token\"".to_vec();
    let half_chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{\"access".to_vec();
    let scripts = [
        ("hangs up at once", Then::Greet(Vec::new()), PATIENT),
        ("closes without an answer", Then::Close(Vec::new()), PATIENT),
        ("resets", Then::Reset(Vec::new()), PATIENT),
        ("resets in the head", Then::Reset(b"HTTP/1.1 200 OK\r\nconte".to_vec()), PATIENT),
        ("half a body", Then::Close(half.clone()), PATIENT),
        ("half a chunk", Then::Close(half_chunk), PATIENT),
        ("resets in the body", Then::Reset(half.clone()), PATIENT),
        ("no HTTP", Then::Close(b"220 mail.example ESMTP\r\n".to_vec()), PATIENT),
        ("never answers", Then::Hold(Vec::new()), SHORT),
        ("stops in the head", Then::Hold(b"HTTP/1.1 200".to_vec()), SHORT),
        ("stops in the body", Then::Hold(half), SHORT),
    ];
    for (what, then, deadline) in scripts {
        let (answer, server) = played(then, deadline).await;
        assert!(matches!(answer, Err(CallError::InDoubt(_))), "{what}: {answer:?}");
        assert_eq!(server.connections(), 1, "{what}");
    }
}

/// A server on a thread of its own, so that it goes on while the runtime stands still; it says when it
/// has the request, and when its answer is on the way.
fn server_beside(answer: Vec<u8>) -> (String, std::sync::mpsc::Receiver<()>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        told.send(()).unwrap();
        stream.write_all(&answer).unwrap();
        told.send(()).unwrap();
        drop(stream.read(&mut [0; 16]));
    });
    (url, tells)
}

/// What a stopped process does: one thread runs everything here, so that holding it holds all.
#[expect(clippy::disallowed_methods, reason = "it is the block itself that the test is about")]
fn stand_still() {
    std::thread::sleep(2 * SHORT);
}

/// The whole process is stopped from the request to the end of the deadline and beyond. One thread runs
/// it all here, so holding it stops everything.
#[tokio::test]
async fn what_has_arrived_while_the_process_was_stopped_is_read() {
    for length in [20, 60_000] {
        let ((url, tells), outbound) = (server_beside(with_length(length)), on_loopback());
        let stop = async {
            while tells.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            tells.recv().unwrap();
            stand_still();
        };
        let (answer, ()) = tokio::join!(outbound.call(post(&url), SHORT), stop);
        assert_eq!(answer.map(|answer| answer.body.len()), Ok(length));
    }
}

#[tokio::test]
async fn what_connects_after_the_deadline_is_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let (outbound, stop) = (on_loopback(), async { stand_still() });
    // The connection is begun, the process stopped, and the connection made meanwhile.
    let (answer, ()) = tokio::join!(outbound.call(post(&url), SHORT), stop);
    assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(std::io::Read::read(&mut stream, &mut [0; 16]).unwrap(), 0, "not a byte was sent");
}

#[tokio::test]
async fn before_a_connection_stands_every_failure_is_not_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let no_tls = Server::start(Then::Greet(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.port())).unwrap();
    let cases = [
        ("connection refused", format!("http://127.0.0.1:{gone}/"), PATIENT),
        ("connection refused by name", format!("http://localhost:{gone}/"), PATIENT),
        ("no TLS at the other end", format!("https://localhost:{}/", no_tls.port), PATIENT),
        ("TLS never finished", format!("https://localhost:{}/", silent.1), SHORT),
    ];
    for (what, url, deadline) in cases {
        let answer = on_loopback().call(post(&url), deadline).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{what}: {answer:?}");
    }
    for (what, names) in [("a lookup that never ends", FakeNames::Never), ("an unknown name", FakeNames::Unknown)] {
        let answer = outbound(EgressPolicy::default(), names).call(post("https://api.example/"), SHORT).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_header_that_could_split_the_request_is_refused() {
    let server = Server::start(Then::Close(with_length(0))).await;
    let wrong =
        [("x", "a\r\nb: c"), ("x y", "a"), ("", "a"), ("Host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")];
    for (name, value) in wrong {
        let call = HttpCall { headers: vec![(name.to_owned(), value.to_owned())], ..post(&server.url()) };
        let answer = on_loopback().call(call, PATIENT).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{name}: {answer:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_went_wrong_is_told_without_the_url() {
    let (answer, server) = played(Then::Greet(Vec::new()), PATIENT).await;
    assert!(answer.is_err());
    let url = format!("{}?secret=canary", server.url());
    let told = on_loopback().call(post(&url), PATIENT).await.unwrap_err().to_string();
    assert!(!told.contains("canary") && !told.contains("/token"), "{told}");
}
