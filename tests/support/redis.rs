//! A real Redis for tests: a `redis-server` on a free loopback port with a folder of its own, ended by
//! its own process id when it is dropped.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for a machine that is busy with something else.
const START: Duration = Duration::from_secs(30);

pub struct RedisServer {
    process: Option<Child>,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    cluster: bool,
    /// From a file of settings, which a sentinel has the server rewrite, as operators run it.
    from_file: bool,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl RedisServer {
    /// One server, set up so that it loses nothing.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One server in cluster mode that owns all slots.
    pub fn start_cluster() -> Self {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"];
        let mut server = Self::prepare(&settings);
        server.cluster = true;
        server.launch();
        server.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        server.wait_for("CLUSTER INFO", "cluster_state:ok");
        server
    }

    /// One server with these settings and nothing said about persistence.
    pub fn start_with(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        server.launch();
        server
    }

    /// As [`RedisServer::start_with`], from a file of settings that outlives the process.
    pub fn start_from_file(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        server.from_file = true;
        server.launch();
        server
    }

    pub fn url(&self) -> String {
        format!("redis{}://127.0.0.1:{}", if self.cluster { "+cluster" } else { "" }, self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server, so that only what it had on the disk remains.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killing redis-server");
            process.wait().expect("waiting for redis-server to end");
        }
    }

    /// Kills the server and starts it again on the same port and folder.
    pub fn restart(&mut self) {
        self.stop();
        assert!(self.try_launch(), "redis-server did not start again; its log:\n{}", self.log());
        if self.cluster {
            self.wait_for("CLUSTER INFO", "cluster_state:ok");
        }
    }

    /// Kills the server and starts an empty one in its place.
    pub fn exchange(&mut self) {
        self.stop();
        self.folder = tempfile::tempdir().expect("a temporary folder");
        assert!(self.try_launch(), "redis-server did not start again; its log:\n{}", self.log());
    }

    /// A copy of what it has on the disk.
    pub fn copied(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder");
        let mut copying = Command::new("cp");
        let done = copying.arg("-R").arg(self.folder.path().join(".")).arg(copy.path()).status();
        assert!(done.expect("cp is there").success());
        copy
    }

    /// Kills the server and starts it on such a copy.
    pub fn put_back(&mut self, copy: TempDir) {
        self.stop();
        self.folder = copy;
        assert!(self.try_launch(), "redis-server did not start on the copy; its log:\n{}", self.log());
    }

    /// Sends one command and returns the answer as it comes over the wire.
    pub fn say(&self, words: &[&str]) -> String {
        say(self.port, words).expect("redis-server answers")
    }

    fn prepare(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings.iter().map(|word| (*word).to_owned()).collect();
        Self { process: None, folder, port: 0, settings, cluster: false, from_file: false }
    }

    fn launch(&mut self) {
        // Between finding a port free and taking it, another may take it: then try the next.
        for _ in 0..20 {
            self.port = free_port();
            if self.from_file {
                std::fs::write(self.file(), self.written()).expect("a file of settings");
            }
            if self.try_launch() {
                return;
            }
        }
        panic!("redis-server did not start; its log:\n{}", self.log());
    }

    fn try_launch(&mut self) -> bool {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = Command::new("redis-server");
        if self.from_file {
            command.arg(self.file());
        } else {
            command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
            command.arg("--dir").arg(self.folder.path()).args(&self.settings);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("these tests need redis-server (Debian and Ubuntu: apt-get install redis-server): {error}")
        });
        let process = self.process.insert(process);
        let until = Instant::now() + START;
        while process.try_wait().expect("asking after redis-server").is_none() {
            if answers_ping(self.port) {
                return true;
            }
            assert!(Instant::now() < until, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = None;
        false
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("redis.conf")
    }

    /// The settings as they stand in a file.
    fn written(&self) -> String {
        let folder = self.folder.path().display();
        let mut file = format!("bind 127.0.0.1\nport {}\nsave \"\"\ndir {folder}", self.port);
        for word in &self.settings {
            match word.strip_prefix("--") {
                Some(name) => file.extend(["\n", name]),
                None => file.extend([" ", word]),
            }
        }
        file
    }

    /// Stops the process for a while, without ending it.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        signal(self.process.as_ref().expect("it runs"), name);
    }

    pub fn wait_for(&self, command: &str, answer: &str) {
        let words: Vec<_> = command.split(' ').collect();
        let until = Instant::now() + START;
        while !self.say(&words).contains(answer) {
            assert!(Instant::now() < until, "redis-server does not come to say {answer}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Servers in cluster mode: so many primaries with equal shares of the slots, and a replica of each.
pub struct RedisCluster {
    pub primaries: Vec<RedisServer>,
    pub replicas: Vec<RedisServer>,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl RedisCluster {
    pub fn start(size: usize) -> Self {
        let node = || {
            RedisServer::start_with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-announce-ip",
                "127.0.0.1",
                "--cluster-node-timeout",
                "1000",
                "--appendonly",
                "yes",
            ])
        };
        let cluster = Self { primaries: (0..size).map(|_| node()).collect(), replicas: (0..size).map(|_| node()).collect() };
        let first = &cluster.primaries[0];
        for (at, primary) in cluster.primaries.iter().enumerate() {
            let (from, to) = (16_384 * at / size, 16_384 * (at + 1) / size - 1);
            assert_eq!(primary.say(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]), "+OK\r\n");
            primary.say(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        for node in cluster.nodes() {
            first.say(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
        }
        for node in cluster.nodes() {
            node.wait_for("CLUSTER INFO", &format!("cluster_known_nodes:{}\r", 2 * size));
            node.wait_for("CLUSTER INFO", "cluster_state:ok");
        }
        for (primary, replica) in cluster.primaries.iter().zip(&cluster.replicas) {
            let id = primary.say(&["CLUSTER", "MYID"]);
            let id = id.lines().nth(1).expect("a node has an id");
            assert_eq!(replica.say(&["CLUSTER", "REPLICATE", id]), "+OK\r\n");
        }
        for replica in &cluster.replicas {
            replica.wait_for("INFO replication", "master_link_status:up");
        }
        cluster
    }

    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.primaries[0].port())
    }

    fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.primaries.iter().chain(&self.replicas)
    }
}

/// A sentinel that watches the group `main`, ended by its own process id.
pub struct Sentinel {
    process: Child,
    port: u16,
    folder: TempDir,
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
impl Sentinel {
    /// So many sentinels must agree that the primary is gone.
    pub fn watch(primary: u16, quorum: usize) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().display();
        let settings = format!(
            "bind 127.0.0.1\nport {port}\ndir {path}\nlogfile {path}/log\nsentinel monitor main 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\nsentinel parallel-syncs main 2\n"
        );
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("a sentinel's settings");
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
        Self { process: command.spawn().expect("redis-server runs as a sentinel"), port, folder }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn freeze(&self) {
        signal(&self.process, "STOP");
    }

    pub fn thaw(&self) {
        signal(&self.process, "CONT");
    }

    /// Counts the failovers that it knows of.
    pub fn failovers(&self) -> u64 {
        let master = say(self.port, &["SENTINEL", "MASTER", "main"]).unwrap_or_default();
        self.field(&master, "config-epoch").unwrap_or_default()
    }

    fn field(&self, master: &str, name: &str) -> Option<u64> {
        let mut lines = master.lines().skip_while(|line| *line != name).skip(2);
        lines.next().and_then(|value| value.parse().ok())
    }

    /// The port of the server that it takes for the primary.
    pub fn primary(&self) -> Option<u16> {
        let answer = say(self.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).ok()?;
        answer.lines().nth(4)?.parse().ok()
    }

    /// Waits until it knows so many replicas of the primary and so many other sentinels.
    pub fn wait_for(&self, replicas: u64, others: u64) {
        let until = Instant::now() + START;
        loop {
            let master = say(self.port, &["SENTINEL", "MASTER", "main"]).unwrap_or_default();
            let known = (self.field(&master, "num-slaves"), self.field(&master, "num-other-sentinels"));
            if known == (Some(replicas), Some(others)) {
                return;
            }
            assert!(Instant::now() < until, "a sentinel finds the others: {known:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub fn free_port() -> u16 {
    // Redis in cluster mode also takes the port 10,000 above.
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), process.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "a server gets its signal");
}

fn answers_ping(port: u16) -> bool {
    say(port, &["PING"]).is_ok_and(|answer| answer.contains("PONG"))
}

#[allow(dead_code, reason = "shared by test binaries; each uses a part")]
pub fn say(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(command.as_bytes())?;
    let mut answer = vec![0; 16 * 1024];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}
