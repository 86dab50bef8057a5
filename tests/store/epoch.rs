//! Another store in the place of the one before is known, before anything is written to it unknowingly;
//! and the same store is never taken for another.

use std::time::{Duration, Instant};

use claviger::adapters::redis::{RedisKv, RedisOptions};
use claviger::ports::kv::{Commit, Kv, KvError, Precondition};
use futures::future::join_all;

use crate::proxy::{Cut, Proxy};
use crate::redis_server::{RedisServer, Sentinel};
use crate::world::{attempt, batch, connect, key, options, partition, put, read, store, until_back};

/// One server, and one in cluster mode, each with a store that has been written to.
async fn servers() -> [(RedisServer, RedisKv); 2] {
    let (server, cluster) = (RedisServer::start(), RedisServer::start_cluster());
    let (one, other) = (connect(&server.url()).await, connect(&cluster.url()).await);
    for kv in [&one, &other] {
        store(kv, [put(&key("kept"), 1, "x")]).await;
        // The marker is made.
        assert_eq!((kv.ping().await, kv.epoch()), (Ok(()), 0));
    }
    [(server, one), (cluster, other)]
}

/// Nobody asks for anything meanwhile: the adapter looks by itself.
async fn until_epoch(kv: &RedisKv, epoch: u64) {
    let until = Instant::now() + Duration::from_secs(20);
    while kv.epoch() != epoch {
        assert!(Instant::now() < until, "the epoch is {}, not {epoch}", kv.epoch());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_restarted_server_is_another_once() {
    for (mut server, kv) in servers().await {
        server.restart();
        until_epoch(&kv, 1).await;
        until_back(&kv).await;
        store(&kv, [put(&key("kept"), 2, "y")]).await;
        assert_eq!((read(&kv, &key("kept")).await, kv.epoch()), (Some((2, "y".into())), 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_commit_is_answered_by_another_server_under_the_old_number() {
    for (mut server, kv) in servers().await {
        for round in 1..=5 {
            let before = kv.epoch();
            server.restart();
            // All at once, whoever of them finds the connections broken first.
            let commits = join_all((0..64).map(|at| {
                let target = key(format!("{round} {at}"));
                let kv = &kv;
                async move {
                    let outcome = kv.commit(batch([Precondition::Absent(target.clone())], [put(&target, 1, "x")])).await;
                    (outcome, kv.epoch())
                }
            }));
            let commits = commits.await;
            let unaware = commits.iter().filter(|(outcome, epoch)| *outcome == Ok(Commit::Applied) && *epoch == before).count();
            assert_eq!(unaware, 0, "of {commits:?}");
            until_back(&kv).await;
        }
        assert_eq!(kv.epoch(), 5);
    }
}

#[tokio::test]
async fn a_server_that_was_promoted_under_the_connection_is_another() {
    let server = RedisServer::start();
    let kv = connect(&server.url()).await;
    for version in 1..=20 {
        store(&kv, [put(&key("kept"), version, "x")]).await;
        let before = kv.epoch();
        // Between the two it may have taken another server's data; the connection stays.
        server.say(&["REPLICAOF", "127.0.0.1", "1"]);
        server.say(&["REPLICAOF", "NO", "ONE"]);
        let outcome = kv.commit(batch([], [put(&key("new"), version, "x")])).await;
        assert_eq!((outcome, kv.epoch()), (Ok(Commit::Applied), before + 1));
    }
}

#[tokio::test]
async fn an_emptied_server_is_another_and_is_left_alone_until_its_data_are_back() {
    for (server, kv) in servers().await {
        let marker = server.say(&["KEYS", "*/marker"]);
        let marker = marker.lines().nth(2).expect("there is one").to_owned();
        let value = server.say(&["GET", &marker]).lines().nth(1).expect("it has a value").to_owned();
        assert_eq!(server.say(&["FLUSHALL"]), "+OK\r\n");
        until_epoch(&kv, 1).await;
        let refused = |outcome: &KvError| matches!(outcome, KvError::Unavailable(why) if why.contains("lost its data"));
        assert!(kv.commit(batch([], [put(&key("new"), 1, "x")])).await.is_err_and(|why| refused(&why)));
        assert!(kv.get(&key("kept")).await.is_err_and(|why| refused(&why)), "nothing there is no answer");
        assert!(kv.take(&key("kept")).await.is_err_and(|why| refused(&why)));
        assert!(kv.settle(&partition("t.test"), attempt()).await.is_err_and(|why| refused(&why)));
        assert!(kv.ping().await.is_err_and(|why| refused(&why)));
        assert_eq!(server.say(&["EXISTS", "{t.test}/d/new"]), ":0\r\n");
        // Another process takes it as it is; this one does not.
        let fresh = connect(&server.url()).await;
        store(&fresh, [put(&key("fresh"), 1, "x")]).await;
        assert_eq!((fresh.ping().await, fresh.epoch()), (Ok(()), 0));
        assert!(kv.ping().await.is_err_and(|why| refused(&why)));
        assert_eq!(kv.epoch(), 1);
        server.say(&["SET", &marker, &value]);
        until_epoch(&kv, 2).await;
        store(&kv, [put(&key("kept"), 1, "x")]).await;
    }
}

#[tokio::test]
async fn an_empty_server_in_the_place_of_another_is_left_alone() {
    let mut server = RedisServer::start();
    let kv = connect(&server.url()).await;
    store(&kv, [put(&key("kept"), 1, "x")]).await;
    assert_eq!(kv.ping().await, Ok(()));
    server.exchange();
    let until = Instant::now() + Duration::from_secs(20);
    // At once, not when somebody happens to look.
    while !matches!(kv.get(&key("kept")).await, Err(KvError::Unavailable(why)) if why.contains("lost its data")) {
        assert!(Instant::now() < until, "it is noticed");
        assert!(kv.commit(batch([], [put(&key("new"), 1, "x")])).await != Ok(Commit::Applied));
    }
    assert!(kv.epoch() > 0);
    assert_eq!(server.say(&["DBSIZE"]), ":0\r\n", "nothing was written to it");
}

#[tokio::test]
async fn the_same_server_is_never_another() {
    let server = RedisServer::start();
    let proxy = Proxy::before(server.port()).await;
    let kv = connect(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    store(&kv, [put(&key("kept"), 1, "x")]).await;
    for round in 0..20 {
        match round % 4 {
            0 => proxy.cut_next(Cut::Answer),
            1 => proxy.cut_next(Cut::Request),
            2 => drop(server.say(&["CLIENT", "KILL", "TYPE", "normal"])),
            _ => drop(server.say(&["SCRIPT", "FLUSH"])),
        }
        let _ = kv.commit(batch([], [put(&key("other"), 1, "x")])).await;
        until_back(&kv).await;
        assert_eq!(kv.epoch(), 0, "round {round}");
    }
    // Its first replica begins a new history of the same data, and so does one that comes after long.
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    replica.wait_for("INFO replication", "master_link_status:up");
    server.say(&["CONFIG", "SET", "repl-backlog-ttl", "1"]);
    drop(replica);
    server.wait_for("INFO replication", "repl_backlog_active:0");
    until_back(&kv).await;
    store(&kv, [put(&key("kept"), 2, "x")]).await;
    assert_eq!(kv.epoch(), 0);
}

#[tokio::test]
async fn a_failover_is_another_store_once() {
    let mut first = RedisServer::start();
    let port = first.port().to_string();
    let settings = ["--replicaof", "127.0.0.1", &port, "--appendonly", "yes", "--appendfsync", "always"];
    let second = RedisServer::start_with(&[&settings[..], &["--maxmemory-policy", "allkeys-lru"]].concat());
    second.wait_for("INFO replication", "master_link_status:up");
    let sentinel = Sentinel::watch(first.port(), 1);
    sentinel.wait_for(1, 0);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let kv = RedisKv::connect(&RedisOptions { allow_volatile: true, ..options(&url) }).await.expect("a store");
    store(&kv, [put(&key("kept"), 1, "x")]).await;
    assert_eq!((kv.ping().await, kv.epoch()), (Ok(()), 0));
    second.wait_for("DBSIZE", ":4");
    first.stop();
    until_epoch(&kv, 1).await;
    until_back(&kv).await;
    assert_eq!(read(&kv, &key("kept")).await, Some((1, "x".into())));
    store(&kv, [put(&key("kept"), 2, "y")]).await;
    assert_eq!(kv.epoch(), 1);
    // It is used, since there is no other, and what is wrong with it is said.
    let until = Instant::now() + Duration::from_secs(20);
    while !kv.notes().iter().any(|note| note.contains("`maxmemory-policy` is allkeys-lru")) {
        assert!(Instant::now() < until, "{:?}", kv.notes());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
