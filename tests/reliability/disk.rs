//! A disk that is full, and one that lies: no refresh is sent whose answer could not be kept, what was
//! answered is kept in the one place that still can, and the operator is told.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::figures::tell;
use crate::ledger::{Class, Fault, Wait};
use crate::node::Node;
use crate::world::{Connection, Ends, Said, Tenant, World, crowd, eventually, everybody};

const CONNECTIONS: usize = 24;
/// Twenty-four answers and some to spare.
const JOURNAL: &str = "16MiB";

/// A small file system in memory, mounted where a test wants it.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0777");
        let path = at.display().to_string();
        let mounted = as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &path]);
        assert!(mounted, "this test mounts a small tmpfs: run it as root, with sudo, or under `unshare --map-root-user --mount`");
        Self(at.to_owned())
    }

    /// Not a byte is left.
    fn fill(&self) {
        let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(self.0.join("ballast")).unwrap();
        for block in [64 * 1024, 1] {
            while ballast.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", &self.0.display().to_string()]);
    }
}

fn as_root(words: &[&str]) -> bool {
    let run =
        |program: &str, args: &[&str]| Command::new(program).args(args).output().is_ok_and(|output| output.status.success());
    run(words[0], &words[1..]) || run("sudo", &[&["-n"], words].concat())
}

/// Connections at a strict provider, and a node on the usual settings and these.
struct Scene {
    world: World,
    node: Node,
    tenant: Tenant,
    connections: Vec<Connection>,
}

impl Scene {
    async fn set(world: World, mut node: Node) -> Self {
        let mut world = world;
        node.set("journal.bytes", JOURNAL);
        node.set("refresh.call_deadline", "20s");
        node.set("refresh.patience", "10s");
        node.set("refresh.proactive", "false");
        node.start();
        let tenant = world.tenant(&node).await;
        let connections = world.connections(&tenant, &[Class::Strict], CONNECTIONS, Ends::Truly).await;
        Self { world, node, tenant, connections }
    }

    async fn force(&self) -> Vec<Said> {
        let tenant = self.tenant.clone();
        let ask = move |connection: Connection| {
            let tenant = tenant.clone();
            async move { tenant.token(&connection, true).await }
        };
        crowd(self.connections.clone(), CONNECTIONS, ask).await
    }

    /// Refreshes whose answers the provider has written and holds back.
    async fn hold(&self) -> (watch::Sender<bool>, JoinSet<Said>) {
        let (gate, before) = (watch::Sender::new(false), self.world.ledger.count());
        let held = gate.subscribe();
        self.world.ledger.always(move |_| Fault::default().after(Wait::Until(held.clone())));
        let mut calls = JoinSet::new();
        for connection in self.connections.clone() {
            let tenant = self.tenant.clone();
            calls.spawn(async move { tenant.token(&connection, true).await });
        }
        eventually(|| async {
            let all = self.world.ledger.presented();
            let written = all.iter().skip(before).filter(|one| one.issued.is_some()).count();
            if written == CONNECTIONS { Ok(()) } else { Err(format!("{written} are with the provider")) }
        })
        .await;
        (gate, calls)
    }

    /// The alarm is raised: not ready, and an error in the log.
    async fn alarm(&self, from: usize) {
        let raised = || async {
            let ready = self.tenant.get("/readyz").await.ok_or("no answer")?;
            let told = self.node.log().says(from, "\"ERROR\"");
            if ready.0 == 503 && told { Ok(ready.1) } else { Err(format!("/readyz says {ready:?}, an error in the log: {told}")) }
        };
        println!("disk: the alarm is {}", eventually(raised).await);
    }

    /// After a new start on a sound disk each grant is refreshed with what it has.
    async fn all_live(&self) {
        everybody(std::slice::from_ref(&self.tenant), &self.connections, true, 8, Said::is_good).await;
        assert!(self.world.ledger.crimes().is_none(), "{:?}", self.world.ledger.crimes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_refreshes_and_loses_nothing() {
    let mut world = World::on_sqlite();
    let disk = Tmpfs::mount(&world.path().join("small"), "40m");
    world.set("store.url", &format!("sqlite:{}", disk.0.join("claviger.db").display()));
    let mut node = world.node("a");
    node.set("node.data", &disk.0.join("node").display().to_string());
    let mut scene = Scene::set(world, node).await;
    let (gate, mut calls) = scene.hold().await;
    let from = scene.node.log().lines().len();
    disk.fill();
    gate.send_replace(true);
    while calls.join_next().await.is_some() {}
    let answered = scene.world.ledger.count();
    scene.alarm(from).await;
    // Nobody is asked while nothing can be kept.
    scene.world.ledger.behave();
    scene.force().await;
    assert_eq!(scene.world.ledger.count(), answered, "sent without room");
    scene.node.kill();
    // Without room it need not come up; if it does, it sends nothing.
    drop(scene.node.try_start());
    scene.force().await;
    assert_eq!(scene.world.ledger.count(), answered, "sent without room after a start");
    scene.node.kill();
    disk.make_room();
    scene.node.start();
    scene.all_live().await;
    tell("disk full", &format!("answers_while_full {answered}, sends_while_full 0, lost 0"));
    // The disk goes when nobody is on it any more.
    scene.node.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_synced_stops_refreshes_and_loses_nothing() {
    let world = World::on_sqlite();
    let node = world.node("a");
    let journal = node.folder().join("node/journal");
    let mut scene = Scene::set(world, node).await;
    scene.node.kill();
    let told = scene.world.path().join("strace");
    scene.node.wrapped = lying("fdatasync,fsync", "error=EIO:when=3+", &journal, &told);
    scene.node.start();
    let from = scene.node.log().lines().len();
    // Some of these are answered before the disk begins to fail.
    for _ in 0..4 {
        scene.force().await;
    }
    scene.alarm(from).await;
    let answered = scene.world.ledger.count();
    scene.force().await;
    assert_eq!(scene.world.ledger.count(), answered, "sent with a journal that is broken");
    scene.node.kill();
    scene.node.wrapped.clear();
    scene.node.start();
    scene.all_live().await;
    tell("journal fsync error", &format!("answers {answered}, sends_after_the_error 0, lost 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_synced_loses_nothing() {
    let world = World::on_sqlite();
    let log = world.path().join("claviger.db-wal");
    let node = world.node("a");
    let mut scene = Scene::set(world, node).await;
    scene.node.kill();
    let told = scene.world.path().join("strace");
    // The first are those of the start; then some fail in the midst of the work.
    scene.node.wrapped = lying("fdatasync,fsync", "error=EIO:when=10..40", &log, &told);
    scene.node.start();
    let from = scene.node.log().lines().len();
    let before = scene.world.ledger.count();
    for _ in 0..3 {
        scene.force().await;
    }
    let failed = std::fs::read_to_string(&told).unwrap().matches("INJECTED").count();
    assert!(failed > 0 && scene.node.log().says(from, "\"ERROR\""), "the disk never failed");
    scene.all_live().await;
    scene.node.kill();
    scene.node.wrapped.clear();
    scene.node.start();
    scene.all_live().await;
    let refreshes = scene.world.ledger.count() - before;
    tell("store fsync error", &format!("refreshes {refreshes}, failed_syncs {failed}, lost 0"));
}

/// Runs the node so that the kernel seems to answer these calls on one file with an error; `told` lists
/// them.
fn lying(calls: &str, fault: &str, file: &Path, told: &Path) -> Vec<String> {
    let path = file.display().to_string();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{fault}"));
    let told = told.display().to_string();
    let words = ["strace", "-D", "-f", "-qqq", "-o", &told, "-e", &trace, "-e", &inject, "-P", &path];
    words.into_iter().map(str::to_owned).collect()
}
