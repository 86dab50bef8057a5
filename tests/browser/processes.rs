//! What the journey needs beside the test: the program, the browser's driver, a tenant's site. Each is
//! ended by whoever began it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// `claviger dev` in a folder of its own.
pub struct Dev {
    child: Child,
    url: String,
    key: String,
    _folder: tempfile::TempDir,
}

impl Dev {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path().join("data"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = |name: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once('=').map(|(_, value)| value.to_owned())).unwrap()
        };
        let (url, key) = (told("CLAVIGER_URL="), told("CLAVIGER_API_KEY="));
        // Whatever it prints later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, key, _folder: folder }
    }

    pub async fn call(&self, path: &str, body: Value) -> Value {
        post_json(&format!("{}{path}", self.url), Some(&self.key), body).await
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// chromedriver on a free port, with a profile that nobody has used.
pub struct ChromeDriver {
    child: Child,
    port: u16,
    profile: tempfile::TempDir,
}

impl ChromeDriver {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.by_ref().map(Result::unwrap).find(|line| line.contains("started successfully on port"));
        let port = told.unwrap().trim_end_matches('.').rsplit(' ').next().unwrap().parse().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, profile }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn profile(&self) -> &Path {
        self.profile.path()
    }

    pub fn args(profile: &Path) -> Vec<String> {
        let quiet = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        quiet.iter().map(|arg| (*arg).to_owned()).chain([format!("--user-data-dir={}", profile.display())]).collect()
    }
}

impl Drop for ChromeDriver {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A site of somebody else's: one page at every path.
pub struct TenantSite {
    port: u16,
}

impl TenantSite {
    pub fn start() -> Self {
        Self::showing("<h1>The tenant's site</h1>")
    }

    pub fn showing(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = format!("<!doctype html><link rel=icon href=\"data:,\"><title>A site</title>{body}");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: ";
        let answer = format!("{head}{}\r\n\r\n{page}", page.len());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // A browser opens connections that it does not use; those must not hold up the others.
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut request = [0; 16 * 1024];
                    if stream.read(&mut request).is_ok_and(|read| read > 0) {
                        drop(stream.write_all(answer.as_bytes()));
                    }
                });
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/back", self.port)
    }
}

#[expect(clippy::disallowed_methods, reason = "the test calls the program and the browser's driver")]
pub async fn post_json(url: &str, key: Option<&str>, body: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

fn end(child: &mut Child) {
    // It may have ended by itself; then there is nothing to do.
    drop(child.kill());
    drop(child.wait());
}
