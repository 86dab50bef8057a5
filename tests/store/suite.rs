//! One function per promise of the port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use claviger::ports::kv::{
    BATCH_BYTES_MAX, BATCH_MAX, Commit, Key, Kv, KvError, NAME_MAX, PAGE_MAX, Precondition, Settled, TTL_MAX, VALUE_MAX,
};
use futures::future::join_all;

use crate::world::{World, attempt, batch, delete, key, partition, put, put_for, read, store, walk};

const ODD: [&[u8]; 18] = [
    b"",
    b"\0",
    b"\0\0",
    b"a\0b",
    b"\xff",
    b"\xff\xff",
    b"\xff\xffa",
    b"{",
    b"}",
    b"{}",
    b"{t.test}",
    b"a{b}c",
    b"*",
    b"?",
    b"[a-z]",
    b"\r\n",
    b"'\"\\;--",
    b"%s%n",
];

pub async fn a_batch_is_applied_whole_and_in_order(world: &World) {
    let kv = &*world.kv;
    let [a, b, c] = ["a", "b", "c"].map(key);
    store(kv, [put(&b, 1, "old"), put(&c, 1, "old")]).await;
    store(kv, [put(&a, 1, "first"), put(&a, 2, "second"), put(&b, 2, "new"), delete(&b), delete(&c), put(&c, 5, "again")]).await;
    assert_eq!(read(kv, &a).await, Some((2, "second".into())));
    assert_eq!(read(kv, &b).await, None);
    assert_eq!(read(kv, &c).await, Some((5, "again".into())));
    assert_eq!(walk(kv, &partition("t.test"), b"", 10).await, [b"a", b"c"]);
    store(kv, [delete(&key("never there"))]).await;
    assert_eq!(kv.take(&key("never there")).await, Ok(None));
}

pub async fn a_batch_with_one_false_precondition_writes_nothing(world: &World) {
    let kv = &*world.kv;
    let (there, gone, target) = (key("there"), key("gone"), key("target"));
    store(kv, [put(&there, 7, "x"), put(&gone, 7, "x")]).await;
    store(kv, [delete(&gone)]).await;
    let holds =
        [Precondition::Version(there.clone(), 7), Precondition::Absent(gone.clone()), Precondition::Absent(target.clone())];
    let fails = [
        Precondition::Absent(there.clone()),
        Precondition::Version(there.clone(), 6),
        Precondition::Version(there.clone(), 8),
        Precondition::Version(there.clone(), 0),
        Precondition::Version(gone.clone(), 7),
        Precondition::Version(gone.clone(), 0),
        Precondition::Version(target.clone(), 1),
    ];
    for wrong in &fails {
        for place in 0..=holds.len() {
            let mut conditions = holds.to_vec();
            conditions.insert(place, wrong.clone());
            let writes = [put(&target, 1, "y"), put(&there, 8, "y"), delete(&there)];
            assert_eq!(kv.commit(batch(conditions, writes)).await, Ok(Commit::Conflict), "{wrong:?} at {place}");
            assert_eq!(read(kv, &target).await, None);
            assert_eq!(read(kv, &there).await, Some((7, "x".into())));
        }
    }
    assert_eq!(kv.commit(batch(holds, [put(&target, 1, "y")])).await, Ok(Commit::Applied));
    // Judging without writing is allowed, too.
    assert_eq!(kv.commit(batch([Precondition::Version(there.clone(), 7)], [])).await, Ok(Commit::Applied));
    assert_eq!(kv.commit(batch([Precondition::Version(there, 9)], [])).await, Ok(Commit::Conflict));
}

/// Commits the same kind of batch from many tasks at once; returns the numbers of those applied.
async fn race(kv: &Arc<dyn Kv>, writers: u64, on: &Precondition, version: u64) -> Vec<u64> {
    let write = |writer: u64| {
        let (kv, on) = (Arc::clone(kv), on.clone());
        tokio::spawn(async move {
            let write = put(on.key(), version, writer.to_string());
            (writer, kv.commit(batch([on], [write])).await.expect("committing"))
        })
    };
    let outcomes = join_all((0..writers).map(write)).await;
    let outcomes = outcomes.into_iter().map(|outcome| outcome.expect("no writer panics"));
    outcomes
        .filter_map(|(writer, outcome)| match outcome {
            Commit::Applied => Some(writer),
            Commit::Conflict => None,
            Commit::Unknown => panic!("no answer was lost"),
        })
        .collect()
}

pub async fn of_64_writers_one_wins_each_round(world: &World) {
    let shared = key("shared");
    store(&*world.kv, [put(&shared, 0, "start")]).await;
    for round in 0..20 {
        let winners = race(&world.kv, 64, &Precondition::Version(shared.clone(), round), round + 1).await;
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(read(&*world.kv, &shared).await, Some((round + 1, winners[0].to_string().into())));
    }
}

pub async fn of_64_makers_one_makes(world: &World) {
    for round in 0..10 {
        let fresh = key(format!("fresh {round}"));
        let winners = race(&world.kv, 64, &Precondition::Absent(fresh.clone()), 1).await;
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(read(&*world.kv, &fresh).await, Some((1, winners[0].to_string().into())));
    }
}

pub async fn of_256_takers_one_gets_the_value(world: &World) {
    for round in 0..5 {
        let once = key(format!("once {round}"));
        store(&*world.kv, [put_for(&once, round, "secret", Duration::from_secs(600))]).await;
        let take = |_| {
            let (kv, once) = (Arc::clone(&world.kv), once.clone());
            tokio::spawn(async move { kv.take(&once).await.expect("taking") })
        };
        let taken = join_all((0..256).map(take)).await;
        let taken: Vec<_> = taken.into_iter().filter_map(|taken| taken.expect("no taker panics")).collect();
        assert_eq!(taken.len(), 1, "round {round}");
        assert_eq!((taken[0].version, &taken[0].value[..]), (round, &b"secret"[..]));
        assert_eq!(read(&*world.kv, &once).await, None);
    }
    assert_eq!(walk(&*world.kv, &partition("t.test"), b"", 10).await, [b""; 0]);
}

pub async fn a_value_past_its_time_is_not_seen(world: &World) {
    let kv = &*world.kv;
    let ttl = Duration::from_millis(40);
    let (brief, lasting) = (key("brief"), key("lasting"));
    store(kv, [put(&lasting, 1, "stays"), put_for(&brief, 3, "goes", ttl)]).await;
    world.outlive(&brief, ttl).await;
    assert_eq!(kv.get(&brief).await, Ok(None));
    assert_eq!(kv.take(&brief).await, Ok(None));
    assert_eq!(walk(kv, &partition("t.test"), b"", 10).await, [b"lasting"]);
    let stale = batch([Precondition::Version(brief.clone(), 3)], [put(&lasting, 9, "never")]);
    assert_eq!(kv.commit(stale).await, Ok(Commit::Conflict));
    assert_eq!(kv.commit(batch([Precondition::Absent(brief.clone())], [put(&brief, 1, "back")])).await, Ok(Commit::Applied));
    // Whatever collects the old value must leave the new one alone.
    for round in 0..100 {
        store(kv, [put(&lasting, round, "stays")]).await;
    }
    assert_eq!(read(kv, &brief).await, Some((1, "back".into())));
    assert_eq!(walk(kv, &partition("t.test"), b"", 10).await, [&b"brief"[..], b"lasting"]);
}

pub async fn a_new_value_has_its_own_time_to_live(world: &World) {
    let kv = &*world.kv;
    let (short, long) = (Duration::from_millis(40), Duration::from_secs(3600));
    let [kept, longer, mark] = ["kept", "longer", "mark"].map(key);
    store(kv, [put_for(&kept, 1, "a", short), put_for(&longer, 1, "a", short), put_for(&mark, 1, "a", short)]).await;
    store(kv, [put(&kept, 2, "b"), put_for(&longer, 2, "b", long)]).await;
    world.outlive(&mark, short).await;
    store(kv, [delete(&mark)]).await;
    assert_eq!(read(kv, &kept).await, Some((2, "b".into())));
    assert_eq!(read(kv, &longer).await, Some((2, "b".into())));
    assert_eq!(walk(kv, &partition("t.test"), b"", 10).await, [&b"kept"[..], b"longer"]);
    // And the other way round: what was for good gets an end. Less than a millisecond counts as one.
    store(kv, [put_for(&kept, 3, "c", Duration::from_nanos(1))]).await;
    world.outlive(&kept, Duration::from_millis(1)).await;
}

pub async fn every_version_is_told_from_every_other(world: &World) {
    let kv = &*world.kv;
    let counted = key("counted");
    let versions = [0, 1, u64::MAX, u64::MAX - 1, 1 << 53, (1 << 53) + 1, 1 << 63, (1 << 63) - 1, 255, 256];
    for version in versions {
        store(kv, [put(&counted, version, "x")]).await;
        assert_eq!(read(kv, &counted).await, Some((version, "x".into())));
        for other in versions {
            let expected = if other == version { Commit::Applied } else { Commit::Conflict };
            let outcome = kv.commit(batch([Precondition::Version(counted.clone(), other)], [])).await;
            assert_eq!(outcome, Ok(expected), "{other} against {version}");
        }
    }
}

pub async fn odd_bytes_are_just_bytes(world: &World) {
    let kv = &*world.kv;
    for (at, name) in ODD.iter().enumerate() {
        let made = batch([Precondition::Absent(key(name))], [put(&key(name), at as u64, Bytes::from_static(name))]);
        assert_eq!(kv.commit(made).await, Ok(Commit::Applied), "{name:?}");
    }
    let mut sorted = ODD.to_vec();
    sorted.sort_unstable();
    assert_eq!(walk(kv, &partition("t.test"), b"", 5).await, sorted);
    for (at, name) in ODD.iter().enumerate() {
        assert_eq!(read(kv, &key(name)).await, Some((at as u64, Bytes::from_static(name))), "{name:?}");
        let expected: Vec<_> = sorted.iter().copied().filter(|other| other.starts_with(name)).collect();
        assert_eq!(walk(kv, &partition("t.test"), name, 2).await, expected, "{name:?}");
    }
    for name in ODD {
        let taken = kv.take(&key(name)).await.expect("taking").expect("it is there");
        assert_eq!(taken.value, name);
    }
    assert_eq!(walk(kv, &partition("t.test"), b"", 5).await, [b""; 0]);
}

pub async fn partitions_do_not_see_each_other(world: &World) {
    let kv = &*world.kv;
    let names = ["t.a", "t.ab", "t.a.", "t", "c.00", "c.0", &"x".repeat(64)];
    let keys = names.map(|name| Key { partition: partition(name), name: b"same".to_vec() });
    for (at, key) in keys.iter().enumerate() {
        let made = batch([Precondition::Absent(key.clone())], [put(key, at as u64, "x")]);
        assert_eq!(kv.commit(made).await, Ok(Commit::Applied), "{key:?}");
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(walk(kv, &key.partition, b"", 10).await, [b"same"]);
        assert_eq!(kv.take(key).await.map(|taken| taken.map(|taken| taken.version)), Ok(Some(at as u64)));
        assert_eq!(read(kv, key).await, None);
    }
}

pub async fn a_listing_is_in_byte_order_within_its_bounds(world: &World) {
    let kv = &*world.kv;
    let names: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![b'p', byte, byte.reverse_bits()]).collect();
    let others = [&b"o"[..], b"o\xff\xff", b"q", b"p"];
    store(kv, names.iter().map(|name| put(&key(name), 1, "x")).collect::<Vec<_>>()).await;
    store(kv, others.map(|name| put(&key(name), 1, "x"))).await;
    for limit in [1, 7, 255, 256, 257, PAGE_MAX] {
        let found = walk(kv, &partition("t.test"), b"p", limit).await;
        assert_eq!(found.len(), names.len() + 1, "limit {limit}");
        assert_eq!(found[0], b"p");
        assert_eq!(found[1..], names, "limit {limit}");
    }
    let from = |prefix: &'static [u8], after: &'static [u8]| async move {
        let page = kv.list(&partition("t.test"), prefix, Some(after), 1).await.expect("listing");
        page.entries.into_iter().next().map(|entry| entry.name)
    };
    assert_eq!(from(b"p", b"").await, Some(b"p".to_vec()), "after a name before the prefix");
    assert_eq!(from(b"p", b"p").await, Some(names[0].clone()), "after the prefix itself");
    assert_eq!(from(b"p", b"p\x01").await, Some(names[1].clone()), "after a name that is not there");
    assert_eq!(from(b"p", b"q").await, None, "after a name behind the prefix");
    assert_eq!(from(b"", b"p\xff\xff").await, Some(b"q".to_vec()), "after the last name of a prefix");
    assert_eq!(walk(kv, &partition("t.empty"), b"", 1).await, [b""; 0]);
}

pub async fn a_listing_meets_each_key_once_while_others_write(world: &World) {
    let spread = |name: u32| (name.wrapping_mul(2_654_435_761)).to_be_bytes();
    let parts = ["c.00", "c.01", "c.02"].map(partition);
    let key_in = |part: usize, name: u32| Key { partition: parts[part].clone(), name: spread(name).to_vec() };
    // Even names are there throughout; odd ones come and go.
    for part in 0..parts.len() {
        store(&*world.kv, (0..200).map(|name| put(&key_in(part, 2 * name), 1, "stays")).collect::<Vec<_>>()).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4_u32)
        .map(|writer| {
            let (kv, stop, parts) = (Arc::clone(&world.kv), Arc::clone(&stop), parts.clone());
            tokio::spawn(async move {
                let mut turn = writer;
                while !stop.load(Ordering::Relaxed) {
                    turn += 4;
                    let name = spread(2 * (turn % 300) + 1).to_vec();
                    let key = Key { partition: parts[turn as usize % 3].clone(), name };
                    match turn % 4 {
                        0 => drop(kv.take(&key).await.expect("taking")),
                        1 => store(&*kv, [delete(&key)]).await,
                        2 => store(&*kv, [put_for(&key, 1, "passes", Duration::from_millis(1))]).await,
                        _ => store(&*kv, [put(&key, 1, "comes")]).await,
                    }
                    // The even ones are written over, too.
                    let even = Key { partition: key.partition, name: spread(2 * (turn % 200)).to_vec() };
                    store(&*kv, [put(&even, u64::from(turn), "stays")]).await;
                }
            })
        })
        .collect();
    let mut expected: Vec<_> = (0..200).map(|name| spread(2 * name).to_vec()).collect();
    expected.sort_unstable();
    for limit in [3, 10, 64, 500] {
        for part in &parts {
            let found = walk(&*world.kv, part, b"", limit).await;
            assert!(found.is_sorted_by(|one, next| one < next), "no key twice, all in order");
            let stayed: Vec<_> = found.into_iter().filter(|name| expected.binary_search(name).is_ok()).collect();
            assert_eq!(stayed, expected, "limit {limit}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no writer panics");
    }
}

pub async fn the_largest_values_come_back_whole(world: &World) {
    let kv = &*world.kv;
    let value = |seed: u8| Bytes::from((0..VALUE_MAX).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect::<Vec<_>>());
    for seed in 0..10 {
        store(kv, [put(&key([seed]), 1, value(seed)), put(&key([seed, 1]), 1, "small")]).await;
    }
    for seed in 0..10 {
        assert!(read(kv, &key([seed])).await == Some((1, value(seed))), "value {seed}");
    }
    let (mut after, mut seen, mut pages) = (None, 0, 0);
    loop {
        let page = kv.list(&partition("t.test"), b"", after.as_deref(), PAGE_MAX).await.expect("listing");
        pages += 1;
        for entry in page.entries {
            let expected = if entry.name.len() == 1 { value(entry.name[0]) } else { "small".into() };
            assert!(entry.value == expected, "{:?}", entry.name);
            seen += 1;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 20);
    assert!(pages > 1, "a page ends early when its values are large");
    let taken = kv.take(&key([3])).await.expect("taking").expect("it is there");
    assert!(taken.value == value(3));
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, KvError>, what: &str) {
    assert!(matches!(outcome, Err(KvError::Refused(_))), "{what}: {outcome:?}");
}

pub async fn limits_hold_at_below_and_above(world: &World) {
    let kv = &*world.kv;
    let here = partition("t.test");
    for length in [NAME_MAX - 1, NAME_MAX] {
        let long = key(vec![b'n'; length]);
        store(kv, [put(&long, 1, "x")]).await;
        assert_eq!(read(kv, &long).await, Some((1, "x".into())));
        let page = kv.list(&here, &long.name, None, 1).await.expect("listing");
        assert_eq!(page.entries[0].name, long.name);
        assert!(kv.take(&long).await.expect("taking").is_some());
    }
    let long = key(vec![b'n'; NAME_MAX + 1]);
    refused(kv.get(&long).await, "a long name to read");
    refused(kv.take(&long).await, "a long name to take");
    refused(kv.commit(batch([], [put(&long, 1, "x")])).await, "a long name to write");
    refused(kv.commit(batch([], [delete(&long)])).await, "a long name to delete");
    refused(kv.commit(batch([Precondition::Absent(long.clone())], [])).await, "a long name to judge");
    refused(kv.list(&here, &long.name, None, 1).await, "a long prefix");
    refused(kv.list(&here, b"", Some(&long.name), 1).await, "a long position");

    let (good, other) = (key("good"), key("other"));
    store(kv, [put(&good, 1, vec![1; VALUE_MAX - 1]), put(&other, 1, vec![2; VALUE_MAX]), delete(&other)]).await;
    refused(kv.commit(batch([], [put(&good, 2, "y"), put(&other, 1, vec![3; VALUE_MAX + 1])])).await, "a large value");

    let many = |count: usize| (0..count).map(|at| put(&key(format!("many {at}")), 1, "x")).collect::<Vec<_>>();
    for count in [BATCH_MAX - 2, BATCH_MAX - 1] {
        let outcome = kv.commit(batch([Precondition::Version(good.clone(), 1)], many(count))).await;
        assert_eq!(outcome, Ok(Commit::Applied), "{count}");
    }
    refused(kv.commit(batch([Precondition::Version(good.clone(), 1)], many(BATCH_MAX))).await, "a long batch");
    let full = || (0..BATCH_BYTES_MAX / 1024 / 1024).map(|at| put(&key([at as u8]), 1, vec![4; 1024 * 1024])).collect::<Vec<_>>();
    store(kv, full()).await;
    refused(kv.commit(batch([], [full(), vec![put(&good, 2, "y")]].concat())).await, "a large batch");

    for ttl in [TTL_MAX - Duration::from_millis(1), TTL_MAX] {
        store(kv, [put_for(&other, 1, "x", ttl)]).await;
        assert_eq!(read(kv, &other).await, Some((1, "x".into())));
    }
    refused(kv.commit(batch([], [put_for(&good, 2, "y", TTL_MAX + Duration::from_nanos(1))])).await, "a long time to live");
    for limit in [1, PAGE_MAX - 1, PAGE_MAX] {
        assert!(kv.list(&here, b"many", None, limit).await.is_ok());
    }
    for limit in [0, PAGE_MAX + 1, usize::MAX] {
        refused(kv.list(&here, b"", None, limit).await, "a page of a wrong size");
    }
    assert_eq!(read(kv, &good).await.map(|(version, _)| version), Some(1), "what was refused wrote nothing");
}

pub async fn a_batch_over_two_partitions_is_refused(world: &World) {
    let kv = &*world.kv;
    let (here, there) = (key("here"), Key { partition: partition("t.test2"), name: b"there".to_vec() });
    let cases = [
        batch([], [put(&here, 1, "x"), put(&there, 1, "x")]),
        batch([], [put(&here, 1, "x"), delete(&there)]),
        batch([Precondition::Absent(there.clone())], [put(&here, 1, "x")]),
        batch([Precondition::Absent(here.clone()), Precondition::Absent(there.clone())], []),
        batch([], []),
    ];
    for case in cases {
        refused(kv.commit(case.clone()).await, &format!("{case:?}"));
    }
    assert_eq!((read(kv, &here).await, read(kv, &there).await), (None, None));
}

pub async fn an_attempt_is_settled_and_a_late_one_barred(world: &World) {
    let kv = &*world.kv;
    let here = partition("t.test");
    let (first, second) = (key("first"), key("second"));
    let applied = batch([], [put(&first, 1, "x")]);
    assert_eq!(kv.commit(applied.clone()).await, Ok(Commit::Applied));
    for _ in 0..2 {
        assert_eq!(kv.settle(&here, applied.attempt).await, Ok(Settled::Applied));
    }
    let refused = batch([Precondition::Absent(first.clone())], [put(&second, 1, "x")]);
    assert_eq!(kv.commit(refused.clone()).await, Ok(Commit::Conflict));
    assert_eq!(kv.settle(&here, refused.attempt).await, Ok(Settled::NotApplied));
    let late = batch([], [put(&second, 1, "late")]);
    for _ in 0..2 {
        assert_eq!(kv.settle(&here, late.attempt).await, Ok(Settled::NotApplied));
        assert_eq!(kv.commit(late.clone()).await, Ok(Commit::Conflict), "a settled attempt comes too late");
        assert_eq!(read(kv, &second).await, None);
    }
    // The next attempt of the same work is another one.
    let again = claviger::ports::kv::Batch { attempt: attempt(), ..late };
    assert_eq!(kv.commit(again).await, Ok(Commit::Applied));
}

pub async fn a_store_takes_a_ping(world: &World) {
    assert_eq!(world.kv.ping().await, Ok(()));
}
