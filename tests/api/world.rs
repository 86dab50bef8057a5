//! The whole product in this process, on a free port, with a clock that tests move: and its actors.
//! A tenant and a browser do what people do, over HTTP alone.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::adapters::system::SystemEntropy;
use claviger::app::folder::NodeFolder;
use claviger::app::{Application, Parts};
use claviger::ports::clock::Clock;
use claviger::ports::journal::Journal;
use claviger::ports::kv::Kv;
use claviger::ports::mail::{Mail, MailError, MailMessage};
use claviger::ports::outbound::Outbound;
use claviger::settings::{Layers, Mode, Settings};
use claviger::store::MasterKey;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use crate::clock::TestClock;

/// What a server does by itself, and sleeps between: it beats, looks after its store, sweeps, and looks after what
/// was left in the midst of a refresh.
const BACKGROUND: usize = 4;
pub const PASSWORD: &str = "a long enough password";

/// How a test's server differs from the usual one.
#[derive(Default)]
pub struct Setup {
    /// In memory where neither this nor `store_url` says otherwise.
    pub kv: Option<Arc<dyn Kv>>,
    pub store_url: Option<String>,
    /// Its own where this says nothing.
    pub clock: Option<Arc<TestClock>>,
    /// Provider files: id and text.
    pub providers: Vec<(&'static str, String)>,
    pub settings: Vec<(&'static str, String)>,
    /// As `serve --restored`.
    pub restored: bool,
    /// Who answers in the providers' place; the network where this says nothing.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// The node's journal; beside the store where this says nothing.
    pub journal: Option<Arc<dyn Journal>>,
}

pub struct TestApp {
    pub url: String,
    /// The operator's listener, where the settings ask for one.
    pub ops: Option<String>,
    pub clock: Arc<TestClock>,
    pub outbox: Arc<Outbox>,
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<io::Result<()>>>,
}

/// The mail that was sent, newest last.
#[derive(Default)]
pub struct Outbox(Mutex<Vec<MailMessage>>, tokio::sync::Notify);

#[async_trait]
impl Mail for Outbox {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        self.0.lock().expect("no test panicked with the lock").push(message);
        self.1.notify_waiters();
        Ok(())
    }
}

impl Outbox {
    /// The newest mail to this address, once there is one.
    pub async fn mail_to(&self, address: &str) -> MailMessage {
        let arrives = async {
            loop {
                let arrived = self.1.notified();
                let found =
                    self.0.lock().expect("no test panicked with the lock").iter().rev().find(|mail| mail.to == address).cloned();
                match found {
                    Some(mail) => return mail,
                    None => arrived.await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), arrives).await.expect("a mail arrives")
    }
}

impl TestApp {
    pub async fn usual() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let clock = setup.clock.clone().unwrap_or_else(TestClock::new);
        Self::started(setup, TempDir::new().expect("a folder"), clock).await
    }

    /// What a second node needs to open the same store.
    pub fn master_key_file(&self) -> String {
        self.folder.path().join("master.key").display().to_string()
    }

    async fn started(setup: Setup, folder: TempDir, clock: Arc<TestClock>) -> Self {
        let outbox = Arc::new(Outbox::default());
        let app = build(setup, folder.path(), clock.clone(), outbox.clone()).await;
        let url = format!("http://{}", app.address());
        let ops = app.ops_address().map(|address| format!("http://{address}"));
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(app.run_until_stopped(async {
            stopped.await.ok();
        }));
        clock.background_begins(BACKGROUND).await;
        Self { url, ops, clock, outbox, folder, stop: Some(stop), done: Some(done) }
    }

    /// Stops, and starts anew on what it left.
    pub async fn restart(self, setup: Setup) -> Self {
        self.stopped().await.started_again(setup).await
    }

    /// Stops as SIGTERM does; what it left can be looked at.
    pub async fn stopped(mut self) -> Left {
        self.end().await;
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a folder"));
        Left { folder, clock: self.clock.clone() }
    }

    /// Stops as SIGTERM does, and returns when everything has ended.
    pub async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.clock.background_ends(BACKGROUND);
        self.done.take().expect("it ran").await.expect("no panic").expect("a clean stop");
    }

    /// A new tenant, who signed up, verified its address and made a key.
    pub async fn tenant(&self, email: &str) -> Tenant {
        let plain = Tenant { url: self.url.clone(), key: String::new(), email: email.to_owned(), http: client() };
        let (status, _) = plain.post_form("/signup", &[("username", email), ("password", PASSWORD)]).await;
        assert_eq!(status, 202);
        let code = code_in(&self.outbox.mail_to(email).await.text);
        let (status, said) = plain.post_form("/verify-email", &[("username", email), ("code", &code)]).await;
        assert_eq!(status, 200, "{said}");
        let fields = [("username", email), ("password", PASSWORD), ("name", "tests")];
        let (status, made) = plain.post_form("/create-api-key", &fields).await;
        assert_eq!(status, 201, "{made}");
        Tenant { key: text(&made["key"]), ..plain }
    }

    /// A new tenant whose end user `alice` has connected `fake`.
    pub async fn connected(&self) -> Tenant {
        let tenant = self.tenant("dev@acme.example").await;
        tenant.enable("fake", "read").await;
        let done = Browser::default().connect_at_once(&tenant.link("fake", "alice").await).await;
        assert_eq!(done.status, 200, "{}", done.body);
        tenant
    }
}

/// What a server left when it ended.
pub struct Left {
    folder: TempDir,
    clock: Arc<TestClock>,
}

impl Left {
    pub async fn started_again(self, setup: Setup) -> TestApp {
        TestApp::started(setup, self.folder, self.clock).await
    }
}

/// The server, composed and not yet answering.
pub async fn build(setup: Setup, folder: &Path, clock: Arc<dyn Clock>, mail: Arc<dyn Mail>) -> Application {
    let settings = settings(&setup, folder);
    let node = NodeFolder::claim(&folder.join("node")).expect("the folder is free");
    let Setup { kv, outbound, restored, journal, .. } = setup;
    let parts = Parts { clock: Some(clock), kv, journal, mail: Some(mail), outbound, restored, ..Parts::default() };
    Application::build(settings, node, parts).await.expect("the server starts")
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }
}

/// A SaaS backend.
#[derive(Clone)]
pub struct Tenant {
    pub url: String,
    pub key: String,
    pub email: String,
    http: reqwest::Client,
}

impl Tenant {
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// The same, asking another node.
    pub fn at(&self, app: &TestApp) -> Self {
        Self { url: app.url.clone(), ..self.clone() }
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key);
        read(request.header("content-type", "application/json").body(body.to_string())).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key)).await
    }

    /// Without the key: what the form says is all there is.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        read(form(self.http.post(format!("{}{path}", self.url)), fields)).await
    }

    pub async fn enable(&self, provider: &str, scopes: &str) -> Value {
        let body = json!({ "provider": provider, "client_id": format!("client-of-{}", self.email), "client_secret": "s3cret", "scopes": scopes });
        self.ok("/enable-provider", body).await
    }

    pub async fn link(&self, provider: &str, end_user: &str) -> String {
        let made = self.ok(&format!("/authorize-{provider}"), json!({ "end_user_id": end_user })).await;
        text(&made["authorize_url"])
    }

    pub async fn token(&self, provider: &str, end_user: &str) -> Value {
        self.ok("/get-access-token", json!({ "provider": provider, "end_user_id": end_user })).await
    }

    pub async fn try_token(&self, provider: &str, end_user: &str) -> (u16, Value) {
        self.post("/get-access-token", json!({ "provider": provider, "end_user_id": end_user })).await
    }

    pub async fn ok(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.post(path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {said}");
        said
    }
}

/// An end user's browser: a cookie jar per host name, redirects followed on demand.
#[derive(Default)]
pub struct Browser {
    jar: Mutex<BTreeMap<String, String>>,
}

pub struct Page {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Browser {
    pub async fn get(&self, url: &str) -> Page {
        self.send(client().get(url), url).await
    }

    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.send(form(client().post(url), fields).header("sec-fetch-site", "same-origin"), url).await
    }

    /// From a link of ours to the provider's authorize URL: opens the page and presses Connect.
    pub async fn press_connect(&self, link: &str) -> String {
        let page = self.get(link).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let pressed = self.submit(&page, &[("decision", "connect")]).await;
        pressed.location()
    }

    /// The whole way with the sandbox; answers the last page.
    pub async fn connect_with_sandbox(&self, link: &str) -> Page {
        let authorize = self.press_connect(link).await;
        let consent = self.get(&authorize).await;
        assert_eq!(consent.status, 200, "{}", consent.body);
        let allowed = self.submit(&consent, &[("account", "ada"), ("decision", "allow")]).await;
        self.get(&allowed.location()).await
    }

    /// The whole way with a provider that redirects straight back.
    pub async fn connect_at_once(&self, link: &str) -> Page {
        let authorize = self.press_connect(link).await;
        let back = self.get(&authorize).await.location();
        self.get(&back).await
    }

    /// Posts a page's form: its hidden fields and these.
    pub async fn submit(&self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let action = attribute(page.body.split_once("<form ").expect("a form").1, "action").expect("an action");
        let url = page.url.join(&action).expect("an action");
        let hidden = hidden_fields(&page.body);
        let all: Vec<(&str, &str)> =
            hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(fields.iter().copied()).collect();
        self.post(url.as_str(), &all).await
    }

    async fn send(&self, request: reqwest::RequestBuilder, url: &str) -> Page {
        let cookies: Vec<String> = self
            .jar
            .lock()
            .expect("no test panicked with the lock")
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for cookie in headers.get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok()) {
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            let mut jar = self.jar.lock().expect("no test panicked with the lock");
            if value.is_empty() {
                jar.remove(name)
            } else {
                jar.insert(name.to_owned(), value.to_owned())
            };
        }
        Page { url: Url::parse(url).expect("a URL"), status, headers, body: answer.text().await.expect("a body") }
    }
}

impl Page {
    pub fn location(&self) -> String {
        assert!((300..400).contains(&self.status), "a redirect was expected: {} {}", self.status, self.body);
        self.headers["location"].to_str().expect("an address").to_owned()
    }
}

pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    builder.timeout(Duration::from_secs(60)).build().expect("a client")
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text was expected: {value}")).to_owned()
}

/// The six digits that stand alone in a mail.
pub fn code_in(mail: &str) -> String {
    let digits = mail.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6);
    digits.unwrap_or_else(|| panic!("no code in: {mail}")).to_owned()
}

pub async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let (status, body) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    let body = serde_json::from_str(&body).unwrap_or_else(|_| panic!("JSON was expected: {status} {body}"));
    (status, body)
}

fn form(request: reqwest::RequestBuilder, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

fn settings(setup: &Setup, folder: &Path) -> Settings {
    let providers = folder.join("providers");
    std::fs::create_dir_all(&providers).expect("a folder");
    for (id, file) in &setup.providers {
        std::fs::write(providers.join(format!("{id}.toml")), file).expect("a file");
    }
    let key = folder.join("master.key");
    if !key.exists() {
        let fresh = MasterKey::generate(&SystemEntropy).expect("randomness");
        std::fs::write(&key, fresh.expose_secret()).expect("a file");
    }
    let mut fixed = vec![
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("server.workers", "2".to_owned()),
        ("journal.bytes", "4MiB".to_owned()),
        ("node.data", folder.join("node").display().to_string()),
        ("store.url", setup.store_url.clone().unwrap_or_else(|| "memory:".to_owned())),
        ("store.allow_volatile", "true".to_owned()),
        ("keys.master_file", key.display().to_string()),
        ("accounts.signup", "open".to_owned()),
        ("providers.dir", providers.display().to_string()),
        ("sandbox.enabled", "true".to_owned()),
        // What is refreshed and when is the test's to say.
        ("refresh.proactive", "false".to_owned()),
        ("sandbox.listen", String::new()),
    ];
    fixed.extend(setup.settings.iter().cloned());
    let layers = Layers { fixed, ..Layers::default() };
    Settings::load(&layers, Mode::Dev).unwrap_or_else(|problems| panic!("{problems}"))
}

fn hidden_fields(html: &str) -> Vec<(String, String)> {
    let inputs = html.split("<input ").skip(1).filter(|input| input.starts_with("type=\"hidden\""));
    inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let value = rest.split_once('"')?.0;
    Some(
        value
            .replace("&#38;", "&")
            .replace("&amp;", "&")
            .replace("&#34;", "\"")
            .replace("&#39;", "'")
            .replace("&#60;", "<")
            .replace("&#62;", ">"),
    )
}
