//! Any sequence of operations does to a store what it does to an ordered map.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use claviger::ports::kv::{AttemptId, Batch, Commit, Key, Partition, Precondition, Settled, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::world::{World, attempt, partition};

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Condition>, Vec<Change>),
    Get(Name),
    Take(Name),
    List {
        prefix: Name,
        after: Option<Name>,
        limit: usize,
    },
    /// Of the commit so many before the last.
    Settle(usize),
    SettleUnsent,
    Pass(u64),
}

#[derive(Debug, Clone)]
enum Condition {
    Absent(Name),
    Version(Name, u64),
    /// Whatever is true of the name now.
    Holds(Name),
}

#[derive(Debug, Clone)]
enum Change {
    Put(Name, u64, Vec<u8>, Option<u64>),
    Delete(Name),
}

type Name = Vec<u8>;

/// Few names, so that operations meet.
fn name() -> impl Strategy<Value = Name> {
    vec(prop_oneof![Just(0), Just(b'a'), Just(b'{'), Just(0xff)], 0..3)
}

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        1 => name().prop_map(Condition::Absent),
        1 => (name(), 0..3_u64).prop_map(|(name, version)| Condition::Version(name, version)),
        6 => name().prop_map(Condition::Holds),
    ];
    let ttl = prop_oneof![4 => Just(None), 1 => (1..5_u64).prop_map(Some)];
    let change = prop_oneof![
        3 => (name(), 0..3_u64, vec(any::<u8>(), 0..8), ttl).prop_map(|(name, version, value, ttl)| Change::Put(name, version, value, ttl)),
        1 => name().prop_map(Change::Delete),
    ];
    prop_oneof![
        6 => (vec(condition, 0..4), vec(change, 1..4)).prop_map(|(conditions, changes)| Step::Commit(conditions, changes)),
        2 => name().prop_map(Step::Get),
        2 => name().prop_map(Step::Take),
        3 => (name(), proptest::option::of(name()), 1..6_usize).prop_map(|(prefix, after, limit)| Step::List { prefix, after, limit }),
        1 => (0..4_usize).prop_map(Step::Settle),
        1 => Just(Step::SettleUnsent),
        1 => (1..4_u64).prop_map(Step::Pass),
    ]
}

/// What the store should hold: version, value, and the end of its time.
#[derive(Default)]
struct Model {
    entries: BTreeMap<Name, (u64, Vec<u8>, Option<u64>)>,
    now: u64,
    outcomes: HashMap<AttemptId, Settled>,
    attempts: Vec<AttemptId>,
}

impl Model {
    fn holds(&self, condition: &Precondition) -> bool {
        match condition {
            Precondition::Absent(key) => !self.entries.contains_key(&key.name),
            Precondition::Version(key, version) => self.entries.get(&key.name).is_some_and(|(found, ..)| found == version),
        }
    }

    fn pass(&mut self, time: u64) {
        self.now += time;
        let now = self.now;
        self.entries.retain(|_, (.., end)| end.is_none_or(|end| end > now));
    }

    fn commit(&mut self, attempt: AttemptId, conditions: &[Precondition], changes: &[Change]) -> Commit {
        self.attempts.push(attempt);
        let applied = conditions.iter().all(|condition| self.holds(condition));
        self.outcomes.insert(attempt, if applied { Settled::Applied } else { Settled::NotApplied });
        if !applied {
            return Commit::Conflict;
        }
        for change in changes {
            match change {
                Change::Put(name, version, value, ttl) => {
                    let end = ttl.map(|ttl| self.now + ttl);
                    self.entries.insert(name.clone(), (*version, value.clone(), end));
                }
                Change::Delete(name) => drop(self.entries.remove(name)),
            }
        }
        Commit::Applied
    }

    fn page(&self, prefix: &[u8], after: Option<&[u8]>) -> Vec<(Name, u64, Vec<u8>)> {
        let found =
            self.entries.iter().filter(|(name, _)| name.starts_with(prefix) && after.is_none_or(|after| &name[..] > after));
        found.map(|(name, (version, value, _))| (name.clone(), *version, value.clone())).collect()
    }
}

/// A second of the model is a second of the store's clock; times to live need a clock of ours.
const UNIT: Duration = Duration::from_secs(1);

async fn play(world: &World, home: Partition, timed: bool, steps: &[Step]) {
    let kv = &*world.kv;
    let key = |name: &Name| Key { partition: home.clone(), name: name.clone() };
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit(conditions, changes) => {
                let condition = |condition: &Condition| match condition {
                    Condition::Absent(name) => Precondition::Absent(key(name)),
                    Condition::Version(name, version) => Precondition::Version(key(name), *version),
                    Condition::Holds(name) => match model.entries.get(name) {
                        None => Precondition::Absent(key(name)),
                        Some((version, ..)) => Precondition::Version(key(name), *version),
                    },
                };
                let preconditions: Vec<_> = conditions.iter().map(condition).collect();
                let mut changes = changes.clone();
                for change in &mut changes {
                    if let Change::Put(.., ttl) = change
                        && !timed
                    {
                        *ttl = None;
                    }
                }
                let write = |change: &Change| match change {
                    Change::Put(name, version, value, ttl) => Write::Put {
                        key: key(name),
                        version: *version,
                        value: Bytes::from(value.clone()),
                        ttl: ttl.map(|ttl| UNIT * u32::try_from(ttl).expect("a small number")),
                    },
                    Change::Delete(name) => Write::Delete { key: key(name) },
                };
                let writes = changes.iter().map(write).collect();
                let attempt = attempt();
                let expected = model.commit(attempt, &preconditions, &changes);
                assert_eq!(kv.commit(Batch { attempt, preconditions, writes }).await, Ok(expected));
            }
            Step::Get(name) => {
                let found = kv.get(&key(name)).await.expect("reading").map(|found| (found.version, found.value.to_vec()));
                assert_eq!(found, model.entries.get(name).map(|(version, value, _)| (*version, value.clone())));
            }
            Step::Take(name) => {
                let taken = kv.take(&key(name)).await.expect("taking").map(|taken| (taken.version, taken.value.to_vec()));
                assert_eq!(taken, model.entries.remove(name).map(|(version, value, _)| (version, value)));
            }
            Step::List { prefix, after, limit } => {
                let page = kv.list(&home, prefix, after.as_deref(), *limit).await.expect("listing");
                let expected = model.page(prefix, after.as_deref());
                let found: Vec<_> =
                    page.entries.into_iter().map(|found| (found.name, found.version, found.value.to_vec())).collect();
                assert_eq!(found, expected[..expected.len().min(*limit)]);
                assert_eq!(page.next, (expected.len() > *limit).then(|| expected[limit - 1].0.clone()));
            }
            Step::Settle(back) => {
                if let Some(attempt) = model.attempts.iter().rev().nth(*back) {
                    assert_eq!(kv.settle(&home, *attempt).await, Ok(model.outcomes[attempt]));
                }
            }
            Step::SettleUnsent => assert_eq!(kv.settle(&home, attempt()).await, Ok(Settled::NotApplied)),
            Step::Pass(time) if timed => {
                world.advance(UNIT * u32::try_from(*time).expect("a small number"));
                model.pass(*time);
            }
            Step::Pass(_) => {}
        }
    }
}

fn check(cases: u32, world: impl Future<Output = World>) {
    static HOME: AtomicU64 = AtomicU64::new(0);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(world);
    let timed = world.advance(Duration::ZERO);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(&vec(step(), 1..40), |steps| {
            // Each sequence has a partition of its own, so that it begins with nothing there.
            let home = partition(&format!("m.{}", HOME.fetch_add(1, Ordering::Relaxed)));
            runtime.block_on(play(&world, home, timed, &steps));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn memory_is_an_ordered_map() {
    check(400, World::memory());
}

#[test]
fn sqlite_is_an_ordered_map() {
    check(150, World::sqlite());
}

#[test]
fn redis_is_an_ordered_map() {
    check(150, World::redis());
}

#[test]
fn a_redis_cluster_is_an_ordered_map() {
    check(60, World::redis_cluster());
}
