//! A provider that does as it is told: a queue of acts per path, then its defaults, which are those
//! of a well-behaved OAuth server. It remembers every request. Plain TCP, so that it can also answer
//! half, late or not at all.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub const AUTHORIZE: &str = "/authorize";
pub const TOKEN: &str = "/token";
pub const REVOKE: &str = "/revoke";

/// What it does with one request.
#[derive(Clone)]
pub enum Act {
    Answer(Answer),
    /// Keeps the caller waiting until the gate opens, then does the other.
    Hold(Gate, Box<Act>),
    /// Closes the connection without a byte.
    Close,
    /// Promises the whole body, sends half of it and closes.
    Half(Answer),
    /// Says nothing until the caller gives up.
    Silence,
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Holds back whoever comes until it is opened; from then on, nobody.
#[derive(Clone)]
pub struct Gate(Arc<(watch::Sender<bool>, watch::Sender<usize>)>);

pub struct FakeProvider {
    base: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    script: Mutex<Script>,
    seen: watch::Sender<Vec<Seen>>,
}

#[derive(Default)]
struct Script {
    next: HashMap<String, VecDeque<Act>>,
    always: HashMap<String, Act>,
    /// Counts the codes and tokens that were issued.
    issued: u32,
}

impl FakeProvider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State { script: Mutex::default(), seen: watch::Sender::default() });
        let task = tokio::spawn(accept(listener, state.clone()));
        Self { base, state, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The next request to `path` that no earlier act is for.
    pub fn next(&self, path: &str, act: impl Into<Act>) -> &Self {
        self.state.script().next.entry(path.to_owned()).or_default().push_back(act.into());
        self
    }

    /// Every request to `path` once its queue is empty, in place of the default.
    pub fn always(&self, path: &str, act: impl Into<Act>) -> &Self {
        self.state.script().always.insert(path.to_owned(), act.into());
        self
    }

    /// What `path` was asked, in order of arrival.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        self.state.seen.borrow().iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// All that it was asked, in order of arrival.
    pub fn all_seen(&self) -> Vec<Seen> {
        self.state.seen.borrow().clone()
    }

    pub fn count(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    /// Token requests with `grant_type=refresh_token`.
    pub fn refreshes(&self) -> usize {
        self.seen(TOKEN).iter().filter(|seen| seen.field("grant_type").as_deref() == Some("refresh_token")).count()
    }

    /// Returns once `path` has been asked at least `count` times.
    pub async fn wait_for(&self, path: &str, count: usize) {
        let mut seen = self.state.seen.subscribe();
        let enough = |all: &Vec<Seen>| all.iter().filter(|seen| seen.path == path).count() >= count;
        let waited = tokio::time::timeout(Duration::from_secs(30), seen.wait_for(enough)).await;
        waited.unwrap_or_else(|_| panic!("{path} was never asked {count} times")).expect("the provider runs");
    }
}

impl Drop for FakeProvider {
    /// Closes the listener and every connection.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Act {
    pub fn json(status: u16, body: &Value) -> Self {
        Answer::new(status, "application/json", body.to_string()).into()
    }

    pub fn html(status: u16, body: &str) -> Self {
        Answer::new(status, "text/html; charset=utf-8", body).into()
    }

    /// RFC 6749 5.2.
    pub fn oauth_error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": code, "error_description": "as the script says" }))
    }

    pub fn redirect(status: u16, to: &str) -> Self {
        Answer::new(status, "text/plain", "").header("location", to).into()
    }

    /// JSON of this many bytes that begins like a good answer.
    pub fn huge(bytes: usize) -> Self {
        let head = r#"{"access_token":"at-huge","token_type":"Bearer","padding":""#;
        Answer::new(200, "application/json", format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))).into()
    }

    pub fn held(self, gate: &Gate) -> Self {
        Act::Hold(gate.clone(), Box::new(self))
    }
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), content_type.to_owned())], body: body.into() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len());
        head.into_bytes()
    }
}

impl From<Answer> for Act {
    fn from(answer: Answer) -> Self {
        Act::Answer(answer)
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a form body.
    pub fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// A field of the form, which must not come twice.
    pub fn field(&self, name: &str) -> Option<String> {
        once(self.form(), name)
    }

    /// A parameter of the query, which must not come twice.
    pub fn param(&self, name: &str) -> Option<String> {
        once(self.query.clone(), name)
    }
}

fn once(pairs: Vec<(String, String)>, name: &str) -> Option<String> {
    let mut values: Vec<_> = pairs.into_iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
    assert!(values.len() <= 1, "{name} came {} times", values.len());
    values.pop()
}

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new((watch::Sender::new(false), watch::Sender::new(0))))
    }

    pub fn open(&self) {
        self.0.0.send_replace(true);
    }

    /// Returns once at least `count` requests stand before the gate.
    pub async fn reached_by(&self, count: usize) {
        let mut waiting = self.0.1.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(30), waiting.wait_for(|waiting| *waiting >= count)).await;
        reached.unwrap_or_else(|_| panic!("the gate was never reached by {count}")).expect("the gate stands");
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        self.0.1.send_modify(|waiting| *waiting += 1);
        self.0.0.subscribe().wait_for(|open| *open).await.expect("the gate stands");
    }
}

impl State {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panicked with the lock")
    }

    fn act_for(&self, request: &Seen) -> Act {
        let mut script = self.script();
        if let Some(act) = script.next.get_mut(&request.path).and_then(VecDeque::pop_front) {
            return act;
        }
        if let Some(act) = script.always.get(&request.path) {
            return act.clone();
        }
        script.issued += 1;
        by_default(request, script.issued)
    }
}

/// What a well-behaved server answers. The n-th thing issued is `code-n`, or `at-n` and `rt-n`.
fn by_default(request: &Seen, n: u32) -> Act {
    match request.path.as_str() {
        AUTHORIZE => {
            let mut back = url::Url::parse(&request.param("redirect_uri").unwrap_or_default()).expect("a redirect_uri");
            back.query_pairs_mut().append_pair("code", &format!("code-{n}"));
            if let Some(state) = request.param("state") {
                back.query_pairs_mut().append_pair("state", &state);
            }
            Act::redirect(302, back.as_str())
        }
        TOKEN => Act::json(
            200,
            &json!({
                "access_token": format!("at-{n}"),
                "token_type": "Bearer",
                "expires_in": 3600,
                "refresh_token": format!("rt-{n}"),
            }),
        ),
        REVOKE => Answer::new(200, "text/plain", "").into(),
        _ => Answer::new(404, "text/plain", "not scripted").into(),
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, state.clone()));
    }
}

/// One request per connection. A caller that hangs up is no failure of ours.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let Some(request) = read_request(&mut stream).await else { return };
    state.seen.send_modify(|seen| seen.push(request.clone()));
    let mut act = state.act_for(&request);
    while let Act::Hold(gate, then) = act {
        gate.pass().await;
        act = *then;
    }
    match act {
        Act::Answer(answer) => write(&mut stream, &[&answer.head(), &answer.body]).await,
        Act::Half(answer) => write(&mut stream, &[&answer.head(), &answer.body[..answer.body.len() / 2]]).await,
        Act::Raw(bytes) => write(&mut stream, &[&bytes]).await,
        Act::Silence => while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
        Act::Close | Act::Hold(..) => {}
    }
}

async fn write(stream: &mut TcpStream, parts: &[&[u8]]) {
    for part in parts {
        if stream.write_all(part).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// `None` if the caller hangs up before the request is whole.
async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        read_more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("a head in UTF-8");
    let mut lines = head.split("\r\n");
    let mut words = lines.next().expect("a request line").split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let named = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let mut request = Seen { headers: lines.filter_map(named).collect(), method, ..Seen::default() };
    assert!(request.header("transfer-encoding").is_none(), "a chunked request is not understood here");
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    request.path = path.to_owned();
    request.query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    request.body = bytes.split_off(head_end + 4);
    while request.body.len() < length {
        read_more(stream, &mut request.body).await?;
    }
    Some(request)
}

async fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(into).await {
        Ok(read) if read > 0 => Some(()),
        _ => None,
    }
}
