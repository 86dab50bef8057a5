//! Nodes are stopped in the midst of what they do, and go on later as if nothing had happened: a lease has
//! passed meanwhile, another node has refreshed, an answer has waited. No grant is lost and no family
//! ended.

use std::time::Duration;

use crate::ledger::Dice;
use crate::load::Three;
use crate::redis::RedisServer;
use crate::size::{Slice, size};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_stopped_for_a_while_costs_no_grant() {
    let mut slice = Slice::resume("pauses");
    let pauses = size("PAUSES", 12, 300);
    let longest = size("PAUSE_MS", 10_000, 30_000);
    let server = RedisServer::start();
    let mut world = World::on_sqlite();
    world.set("store.url", &server.url());
    // A lease is free after four deadlines; the longer pauses outlast it.
    world.set("refresh.call_deadline", "2500ms");
    let nodes = ["a", "b", "c"].map(|name| world.node(name)).into_iter().collect();
    let three = Three::start(world, nodes).await;
    let mut dice = Dice(0x5707 + slice.sum("pauses"));
    three.recovered(three.now()).await;
    while slice.sum("pauses") < pauses && !slice.is_over() {
        tokio::time::sleep(Duration::from_millis(dice.below(500))).await;
        let node = &three.nodes[usize::try_from(dice.below(3)).unwrap()];
        three.did(format!("stops {}", node.name()));
        node.signal("STOP");
        tokio::time::sleep(length(&mut dice, longest)).await;
        let at = three.now();
        three.did("goes on");
        node.signal("CONT");
        slice.note("recovery_ms", three.recovered(at).await);
        slice.add("pauses", 1);
    }
    three.end(&mut slice).await;
    slice.keep();
}

/// From 0.1 s to the longest; short ones as often as long ones, by orders of magnitude.
fn length(dice: &mut Dice, longest: u64) -> Duration {
    let spread = f64::from(u32::try_from(longest / 100).unwrap());
    let die = f64::from(u32::try_from(dice.below(1_000)).unwrap()) / 1_000.0;
    Duration::from_millis(100).mul_f64(spread.powf(die))
}
