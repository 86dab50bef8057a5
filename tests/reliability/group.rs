//! One Redis primary with two replicas, and three sentinels who watch them.

use std::time::{Duration, Instant};

use crate::node::keep_log;
use crate::redis::{RedisServer, Sentinel};

/// A failover that takes longer hangs.
const HANG: Duration = Duration::from_secs(60);

pub struct Group {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

impl Group {
    pub fn start() -> Self {
        // Whoever comes back is to be given the data at once, and not together with others later.
        let settings = ["--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"];
        let primary = RedisServer::start_from_file(&settings);
        let port = primary.port().to_string();
        let replica = || RedisServer::start_from_file(&[&settings[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let servers = vec![replica(), replica(), primary];
        servers[..2].iter().for_each(|replica| replica.wait_for("INFO replication", "master_link_status:up"));
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::watch(servers[2].port(), 2)).collect();
        sentinels.iter().for_each(|sentinel| sentinel.wait_for(2, 2));
        Self { servers, sentinels }
    }

    pub fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis+sentinel://{}/main", sentinels.join(","))
    }

    /// SIGKILL to the primary; returns who that was.
    pub fn kill_primary(&mut self) -> usize {
        let primary = self.primary().expect("a sentinel names it");
        self.servers[primary].stop();
        primary
    }

    /// How many failovers there were: those that were asked for, and those for which a busy machine was
    /// reason enough.
    pub fn failovers(&self) -> u64 {
        self.sentinels.iter().map(Sentinel::failovers).max().unwrap_or_default()
    }

    /// Waits until the sentinels name another primary, which takes writes.
    pub fn failed_over(&self, from: usize) -> Duration {
        let start = Instant::now();
        let over = |now: usize| now != from && self.servers[now].say(&["ROLE"]).contains("master");
        until("a replica takes over", || self.primary().is_some_and(over));
        start.elapsed()
    }

    /// Starts a server again on what it left, and returns when two replicas follow the primary and every
    /// sentinel has seen it. Left alone, the server takes itself for the primary until the sentinels say
    /// otherwise, which takes them ten seconds.
    pub fn bring_back(&mut self, server: usize, alone: bool) {
        self.servers[server].restart();
        if let Some(primary) = self.primary().filter(|_| !alone) {
            let port = self.servers[primary].port().to_string();
            self.servers[server].say(&["REPLICAOF", "127.0.0.1", &port]);
        }
        until("the replicas follow the new primary", || self.is_whole());
    }

    fn is_whole(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let info = self.servers[primary].say(&["INFO", "replication"]);
        let named = |sentinel: &Sentinel| sentinel.primary() == Some(self.servers[primary].port());
        info.contains("role:master") && info.matches("state=online").count() == 2 && self.sentinels.iter().all(named)
    }

    /// As most sentinels name it.
    fn primary(&self) -> Option<usize> {
        let named: Vec<_> = self.sentinels.iter().filter_map(Sentinel::primary).collect();
        let votes = |server: &RedisServer| named.iter().filter(|port| **port == server.port()).count();
        self.servers.iter().position(|server| votes(server) >= 2)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let servers = self.servers.iter().map(|server| (format!("redis-{}", server.port()), server.log()));
            let sentinels = self.sentinels.iter().map(|sentinel| (format!("sentinel-{}", sentinel.port()), sentinel.log()));
            servers.chain(sentinels).for_each(|(name, log)| keep_log(&name, &log));
        }
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + HANG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
