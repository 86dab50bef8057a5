//! A server in this process on a free port of loopback, with a clock that tests move, mail that is
//! kept, and a store that remembers every byte it was given and can be out of reach.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::entropy::{Entropy, EntropyError};
use claviger::ports::kv::{AttemptId, Batch, Commit, Entries, Key, Kv, KvError, Partition, Settled, Versioned, Write};
use claviger::ports::mail::{Mail, MailError, MailMessage};
use claviger::services::Core;
use claviger::services::accounts::{AccountSettings, Accounts, Signup};
use claviger::services::api_keys::{ApiKeys, Trust};
use claviger::services::standing::Standing;
use claviger::store::{Keyring, MasterKey, Store};
use claviger::web::State;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock::TestClock;

pub const PUBLIC_URL: &str = "https://claviger.example";
pub const PASSWORD: &str = "correct horse battery";

pub struct Random;

impl Entropy for Random {
    #[allow(clippy::disallowed_methods, reason = "the harness stands in for the adapter of the system")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|cause| EntropyError(cause.to_string()))
    }
}

/// Keeps what is sent.
#[derive(Default)]
pub struct Postbox {
    sent: Mutex<Vec<MailMessage>>,
    refuse: Mutex<u32>,
}

#[async_trait]
impl Mail for Postbox {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        let mut refuse = self.refuse.lock().unwrap();
        if *refuse > 0 {
            *refuse -= 1;
            return Err(MailError("not today".to_owned()));
        }
        self.sent.lock().unwrap().push(message);
        Ok(())
    }
}

impl Postbox {
    pub fn count(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    pub fn refuse(&self, times: u32) {
        *self.refuse.lock().unwrap() = times;
    }
}

/// The store in memory, with everything it ever took, and a switch.
pub struct WatchedKv {
    inner: MemoryKv,
    pub taken: Mutex<Vec<Write>>,
    pub away: AtomicBool,
    /// The next read of a key that begins so waits until it is let go.
    gate: Mutex<Option<(&'static [u8], oneshot::Receiver<()>)>>,
}

impl WatchedKv {
    fn reach(&self) -> Result<(), KvError> {
        if self.away.load(Ordering::SeqCst) { Err(KvError::Unavailable("switched off".to_owned())) } else { Ok(()) }
    }

    pub fn hold_read(&self, prefix: &'static [u8]) -> oneshot::Sender<()> {
        let (go, gate) = oneshot::channel();
        *self.gate.lock().unwrap() = Some((prefix, gate));
        go
    }

    pub fn is_holding(&self) -> bool {
        self.gate.lock().unwrap().is_none()
    }

    /// Every key name and value ever written.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        let taken = self.taken.lock().unwrap();
        let puts = taken.iter().filter_map(|write| match write {
            Write::Put { key, value, .. } => Some([key.name.as_slice(), value.as_ref()]),
            Write::Delete { .. } => None,
        });
        puts.flatten().map(<[u8]>::to_vec).collect()
    }
}

#[async_trait]
impl Kv for WatchedKv {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.reach()?;
        let held = self.gate.lock().unwrap().take_if(|(prefix, _)| key.name.starts_with(prefix));
        if let Some((_, gate)) = held {
            gate.await.expect("the test lets go of what it holds");
        }
        self.inner.get(key).await
    }
    async fn list(&self, partition: &Partition, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Entries, KvError> {
        self.reach()?;
        self.inner.list(partition, prefix, after, limit).await
    }
    async fn take(&self, key: &Key) -> Result<Option<Versioned>, KvError> {
        self.reach()?;
        self.inner.take(key).await
    }
    async fn commit(&self, batch: Batch) -> Result<Commit, KvError> {
        self.reach()?;
        self.taken.lock().unwrap().extend(batch.writes.iter().cloned());
        self.inner.commit(batch).await
    }
    async fn settle(&self, partition: &Partition, attempt: AttemptId) -> Result<Settled, KvError> {
        self.reach()?;
        self.inner.settle(partition, attempt).await
    }
    async fn ping(&self) -> Result<(), KvError> {
        self.reach()
    }
}

#[derive(Clone)]
pub struct Setup {
    pub signup: Signup,
    /// Whether loopback is a proxy whose `X-Forwarded-For` is believed.
    pub proxied: bool,
    pub proofs: u64,
    pub hashes_at_once: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self { signup: Signup::Open, proxied: true, proofs: 100, hashes_at_once: 2 }
    }
}

pub const TRUST: Trust = Trust { trust: Duration::from_secs(1), cut_off: Duration::from_secs(30) };

pub struct World {
    pub clock: Arc<TestClock>,
    pub mail: Arc<Postbox>,
    pub kv: Arc<WatchedKv>,
    pub state: web::Data<State>,
    master: secrecy::SecretString,
    url: String,
    http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    #[track_caller]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text);
    }

    /// All that a caller can tell answers apart by, but for what names this one request.
    pub fn comparable(&self) -> (u16, Vec<(String, String)>, String) {
        let ours = |name: &str| !matches!(name, "x-request-id" | "date");
        let mut headers: Vec<_> = self.headers.iter().filter(|(name, _)| ours(name.as_str())).collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let id = self.headers.get("x-request-id").map_or("", |id| id.to_str().unwrap());
        (self.status, headers, self.text.replace(id, "ID"))
    }
}

impl World {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let clock = TestClock::new();
        let kv = Arc::new(WatchedKv {
            inner: MemoryKv::new(clock.clone()),
            taken: Mutex::default(),
            away: AtomicBool::new(false),
            gate: Mutex::default(),
        });
        let master = MasterKey::generate(&Random).unwrap();
        Self::on(setup, clock, kv, master).await
    }

    /// Another node on the same store.
    pub async fn beside(&self, setup: Setup) -> Self {
        Self::on(setup, self.clock.clone(), self.kv.clone(), self.master.clone()).await
    }

    async fn on(setup: Setup, clock: Arc<TestClock>, kv: Arc<WatchedKv>, master: secrecy::SecretString) -> Self {
        log();
        let keyring = Keyring::new(MasterKey::parse(&master).unwrap(), Vec::new());
        let store = Arc::new(Store::open(kv.clone(), Arc::new(Random), keyring).await.unwrap());
        let core = Core {
            store,
            clock: clock.clone(),
            entropy: Arc::new(Random),
            public_url: PUBLIC_URL.into(),
            standing: Arc::new(Standing::normal()),
        };
        let mail = Arc::new(Postbox::default());
        let Setup { signup, proxied, proofs, hashes_at_once } = setup;
        let settings = AccountSettings { signup, trust: TRUST, proofs, hashes_at_once };
        let accounts = Accounts::new(core.clone(), mail.clone(), settings, Handle::current());
        let services = crate::broker::services(&core, accounts, ApiKeys::new(core.clone(), TRUST, 100)).await;
        let trusted_proxies: Vec<IpAddr> = if proxied { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
        let state = web::Data::new(State { services, trusted_proxies, hosts: None });
        let url = serve(state.clone());
        Self { clock, mail, kv, state, master, url, http: client() }
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let post = self.http.post(format!("{}{path}", self.url));
        post.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.form(path, fields)).await
    }

    pub fn json(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let post = self.http.post(format!("{}{path}", self.url));
        post.header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        send(self.json(path, body)).await
    }

    pub async fn post_from(&self, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.form(path, fields).header("x-forwarded-for", from)).await
    }

    /// Signs in by HTTP Basic, where every tenant may go.
    pub async fn sign_in(&self, username: &str, password: &str) -> Answer {
        self.sign_in_from("192.0.2.1", username, password).await
    }

    pub async fn sign_in_from(&self, from: &str, username: &str, password: &str) -> Answer {
        let credential = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        send(self.get("/api-keys").header(AUTHORIZATION, credential).header("x-forwarded-for", from)).await
    }

    /// The mails of a finished queue, oldest first; the box is empty afterwards.
    pub async fn mails(&self) -> Vec<MailMessage> {
        self.state.accounts.finish().await;
        std::mem::take(&mut self.mail.sent.lock().unwrap())
    }

    /// The one mail in the box.
    pub async fn one_mail(&self) -> Letter {
        let mut mails = self.mails().await;
        assert_eq!(mails.len(), 1, "{:?}", mails.iter().map(|mail| &mail.subject).collect::<Vec<_>>());
        Letter(mails.remove(0))
    }

    /// A signup; the letter that came.
    pub async fn sign_up(&self, username: &str) -> Letter {
        let answer = self.post("/signup", &[("username", username), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        self.one_mail().await
    }

    /// A signup, and its code sent back.
    pub async fn verified(&self, username: &str) {
        let letter = self.sign_up(username).await;
        let answer = self.post("/verify-email", &[("username", username), ("code", &letter.code())]).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"verified":true}"#));
    }

    /// A forgotten password; the letter that came.
    pub async fn forgot(&self, username: &str) -> Letter {
        let answer = self.post("/forgot-password", &[("username", username)]).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        self.one_mail().await
    }
}

/// A mail as its reader uses it.
#[derive(Debug)]
pub struct Letter(pub MailMessage);

impl Letter {
    #[track_caller]
    pub fn code(&self) -> String {
        let (_, rest) = self.0.text.split_once("Your code: ").expect("a code in the mail");
        rest.lines().next().unwrap().to_owned()
    }

    /// Path and query of the link.
    #[track_caller]
    pub fn link(&self) -> String {
        let line = self.0.text.lines().find(|line| line.contains("?token=")).expect("a link in the mail");
        line.strip_prefix(PUBLIC_URL).expect("a link to the public URL").to_owned()
    }

    #[track_caller]
    pub fn token(&self) -> String {
        self.link().split_once("?token=").unwrap().1.to_owned()
    }

    /// A code of the right form that is not this one.
    pub fn wrong_code(&self) -> String {
        let code: u32 = self.code().parse().unwrap();
        format!("{:06}", (code + 1) % 1_000_000)
    }
}

pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("an answer in UTF-8") }
}

fn serve(state: web::Data<State>) -> String {
    let app = move || {
        App::new().app_data(state.clone()).wrap(from_fn(claviger::web::middleware::observe)).configure(claviger::web::configure)
    };
    let server = HttpServer::new(app).workers(2).disable_signals().bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("http://{}", server.addrs()[0]);
    tokio::spawn(server.run());
    url
}

#[allow(clippy::disallowed_methods, reason = "tests call the server as any client would")]
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// Everything this process logs, at the finest level.
pub fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).expect("the first subscriber of this process");
        log
    })
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
