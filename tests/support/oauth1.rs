//! A provider of OAuth 1.0a that nobody here wrote, and a backend that calls its API: `oauthlib` as child processes,
//! run by Debian's Python, whose packages have it.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

const PYTHON: &str = "/usr/bin/python3";

/// A running server. It ends when this is dropped, or when the test process does.
pub struct Oauth1Server {
    origin: String,
    /// Kept for its standard input, whose end ends the server.
    _child: Child,
}

/// What the server has done so far.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Oauth1Stats {
    pub requested: u32,
    pub exchanged: u32,
    pub used: u32,
    pub invalidated: u32,
    pub refused: u32,
    /// The param `access` of each call for temporary credentials.
    pub extra: Vec<String>,
    /// Where our own calls had the protocol's params, as `client-place`, and with which realms.
    pub places: BTreeMap<String, Vec<String>>,
}

fn script(name: &str, arguments: &[&str]) -> Child {
    let path = format!("{}/tests/support/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(PYTHON);
    command.arg("-B").arg(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("Debian's python3 can be run; ./check tools installs it")
}

impl Oauth1Server {
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = script("oauth1_server.py", arguments);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.next_line().await.unwrap().expect("the server says READY; ./check tools installs oauthlib");
        Self { origin: ready.strip_prefix("READY ").expect("the server says READY").to_owned(), _child: child }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub async fn stats(&self) -> Oauth1Stats {
        serde_json::from_str(&self.text("/stats").await).unwrap()
    }

    /// Of the RSA clients, which the server knows by the public half.
    pub async fn private_key(&self) -> String {
        self.text("/key").await
    }

    async fn text(&self, path: &str) -> String {
        reqwest::Client::builder().no_proxy().build().unwrap().get(self.url(path)).send().await.unwrap().text().await.unwrap()
    }

    /// Calls the API as a tenant's backend does, with what get-access-token answered: the status, and what came.
    pub async fn call_api(&self, answer: &Value, client_secret: &str, rsa_key: Option<&str>) -> (u16, String) {
        let url = self.url("/resource?size=large");
        let asked = json!({ "url": url, "client_secret": client_secret, "rsa_key": rsa_key, "answer": answer });
        let mut child = script("oauth1_client.py", &[]);
        child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).await.unwrap();
        let came = child.wait_with_output().await.unwrap();
        let came = String::from_utf8(came.stdout).unwrap();
        let (status, body) = came.trim().split_once(' ').unwrap_or_else(|| panic!("the client said {came:?}"));
        (status.parse().unwrap(), body.to_owned())
    }
}
