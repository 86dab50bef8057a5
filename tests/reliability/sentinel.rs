//! The Redis primary is killed again and again, under load over three nodes. A replica takes its place,
//! and it may lag: whatever was acknowledged is there again, no grant is lost and no family ended, and
//! tokens that are valid are served throughout.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::group::Group;
use crate::ledger::Dice;
use crate::load::Three;
use crate::size::{Slice, size};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_costs_no_grant() {
    let mut slice = Slice::resume("failover");
    let kills = size("FAILOVERS", 8, 150);
    let mut group = Group::start();
    let mut world = World::on_sqlite();
    world.set("store.url", &group.url());
    let nodes = ["a", "b", "c"].map(|name| world.node(name)).into_iter().collect();
    let three = Three::start(world, nodes).await;
    three.told.may_go_back.store(true, Ordering::Relaxed);
    let mut dice = Dice(0xdead + slice.sum("kills"));
    three.recovered(three.now()).await;
    while slice.sum("kills") < kills && !slice.is_over() {
        tokio::time::sleep(Duration::from_millis(dice.below(1_000))).await;
        let at = three.now();
        let killed = tokio::task::block_in_place(|| group.kill_primary());
        three.did(format!("killed server {killed}"));
        slice.note("failover_ms", tokio::task::block_in_place(|| group.failed_over(killed)));
        three.did("failed over");
        slice.note("recovery_ms", three.recovered(at).await);
        three.did("recovered");
        let alone = slice.sum("kills") % 4 == 3;
        tokio::task::block_in_place(|| group.bring_back(killed, alone));
        slice.add("kills", 1);
    }
    slice.add("failovers", group.failovers());
    three.end(&mut slice).await;
    slice.keep();
}
