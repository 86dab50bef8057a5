//! Schedules drawn from a seed, in a larger world than a search can exhaust: every fault may happen, several times, and
//! in the end everything is calm. A seed names its schedule, its provider and its faults.

use std::fmt;

use crate::calm::calm;
use crate::mutants::Mutant;
use crate::oracle::{Broken, Loss};
use crate::provider::Kind;
use crate::world::{Action, Budget, World};

const STEPS: u64 = 70;

/// splitmix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn below(&mut self, most: u64) -> u8 {
        self.roll(most + 1) as u8
    }
}

/// What broke, and the schedule that broke it.
#[derive(Debug)]
pub struct Fault {
    what: String,
    kind: Kind,
    path: Vec<Action>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}: {:?}", self.what, self.kind, self.path)
    }
}

/// What a schedule came to: a loss in an open window, which was reported, or nothing.
pub fn run(seed: u64, mutant: Option<Mutant>) -> Result<Option<Loss>, Fault> {
    let (mut world, mut dice) = deal(seed, mutant);
    let kind = world.provider.kind;
    let mut path = Vec::new();
    play(&mut world, &mut dice, &mut path).map_err(|what| Fault { what, kind, path })
}

/// A seed's schedule and its end, for people.
pub fn show(seed: u64) -> String {
    let (mut world, mut dice) = deal(seed, None);
    let (kind, budget) = (world.provider.kind, world.budget);
    let mut path = Vec::new();
    let end = play(&mut world, &mut dice, &mut path);
    format!("seed {seed}, {kind:?}, {budget:?}: {path:?}: {end:?}")
}

fn deal(seed: u64, mutant: Option<Mutant>) -> (World, Dice) {
    let mut dice = Dice::new(seed);
    let kind = Kind::ALL[dice.roll(Kind::ALL.len() as u64) as usize];
    let budget = budget(&mut dice, mutant);
    let skew = skew(kind, &mut dice);
    let mut world = World::new(kind, budget, mutant, skew);
    world.patient = true;
    (world, dice)
}

fn play(world: &mut World, dice: &mut Dice, path: &mut Vec<Action>) -> Result<Option<Loss>, String> {
    let mut enabled = Vec::new();
    let steps = 20 + dice.roll(STEPS);
    for _ in 0..steps {
        world.enabled(&mut enabled);
        if enabled.is_empty() {
            break;
        }
        let action = pick(&enabled, dice);
        path.push(action);
        world.apply(action).map_err(|Broken(what)| what.to_owned())?;
        if let Some(loss) = world.loss() {
            if !world.excused(loss) {
                return Err(format!("{loss:?}"));
            }
            break;
        }
    }
    let excused = world.loss();
    let lost = calm(world).map_err(|Broken(what)| what.to_owned())?;
    match lost {
        Some(loss) if excused.is_none() && !world.excused(loss) => Err(format!("{loss:?} in the calm")),
        lost => Ok(lost),
    }
}

/// What the protocol does by itself is more likely than a fault, so that schedules get far.
fn pick(enabled: &[Action], dice: &mut Dice) -> Action {
    let any = |dice: &mut Dice| enabled[dice.roll(enabled.len() as u64) as usize];
    let first = any(dice);
    if first.is_fault() && dice.roll(4) != 0 { any(dice) } else { first }
}

/// Half of the schedules know every fault, the other half two kinds of them, and those more often.
fn budget(dice: &mut Dice, mutant: Option<Mutant>) -> Budget {
    let clock = Budget {
        asks: 2 + dice.below(4),
        short: 1 + dice.below(3),
        lease: dice.below(2),
        long: dice.below(1),
        hangups: if mutant == Some(Mutant::RequestOwns) { 1 } else { 0 },
        ..Budget::default()
    };
    if dice.roll(2) == 0 {
        let mut budget = clock;
        for _ in 0..2 {
            *fault_of(&mut budget, dice.roll(FAULTS)) = 1 + dice.below(1);
        }
        if budget.rollbacks > 0 {
            // Replay brings back what was received, where every node reaches the new store before the others send. What
            // else is forgotten, a doubt, a consent, is nowhere else.
            let Budget { rollbacks, failovers, .. } = budget;
            return Budget { rollbacks, failovers, ..clock };
        }
        return budget;
    }
    let rarely = |dice: &mut Dice, sides| u8::from(dice.roll(sides) == 0);
    Budget {
        crashes: dice.below(2),
        lost: dice.below(2),
        dropped: dice.below(1),
        failovers: dice.below(2),
        pauses: dice.below(2),
        away: dice.below(2),
        odd: dice.below(2),
        broken_journals: rarely(dice, 16),
        consents: rarely(dice, 4),
        imports: rarely(dice, 8),
        deletes: rarely(dice, 6),
        forgets: rarely(dice, 8),
        ..clock
    }
}

const FAULTS: u64 = 12;

fn fault_of(budget: &mut Budget, n: u64) -> &mut u8 {
    match n {
        0 => &mut budget.crashes,
        1 => &mut budget.lost,
        2 => &mut budget.dropped,
        3 => &mut budget.failovers,
        4 => &mut budget.pauses,
        5 => &mut budget.away,
        6 => &mut budget.odd,
        7 => &mut budget.broken_journals,
        8 => &mut budget.consents,
        9 => &mut budget.imports,
        10 => &mut budget.rollbacks,
        _ => &mut budget.deletes,
    }
}

/// Where a wrongly chosen sibling is refused and not punished, the nodes' clocks may be a minute apart.
fn skew(kind: Kind, dice: &mut Dice) -> i64 {
    let apart = matches!(kind, Kind::Plain | Kind::NewestOnly) && dice.roll(3) == 0;
    if apart { [-60_000, 60_000][dice.roll(2) as usize] + 7 } else { 7 }
}
