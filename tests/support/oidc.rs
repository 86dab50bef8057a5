//! A provider that nobody here wrote, as a child process: the npm package `oidc-provider`, from the
//! lock file in `tests/real_provider`. Also its end user, who logs in and consents over HTTP.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{Client, Response};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// A running provider. It ends when this is dropped, or when the test process does.
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
    /// Installs the package where that has not been done, and starts it on a free port.
    pub async fn start(options: OidcOptions) -> Self {
        let folder = tokio::task::spawn_blocking(installed).await.unwrap();
        let mut child = Command::new("node")
            .arg(folder.join("server.mjs"))
            .args(["--access-token-ttl", &options.access_token_ttl.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("`node` can be run; ./check tools installs it");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.next_line().await.unwrap().expect("the provider says READY");
        let issuer = ready.strip_prefix("READY ").expect("the provider says READY").to_owned();
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
        self.browse(authorize_url, |page| page.fill_in(login)).await
    }

    /// The end user opens the URL and presses Cancel.
    pub async fn cancel(&self, authorize_url: &str) -> String {
        self.browse(authorize_url, Page::cancel).await
    }

    /// Goes from page to page until the provider sends the browser away.
    async fn browse(&self, start: &str, answer: impl Fn(&Page) -> Step) -> String {
        let mut browser = Browser { http: &self.http, cookies: BTreeMap::new() };
        let mut step = Step::Open(start.parse().expect("an absolute URL"));
        for _ in 0..20 {
            let here = step.url().clone();
            let response = browser.take(step).await;
            let Some(location) = response.headers().get("location") else {
                let status = response.status();
                let page = Page { url: here, html: response.text().await.unwrap() };
                assert!(status.is_success(), "{status} at {}: {}", page.url, page.html);
                step = answer(&page);
                continue;
            };
            let next = here.join(location.to_str().unwrap()).unwrap();
            if next.origin() != self.issuer.parse::<Url>().unwrap().origin() {
                return next.into();
            }
            step = Step::Open(next);
        }
        panic!("the provider sends the browser round in circles");
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
    bring(&source, &folder, "server.mjs");
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
