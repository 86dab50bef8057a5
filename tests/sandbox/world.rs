//! One running sandbox, and verbs for what a client and a person do with it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::SystemEntropy;
use claviger::ports::clock::Clock;
use claviger::services::sandbox::Sandbox;
use claviger::web::sandbox::configure;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc};
use url::Url;

use crate::clock::TestClock;
use crate::rough_kv::RoughKv;

pub const CLIENT: &str = "acme";
pub const SECRET: &str = "acme's secret: 100% + more";
pub const REDIRECT: &str = "http://127.0.0.1:9/cb?tenant=1";
pub const VERIFIER: &str = "a-verifier-of-the-least-length-0123456789-._~";

pub struct World {
    pub base: String,
    pub clock: Arc<TestClock>,
    pub kv: Arc<RoughKv>,
    pub http: reqwest::Client,
    /// The spans for which the server began to sleep.
    pub sleeps: Mutex<mpsc::UnboundedReceiver<Duration>>,
    server: ServerHandle,
}

pub struct Tokens {
    pub access: String,
    pub refresh: Option<String>,
    pub body: Value,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl World {
    pub async fn start() -> Self {
        let clock = TestClock::new();
        let kv = RoughKv::over(MemoryKv::new(clock.clone()));
        Self::start_on(clock, kv)
    }

    /// A new process on the old store.
    pub async fn restart(self) -> Self {
        self.server.stop(false).await;
        Self::start_on(self.clock.clone(), self.kv.clone())
    }

    fn start_on(clock: Arc<TestClock>, kv: Arc<RoughKv>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (began, sleeps) = mpsc::unbounded_channel();
        let probed = Arc::new(ProbedClock { inner: clock.clone(), began });
        let sandbox = Arc::new(Sandbox::new(kv.clone(), probed, Arc::new(SystemEntropy), base.clone()));
        let server = HttpServer::new(move || {
            let sandbox = sandbox.clone();
            App::new().configure(move |config| configure(config, sandbox))
        })
        .workers(2)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // So that a hang is a failure.
            .timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { base, clock, kv, http, sleeps: Mutex::new(sleeps), server: handle }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::read(self.http.get(self.url(path)).send().await.unwrap()).await
    }

    /// `GET /authorize`
    pub async fn ask(&self, fields: &[(&str, &str)]) -> Answer {
        self.get(&format!("/authorize?{}", form(fields))).await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.try_post(path, fields).await.expect("a whole answer")
    }

    /// As [`World::post`], where the answer may not come whole.
    pub async fn try_post(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<Answer> {
        self.try_send(self.form_request(path, fields)).await
    }

    pub fn form_request(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(fields))
    }

    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// Somebody allows `scope`: the code.
    pub async fn consent(&self, scope: &str) -> String {
        let fields = with(&request_fields(), &[("scope", scope), ("decision", "allow"), ("account", "ada")]);
        let answer = self.post("/authorize", &fields).await;
        answer.back().get("code").expect("a code").clone()
    }

    /// Consent and redemption.
    pub async fn connect(&self, scope: &str) -> Tokens {
        self.redeem(&self.consent(scope).await).await.tokens()
    }

    pub async fn redeem(&self, code: &str) -> Answer {
        self.post("/token", &with(&exchange_fields(), &[("code", code)])).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/token", &refresh_fields(token)).await
    }

    pub async fn revoke(&self, token: &str) -> Answer {
        self.post("/revoke", &[("client_id", CLIENT), ("client_secret", SECRET), ("token", token)]).await
    }

    pub async fn userinfo(&self, token: &str) -> Answer {
        let request = self.http.get(self.url("/userinfo")).header(AUTHORIZATION, format!("Bearer {token}"));
        Answer::read(request.send().await.unwrap()).await
    }

    /// Whether the access token is good for anything.
    pub async fn works(&self, token: &str) -> bool {
        let answer = self.userinfo(token).await;
        assert!(matches!(answer.status, 200 | 401), "{}", answer.text);
        answer.status == 200
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The stop is sent at once; nobody waits for it.
        drop(self.server.stop(false));
    }
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON, not {}: {}", self.status, self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{}", self.text);
        let body = self.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Tokens { access: text("access_token").unwrap(), refresh: text("refresh_token"), body }
    }

    /// An OAuth error as `status code`, such as `400 invalid_grant`.
    pub fn error(&self) -> String {
        let body = self.json();
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        format!("{} {}", self.status, body["error"].as_str().unwrap())
    }

    /// The parameters with which the browser is sent back to [`REDIRECT`].
    pub fn back(&self) -> std::collections::BTreeMap<String, String> {
        assert_eq!(self.status, 303, "{}", self.text);
        let location = self.headers[LOCATION].to_str().unwrap();
        assert!(location.starts_with(REDIRECT), "{location}");
        let url = Url::parse(location).unwrap();
        let pairs: Vec<_> = url.query_pairs().into_owned().skip(1).collect();
        let count = pairs.len();
        let map: std::collections::BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(map.len(), count, "a parameter came twice: {location}");
        map
    }
}

impl Tokens {
    pub fn refresh_token(&self) -> &str {
        self.refresh.as_deref().expect("a refresh token")
    }
}

/// A request to authorize that is in order.
pub fn request_fields() -> Vec<(&'static str, &'static str)> {
    // The challenge of `VERIFIER`, which `exchange_fields` sends.
    static CHALLENGE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER)));
    vec![
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("scope", "read"),
        ("state", "s t&a=t/e"),
        ("code_challenge", CHALLENGE.as_str()),
        ("code_challenge_method", "S256"),
    ]
}

/// A redemption that is in order, but for the code.
pub fn exchange_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

pub fn refresh_fields(token: &str) -> Vec<(&str, &str)> {
    vec![("grant_type", "refresh_token"), ("client_id", CLIENT), ("client_secret", SECRET), ("refresh_token", token)]
}

/// `fields` with some replaced or added.
pub fn with<'a>(fields: &[(&'a str, &'a str)], changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    kept.chain(changed).copied().collect()
}

pub fn without<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    fields.iter().filter(|(known, _)| *known != name).copied().collect()
}

pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Tells when somebody begins to sleep, so that a test moves the clock only then.
struct ProbedClock {
    inner: Arc<TestClock>,
    began: mpsc::UnboundedSender<Duration>,
}

#[async_trait]
impl Clock for ProbedClock {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    async fn sleep(&self, span: Duration) {
        let sleep = self.inner.sleep(span);
        tokio::pin!(sleep);
        // Polled once before anybody is told, so that its end is fixed by then.
        let already_over = futures::poll!(sleep.as_mut()).is_ready();
        let _ = self.began.send(span);
        if !already_over {
            sleep.await;
        }
    }
}
