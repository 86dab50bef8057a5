//! After the faults: every node is up, the store healthy, the provider answers. Whatever happened, the grant must then
//! be served again, or be known to be lost (I10, I12, I14).

use claviger::domain::connection::{Freshness, Status};

use crate::node::Pc;
use crate::oracle::{Broken, Loss};
use crate::provider::Kind;
use crate::records::FIXED;
use crate::world::{Action, Budget, Tick, World};

/// Rounds of asking and waiting; the last ones are long, so that any backoff and any node's absence is over.
const ROUNDS: usize = 60;
/// Requests that these rounds may take: one, a retry, a confirmation, and the backoff's.
const SENDS_MAX: u32 = 12;
const STEPS_MAX: usize = 400;

pub fn calm(world: &mut World) -> Result<Option<Loss>, Broken> {
    world.budget = Budget::default();
    let sends = world.memory.sends;
    let before = world.set_generation();
    let mut lost = world.loss();
    for round in 0..ROUNDS {
        revive(world)?;
        settle(world)?;
        lost = lost.or(world.loss());
        if lost == Some(Loss::FalseDead) {
            return Ok(lost);
        }
        if is_over(world, before, lost) {
            return Ok(lost);
        }
        let asker = round % 2;
        if is_due(world) && world.nodes[asker].alive && matches!(world.nodes[asker].pc, Pc::Idle) {
            world.ask(asker)?;
            world.check_state()?;
            settle(world)?;
        }
        if world.memory.sends - sends > SENDS_MAX {
            return Err(Broken("I10: requests without end"));
        }
        lost = lost.or(world.loss());
        world.tick(pace(round, world.provider.kind));
    }
    Err(if lost.is_some() { Broken("I14: a lost grant is not reported") } else { Broken("I12: a living grant is not served") })
}

/// What must be extended in time is asked for in time.
fn pace(round: usize, kind: Kind) -> Tick {
    match round {
        0..8 => Tick::Short,
        8..16 => Tick::Lease,
        _ if kind == Kind::Extended => Tick::Lease,
        _ => Tick::Long,
    }
}

fn revive(world: &mut World) -> Result<(), Broken> {
    for at in 0..world.nodes.len() {
        if world.nodes[at].paused {
            world.apply(Action::Resume(at))?;
        }
        if !world.nodes[at].alive && !world.nodes[at].forgotten {
            world.apply(Action::Restart(at))?;
        }
    }
    Ok(())
}

/// Everything that can happen without time passing happens.
fn settle(world: &mut World) -> Result<(), Broken> {
    let mut enabled = Vec::new();
    for _ in 0..STEPS_MAX {
        world.enabled(&mut enabled);
        let next = enabled.iter().copied().find(|action| !matches!(action, Action::Ask(_)));
        let Some(next) = next else { return Ok(()) };
        world.apply(next)?;
    }
    Err(Broken("I12: a node works without end"))
}

/// Somebody would ask: the token is not fresh.
fn is_due(world: &World) -> bool {
    let connection = world.connection();
    let fresh = connection.sets.get(&FIXED.set).map(|set| set.current.freshness(world.nodes[0].wall(world.now)));
    !connection.is_gone() && fresh != Some(Freshness::Fresh)
}

fn is_over(world: &World, before: u64, lost: Option<Loss>) -> bool {
    let idle = world.nodes.iter().all(|node| !node.alive || (matches!(node.pc, Pc::Idle) && !node.must_replay(world)));
    let connection = world.connection();
    let told = match (&connection.status, lost) {
        (Status::Revoked { .. }, _) => true,
        (Status::NeedsReauth { .. }, lost) => lost.is_some(),
        (Status::Active, None) => !is_due(world) && world.set_generation() > before,
        _ => false,
    };
    idle && told
}
