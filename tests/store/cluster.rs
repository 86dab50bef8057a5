//! A store over several primaries with replicas: each commit goes where its partition is, and counts once
//! a replica there has it.

use std::time::{Duration, Instant};

use claviger::adapters::redis::{RedisKv, RedisOptions};
use claviger::ports::kv::{Commit, Key, Kv, Precondition};
use futures::future::join_all;

use crate::redis_server::{RedisCluster, RedisServer};
use crate::world::{batch, key, options, partition, put, read, store, until_back, walk};

/// One key in each of many partitions, so that every primary has some.
fn everywhere() -> impl Iterator<Item = Key> {
    (0..64).map(|at| Key { partition: partition(&format!("c.{at}")), name: b"kept".to_vec() })
}

async fn connect(cluster: &RedisCluster) -> RedisKv {
    let options = RedisOptions { min_replicas: 1, ..options(&cluster.url()) };
    let kv = RedisKv::connect(&options).await.expect("a safe cluster is accepted");
    assert_eq!((kv.ping().await, kv.epoch()), (Ok(()), 0));
    kv
}

async fn write_everywhere(kv: &RedisKv, version: u64) {
    let put = |key: Key| async move { kv.commit(batch([], [put(&key, version, "x")])).await };
    let outcomes = join_all(everywhere().map(put)).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Commit::Applied)), "{outcomes:?}");
}

fn has(server: &RedisServer, key: &Key) -> bool {
    let name = format!("{{{}}}/d/kept", key.partition.as_str());
    server.say(&["EXISTS", &name]) == ":1\r\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_is_where_its_slot_is_and_outlives_its_primary() {
    let mut cluster = RedisCluster::start(3);
    let kv = connect(&cluster).await;
    write_everywhere(&kv, 1).await;
    let of = |server: &RedisServer| everywhere().filter(|key| has(server, key)).count();
    let shares: Vec<usize> = cluster.primaries.iter().map(of).collect();
    assert!(shares.iter().all(|share| *share > 5) && shares.iter().sum::<usize>() == 64, "{shares:?}");
    for key in everywhere() {
        assert_eq!(walk(&kv, &key.partition, b"", 10).await, [b"kept"]);
    }
    // The one that the URL names dies.
    cluster.primaries[0].stop();
    cluster.replicas[0].wait_for("INFO replication", "role:master");
    until_answers(&kv).await;
    assert_eq!(kv.epoch(), 1);
    for key in everywhere() {
        assert_eq!(read(&kv, &key).await, Some((1, "x".into())), "{key:?}");
    }
    // The new primary has no replica until the old one is one.
    cluster.primaries[0].restart();
    cluster.primaries[0].wait_for("INFO replication", "master_link_status:up");
    until_back(&kv).await;
    write_everywhere(&kv, 2).await;
    assert_eq!(kv.epoch(), 1, "the servers that stayed, and the one that came back as a replica, are none");
}

async fn until_answers(kv: &RedisKv) {
    let until = Instant::now() + Duration::from_secs(30);
    for key in everywhere() {
        while kv.get(&key).await.is_err() {
            assert!(Instant::now() < until, "each partition is found again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_emptied_primary_of_several_is_another_store() {
    let cluster = RedisCluster::start(3);
    let kv = connect(&cluster).await;
    write_everywhere(&kv, 1).await;
    assert_eq!(cluster.primaries[1].say(&["FLUSHALL"]), "+OK\r\n");
    let until = Instant::now() + Duration::from_secs(20);
    while kv.epoch() == 0 {
        assert!(Instant::now() < until, "it is noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for key in everywhere() {
        let there = has(&cluster.primaries[0], &key) || has(&cluster.primaries[2], &key);
        assert_eq!(kv.get(&key).await.is_ok(), there, "what is elsewhere is served, and nothing is made of what is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_do_not_wait_in_one_line_for_their_replicas() {
    let server = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    replica.wait_for("INFO replication", "master_link_status:up");
    let kv = RedisKv::connect(&RedisOptions { min_replicas: 1, ..options(&server.url()) }).await.expect("a safe server");
    // Every connection is made.
    for at in 0..16 {
        store(&kv, [put(&key(format!("{at}")), 1, "x")]).await;
    }
    replica.freeze();
    let commit = |at: u32| {
        let (kv, target) = (&kv, key(format!("late {at}")));
        async move { kv.commit(batch([Precondition::Absent(target.clone())], [put(&target, 1, "x")])).await }
    };
    let start = Instant::now();
    assert_eq!(commit(8).await, Ok(Commit::Unknown), "it waited in vain");
    let one = start.elapsed();
    let start = Instant::now();
    let commits = join_all((0..8).map(commit));
    let reads = async {
        let start = Instant::now();
        for at in 0..16 {
            assert!(read(&kv, &key(format!("{at}"))).await.is_some());
        }
        start.elapsed()
    };
    let (outcomes, reading) = tokio::join!(commits, reads);
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Commit::Unknown)), "each waited in vain: {outcomes:?}");
    assert!(start.elapsed() < one * 2, "eight take {:?}, and one takes {one:?}", start.elapsed());
    assert!(reading < Duration::from_secs(1), "reads are not held up: {reading:?}");
    replica.thaw();
    until_back(&kv).await;
}
