//! The store goes away after the provider has answered. What was received is in the node's journal, and
//! stays there over any number of restarts; when the store is back everything is replayed, and nobody
//! is asked a second time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::figures::tell;
use crate::ledger::{Class, Fault, Ledger, Wait};
use crate::node::Node;
use crate::size::size;
use crate::world::{Connection, Ends, HANG, Said, Tenant, World, eventually, everybody};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_dies_after_the_answers_costs_nothing() {
    let refreshes = usize::try_from(size("OUTAGE_REFRESHES", 1_000, 1_000)).unwrap();
    let outage = Duration::from_secs(size("OUTAGE_SECONDS", 30, 300));
    let mut world = World::on_redis();
    let scene = Scene::set(&mut world, refreshes).await;
    world.redis.as_mut().unwrap().stop();
    let scene = scene.answered().await.restarted(outage, 5);
    world.redis.as_mut().unwrap().restart();
    scene.end("redis gone", outage).await;
}

/// Another process holds the file, as a backup tool gone wrong would: nobody can write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sqlite_file_that_cannot_be_written_after_the_answers_costs_nothing() {
    let refreshes = usize::try_from(size("LOCKED_REFRESHES", 200, 1_000)).unwrap();
    let outage = Duration::from_secs(size("LOCKED_SECONDS", 30, 300));
    let mut world = World::on_sqlite();
    let scene = Scene::set(&mut world, refreshes).await;
    let lock = held(&world.path().join("claviger.db"));
    // Each start waits for the file before it gives up.
    let scene = scene.answered().await.restarted(outage, size("LOCKED_RESTARTS", 2, 5));
    drop(lock);
    scene.end("sqlite held", outage).await;
}

fn held(file: &Path) -> rusqlite::Connection {
    let lock = rusqlite::Connection::open(file).unwrap();
    lock.busy_timeout(HANG).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    lock
}

/// Refreshes whose answers are held back, by grants whose access tokens have expired.
struct Scene {
    ledger: Arc<Ledger>,
    node: Node,
    tenant: Tenant,
    connections: Vec<Connection>,
    calls: JoinSet<Said>,
    gate: watch::Sender<bool>,
    restarts: u32,
    /// Callers who had the new token while the store was gone.
    served: usize,
}

impl Scene {
    /// As many as are asked for stand before the gate, written in the provider's books.
    async fn set(world: &mut World, refreshes: usize) -> Self {
        world.set("refresh.patience", "60s");
        world.set("refresh.call_deadline", "120s");
        world.set("refresh.proactive", "false");
        // Room for as many answers of the largest size, since so much is reserved before one is asked for.
        world.set("journal.bytes", &format!("{}MiB", refreshes / 2 + 16));
        let mut node = world.node("a");
        node.start();
        let tenant = world.tenant(&node).await;
        let connections = world.connections(&tenant, &[Class::Strict], refreshes, Ends::Over).await;
        let gate = watch::Sender::new(false);
        let held = gate.subscribe();
        world.ledger.always(move |_| Fault::default().after(Wait::Until(held.clone())));
        let mut calls = JoinSet::new();
        for connection in connections.clone() {
            let tenant = tenant.clone();
            let held = gate.subscribe();
            calls.spawn(async move {
                loop {
                    let said = tenant.token(&connection, false).await;
                    // Who is told to come again does so while the gate is closed.
                    if said.status != 503 || *held.borrow() {
                        return said;
                    }
                }
            });
        }
        let ledger = world.ledger.clone();
        let written = || async {
            let written = ledger.presented().iter().filter(|one| one.issued.is_some()).count();
            if written == refreshes { Ok(()) } else { Err(format!("{written} of {refreshes} are with the provider")) }
        };
        eventually(written).await;
        Self { ledger: ledger.clone(), node, tenant, connections, calls, gate, restarts: 0, served: 0 }
    }

    /// The store is gone; now the provider answers. What callers are told now is durable.
    async fn answered(mut self) -> Self {
        self.gate.send_replace(true);
        let mut served = 0;
        while let Some(said) = self.calls.join_next().await {
            served += usize::from(said.unwrap().generation == 2);
        }
        let whole = self.ledger.presented().iter().filter(|one| one.whole).count();
        assert_eq!(whole, self.connections.len(), "every answer went out");
        self.served = served;
        self
    }

    /// Killed and stopped in turn, all through the outage; without its store it need not come up.
    fn restarted(mut self, outage: Duration, restarts: u64) -> Self {
        let share = outage / u32::try_from(restarts).unwrap();
        let began = Instant::now();
        for n in 1..=u32::try_from(restarts).unwrap() {
            // Every second time it is asked to stop, and has its share of the outage to do so.
            if n % 2 == 0 && self.node.is_running() {
                self.node.signal("TERM");
            }
            std::thread::sleep((share * n).saturating_sub(began.elapsed()));
            self.node.kill();
            self.restarts += 1;
            drop(self.node.try_start());
        }
        self
    }

    /// Everything is replayed: each grant is one generation on, and is refreshed once more with what came
    /// out of the journal.
    async fn end(mut self, what: &str, outage: Duration) {
        if !self.node.is_running() {
            self.node.start();
        }
        let (began, count) = (Instant::now(), self.connections.len());
        let (tenants, ledger) = ([self.tenant.clone()], self.ledger.clone());
        everybody(&tenants, &self.connections, false, 64, |said| said.is_good() && said.generation == 2).await;
        let replayed = began.elapsed();
        assert_eq!(ledger.count(), count, "nobody is asked twice: {:?}", ledger.crimes());
        everybody(&tenants, &self.connections, true, 64, |said| said.is_good() && said.generation >= 3).await;
        assert!(ledger.crimes().is_none() && ledger.count() == 2 * count, "{} {:?}", ledger.count(), ledger.crimes());
        let (seconds, restarts, replayed) = (outage.as_secs(), self.restarts, replayed.as_millis());
        let served = self.served;
        tell(
            what,
            &format!(
                "refreshes {count}, served_from_the_journal {served}, outage_s {seconds}, restarts {restarts}, lost 0, replayed_and_served_within_ms {replayed}"
            ),
        );
    }
}
