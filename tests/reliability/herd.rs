//! Many at once: thousands of callers who want one expired token, and thousands of tokens that expire in
//! one second. Three nodes, one Redis. The provider is asked once for each token, and never faster than
//! its file allows.

use std::time::{Duration, Instant};

use crate::figures::tell;
use crate::ledger::{Class, Fault};
use crate::node::Node;
use crate::redis::free_port;
use crate::size::size;
use crate::world::{Ends, Said, Tenant, World, crowd, everybody};

/// Refreshes per second that the provider may be asked for, over all nodes: fewer than three nodes of a development
/// build manage on two cores, so that it is what holds them back.
const RATE: usize = 100;
/// What was sent in an even row comes in crowds where the machine is busy: within one second as many as in two.
const SPANS: [(u64, usize); 2] = [(1, 2 * RATE), (30, 30 * RATE)];

async fn three_nodes(world: &mut World) -> (Vec<Node>, Vec<Tenant>) {
    let mut nodes: Vec<_> = ["a", "b", "c"].into_iter().map(|name| world.node(name)).collect();
    for node in &mut nodes {
        node.serve_metrics(free_port());
        node.start();
    }
    let tenant = world.tenant(&nodes[0]).await;
    let tenants = nodes.iter().map(|node| tenant.at(node)).collect();
    (nodes, tenants)
}

/// Returns once each node refreshes: one that has just started on a store that others share lets them replay first.
async fn open(world: &World, tenants: &[Tenant]) {
    for tenant in tenants {
        let one = world.connections(tenant, &[Class::Nonrotating], 1, Ends::Truly).await;
        everybody(std::slice::from_ref(tenant), &one, true, 1, Said::is_good).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_callers_over_three_nodes_are_answered_from_one_refresh() {
    let callers = usize::try_from(size("CALLERS", 2_000, 20_000)).unwrap();
    let mut world = World::on_redis();
    world.set("refresh.patience", "60s");
    let (_nodes, tenants) = three_nodes(&mut world).await;
    let connection = world.connections(&tenants[0], &[Class::Strict], 1, Ends::Over).await.remove(0);
    open(&world, &tenants).await;
    let before = world.ledger.count();
    // Long enough that all nodes have callers who wait.
    world.ledger.next(connection.grant, Fault::default().before(Duration::from_secs(1)));
    let began = Instant::now();
    let ask = |n: usize| {
        let (tenant, connection) = (tenants[n % tenants.len()].clone(), connection.clone());
        async move { tenant.token(&connection, false).await }
    };
    let said = crowd((0..callers).collect(), 2_000, ask).await;
    let took = began.elapsed();
    let wrong: Vec<_> = said.iter().filter(|said| !said.is_good() || said.access != "at-0-1").take(3).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(world.ledger.count() - before, 1, "{:?}", world.ledger.presented());
    tell("herd", &format!("callers {callers}, nodes 3, refreshes 1, all_answered_within_ms {}", took.as_millis()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_expire_together_are_refreshed_once_each_and_no_faster_than_allowed() {
    let count = usize::try_from(size("EXPIRING", 10_000, 10_000)).unwrap();
    let mut world = World::on_redis();
    // Longer than the row of those who wait, and shorter than a client waits: what holds one up is told.
    world.set("refresh.patience", "30s");
    world.set("refresh.rate", &RATE.to_string());
    let (nodes, tenants) = three_nodes(&mut world).await;
    let connections = world.connections(&tenants[0], &[Class::Strict], count, Ends::Over).await;
    let began = Instant::now();
    // What is wanted came from a refresh: what was imported has expired.
    everybody(&tenants, &connections, false, 500, |said| said.is_good() && said.generation == 2).await;
    let took = began.elapsed();
    let peaks = SPANS.map(|(seconds, allowed)| (seconds, allowed, world.ledger.peak(Duration::from_secs(seconds))));
    assert_eq!(world.ledger.count(), count);
    let again: Vec<_> = connections.iter().filter(|one| world.ledger.refreshes(one.grant) != 1).take(3).collect();
    assert!(again.is_empty() && world.ledger.crimes().is_none(), "{again:?} {:?}", world.ledger.crimes());
    let peaked = peaks.map(|(seconds, _, peak)| format!("peak_in_{seconds}_s {peak}")).join(", ");
    let figures = format!("connections {count}, nodes 3, rate_per_s {RATE}, {peaked}, took_ms {}", took.as_millis());
    tell("expiring together", &figures);
    let exposed = futures::future::join_all(nodes.iter().map(Node::exposed)).await.join(", ");
    tell("exposed", &format!("of {count} refreshes on three nodes, from the last byte to the journal's sync: {exposed}"));
    for (seconds, allowed, peak) in peaks {
        assert!(peak <= allowed, "{peak} within {seconds} s, where {allowed} are allowed");
    }
}
