//! A whole Claviger on free ports, and the people around it: a tenant's backend, an end user's
//! browser. After the start everything goes through HTTP; time stands still until a test moves it.
#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::adapters::memory::MemoryKv;
use claviger::adapters::sqlite::SqliteKv;
use claviger::adapters::system::SystemEntropy;
use claviger::app::admin::{self, Ask, Told};
use claviger::app::folder::{NodeFolder, admin_socket};
use claviger::app::{Application, Parts};
use claviger::ports::kv::Kv;
use claviger::ports::mail::{Mail, MailError, MailMessage};
use claviger::ports::outbound::Outbound;
use claviger::settings::{Layers, Mode, Settings};
use claviger::store::MasterKey;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use crate::clock::TestClock;

const PASSWORD: &str = "correct horse battery staple";

/// What a test brings instead of the usual; the rest is memory, the sandbox, and the real client.
#[derive(Default)]
pub struct Setup {
    pub kv: Option<Arc<dyn Kv>>,
    pub outbound: Option<Arc<dyn Outbound>>,
    /// What the provider files of `providers.dir` ask of the deployment, such as a fake provider's origin.
    pub deployment: BTreeMap<String, String>,
    /// Settings by name, over those of the test.
    pub settings: Vec<(&'static str, String)>,
}

pub struct TestApp {
    pub url: String,
    /// The operator's listener, where the settings ask for one.
    pub ops: Option<String>,
    /// Origin of the sandbox provider.
    pub sandbox: String,
    pub clock: Arc<TestClock>,
    pub mail: Arc<Postbox>,
    /// The node's folder; the store too, for `sqlite`.
    pub folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

impl TestApp {
    /// The clock must be the one that the store was made with.
    pub async fn spawn(clock: Arc<TestClock>, kv: Arc<dyn Kv>) -> Self {
        Self::start(clock, Setup { kv: Some(kv), ..Setup::default() }, tempfile::tempdir().unwrap()).await
    }

    pub async fn memory() -> Self {
        let clock = TestClock::new();
        Self::spawn(clock.clone(), Arc::new(MemoryKv::new(clock))).await
    }

    pub async fn sqlite() -> Self {
        let (clock, folder) = (TestClock::new(), tempfile::tempdir().unwrap());
        let kv = Arc::new(SqliteKv::open(&folder.path().join("claviger.db"), clock.clone()).unwrap());
        Self::start(clock, Setup { kv: Some(kv), ..Setup::default() }, folder).await
    }

    /// A folder may be used again by a second start, once the first has stopped.
    pub async fn start(clock: Arc<TestClock>, setup: Setup, folder: tempfile::TempDir) -> Self {
        let mail = Arc::new(Postbox::default());
        let settings = Settings::load(&layers(&folder, setup.settings), Mode::Dev).unwrap();
        let held = NodeFolder::claim(folder.path()).unwrap();
        let kv = setup.kv.unwrap_or_else(|| Arc::new(MemoryKv::new(clock.clone())));
        let parts = Parts {
            clock: Some(clock.clone()),
            kv: Some(kv),
            outbound: setup.outbound,
            mail: Some(mail.clone()),
            deployment: setup.deployment,
            ..Parts::default()
        };
        let app = Application::build(settings, held, parts).await.unwrap();
        let (url, sandbox) = (format!("http://{}", app.address()), app.sandbox_origin().unwrap_or_default().to_owned());
        let ops = app.ops_address().map(|address| format!("http://{address}"));
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run_until_stopped(async move { _ = stopped.await }));
        Self { url, ops, sandbox, clock, mail, folder, stop, running }
    }

    /// Stops as SIGTERM does, and gives back what a second start needs.
    pub async fn stop(self) -> (Arc<TestClock>, tempfile::TempDir) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        (self.clock, self.folder)
    }

    /// A verified tenant with an API key that may do everything.
    pub async fn tenant(&self, email: &str) -> Tenant {
        let ask = Ask::CreateTenant { email: email.to_owned(), password: PASSWORD.to_owned() };
        let told = self.admin(ask).await;
        let Told::TenantCreated { id, was_there: false } = told else { panic!("{told:?}") };
        let mut tenant = Tenant { url: self.url.clone(), id, email: email.to_owned(), key: String::new() };
        tenant.key = tenant.new_key(&["admin"]).await;
        tenant
    }

    /// The admin socket appears when the server runs, a moment after its ports are bound.
    async fn admin(&self, ask: Ask) -> Told {
        let socket = admin_socket(self.folder.path());
        // The server answers this only once it runs, and then the socket is there.
        assert_eq!(client().get(format!("{}/healthz", self.url)).send().await.unwrap().status(), 200);
        admin::ask(&socket, &ask).await.unwrap()
    }

    /// Both clocks, of server and sandbox.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn layers(folder: &tempfile::TempDir, more: Vec<(&'static str, String)>) -> Layers {
    let key = folder.path().join("master.key");
    if !key.exists() {
        std::fs::write(&key, MasterKey::generate(&SystemEntropy).unwrap().expose_secret()).unwrap();
    }
    let mut layers = Layers {
        fixed: vec![
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("server.workers", "2".to_owned()),
            ("node.data", folder.path().display().to_string()),
            ("store.url", "memory:".to_owned()),
            ("keys.master_file", key.display().to_string()),
            ("accounts.signup", "open".to_owned()),
            ("sandbox.enabled", "true".to_owned()),
            ("sandbox.listen", String::new()),
        ],
        ..Layers::default()
    };
    layers.fixed.extend(more);
    layers
}

/// Mail that was sent, instead of sending it.
#[derive(Default)]
pub struct Postbox(Mutex<Vec<MailMessage>>);

impl Postbox {
    pub fn to(&self, address: &str) -> Vec<MailMessage> {
        self.0.lock().unwrap().iter().filter(|mail| mail.to == address).cloned().collect()
    }
}

#[async_trait]
impl Mail for Postbox {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {} {}", self.status, self.text))
    }

    /// The body of an answer that must be good.
    #[track_caller]
    pub fn good(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    /// The status and the code of an answer that must be a problem.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{} {}", self.status, self.text);
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Where the browser is sent.
    #[track_caller]
    pub fn location(&self) -> Url {
        assert_eq!(self.status, 303, "a redirect was expected: {}", self.text);
        self.header("location").parse().unwrap()
    }
}

/// A tenant's backend.
#[derive(Clone)]
pub struct Tenant {
    pub url: String,
    pub id: String,
    pub email: String,
    pub key: String,
}

impl Tenant {
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form(&format!("{}{path}", self.url), fields)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(client().get(format!("{}{path}", self.url))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.bearer_auth(&self.key).send().await.unwrap()).await
    }

    /// The same tenant with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub async fn new_key(&self, scopes: &[&str]) -> String {
        let scopes = scopes.join(",");
        let request = form(&format!("{}/create-api-key", self.url), &[("name", "test"), ("scopes", &scopes)]);
        let made = Answer::of(request.basic_auth(&self.email, Some(PASSWORD)).send().await.unwrap()).await;
        made.good()["key"].as_str().unwrap().to_owned()
    }

    /// Enables a provider with a client of this tenant's own.
    pub async fn enable(&self, provider: &str, more: &[(&str, &str)]) -> Value {
        let client = format!("client-of-{}", self.id);
        let mut fields = vec![("provider", provider), ("client_id", client.as_str()), ("client_secret", "s3cret of the client")];
        fields.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        fields.extend_from_slice(more);
        self.post("/enable-provider", &fields).await.good()
    }

    pub async fn link(&self, provider: &str, end_user: &str) -> String {
        self.link_with(provider, end_user, &[]).await
    }

    pub async fn link_with(&self, provider: &str, end_user: &str, more: &[(&str, &str)]) -> String {
        let mut fields = vec![("end_user_id", end_user)];
        fields.extend_from_slice(more);
        let made = self.post(&format!("/authorize-{provider}"), &fields).await.good();
        made["authorize_url"].as_str().unwrap().to_owned()
    }

    pub async fn finish(&self, ticket: &str, end_user: &str) -> Answer {
        self.post("/finish-authorization", &[("ticket", ticket), ("end_user_id", end_user)]).await
    }

    pub async fn token(&self, provider: &str, end_user: &str) -> Answer {
        self.token_with(provider, end_user, &[]).await
    }

    pub async fn token_with(&self, provider: &str, end_user: &str, more: &[(&str, &str)]) -> Answer {
        let mut fields = vec![("provider", provider), ("end_user_id", end_user)];
        fields.extend_from_slice(more);
        self.post("/get-access-token", &fields).await
    }

    /// Connects an end user with the sandbox, all the way.
    pub async fn connect(&self, provider: &str, end_user: &str) -> Answer {
        Browser::default().connect(&self.link(provider, end_user).await).await
    }
}

/// An end user's browser: a cookie jar per host and port, forms, and redirects followed one by one.
#[derive(Default)]
pub struct Browser {
    jar: Mutex<BTreeMap<(String, String), String>>,
}

impl Browser {
    pub async fn get(&self, url: &str) -> Answer {
        self.send(url, client().get(url)).await
    }

    /// As a form of the page itself posts.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = url.parse::<Url>().unwrap().origin().ascii_serialization();
        self.send(url, form(url, fields).header("sec-fetch-site", "same-origin").header("origin", origin)).await
    }

    /// Opens a link, presses Connect, allows at the sandbox, and comes back: the answer to the callback.
    pub async fn connect(&self, link: &str) -> Answer {
        let at_provider = self.press(link, "connect").await.location();
        let back = self.decide_at_sandbox(&at_provider, "alice", "allow").await;
        self.get(back.as_str()).await
    }

    /// Presses a button of a link's page.
    pub async fn press(&self, link: &str, decision: &str) -> Answer {
        let page = self.get(link).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let (path, token) = link.split_once("?link=").unwrap();
        self.post(&format!("{path}/decision"), &[("link", token), ("decision", decision)]).await
    }

    /// Decides on the sandbox's consent page: where it sends the browser.
    pub async fn decide_at_sandbox(&self, authorize: &Url, account: &str, decision: &str) -> Url {
        let page = self.get(authorize.as_str()).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let asked: Vec<(String, String)> = authorize.query_pairs().into_owned().collect();
        let mut fields: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.extend([("account", account), ("decision", decision)]);
        let mut form = authorize.clone();
        form.set_query(None);
        self.post(form.as_str(), &fields).await.location()
    }

    pub fn cookies(&self) -> Vec<String> {
        self.jar.lock().unwrap().keys().map(|(_, name)| name.clone()).collect()
    }

    async fn send(&self, url: &str, request: reqwest::RequestBuilder) -> Answer {
        let place = url.parse::<Url>().unwrap().origin().ascii_serialization();
        let request = match self.cookies_for(&place) {
            cookies if cookies.is_empty() => request,
            cookies => request.header("cookie", cookies),
        };
        let answer = Answer::of(request.send().await.unwrap()).await;
        self.keep(&place, &answer);
        answer
    }

    fn cookies_for(&self, place: &str) -> String {
        let jar = self.jar.lock().unwrap();
        let pairs = jar.iter().filter(|((at, _), _)| at == place).map(|((_, name), value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, place: &str, answer: &Answer) {
        let mut jar = self.jar.lock().unwrap();
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, rest) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let key = (place.to_owned(), name.to_owned());
            match rest.contains("Max-Age=0") {
                true => _ = jar.remove(&key),
                false => _ = jar.insert(key, value.to_owned()),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test calls the server under test")]
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub fn form(url: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    client().post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
}
