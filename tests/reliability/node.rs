//! A `claviger serve` that can be killed, stopped, and started again on what it left.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than a start takes on a busy machine.
const START: Duration = Duration::from_secs(60);

pub struct Node {
    name: String,
    folder: PathBuf,
    settings: BTreeMap<String, String>,
    /// Put before the program: `strace`, say.
    pub wrapped: Vec<String>,
    child: Option<Child>,
    log: Log,
    ops: Option<String>,
    url: Arc<Mutex<String>>,
}

/// The lines of the log, of all starts.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a line after the first `from` has this text.
    pub fn says(&self, from: usize, text: &str) -> bool {
        self.lines().iter().skip(from).any(|line| line.contains(text))
    }
}

impl Node {
    /// `folder` exists; `settings` are environment variables.
    pub fn new(name: &str, folder: PathBuf, settings: BTreeMap<String, String>) -> Self {
        let url = Arc::new(Mutex::new("http://127.0.0.1:1".to_owned()));
        Self { name: name.to_owned(), folder, settings, wrapped: Vec::new(), child: None, log: Log::default(), ops: None, url }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn set(&mut self, setting: &str, value: &str) {
        self.settings.insert(variable(setting), value.to_owned());
    }

    /// Has its operator's listener there.
    pub fn serve_metrics(&mut self, port: u16) {
        let address = format!("127.0.0.1:{port}");
        self.set("server.ops_listen", &address);
        self.ops = Some(format!("http://{address}/metrics"));
    }

    /// What it says of the time that answers were in memory alone.
    pub async fn exposed(&self) -> String {
        #[expect(clippy::disallowed_methods, reason = "the test asks the program")]
        let asked = reqwest::get(self.ops.clone().expect("it serves metrics")).await.expect("an answer");
        let page = asked.text().await.expect("a page");
        let lines = page.lines().filter_map(|line| line.split_once("refresh_exposed_seconds")?.1.strip_prefix("{quantile="));
        let of = lines.map(|line| line.replace(['"', '}'], "")).collect::<Vec<_>>();
        format!("node {}: {}", self.name, of.join(" "))
    }

    /// A command of the same settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_claviger").to_owned();
        let mut words = self.wrapped.iter().cloned().chain([program]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).args(args).env_clear().current_dir(&self.folder).envs(&self.settings).stdin(Stdio::null());
        command
    }

    /// Starts and answers, or says with which log it ended.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "{} runs", self.name);
        let mut child = self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let from = self.log.lines().len();
        let (err, log) = (BufReader::new(child.stderr.take().expect("a pipe")), self.log.clone());
        let reader = std::thread::spawn(move || err.lines().map_while(Result::ok).for_each(|line| log.add(line)));
        let until = Instant::now() + START;
        loop {
            let lines = self.log.lines();
            if let Some(url) = lines.iter().skip(from).find_map(|line| address(line)) {
                *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
                self.child = Some(child);
                return Ok(());
            }
            if child.try_wait().expect("it can be asked after").is_some() {
                drop(reader.join());
                return Err(self.log.lines().split_off(from).join("\n"));
            }
            if Instant::now() > until {
                drop(child.kill());
                drop(child.wait());
                return Err(format!("{} did not come to serve:\n{}", self.name, lines[from..].join("\n")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|log| panic!("{} did not start:\n{log}", self.name));
    }

    /// It may have ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("it is ours").is_none())
    }

    /// SIGKILL, and returns when the process is no more.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.take().expect("it runs").wait().expect("it is ours").code()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([format!("-{name}"), id]).status().expect("kill is there");
        assert!(sent.success());
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where it is at the moment; each start has a new address.
    pub fn url(&self) -> Arc<Mutex<String>> {
        self.url.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.log.lines();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("-- the last words of {}:\n{}", self.name, last.join("\n"));
            keep_log(&self.name, &lines.join("\n"));
        }
    }
}

/// What somebody wants to read after a failure.
pub fn keep_log(name: &str, log: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/reliability");
    let file = folder.join(format!("{}-{name}.log", std::process::id()));
    if std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, log)).is_ok() {
        eprintln!("-- the log of {name}: {}", file.display());
    }
}

/// `a.b` as the environment has it.
pub fn variable(setting: &str) -> String {
    format!("CLAVIGER__{}", setting.replace('.', "__").to_uppercase())
}

fn address(line: &str) -> Option<String> {
    let line: serde_json::Value = line.contains("\"serving\"").then(|| serde_json::from_str(line).ok())??;
    Some(format!("http://{}", line["address"].as_str()?))
}
