//! A store that is put back to an earlier state: refresh tokens in it may have been rotated out, and one of
//! them, shown, can end a whole family. Nothing is sent before the operator says so; what the journals have
//! is put over it first; and where they are gone, one connection of each provider is risked and no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ledger::Class;
use crate::node::Node;
use crate::world::{Connection, Ends, Said, Tenant, World, crowd, eventually, everybody};

/// Connections of each class.
const EACH: usize = 4;
const AT_ONCE: usize = 16;
/// How often every connection is refreshed after the snapshot.
const ROTATIONS: usize = 5;
/// Backups under load.
const BACKUPS: usize = 3;
/// A store that lacks more beats than this was put back, and did not merely fail over.
const FAILOVER_BEATS: u64 = 12;

fn quick(world: &mut World) {
    world.set("node.beat", "200ms");
    world.set("journal.bytes", "8MiB");
}

async fn round(tenant: &Tenant, connections: &[Connection], force: bool) -> Vec<Said> {
    let tenant = tenant.clone();
    let ask = move |connection: Connection| {
        let tenant = tenant.clone();
        async move { tenant.token(&connection, force).await }
    };
    crowd(connections.to_vec(), AT_ONCE, ask).await
}

async fn rotated(tenant: &Tenant, connections: &[Connection]) {
    everybody(std::slice::from_ref(tenant), connections, true, AT_ONCE, Said::is_good).await;
}

/// What a command that ends well printed.
fn done(command: &mut Command) -> String {
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

fn backup(node: &Node, file: &Path) {
    done(&mut node.command(&["backup", file.to_str().unwrap()]));
}

fn restore(node: &Node, file: &Path) {
    done(&mut node.command(&["restore", file.to_str().unwrap(), "--yes"]));
}

fn lose_the_store(world: &World) {
    for ending in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(world.path().join(format!("claviger.db{ending}"))));
    }
}

/// The nodes' beats, as the store has them.
fn beats(node: &Node) -> Vec<u64> {
    let listed = done(&mut node.command(&["node", "list"]));
    let beat = |line: &str| line.split_once(" beat ")?.1.split(' ').next()?.parse().ok();
    let beats: Vec<_> = listed.lines().filter_map(beat).collect();
    assert!(!beats.is_empty(), "{listed}");
    beats
}

async fn ready(tenant: &Tenant) -> String {
    let (status, said) = tenant.get("/readyz").await.expect("an answer");
    assert_eq!(status, 200, "{said}");
    said.to_string()
}

/// Asked for each connection, with force: all are served, and nothing is sent.
async fn is_held(world: &World, tenant: &Tenant, connections: &[Connection]) -> Vec<Said> {
    let before = world.ledger.count();
    let said = round(tenant, connections, true).await;
    for (said, connection) in said.iter().zip(connections) {
        assert_eq!((said.status, said.warning.as_str()), (200, "refresh_failing"), "{connection:?}: {said:?}");
    }
    assert_eq!(world.ledger.count(), before, "a refresh token was sent in restore mode");
    eventually(|| async {
        let said = ready(tenant).await;
        if said.contains("claviger resume") { Ok(()) } else { Err(said) }
    })
    .await;
    said
}

struct Scene {
    world: World,
    node: Node,
    tenant: Tenant,
    connections: Vec<Connection>,
    file: PathBuf,
    /// The access tokens after the last rotation.
    newest: Vec<String>,
}

/// Backed up in the second generation, and rotated five times since; then the store is lost.
async fn store_lost() -> Scene {
    let mut world = World::on_sqlite();
    quick(&mut world);
    let mut node = world.node("one");
    node.start();
    let tenant = world.tenant(&node).await;
    let connections = world.connections(&tenant, &Class::ALL, EACH * Class::ALL.len(), Ends::Truly).await;
    rotated(&tenant, &connections).await;
    let file = world.path().join("backup");
    backup(&node, &file);
    for _ in 0..ROTATIONS {
        rotated(&tenant, &connections).await;
    }
    let newest = round(&tenant, &connections, false).await.into_iter().map(|said| said.access).collect();
    node.kill();
    lose_the_store(&world);
    Scene { world, node, tenant, connections, file, newest }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_and_the_journal_cost_no_grant() {
    let Scene { world, mut node, tenant, connections, file, newest } = store_lost().await;
    restore(&node, &file);
    node.start();
    // The journal is on this node's disk and goes over the snapshot by itself.
    eventually(|| async {
        let served: Vec<_> = round(&tenant, &connections, false).await.into_iter().map(|said| said.access).collect();
        if served == newest { Ok(()) } else { Err(format!("{served:?} instead of {newest:?}")) }
    })
    .await;
    is_held(&world, &tenant, &connections).await;

    let said = done(&mut node.command(&["resume"]));
    assert!(said.contains("Refreshes go on."), "{said}");
    rotated(&tenant, &connections).await;
    assert!(world.ledger.crimes().is_none(), "{:?}", world.ledger.crimes());
    assert!(!ready(&tenant).await.contains("resume"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_one_connection_of_each_provider_is_risked() {
    let Scene { world, mut node, tenant, connections, file, .. } = store_lost().await;
    world.ledger.set_window(std::time::Duration::ZERO);
    // Another machine: nothing is left of the node's folder.
    std::fs::remove_dir_all(node.folder().join("node")).unwrap();
    restore(&node, &file);
    node.start();
    is_held(&world, &tenant, &connections).await;
    node.kill();
    node.start();
    is_held(&world, &tenant, &connections).await;

    let before = world.ledger.count();
    let resumed = node.command(&["resume"]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&resumed.stdout), String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(resumed.status.code(), Some(1), "{out}{err}");
    // The one class whose old tokens are good goes on.
    for class in Class::ALL {
        let line = out.lines().find(|line| line.starts_with(class.name())).unwrap_or_else(|| panic!("{class:?}: {out}"));
        assert_eq!(line.contains("held back"), class != Class::Nonrotating, "{line}");
    }
    for _ in 0..3 {
        round(&tenant, &connections, true).await;
    }
    let mut sends: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &world.ledger.presented()[before..] {
        let class = world.ledger.class(one.grant.expect("a token of the ledger's"));
        *sends.entry(class.name()).or_default() += 1;
    }
    assert!(sends.remove(Class::Nonrotating.name()).unwrap() > 1, "its others go on");
    assert!(sends.values().all(|sent| *sent == 1), "{sends:?}");
    let revoked = world.ledger.crimes().revoked;
    assert!(revoked.len() <= Class::ALL.len(), "{revoked:?}");
    let held = ready(&tenant).await;
    assert!(held.contains("strict: held back") && !held.contains("nonrotating: held"), "{held}");
    // The operator knows better, or wants to have it behind him.
    done(&mut node.command(&["resume", "--force"]));
    assert!(!ready(&tenant).await.contains("held back"));
}

/// Whatever moment a backup is of, it opens, and each connection in it is in a state that it once was in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_of_one_moment() {
    let mut world = World::on_sqlite();
    quick(&mut world);
    let mut node = world.node("one");
    node.start();
    let tenant = world.tenant(&node).await;
    let connections = world.connections(&tenant, &Class::ALL, EACH * Class::ALL.len(), Ends::Truly).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (tenant, connections, stop) = (tenant.clone(), connections.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                rotated(&tenant, &connections).await;
            }
        }
    });
    let files: Vec<_> = (0..BACKUPS).map(|n| world.path().join(format!("backup-{n}"))).collect();
    for file in &files {
        let before = world.ledger.count();
        world.ledger.arrived(before + connections.len()).await;
        let mut command = node.command(&["backup", file.to_str().unwrap()]);
        let made = tokio::task::spawn_blocking(move || done(&mut command)).await.unwrap();
        assert!(made.contains("master key is not in it"), "{made}");
    }
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    let refused = node.command(&["backup"]).arg(&files[0]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--force"));
    node.stop();

    let mut last = vec![0; connections.len()];
    for (n, file) in files.iter().enumerate() {
        let copy = world.path().join(format!("copy-{n}.db"));
        let mut other = world.node(&format!("other-{n}"));
        other.set("store.url", &format!("sqlite:{}", copy.display()));
        restore(&other, file);
        other.start();
        let tenant = tenant.at(&other);
        for ((said, connection), last) in is_held(&world, &tenant, &connections).await.iter().zip(&connections).zip(&mut last) {
            assert!(world.ledger.admits(&said.access), "{connection:?} has a token that nobody issued: {said:?}");
            assert!(said.generation >= *last && said.generation > 1, "{connection:?} went back: {said:?}");
            *last = said.generation;
        }
        other.kill();
        damaged_ones_are_refused(&other, file);
    }
    assert!(world.ledger.crimes().is_none(), "{:?}", world.ledger.crimes());
}

fn damaged_ones_are_refused(node: &Node, file: &Path) {
    let whole = std::fs::read(file).unwrap();
    let damaged = file.with_extension("damaged");
    let middle = whole.len() / 2;
    let flipped = [&whole[..middle], &[whole[middle] ^ 1], &whole[middle + 1..]].concat();
    for bytes in [&flipped, &whole[..middle], &whole[..whole.len() - 1024]] {
        std::fs::write(&damaged, bytes).unwrap();
        let ended = node.command(&["restore", damaged.to_str().unwrap(), "--check"]).output().unwrap();
        assert!(String::from_utf8_lossy(&ended.stderr).contains("is no whole backup"), "{ended:?}");
    }
    assert!(done(&mut node.command(&["restore", file.to_str().unwrap(), "--check"])).contains("is whole"));
}

/// Everything in Redis is gone from one moment to the next. The nodes stop; the copy from before is put
/// back; their journals have what it lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_stops_the_nodes_and_comes_back_from_a_copy() {
    let mut world = World::on_redis();
    quick(&mut world);
    let mut nodes = [world.node("one"), world.node("two"), world.node("away")];
    nodes.iter_mut().for_each(Node::start);
    let tenant = world.tenant(&nodes[0]).await;
    let tenants = [tenant.clone(), tenant.at(&nodes[1])];
    let connections = world.connections(&tenant, &Class::ALL, EACH * Class::ALL.len(), Ends::Truly).await;
    everybody(&tenants, &connections, true, AT_ONCE, Said::is_good).await;
    let copied_at = beats(&nodes[0]).into_iter().max().unwrap();
    let copy = world.redis.as_mut().unwrap().copied();
    for _ in 0..ROTATIONS {
        everybody(&tenants, &connections, true, AT_ONCE, Said::is_good).await;
    }
    let newest = round(&tenant, &connections, false).await;
    eventually(|| async {
        let now = beats(&nodes[0]);
        if now.iter().all(|beat| *beat > copied_at + 2 * FAILOVER_BEATS) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    nodes[2].kill();

    let load = tokio::spawn({
        let (tenants, connections) = (tenants.clone(), connections.clone());
        async move {
            for tenant in &tenants {
                round(tenant, &connections, true).await;
            }
        }
    });
    world.redis.as_ref().unwrap().say(&["FLUSHALL"]);
    load.await.unwrap();
    let before = world.ledger.count();
    for tenant in &tenants {
        round(tenant, &connections, true).await;
    }
    assert_eq!(world.ledger.count(), before, "a refresh token was sent after the store was emptied");
    assert!(world.ledger.revocations().is_empty(), "an absent record was taken for a deleted connection");

    world.redis.as_mut().unwrap().put_back(copy);
    for tenant in &tenants {
        eventually(|| async {
            let served = round(tenant, &connections, false).await;
            let caught_up = served.iter().zip(&newest).all(|(now, then)| now.generation >= then.generation);
            if caught_up { Ok(()) } else { Err(format!("{served:?} instead of {newest:?}")) }
        })
        .await;
        is_held(&world, tenant, &connections).await;
    }
    // What the third node's journal has, nobody knows; until it is given up, or comes and says so.
    let refused = nodes[1].command(&["resume"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("away") && said.contains("node forget"), "{said}");
    done(&mut nodes[1].command(&["node", "forget", "away", "--yes"]));
    let said = done(&mut nodes[1].command(&["resume"]));
    assert!(said.contains("Refreshes go on."), "{said}");
    nodes[2].start();
    assert!(!ready(&tenant.at(&nodes[2])).await.contains("resume"), "it holds back what was seen to");
    let again = nodes[1].command(&["resume"]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("refreshes go on already"), "{again:?}");
    everybody(&tenants, &connections, true, AT_ONCE, Said::is_good).await;
    assert!(world.ledger.crimes().is_none(), "{:?}", world.ledger.crimes());
}
