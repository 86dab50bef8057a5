//! The network between the nodes and their store stalls, swallows answers and breaks, for one node or
//! for all. No grant is lost and no family ended, and tokens that are valid are served throughout.

use std::time::Duration;

use crate::ledger::Dice;
use crate::load::Three;
use crate::redis::RedisServer;
use crate::size::{Slice, size};
use crate::wire::{Weather, Wire};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_stalls_and_breaks_costs_no_grant() {
    let mut slice = Slice::resume("network");
    let faults = size("NETWORK_FAULTS", 12, 300);
    let longest = size("NETWORK_MS", 5_000, 15_000);
    let server = RedisServer::start();
    let world = World::on_sqlite();
    let (mut wires, mut nodes) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (wire, mut node) = (Wire::to(server.port()).await, world.node(name));
        node.set("store.url", &wire.url());
        wires.push(wire);
        nodes.push(node);
    }
    let three = Three::start(world, nodes).await;
    let mut dice = Dice(0xcab1e + slice.sum("faults"));
    three.recovered(three.now()).await;
    while slice.sum("faults") < faults && !slice.is_over() {
        tokio::time::sleep(Duration::from_millis(dice.below(500))).await;
        let weather = [Weather::Still, Weather::Deaf, Weather::Cut][usize::try_from(slice.sum("faults") % 3).unwrap()];
        let hit: Vec<_> = wires.iter().filter(|_| dice.per_mille(600)).collect();
        three.did(format!("{weather:?} for {} of 3", hit.len()));
        hit.iter().for_each(|wire| wire.turn(weather));
        tokio::time::sleep(Duration::from_millis(50 + dice.below(longest))).await;
        // What is stalled goes on later, or is lost with its connection.
        if dice.per_mille(500) {
            hit.iter().for_each(|wire| wire.turn(Weather::Cut));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let at = three.now();
        three.did("fair");
        hit.iter().for_each(|wire| wire.turn(Weather::Fair));
        slice.note("recovery_ms", three.recovered(at).await);
        slice.add("faults", 1);
    }
    three.end(&mut slice).await;
    slice.keep();
}
