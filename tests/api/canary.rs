//! Secrets that are marked go through every tenant route, a callback, a failed
//! refresh and a failed revocation, in order and out of order. Afterwards no mark is in the log (at its
//! finest), in any file on disk, or in any answer that refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use claviger::web::endpoint::Access;
use claviger::web::table;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_provider::{Act, FakeProvider, REVOKE, TOKEN};
use crate::provider_file;
use crate::world::{Browser, PASSWORD, Setup, Tenant, TestApp, client, code_in, text};

const HOUR: Duration = Duration::from_secs(3600);
const EMAIL: &str = "canary@acme.example";
const LOGIN: &str = "CanaryMarkOfPassword0001";
const WRONG_LOGIN: &str = "CanaryMarkOfPassword0002";
const CLIENT_SECRET: &str = "CanaryMarkOfClient000003";
const API_KEY: &str = "CanaryMarkOfTheirKey0004";
const API_SECRET: &str = "CanaryMarkOfTheirKey0005";
const ACCESS: &str = "CanaryMarkOfAccess000006";
const REFRESH: &str = "CanaryMarkOfRefresh00007";
const NEXT_ACCESS: &str = "CanaryMarkOfAccess000008";
const NEXT_REFRESH: &str = "CanaryMarkOfRefresh00009";
const CODE: &str = "CanaryMarkOfCode00000010";
const OUR_KEY: &str = "CanaryMarkOfOurKey000011";
const MARKS: [&str; 11] =
    [LOGIN, WRONG_LOGIN, CLIENT_SECRET, API_KEY, API_SECRET, ACCESS, REFRESH, NEXT_ACCESS, NEXT_REFRESH, CODE, OUR_KEY];

/// A place that has no secret: its bytes, and what it is called.
type Places = Vec<(String, Vec<u8>)>;

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    disk: TempDir,
    /// Secrets that the server draws itself, as they became known.
    drawn: Vec<String>,
    answers: Places,
    called: BTreeSet<String>,
}

impl Scene {
    async fn start() -> Self {
        log();
        let (provider, disk) = (FakeProvider::start().await, TempDir::new().expect("a folder"));
        let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_plain"))];
        let store_url = Some(format!("sqlite:{}", disk.path().join("claviger.db").display()));
        let app = TestApp::with(Setup { providers, store_url, ..Setup::default() }).await;
        let tenant = app.tenant("other@acme.example").await;
        Self { app, tenant, provider, disk, drawn: Vec::new(), answers: Places::new(), called: BTreeSet::new() }
    }

    fn note(&mut self, what: &str, status: u16, said: &str) {
        if status >= 400 {
            self.answers.push((format!("the answer {status} of {what}"), said.as_bytes().to_vec()));
        }
    }

    async fn post(&mut self, path: &str, body: Value) -> (u16, Value) {
        let (status, said) = self.tenant.post(path, body).await;
        self.called.insert(format!("POST {path}"));
        self.note(path, status, &said.to_string());
        (status, said)
    }

    async fn ok(&mut self, path: &str, body: Value) -> Value {
        let (status, said) = self.post(path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {said}");
        said
    }

    async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let (status, said) = self.tenant.post_form(path, fields).await;
        self.note(path, status, &said.to_string());
        (status, said)
    }

    async fn get(&mut self, path: &str) -> Value {
        let (status, said) = self.tenant.get(path).await;
        self.called.insert(format!("GET {}", path.split('?').next().unwrap_or_default()));
        self.note(path, status, &said.to_string());
        said
    }

    /// As a browser asks for it; a refusal is noted.
    async fn browse(&mut self, browser: &Browser, url: &str) -> crate::world::Page {
        let page = browser.get(url).await;
        let said = format!("{:?} {}", page.headers, page.body);
        self.note(url.split('?').next().unwrap_or_default(), page.status, &said);
        page
    }

    async fn account(&mut self) {
        self.form("/signup", &[("username", EMAIL), ("password", LOGIN)]).await;
        let code = code_in(&self.app.outbox.mail_to(EMAIL).await.text);
        assert_eq!(self.form("/verify-email", &[("username", EMAIL), ("code", &code)]).await.0, 200);
        self.form("/signup", &[("username", WRONG_LOGIN), ("password", LOGIN)]).await;
        self.form("/reset-password", &[("token", OUR_KEY), ("new_password", LOGIN)]).await;
        self.form("/create-api-key", &[("username", EMAIL), ("password", WRONG_LOGIN), ("name", "k")]).await;
        self.form("/get-access-token", &[("username", EMAIL), ("password", LOGIN), ("provider", "none")]).await;
        let (status, made) = self.form("/create-api-key", &[("username", EMAIL), ("password", LOGIN), ("name", "k")]).await;
        assert_eq!(status, 201, "{made}");
        let key = text(&made["key"]);
        // The id before the secret is none.
        self.drawn.push(key[21..].to_owned());
        for wrong in [OUR_KEY.to_owned(), format!("clv_0123456789abcdef_{OUR_KEY}"), key.replace("clv_", OUR_KEY)] {
            let (status, said) = self.tenant.with_key(&wrong).get("/api-keys").await;
            assert_eq!(status, 401);
            self.note("a wrong key", status, &said.to_string());
        }
        self.tenant = self.tenant.with_key(&key);
        self.ok("/create-api-key", json!({ "name": "second" })).await;
        let keys = self.get("/api-keys").await;
        let id = keys["api_keys"].as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "second")).expect("a key");
        self.ok("/revoke-api-key", json!({ "id": id["id"] })).await;
    }

    async fn enable(&mut self) {
        let whole = json!({ "provider": "fake", "client_id": "canary", "client_secret": CLIENT_SECRET, "api_key": API_KEY, "api_secret": API_SECRET, "scopes": "read" });
        let enabled = self.ok("/enable-provider", whole).await;
        assert!(!enabled.to_string().contains("CanaryMark"), "{enabled}");
        let held = json!({ "provider": "fake", "integration": "held", "client_id": "canary", "client_secret": CLIENT_SECRET, "scopes": "read", "confirm": "tenant", "user_redirect_url": "http://127.0.0.1:9/back" });
        self.ok("/enable-provider", held).await;
        for spoilt in [json!([CLIENT_SECRET]), json!({ "is": CLIENT_SECRET }), json!(format!("{CLIENT_SECRET}\n"))] {
            let body = json!({ "provider": "fake", "client_id": "c", "client_secret": spoilt, "api_key": [API_KEY], "api_secret": API_SECRET });
            assert_eq!(self.post("/enable-provider", body).await.0, 400);
        }
        self.post("/enable-provider", json!({ "provider": "fake", "client_secret": CLIENT_SECRET, "confirm": "other" })).await;
        self.post("/enable-provider", json!({ "provider": "nobody", "client_secret": CLIENT_SECRET, CLIENT_SECRET: 1 })).await;
        let listed = self.get("/enabled-providers").await;
        assert!(!listed.to_string().contains("CanaryMark"), "{listed}");
    }

    /// Nobody should put a secret into a definition; whoever does finds it sealed, and in no refusal.
    async fn define(&mut self) {
        let good = format!(
            "name = \"Ours\"\n[authorize]\nurl = \"https://o.example/a\"\npkce = \"off\"\n[token]\nurl = \"https://o.example/t\"\nparams = {{ key = \"{CLIENT_SECRET}\" }}\n[refresh]\nclass = \"none\"\n"
        );
        self.ok("/define-provider", json!({ "provider": "ours", "definition": good })).await;
        for spoilt in [
            good.replace("pkce = \"off\"", "pkce = \"of\""),
            good.replace("params = {", "params = [").replace("}", "]"),
            good.replace("https://o.example/t", CLIENT_SECRET),
            format!("{good}checked = {CLIENT_SECRET}"),
            format!("{{\"name\": \"{CLIENT_SECRET}\", "),
        ] {
            assert_eq!(self.post("/define-provider", json!({ "provider": "ours", "definition": spoilt })).await.0, 400);
        }
        assert!(self.get("/defined-providers").await.to_string().contains("o.example"));
        self.ok("/remove-provider", json!({ "provider": "ours" })).await;
    }

    /// A callback with the marked code, answered with marked tokens; a few that are refused before it.
    async fn connect(&mut self) {
        let browser = Browser::default();
        let link = text(&self.ok("/authorize-fake", json!({ "end_user_id": "alice" })).await["authorize_url"]);
        let authorize = url::Url::parse(&browser.press_connect(&link).await).expect("a URL");
        let (state, back) = (param(&authorize, "state"), param(&authorize, "redirect_uri"));
        self.drawn.extend([link.split_once("link=").expect("a token").1.to_owned(), state.clone()]);
        self.browse(&browser, &format!("{back}?code={CODE}&state={OUR_KEY}")).await;
        self.browse(&Browser::default(), &link).await;
        self.provider.next(TOKEN, tokens(ACCESS, REFRESH));
        let landed = self.browse(&browser, &format!("{back}?code={CODE}&state={state}")).await;
        assert_eq!(landed.status, 200, "{}", landed.body);
        self.browse(&browser, &format!("{back}?code={CODE}&state={state}")).await;
        for refusal in [Act::json(400, &echo("invalid_grant")), Act::html(500, &page()), Act::Half(half())] {
            let link = text(&self.ok("/authorize-fake", json!({ "end_user_id": "bob" })).await["authorize_url"]);
            let authorize = url::Url::parse(&browser.press_connect(&link).await).expect("a URL");
            self.provider.next(TOKEN, refusal);
            let (state, back) = (param(&authorize, "state"), param(&authorize, "redirect_uri"));
            let landed = self.browse(&browser, &format!("{back}?code={CODE}&state={state}")).await;
            assert!(landed.status >= 400, "{}", landed.body);
        }
    }

    async fn connect_held(&mut self) {
        let browser = Browser::default();
        let asked = json!({ "end_user_id": "carol", "integration": "held" });
        let link = text(&self.ok("/authorize-fake", asked).await["authorize_url"]);
        let authorize = url::Url::parse(&browser.get(&link).await.location()).expect("a URL");
        let (state, back) = (param(&authorize, "state"), param(&authorize, "redirect_uri"));
        let place = browser.get(&format!("{back}?code={CODE}&state={state}")).await.location();
        let ticket = param(&url::Url::parse(&place).expect("a URL"), "ticket");
        self.drawn.extend([state, ticket.clone()]);
        self.post("/finish-authorization", json!({ "ticket": OUR_KEY, "end_user_id": "carol" })).await;
        self.provider.next(TOKEN, tokens(ACCESS, REFRESH));
        let finished = self.ok("/finish-authorization", json!({ "ticket": ticket, "end_user_id": "carol" })).await;
        assert!(!finished.to_string().contains("CanaryMark"), "{finished}");
        self.post("/finish-authorization", json!({ "ticket": ticket, "end_user_id": "carol" })).await;
    }

    async fn use_and_refresh(&mut self) {
        let asked = json!({ "provider": "fake", "end_user_id": "alice" });
        assert_eq!(self.ok("/get-access-token", asked.clone()).await["access_token"], ACCESS);
        for refusal in [Act::json(400, &echo("invalid_grant")), Act::json(401, &echo("no such thing")), Act::html(502, &page())] {
            self.app.clock.advance(HOUR);
            self.provider.next(TOKEN, refusal);
            assert!(self.post("/get-access-token", asked.clone()).await.0 >= 400);
        }
        self.app.clock.advance(HOUR);
        self.provider.next(TOKEN, tokens(NEXT_ACCESS, NEXT_REFRESH));
        assert_eq!(self.ok("/get-access-token", asked).await["access_token"], NEXT_ACCESS);
        let listed = self.get("/connections").await;
        let id = text(&listed["connections"][0]["id"]);
        let shown = self.tenant.get(&format!("/connections/{id}")).await.1;
        self.called.insert("GET /connections/{id}".to_owned());
        assert!(!format!("{listed}{shown}").contains("CanaryMark"), "{listed} {shown}");
    }

    async fn import_and_end(&mut self) {
        let import =
            |token: Value| json!({ "provider": "fake", "end_user_id": "dora", "access_token": token, "refresh_token": REFRESH });
        self.ok("/import-connection", import(json!(ACCESS))).await;
        self.post("/import-connection", import(json!(ACCESS))).await;
        for spoilt in [json!([ACCESS]), json!(format!("{ACCESS}\u{0}")), json!({ ACCESS: 1 })] {
            assert_eq!(self.post("/import-connection", import(spoilt)).await.0, 400);
        }
        self.provider.next(REVOKE, Act::json(400, &echo("invalid_client")));
        self.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "alice" })).await;
        self.provider.next(REVOKE, Act::html(500, &page()));
        self.ok("/forget-end-user", json!({ "end_user_id": "carol" })).await;
        self.ok("/disable-provider", json!({ "provider": "fake" })).await;
        self.post("/import-connection", import(json!(ACCESS))).await;
    }

    /// Bodies that cannot be read, and secrets where none belong.
    async fn out_of_order(&mut self) {
        let base = self.app.url.clone();
        let key = self.tenant.key.clone();
        for path in ["/enable-provider", "/import-connection", "/get-access-token", "/finish-authorization", "/signup"] {
            for (kind, body) in [
                ("application/json", format!("{{\"client_secret\":\"{CLIENT_SECRET}\", \"access_token\": {ACCESS}")),
                ("application/json", format!("\"{CLIENT_SECRET}\"")),
                ("text/plain", format!("password={LOGIN}")),
                ("application/x-www-form-urlencoded", format!("{LOGIN}&{ACCESS}=1&password={LOGIN}&password={WRONG_LOGIN}")),
            ] {
                let request = client().post(format!("{base}{path}?access_token={ACCESS}")).bearer_auth(&key);
                let answer = request.header("content-type", kind).body(body).send().await.expect("an answer");
                let (status, said) = (answer.status().as_u16(), answer.text().await.expect("a body"));
                assert!((400..500).contains(&status), "{path}: {status} {said}");
                self.note(path, status, &said);
            }
        }
        for path in [format!("/connections/{ACCESS}"), format!("/connections?cursor={ACCESS}"), format!("/{ACCESS}")] {
            self.get(&path).await;
        }
    }

    /// Every byte on disk: the store's files, its log among them, and the node's folder.
    fn files(&self) -> Places {
        let mut files = Places::new();
        for folder in [self.disk.path(), self.app.folder.path()] {
            add_files(folder, &mut files);
        }
        files
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_marked_secret_is_found_where_none_belongs() {
    let mut scene = Scene::start().await;
    scene.account().await;
    scene.enable().await;
    scene.define().await;
    scene.connect().await;
    scene.connect_held().await;
    scene.use_and_refresh().await;
    scene.import_and_end().await;
    scene.out_of_order().await;
    every_tenant_route_was_called(&scene.called);

    let (logged, files) = (log().bytes(), scene.files());
    assert!(files.iter().any(|(name, bytes)| name.ends_with("claviger.db-wal") && !bytes.is_empty()), "the store is there");
    assert!(contains(&logged, b"/import-connection") && contains(&logged, b"refresh failed"), "the log is there");
    assert!(scene.answers.len() > 40, "{} refusals", scene.answers.len());
    let mut places = files;
    places.push(("the log".to_owned(), logged));
    for secret in MARKS.iter().copied().chain(scene.drawn.iter().map(String::as_str)) {
        for (name, bytes) in &places {
            is_not_in(secret, name, bytes);
        }
    }
    for (name, said) in &scene.answers {
        MARKS.iter().for_each(|mark| is_not_in(mark, name, said));
    }
    assert_ne!(LOGIN, PASSWORD);
}

/// A mark is found however it is written: else the test above proves nothing.
#[test]
fn a_mark_is_found_in_each_of_its_forms() {
    for before in ["", "x", "yz", "{\"a\":\""] {
        let whole = format!("{before}{ACCESS}\"}}");
        let forms = [whole.clone(), hex::encode(&whole), STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)];
        for form in forms {
            assert!(needles(ACCESS).iter().any(|needle| contains(form.as_bytes(), needle.as_bytes())), "{form}");
        }
    }
    assert!(needles(ACCESS).iter().all(|needle| !contains(REFRESH.as_bytes(), needle.as_bytes())));
}

fn every_tenant_route_was_called(called: &BTreeSet<String>) {
    let routes = table().into_iter().filter(|endpoint| endpoint.access == Access::Tenant);
    let routes = routes.map(|endpoint| format!("{} {}", endpoint.method, endpoint.path.replace("{provider}", "fake")));
    let missing: Vec<_> = routes.filter(|route| !called.contains(route)).collect();
    assert!(missing.is_empty(), "give these a marked call, too: {missing:?}");
}

#[track_caller]
fn is_not_in(secret: &str, name: &str, bytes: &[u8]) {
    for needle in needles(secret) {
        if let Some(at) = position(bytes, needle.as_bytes()) {
            let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
            panic!("{secret} is in {name}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Plain, in hex, and in base64 at each of three offsets, without the characters that neighbours share.
fn needles(secret: &str) -> BTreeSet<String> {
    let mut needles = BTreeSet::from([secret.to_owned(), hex::encode(secret), hex::encode_upper(secret)]);
    for offset in 0..3 {
        let padded = [vec![0; offset], secret.as_bytes().to_vec()].concat();
        let (from, to) = ([0, 2, 3][offset], padded.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            needles.insert(text[from..to].to_owned());
        }
    }
    needles
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    position(bytes, needle).is_some()
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(at, _)| at);
    starts.into_iter().find(|at| bytes[*at..].starts_with(needle))
}

fn add_files(folder: &Path, files: &mut Places) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            add_files(&entry.path(), files);
        } else if kind.is_file() {
            files.push((entry.path().display().to_string(), std::fs::read(entry.path()).expect("a file")));
        }
    }
}

fn param(url: &url::Url, name: &str) -> String {
    url.query_pairs().find(|(known, _)| known == name).expect("a param").1.into_owned()
}

fn tokens(access: &str, refresh: &str) -> Act {
    Act::json(200, &json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 3600 }))
}

/// A provider that repeats what it was sent.
fn echo(error: &str) -> Value {
    json!({ "error": error, "error_description": page(), "error_uri": format!("https://a.example/?{REFRESH}"), "refresh_token": REFRESH })
}

fn page() -> String {
    format!("<p>code {CODE}, refresh {REFRESH} and {NEXT_REFRESH}, secret {CLIENT_SECRET}, access {ACCESS} and {NEXT_ACCESS}</p>")
}

fn half() -> crate::fake_provider::Answer {
    crate::fake_provider::Answer::new(200, "application/json", json!({ "access_token": ACCESS }).to_string())
}

/// Everything this process logs, at the finest level.
fn log() -> &'static Log {
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
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no writer panicked").clone()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
