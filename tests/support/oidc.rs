//! Providers that nobody here wrote, as child processes: the npm packages `oidc-provider` and
//! `oauth2-mock-server`, from the lock file in `tests/real_provider`. Also the first one's end user, who
//! logs in and consents over HTTP.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{Client, Response};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// A running `oidc-provider`. It ends when this is dropped, or when the test process does.
pub struct OidcProvider {
    issuer: String,
    http: Client,
    /// Kept for its standard input, whose end ends the provider.
    _child: Child,
}

#[derive(Debug, Clone, Copy)]
pub struct OidcOptions {
    /// Seconds.
    pub access_token_ttl: u32,
}

impl Default for OidcOptions {
    fn default() -> Self {
        Self { access_token_ttl: 3600 }
    }
}

/// A client that the provider knows from the start; any redirect address on loopback is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OidcClient {
    pub id: &'static str,
    pub secret: &'static str,
}

/// Sends its secret in the form (`client_secret_post`).
pub const POST_CLIENT: OidcClient = OidcClient { id: "client-post", secret: "client-post-secret" };
/// Sends its secret in the header (`client_secret_basic`).
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub const BASIC_CLIENT: OidcClient = OidcClient { id: "client-basic", secret: "client-basic-secret" };

/// Has no secret (`none`).
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub const PUBLIC_CLIENT: OidcClient = OidcClient { id: "client-public", secret: "" };
/// Sends its secret in the header, and the secret holds what a form must encode.
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub const ODD_CLIENT: OidcClient = OidcClient { id: "client:odd", secret: "a secret: 100%+&=/?" };

/// Signs what proves it, with the key of RFC 7515 A.3 (`private_key_jwt`).
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub const KEY_CLIENT: OidcClient = OidcClient { id: "client-key", secret: "" };
/// … with its secret (`client_secret_jwt`).
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub const SHARED_CLIENT: OidcClient = OidcClient { id: "client-shared", secret: "a secret of both sides, of 32 bytes or more" };

/// What the token endpoint has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct OidcStats {
    pub exchanged: u32,
    pub refreshed: u32,
    pub refused: u32,
    pub grants_revoked: u32,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl OidcProvider {
    pub async fn start(options: OidcOptions) -> Self {
        let (issuer, child) = run("server.mjs", &["--access-token-ttl", &options.access_token_ttl.to_string()]).await;
        Self { issuer, http: http(), _child: child }
    }

    /// Such as `http://127.0.0.1:40123`; an https-only rule must let loopback pass.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn authorize_endpoint(&self) -> String {
        format!("{}/auth", self.issuer)
    }

    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer)
    }

    /// Takes JSON where the other takes a form: a shim before it, since the provider itself knows no such thing.
    pub fn json_token_endpoint(&self) -> String {
        format!("{}/shim/token", self.issuer)
    }

    /// Takes an access token as bearer; answers `{"sub": …}` where `openid` was granted.
    pub fn userinfo_endpoint(&self) -> String {
        format!("{}/me", self.issuer)
    }

    pub fn revocation_endpoint(&self) -> String {
        format!("{}/token/revocation", self.issuer)
    }

    pub async fn stats(&self) -> OidcStats {
        let answer = self.http.get(format!("{}/stats", self.issuer)).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The end user `login` opens the URL in a fresh browser, logs in and consents to everything.
    /// Gives the URL the browser is sent back to, which is not opened.
    pub async fn consent(&self, authorize_url: &str, login: &str) -> String {
        self.browse(authorize_url, |page| page.fill_in(login)).await.redirect()
    }

    /// The same, where the browser is to post what comes back (`response_mode=form_post`): to where, and what.
    pub async fn consent_by_form(&self, authorize_url: &str, login: &str) -> (String, Vec<(String, String)>) {
        match self.browse(authorize_url, |page| page.fill_in(login)).await {
            SentAway::Posting(action, fields) => (action, fields),
            SentAway::To(url) => panic!("a form was expected, not {url}"),
        }
    }

    /// The end user opens the URL and presses Cancel.
    pub async fn cancel(&self, authorize_url: &str) -> String {
        self.browse(authorize_url, Page::cancel).await.redirect()
    }

    /// Goes from page to page until the provider sends the browser away.
    async fn browse(&self, start: &str, answer: impl Fn(&Page) -> Step) -> SentAway {
        let mut browser = Browser { http: &self.http, cookies: BTreeMap::new() };
        let mut step = Step::Open(start.parse().expect("an absolute URL"));
        let here_is = |url: &Url| url.origin() == self.issuer.parse::<Url>().unwrap().origin();
        for _ in 0..20 {
            let here = step.url().clone();
            let response = browser.take(step).await;
            if let Some(location) = response.headers().get("location") {
                let next = here.join(location.to_str().unwrap()).unwrap();
                if !here_is(&next) {
                    return SentAway::To(next.into());
                }
                step = Step::Open(next);
                continue;
            }
            let status = response.status();
            let page = Page { url: here, html: response.text().await.unwrap() };
            assert!(status.is_success(), "{status} at {}: {}", page.url, page.html);
            let action = page.link("action=\"");
            if !here_is(&action) {
                return SentAway::Posting(action.into(), page.hidden_fields());
            }
            step = answer(&page);
        }
        panic!("the provider sends the browser round in circles");
    }
}

/// Another provider by other hands (`oauth2-mock-server`): it asks nobody, and signs what it issues.
#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub struct MockServer {
    pub issuer: String,
    _child: Child,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl MockServer {
    pub async fn start() -> Self {
        let (issuer, child) = run("mock.mjs", &[]).await;
        Self { issuer, _child: child }
    }
}

/// Installs the packages where that has not been done, and runs a script of `tests/real_provider`; gives
/// the issuer that it tells. It ends when its standard input does.
async fn run(script: &str, arguments: &[&str]) -> (String, Child) {
    let folder = tokio::task::spawn_blocking(installed).await.unwrap();
    let mut child = Command::new("node")
        .arg(folder.join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("`node` can be run; ./check tools installs it");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.next_line().await.unwrap().expect("the provider says READY");
    (ready.strip_prefix("READY ").expect("the provider says READY").to_owned(), child)
}

/// How a provider lets the browser go.
enum SentAway {
    To(String),
    Posting(String, Vec<(String, String)>),
}

impl SentAway {
    fn redirect(self) -> String {
        match self {
            SentAway::To(url) => url,
            SentAway::Posting(action, _) => panic!("a redirect was expected, not a form for {action}"),
        }
    }
}

enum Step {
    Open(Url),
    Submit(Url, String),
}

impl Step {
    fn url(&self) -> &Url {
        match self {
            Step::Open(url) | Step::Submit(url, _) => url,
        }
    }
}

/// One of the provider's two pages, login or consent.
struct Page {
    url: Url,
    html: String,
}

impl Page {
    fn fill_in(&self, login: &str) -> Step {
        let prompt = self.between("name=\"prompt\" value=\"", "\"");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("prompt", prompt);
        if prompt == "login" {
            form.append_pair("login", login).append_pair("password", "any");
        }
        Step::Submit(self.link("action=\""), form.finish())
    }

    fn cancel(&self) -> Step {
        let before = self.html.find("[ Cancel ]").expect("a Cancel link");
        let start = self.html[..before].rfind("<a href=\"").expect("a Cancel link");
        let page = Page { url: self.url.clone(), html: self.html[start..].to_owned() };
        Step::Open(page.link("href=\""))
    }

    fn hidden_fields(&self) -> Vec<(String, String)> {
        let inputs = self.html.split("<input type=\"hidden\" name=\"").skip(1);
        let pair = |input: &str| {
            let (name, rest) = input.split_once("\" value=\"")?;
            Some((name.to_owned(), rest.split_once('"')?.0.replace("&amp;", "&")))
        };
        inputs.filter_map(pair).collect()
    }

    fn link(&self, before: &str) -> Url {
        self.url.join(&self.between(before, "\"").replace("&amp;", "&")).unwrap()
    }

    fn between(&self, before: &str, after: &str) -> &str {
        let found = self.html.split_once(before).and_then(|(_, rest)| rest.split_once(after));
        found.unwrap_or_else(|| panic!("no {before} in {}", self.html)).0
    }
}

/// Enough of a browser: it keeps cookies by name and opens one URL at a time.
struct Browser<'a> {
    http: &'a Client,
    cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    async fn take(&mut self, step: Step) -> Response {
        let request = match step {
            Step::Open(url) => self.http.get(url),
            Step::Submit(url, form) => self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form),
        };
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for set in response.headers().get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

fn http() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

/// The folder with the package in it. Tests run side by side in processes of their own, so the first
/// installs and the others wait for its lock.
fn installed() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_provider");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real_provider");
    fs::create_dir_all(&folder).unwrap();
    let guard = File::create(folder.join(".lock")).unwrap();
    guard.lock().unwrap();
    for script in ["server.mjs", "mock.mjs"] {
        bring(&source, &folder, script);
    }
    let wanted = fs::read_to_string(source.join("package-lock.json")).unwrap();
    let marker = folder.join(".installed");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    bring(&source, &folder, "package.json");
    bring(&source, &folder, "package-lock.json");
    install(&folder);
    fs::write(&marker, wanted).unwrap();
    folder
}

/// Copies a file that differs, by renaming, so that a server that starts just now reads a whole one.
fn bring(source: &Path, folder: &Path, name: &str) {
    let wanted = fs::read(source.join(name)).unwrap();
    if fs::read(folder.join(name)).is_ok_and(|there| there == wanted) {
        return;
    }
    let half = folder.join(format!(".{name}.new"));
    fs::write(&half, wanted).unwrap();
    fs::rename(half, folder.join(name)).unwrap();
}

fn install(folder: &Path) {
    let npm = std::process::Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .output()
        .expect("`npm` can be run; ./check tools installs it");
    assert!(npm.status.success(), "npm ci failed:\n{}", String::from_utf8_lossy(&npm.stderr));
}
