//! The refresh protocol against every schedule of a small world, and against many of a larger one: two nodes that run
//! the product's own state machine and records, a store with a replica that lags, a provider that rotates, and the
//! faults of docs/refresh.md. Nothing here waits for time to pass.
//!
//! `CLAVIGER_MODEL_SEED=n` shows one seeded schedule, `CLAVIGER_MODEL_SCHEDULES=n` and `CLAVIGER_MODEL_FROM=n` say how
//! many are drawn and from which seed on. Large runs are `#[ignore]`d: `./check --long`.

mod actions;
mod calm;
mod cells;
mod digest;
mod drive;
mod explore;
mod facts;
mod mutants;
mod node;
mod oracle;
mod provider;
mod random;
mod records;
mod store;
mod table;
mod world;

use std::ops::Range;

use cells::Cell;
use mutants::Mutant;
use provider::Kind;

/// Schedules of a run of all tests.
const SCHEDULES: u64 = 200_000;
/// They are drawn in so many tests, which run at the same time.
const SLICES: u64 = 4;
/// Of a long run, unless told otherwise.
const MANY: u64 = 1_000_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number; it is {text:?}")))
}

/// Every schedule of these scopes, and exactly the losses of the table.
fn search(kinds: &[Kind], cells: &[Cell]) {
    for cell in cells {
        for &kind in kinds {
            let report = explore::explore(kind, cell.budget, explore::SKEW, None);
            println!("{kind:?}, {}: {} states, {:?}", cell.name, report.states, report.losses.keys());
            assert_eq!(report.fault(), None, "{kind:?}, {}", cell.name);
            let found: Vec<_> = report.losses.keys().map(|(loss, _)| *loss).collect();
            assert!(cell.expects(kind, &found), "{kind:?}, {}: {found:?} in {} states", cell.name, report.states);
        }
    }
}

fn small(kind: Kind) {
    let cells: Vec<_> = cells::all().into_iter().filter(|cell| !cell.large).collect();
    search(&[kind], &cells);
}

#[test]
fn every_small_schedule_where_an_old_token_is_refused() {
    small(Kind::Plain);
}

#[test]
fn every_small_schedule_where_an_old_token_is_forgiven() {
    small(Kind::Grace);
}

#[test]
fn every_small_schedule_where_an_old_token_is_forgiven_for_half_a_minute() {
    small(Kind::ShortGrace);
}

#[test]
fn every_small_schedule_where_an_old_token_ends_the_family() {
    small(Kind::Strict);
}

/// Where that makes a difference.
#[test]
fn every_small_schedule_where_the_access_token_is_extended() {
    let cells: Vec<_> = cells::all().into_iter().filter(|cell| !cell.large && cell.may_end()).collect();
    search(&[Kind::Extended], &cells);
}

/// Whichever of two children is the one that lives, the journals bring it back: both are kept.
#[test]
fn every_small_schedule_where_two_children_are_forgotten() {
    search(&[Kind::NewestOnly], &[cells::of_two_children()]);
}

#[test]
#[ignore = "some millions of states"]
fn every_schedule_of_every_scope() {
    std::thread::scope(|threads| {
        let thirds: [&[Kind]; 3] = [
            &[Kind::Nonrotating, Kind::Extended, Kind::Plain],
            &[Kind::Grace, Kind::ShortGrace],
            &[Kind::NewestOnly, Kind::Strict],
        ];
        for kinds in thirds {
            threads.spawn(move || search(kinds, &cells::all()));
        }
    });
}

/// Draws schedules, each of which ends in the calm; the first that breaks something is shown with its seed.
fn draw(seeds: Range<u64>) {
    for seed in seeds {
        if let Err(fault) = random::run(seed, None) {
            panic!("CLAVIGER_MODEL_SEED={seed} shows it again: {fault}");
        }
    }
}

fn slice(n: u64) {
    if let Some(seed) = number("CLAVIGER_MODEL_SEED") {
        println!("{}", random::show(seed));
        return draw(seed..seed + 1);
    }
    let (from, count) = (number("CLAVIGER_MODEL_FROM").unwrap_or(0), number("CLAVIGER_MODEL_SCHEDULES").unwrap_or(SCHEDULES));
    let bound = |n: u64| from + count * n / SLICES;
    draw(bound(n)..bound(n + 1));
}

#[test]
fn seeded_schedules_first_quarter() {
    slice(0);
}

#[test]
fn seeded_schedules_second_quarter() {
    slice(1);
}

#[test]
fn seeded_schedules_third_quarter() {
    slice(2);
}

#[test]
fn seeded_schedules_last_quarter() {
    slice(3);
}

/// Seeds that have found a fault: of entries that were settled and of which a store that fell back twice had a sibling
/// alone, and of a commit that paused before it went to another store.
#[test]
fn seeds_that_found_something_hold() {
    for seed in [437_426, 1_031_564, 2_190_998, 3_844_270, 4_003_902, 5_300_865, 7_088_515] {
        draw(seed..seed + 1);
    }
}

/// `CLAVIGER_MODEL_FROM=3000000 CLAVIGER_MODEL_SCHEDULES=1000000` is the fourth slice of a hundred.
#[test]
#[ignore = "a million schedules, or as many as are asked for"]
fn many_seeded_schedules() {
    let (from, count) = (number("CLAVIGER_MODEL_FROM").unwrap_or(SCHEDULES), number("CLAVIGER_MODEL_SCHEDULES").unwrap_or(MANY));
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for n in 0..threads {
            scope.spawn(move || draw(from + count * n / threads..from + count * (n + 1) / threads));
        }
    });
    println!("seeds {from} to {} hold", from + count);
}

/// A seed is all that a schedule depends on.
#[test]
fn a_seed_shows_the_same_schedule_again() {
    for seed in 0..50 {
        assert_eq!(random::show(seed), random::show(seed));
    }
    assert_ne!(random::show(1), random::show(2));
}

/// The oracle sees what is wrong: each part of the protocol is there for something.
#[test]
fn each_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let (kind, budget, skew) = cells::of_mutant(mutant);
        let report = explore::explore(kind, budget, skew, Some(mutant));
        assert!(report.fault().is_some(), "{mutant:?} is not told apart in {} states", report.states);
        println!("{mutant:?}, {kind:?}: {}", report.fault().unwrap_or_default());
    }
}

/// For docs/reliability.md: `target/model-table.md`.
#[test]
#[ignore = "searches each fault for each mutant"]
fn the_table_of_what_each_part_is_there_for() {
    let table = table::render();
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/target/model-table.md"), table).unwrap();
}
