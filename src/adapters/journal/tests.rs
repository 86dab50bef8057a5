//! A disk that loses what was not synced, in sectors, and fails when it is told to; and what the journal
//! makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::blocks::Blocks;
use super::disk::Disk;
use super::layout::{BLOCK, Layout, PAYLOAD};
use super::*;
use crate::ports::journal::Standing;

const SECTOR: usize = 512;

#[derive(Default)]
struct State {
    durable: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Bytes that can still be written before the power goes.
    budget: Option<usize>,
    failing: Option<io::ErrorKind>,
    sync_fails: bool,
    held: bool,
    syncs: usize,
}

/// What survives a loss of power is what was synced, and of the rest any set of sectors.
#[derive(Clone, Default)]
struct Sim(Arc<(Mutex<State>, Condvar)>);

impl Sim {
    fn new(image: Vec<u8>) -> Self {
        let sim = Self::default();
        sim.with(|state| (state.durable, state.seen) = (image.clone(), image));
        sim
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        changed
    }

    /// The disk as it is after the power came back; `keep` says of each unsynced sector whether it arrived.
    fn after_power_loss(&self, mut keep: impl FnMut() -> bool) -> Vec<u8> {
        self.with(|state| {
            let mut image = state.durable.clone();
            for (offset, bytes) in &state.unsynced {
                let mut at = *offset;
                while at < offset + bytes.len() {
                    let end = ((at / SECTOR + 1) * SECTOR).min(offset + bytes.len());
                    if keep() {
                        image[at..end].copy_from_slice(&bytes[at - offset..end - offset]);
                    }
                    at = end;
                }
            }
            image
        })
    }
}

impl Disk for Sim {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let at = offset as usize;
        self.with(|state| bytes.copy_from_slice(&state.seen[at..at + bytes.len()]));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            if let Some(kind) = state.failing {
                return Err(kind.into());
            }
            let arrives = state.budget.map_or(bytes.len(), |budget| budget.min(bytes.len()));
            state.budget = state.budget.map(|budget| budget - arrives);
            state.seen[offset as usize..][..arrives].copy_from_slice(&bytes[..arrives]);
            state.unsynced.push((offset as usize, bytes[..arrives].to_vec()));
            if arrives == bytes.len() { Ok(()) } else { Err(io::Error::other("the power is gone")) }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        while state.held {
            state = self.0.1.wait(state).unwrap();
        }
        state.syncs += 1;
        if state.sync_fails || state.budget == Some(0) {
            return Err(io::Error::other("the disk failed"));
        }
        state.durable = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }
}

fn layout(blocks: u32) -> Layout {
    Layout { blocks }
}

fn fresh(blocks: u32) -> (Sim, BlockJournal) {
    let sim = Sim::new(vec![0; layout(blocks).size() as usize]);
    let journal = opened(&sim, blocks);
    (sim, journal)
}

fn opened(sim: &Sim, blocks: u32) -> BlockJournal {
    BlockJournal::on(Blocks::open(Box::new(sim.clone()), layout(blocks)).unwrap()).unwrap()
}

/// The content of entry `id`, as good as random: what is sealed is, and a number is given again when a crash left nothing
/// of its entry, so that no part of one may stand in another: halves of both must not make a whole.
fn content(id: EntryId, size: usize) -> Bytes {
    let mixed = |word: u64| (word ^ (word >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let seed = mixed(mixed(id.0 + 1) ^ size as u64);
    (0..size).map(|at| (mixed(mixed(seed ^ at as u64)) >> 56) as u8).collect()
}

async fn append(journal: &BlockJournal, size: usize) -> Result<EntryId, JournalError> {
    let reservation = journal.reserve(size)?;
    let id = reservation.id;
    journal.append(reservation, content(id, size)).await.map(|()| id)
}

fn pending(listed: &[Listed]) -> BTreeSet<EntryId> {
    listed.iter().filter(|listed| listed.standing == Standing::Pending).map(|listed| listed.id).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// Several at once, so that they may share a sync.
    Append(Vec<usize>),
    Settle(prop::sample::Index),
    /// The power goes after so many more bytes, while these are appended.
    PowerLoss {
        after: usize,
        appending: Vec<usize>,
        seed: u64,
    },
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..64_usize, 1..3 * PAYLOAD, Just(PAYLOAD), Just(PAYLOAD + 1)], 1..4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => sizes().prop_map(Step::Append),
        4 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => (0..6 * BLOCK, sizes(), any::<u64>()).prop_map(|(after, appending, seed)| Step::PowerLoss { after, appending, seed }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must be there, and what may be.
#[derive(Default)]
struct Model {
    acknowledged: BTreeMap<EntryId, usize>,
    settled: BTreeMap<EntryId, usize>,
    unknown: BTreeMap<EntryId, usize>,
}

impl Model {
    async fn append(&mut self, journal: &BlockJournal, sizes: &[usize]) {
        let reserved = sizes.iter().filter_map(|size| journal.reserve(*size).ok());
        let appends = reserved.map(|reservation| async {
            let (id, size) = (reservation.id, reservation.size);
            (id, size, journal.append(reservation, content(id, size)).await)
        });
        for (id, size, appended) in futures::future::join_all(appends).await {
            let kept = if appended.is_ok() { &mut self.acknowledged } else { &mut self.unknown };
            assert_eq!(kept.insert(id, size), None, "a number was given twice");
        }
    }

    fn settle(&mut self, journal: &BlockJournal, which: &prop::sample::Index) {
        if self.acknowledged.is_empty() {
            return;
        }
        let (id, size) = which.get(&self.acknowledged.iter().collect::<Vec<_>>()).to_owned();
        let (id, size) = (*id, *size);
        self.acknowledged.remove(&id);
        self.settled.insert(id, size);
        journal.settle(id);
    }

    /// Every acknowledged entry is there and whole, and none that was never appended.
    async fn check(&self, journal: &BlockJournal) -> Result<(), TestCaseError> {
        let listed = journal.list().await.unwrap();
        let waiting = pending(&listed);
        for id in self.acknowledged.keys() {
            prop_assert!(waiting.contains(id), "{id:?} was acknowledged and is gone");
        }
        for Listed { id, size, .. } in listed {
            let known = [&self.acknowledged, &self.settled, &self.unknown].iter().find_map(|kept| kept.get(&id).copied());
            prop_assert_eq!(known, Some(size), "{:?} was never appended", id);
            prop_assert_eq!(journal.read(id).await.unwrap(), Some(content(id, size)));
        }
        Ok(())
    }

    /// After a crash: what was found of the unknown counts from now on, and the rest never was.
    async fn adopt(&mut self, journal: &BlockJournal) {
        let listed = journal.list().await.unwrap();
        let there: BTreeSet<EntryId> = listed.iter().map(|listed| listed.id).collect();
        self.unknown.retain(|id, _| there.contains(id));
        self.acknowledged.append(&mut self.unknown);
        self.settled.retain(|id, _| there.contains(id));
        for id in pending(&listed) {
            self.acknowledged.extend(self.settled.remove_entry(&id));
        }
    }
}

const SMALL: u32 = 24;

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut sim, mut journal) = fresh(SMALL);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(sizes) => model.append(&journal, &sizes).await,
            Step::Settle(which) => model.settle(&journal, &which),
            Step::PowerLoss { after, appending, seed } => {
                sim.with(|state| state.budget = Some(after));
                model.append(&journal, &appending).await;
                drop(journal);
                let mut dice = seed;
                let image = sim.after_power_loss(|| {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    dice >> 63 == 1
                });
                sim = Sim::new(image);
                journal = opened(&sim, SMALL);
                model.check(&journal).await?;
                model.adopt(&journal).await;
            }
        }
    }
    model.check(&journal).await?;
    prop_assert_eq!(journal.state().pending, model.acknowledged.len() as u64);
    Ok(())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_and_nothing_is_invented(steps in steps()) {
        run(play(steps))?;
    }
}

/// The power goes after every byte of a write over three blocks, beside an entry that waits, and one
/// whose settled blocks are being written over.
#[test]
fn a_write_that_is_cut_off_anywhere_is_no_entry() {
    run(async {
        let blocks = 6;
        let mut whole = 0;
        for cut in (0..=3 * BLOCK).step_by(97).chain(0..100).chain([BLOCK, 2 * BLOCK, 3 * BLOCK]) {
            let (sim, journal) = fresh(blocks);
            let first = append(&journal, 2 * PAYLOAD).await.unwrap();
            let waits = append(&journal, PAYLOAD).await.unwrap();
            journal.settle(first);
            journal.list().await.unwrap();
            sim.with(|state| state.budget = Some(cut));
            append(&journal, 3 * PAYLOAD).await.ok();
            drop(journal);
            let journal = opened(&Sim::new(sim.after_power_loss(|| true)), blocks);
            let listed = journal.list().await.unwrap();
            assert!(pending(&listed).contains(&waits), "cut at {cut}");
            for Listed { id, size, .. } in listed {
                assert_eq!(journal.read(id).await.unwrap(), Some(content(id, size)), "cut at {cut}");
                assert!(id <= waits || cut == 3 * BLOCK, "cut at {cut}");
                whole += usize::from(id > waits);
            }
        }
        assert!(whole >= 1, "a write that was not cut off is an entry, even unsynced");
    });
}

#[test]
fn at_four_fifths_nothing_more_is_reserved() {
    run(async {
        let (_, journal) = fresh(100);
        let mut held: Vec<Reservation> = (0..79).map(|_| journal.reserve(1).unwrap()).collect();
        assert!(!journal.state().is_nearly_full(), "79 %");
        held.push(journal.reserve(1).unwrap());
        assert!(journal.state().is_nearly_full(), "80 %");
        assert_eq!(journal.reserve(1).err(), Some(JournalError::NearlyFull));
        held.pop();
        // The last one below the mark may be large, so long as it fits at all.
        assert_eq!(journal.reserve(22 * PAYLOAD).err(), Some(JournalError::NearlyFull));
        let large = journal.reserve(21 * PAYLOAD).unwrap();
        assert_eq!(journal.reserve(1).err(), Some(JournalError::NearlyFull));
        drop(large);
        // What is appended takes what it needs, and not what was reserved for it.
        let reservation = journal.reserve(21 * PAYLOAD).unwrap();
        let id = reservation.id;
        journal.append(reservation, content(id, 10)).await.unwrap();
        assert_eq!(journal.state().used, 80 * BLOCK as u64);
        journal.settle(id);
        journal.list().await.unwrap();
        assert_eq!((journal.state().used, journal.state().pending), (79 * BLOCK as u64, 0));
    });
}

#[test]
fn an_entry_larger_than_its_reservation_is_refused() {
    run(async {
        let (_, journal) = fresh(10);
        let reservation = journal.reserve(10).unwrap();
        assert_eq!(journal.append(reservation, vec![0; 11].into()).await, Err(JournalError::TooLarge(11)));
        // The writer lets go of it after it has answered, and before it does the next thing.
        journal.list().await.unwrap();
        assert_eq!(journal.state().used, 0);
        append(&journal, 10).await.unwrap();
    });
}

#[test]
fn entries_that_come_together_share_a_sync() {
    run(async {
        let (sim, journal) = fresh(200);
        sim.with(|state| state.held = true);
        let one = |journal| async move { append(journal, 100).await.unwrap() };
        let first = one(&journal);
        let rest = futures::future::join_all((0..100).map(|_| one(&journal)));
        let release = async {
            // The thread holds the first group, and the others wait behind it.
            while journal.state().pending == 0 {
                tokio::task::yield_now().await;
            }
            sim.with(|state| state.held = false);
        };
        let (_, ids, ()) = futures::join!(first, rest, release);
        assert_eq!(ids.len(), 100);
        let syncs = sim.with(|state| state.syncs);
        assert!((1..=3).contains(&syncs), "{syncs} syncs for 101 entries");
    });
}

#[test]
fn nobody_is_told_before_the_sync() {
    run(async {
        let (sim, journal) = fresh(10);
        sim.with(|state| state.held = true);
        let mut appending = std::pin::pin!(append(&journal, 10));
        while journal.state().pending == 0 {
            assert!(futures::poll!(&mut appending).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(futures::poll!(&mut appending).is_pending());
        sim.with(|state| state.held = false);
        appending.await.unwrap();
    });
}

/// After a failure nobody knows what the disk has: the journal says so until it is opened anew, and
/// does not ask a second time.
#[test]
fn a_failed_write_or_sync_breaks_the_journal_for_good() {
    let full: fn(&mut State) = |state| state.failing = Some(io::ErrorKind::StorageFull);
    let bad: fn(&mut State) = |state| state.failing = Some(io::ErrorKind::Other);
    let unsynced: fn(&mut State) = |state| state.sync_fails = true;
    for fault in [full, bad, unsynced] {
        run(async {
            let (sim, journal) = fresh(50);
            let safe = append(&journal, 10).await.unwrap();
            let held = journal.reserve(10).unwrap();
            sim.with(fault);
            assert!(matches!(append(&journal, 10).await, Err(JournalError::Broken(_))));
            sim.with(|state| (state.failing, state.sync_fails) = (None, false));
            let id = held.id;
            assert!(matches!(journal.append(held, content(id, 10)).await, Err(JournalError::Broken(_))));
            assert!(matches!(journal.reserve(1).err(), Some(JournalError::Broken(_))));
            assert!(journal.state().broken.is_some());
            drop(journal);
            let journal = opened(&Sim::new(sim.after_power_loss(|| false)), 50);
            assert_eq!(pending(&journal.list().await.unwrap()), [safe].into());
            append(&journal, 10).await.unwrap();
        });
    }
}

#[test]
fn the_oldest_settled_entry_goes_first() {
    run(async {
        let (_, journal) = fresh(4);
        let ids = [append(&journal, 1).await.unwrap(), append(&journal, 1).await.unwrap(), append(&journal, 1).await.unwrap()];
        journal.settle(ids[1]);
        journal.settle(ids[0]);
        append(&journal, 1).await.unwrap();
        append(&journal, 1).await.unwrap();
        let left: Vec<bool> = futures::future::join_all(ids.map(|id| journal.read(id)))
            .await
            .into_iter()
            .map(|read| read.unwrap().is_some())
            .collect();
        assert_eq!(left, [true, false, true]);
    });
}

#[test]
fn a_block_that_changed_on_the_disk_is_said() {
    run(async {
        let (sim, journal) = fresh(4);
        let id = append(&journal, 100).await.unwrap();
        sim.with(|state| state.seen[layout(4).offset(0) as usize + 60] ^= 1);
        assert!(matches!(journal.read(id).await, Err(JournalError::Corrupt(_))));
    });
}

// The file itself.

const MIB: u64 = 1 << 20;

fn size_of(path: &Path) -> (u64, u64) {
    let about = std::fs::metadata(path).unwrap();
    (about.len(), about.blocks() * 512)
}

#[test]
fn the_file_is_this_users_alone_and_takes_its_place_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = BlockJournal::open(&path, 4 * MIB).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (length, taken) = size_of(&path);
    assert!(length > 4 * MIB - 3 * BLOCK as u64 && taken >= length, "{length} {taken}");
    assert!(matches!(BlockJournal::open(&path, 4 * MIB).err(), Some(JournalFileError::Taken(_))));
    drop(journal);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    BlockJournal::open(&path, 4 * MIB).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_pending_is_kept_over_restarts_and_other_sizes() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = BlockJournal::open(&path, 4 * MIB).unwrap();
        let (waits, done) = (append(&journal, 300_000).await.unwrap(), append(&journal, 5).await.unwrap());
        journal.settle(done);
        drop(journal);
        for (bytes, kept) in [(4 * MIB, true), (8 * MIB, false), (4 * MIB, false)] {
            let journal = BlockJournal::open(&path, bytes).unwrap();
            assert_eq!(pending(&journal.list().await.unwrap()), [waits].into());
            assert_eq!(journal.read(waits).await.unwrap(), Some(content(waits, 300_000)));
            assert_eq!(journal.read(done).await.unwrap().is_some(), kept, "settled entries do not move");
            assert!(size_of(&path).0.abs_diff(bytes) < 3 * BLOCK as u64);
        }
    });
}

#[test]
fn a_size_below_what_is_pending_is_refused_with_one_that_will_do() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = BlockJournal::open(&path, 16 * MIB).unwrap();
        for _ in 0..16 {
            append(&journal, 300_000).await.unwrap();
        }
        drop(journal);
        let before = std::fs::read(&path).unwrap();
        let Some(JournalFileError::TooSmall { pending: 16, bytes, .. }) = BlockJournal::open(&path, 4 * MIB).err() else {
            panic!("it must not fit")
        };
        assert!(std::fs::read(&path).unwrap() == before, "the file was touched");
        let journal = BlockJournal::open(&path, bytes).unwrap();
        assert_eq!(pending(&journal.list().await.unwrap()).len(), 16);
        append(&journal, 10).await.unwrap();
    });
}

/// A copy that was cut short, say: what lies before the cut is found, and the file is whole again.
#[test]
fn a_truncated_file_gives_what_it_has() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = BlockJournal::open(&path, 4 * MIB).unwrap();
        let ids = [append(&journal, PAYLOAD).await.unwrap(), append(&journal, 2 * PAYLOAD).await.unwrap()];
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let first = Layout::within(4 * MIB).offset(0) as usize;
        for (blocks, less, found) in [(3, 0, 2), (3, 1, 1), (2, 0, 1), (1, 1, 0), (0, 0, 0)] {
            let length = first + blocks * BLOCK - less;
            std::fs::write(&path, &whole[..length]).unwrap();
            let journal = BlockJournal::open(&path, 4 * MIB).unwrap();
            assert_eq!(pending(&journal.list().await.unwrap()), ids[..found].iter().copied().collect(), "{length}");
            assert_eq!(size_of(&path).0, whole.len() as u64);
        }
    });
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for content in [Vec::new(), b"something else".to_vec(), vec![0; 5 * MIB as usize]] {
        std::fs::write(&path, &content).unwrap();
        assert!(matches!(BlockJournal::open(&path, 4 * MIB).err(), Some(JournalFileError::Damaged(_))));
        assert!(std::fs::read(&path).unwrap() == content);
    }
}
