//! How many refreshes a second one node makes durable: announced, sent, journaled and committed, each for
//! itself. Beside it what the machine can do at most, one by one: an fdatasync of 4 KiB, and a write that
//! a replica has. Then the node is killed: how long until it refreshes again, with a journal of what it
//! did, which it may have to look at anew. Figures of a release build are made by
//! `benches/durable-refreshes.sh`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::ledger::Class;
use crate::redis::RedisServer;
use crate::size::size;
use crate::world::{Connection, Ends, Said, World, everybody};

const CALLERS: usize = 32;
/// Of each caller, so that none waits for its own connection's last refresh.
const CONNECTIONS: usize = 8;

/// What one run came to.
struct Pace {
    refreshes_per_s: f64,
    /// From the start of a process to its first refresh, after the one before was killed.
    back_after: Duration,
}

impl Pace {
    fn tell(&self, store: &str, bare: &str, bare_per_s: f64) {
        let Self { refreshes_per_s, back_after } = self;
        println!(
            "throughput {store}: refreshes_per_s {refreshes_per_s:.0}, {bare} {bare_per_s:.0}, ratio {:.2}, back_after_ms {}",
            refreshes_per_s / bare_per_s,
            back_after.as_millis()
        );
    }
}

fn span() -> Duration {
    Duration::from_secs(size("THROUGHPUT_SECONDS", 3, 30))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_on_sqlite_are_durable_and_counted() {
    let world = World::on_sqlite();
    let syncs = per_second(|| synced(world.path()));
    refreshes(world).await.tell("sqlite", "fdatasyncs_per_s", syncs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_on_redis_are_durable_and_counted() {
    let lone = RedisServer::start();
    let mut world = World::on_sqlite();
    world.set("store.url", &lone.url());
    let writes = written(&lone, 0);
    refreshes(world).await.tell("redis, alone", "writes_per_s", writes);
    drop(lone);

    let primary = RedisServer::start_with(&["--appendonly", "yes"]);
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string(), "--appendonly", "yes"]);
    replica.wait_for("INFO replication", "master_link_status:up");
    let mut world = World::on_sqlite();
    world.set("store.url", &primary.url());
    world.set("store.min_replicas", "1");
    let waits = written(&primary, 1);
    refreshes(world).await.tell("redis, one replica waited for", "waits_per_s", waits);
}

/// By callers who want a new token each time.
async fn refreshes(mut world: World) -> Pace {
    // No provider's limit, but what there is to be had.
    world.set("refresh.rate", "10000");
    let mut node = world.node("a");
    node.start();
    let tenant = world.tenant(&node).await;
    let connections = world.connections(&tenant, &[Class::Nonrotating], CALLERS * CONNECTIONS, Ends::Truly).await;
    // A node that has just started on a store that others share sends nothing for its first seconds.
    everybody(std::slice::from_ref(&tenant), &connections[..1], true, 1, Said::is_good).await;
    let (before, began) = (world.ledger.count(), Instant::now());
    let caller = |connections: &[Connection]| {
        let (tenant, connections) = (tenant.clone(), connections.to_vec());
        tokio::spawn(async move {
            let mut turns = connections.iter().cycle();
            while began.elapsed() < span() {
                let said = tenant.token(turns.next().expect("it cycles"), true).await;
                assert!(said.is_good(), "{said:?}");
            }
        })
    };
    let callers: Vec<_> = connections.chunks(CONNECTIONS).map(caller).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let took = began.elapsed();
    let refreshes = world.ledger.count() - before;
    assert!(refreshes > 0);
    let refreshes_per_s = u32::try_from(refreshes).map(f64::from).unwrap() / took.as_secs_f64();
    node.kill();
    let began = Instant::now();
    node.start();
    everybody(std::slice::from_ref(&tenant), &connections[..1], true, 1, Said::is_good).await;
    Pace { refreshes_per_s, back_after: began.elapsed() }
}

/// Runs for a second; the unit is one call.
fn per_second(mut act: impl FnMut()) -> f64 {
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(1) {
        act();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn synced(folder: &Path) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("synced")).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    file.sync_data().unwrap();
}

/// Writes down one connection, each answered before the next, and as many replicas waited for.
fn written(server: &RedisServer, replicas: u32) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    let wait = if replicas > 0 { format!("WAIT {replicas} 1000\r\n") } else { String::new() };
    let (question, answers) = (format!("SET bare {}\r\n{wait}", "x".repeat(1000)), 1 + usize::from(replicas > 0));
    per_second(|| {
        stream.write_all(question.as_bytes()).unwrap();
        let (mut bytes, mut lines) = ([0; 256], 0);
        while lines < answers {
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "redis-server answers");
            lines += bytes[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    })
}
