//! What Redis alone can get wrong: lost answers, restarts, unsafe settings, and what is left behind.

use std::time::{Duration, Instant};

use claviger::adapters::redis::{RedisKv, RedisOptions, RedisStartError};
use claviger::ports::kv::{Commit, Kv, KvError, Precondition, Settled};

use crate::proxy::{Cut, Proxy};
use crate::redis_server::{RedisServer, Sentinel, free_port};
use crate::world::{attempt, batch, connect, delete, key, options, partition, put, put_for, read, store, until_back, walk};

/// One server and one in cluster mode, each reached through a proxy only.
async fn behind_proxies() -> [(RedisServer, Proxy, RedisKv); 2] {
    let (server, cluster) = (RedisServer::start(), RedisServer::start_cluster());
    let (before_server, before_cluster) = (Proxy::before(server.port()).await, Proxy::before(cluster.port()).await);
    // A cluster tells its clients where its nodes are.
    let told = cluster.say(&["CONFIG", "SET", "cluster-announce-port", &before_cluster.port().to_string()]);
    assert_eq!(told, "+OK\r\n");
    let one = connect(&format!("redis://127.0.0.1:{}", before_server.port())).await;
    let other = connect(&format!("redis+cluster://127.0.0.1:{}", before_cluster.port())).await;
    for kv in [&one, &other] {
        // From now on the servers know the scripts, so that each call is one request.
        store(kv, [put(&key("known"), 1, "x")]).await;
        assert!(kv.take(&key("known")).await.expect("taking").is_some());
        assert_eq!(kv.settle(&partition("t.test"), attempt()).await, Ok(Settled::NotApplied));
    }
    [(server, before_server, one), (cluster, before_cluster, other)]
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_unknown_and_found_applied() {
    for (_server, proxy, kv) in behind_proxies().await {
        for lost_twice in [false, true] {
            let target = key(format!("target {lost_twice}"));
            proxy.cut_next(Cut::Answer);
            let work = batch([Precondition::Absent(target.clone())], [put(&target, 1, "x")]);
            assert_eq!(kv.commit(work.clone()).await, Ok(Commit::Unknown));
            assert!(proxy.has_cut());
            if lost_twice {
                proxy.cut_next(Cut::Answer);
            }
            assert_eq!(kv.settle(&partition("t.test"), work.attempt).await, Ok(Settled::Applied));
            assert_eq!(read(&kv, &target).await, Some((1, "x".into())));
        }
    }
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_settled_and_barred() {
    for (_server, proxy, kv) in behind_proxies().await {
        let target = key("target");
        proxy.cut_next(Cut::Request);
        let work = batch([Precondition::Absent(target.clone())], [put(&target, 1, "late")]);
        assert_eq!(kv.commit(work.clone()).await, Ok(Commit::Unknown));
        assert_eq!(kv.settle(&partition("t.test"), work.attempt).await, Ok(Settled::NotApplied));
        assert!(proxy.deliver_late().await.starts_with(":0\r\n"), "the script itself bars it");
        assert_eq!(read(&kv, &target).await, None);
        assert_eq!(kv.settle(&partition("t.test"), work.attempt).await, Ok(Settled::NotApplied));
    }
}

#[tokio::test]
async fn a_commit_that_arrives_twice_is_applied_once() {
    for (_server, proxy, kv) in behind_proxies().await {
        let counter = key("counter");
        store(&kv, [put(&counter, 1, "x")]).await;
        proxy.cut_next(Cut::Request);
        let work = batch([Precondition::Version(counter.clone(), 1)], [put(&counter, 2, "from afar")]);
        assert_eq!(kv.commit(work.clone()).await, Ok(Commit::Unknown));
        // It came by another way, and was overtaken since.
        assert_eq!(kv.commit(work.clone()).await, Ok(Commit::Applied));
        store(&kv, [put(&counter, 1, "since")]).await;
        assert!(proxy.deliver_late().await.starts_with(":1\r\n"));
        assert_eq!(read(&kv, &counter).await, Some((1, "since".into())));
    }
}

#[tokio::test]
async fn a_take_whose_answer_was_lost_is_an_error_and_not_an_absence() {
    for (_server, proxy, kv) in behind_proxies().await {
        for (cut, left) in [(Cut::Answer, false), (Cut::Request, true)] {
            let once = key("once");
            store(&kv, [put(&once, 1, "secret")]).await;
            proxy.cut_next(cut);
            let taken = kv.take(&once).await;
            assert!(matches!(taken, Err(KvError::Unavailable(_))), "{taken:?}");
            assert!(proxy.has_cut());
            assert_eq!(kv.take(&once).await.map(|taken| taken.is_some()), Ok(left));
        }
    }
}

#[tokio::test]
async fn a_read_whose_connection_breaks_is_asked_again() {
    let mut server = RedisServer::start();
    let kv = connect(&server.url()).await;
    store(&kv, [put(&key("kept"), 3, "x")]).await;
    server.restart();
    assert_eq!(read(&kv, &key("kept")).await, Some((3, "x".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ended_while_idle_is_not_written_to() {
    let server = RedisServer::start();
    let kv = connect(&server.url()).await;
    // A write down a dead connection is always in doubt. News of the end may come a moment later than
    // the write, so one of these is enough to show that it is heard.
    for round in 0..20 {
        assert_eq!(kv.ping().await, Ok(()));
        server.say(&["CLIENT", "KILL", "TYPE", "normal"]);
        until_killed(&server);
        if kv.commit(batch([], [put(&key("kept"), round, "x")])).await == Ok(Commit::Applied) {
            return;
        }
    }
    panic!("each write went down a dead connection");
}

/// Only the connection that asks is left.
fn until_killed(server: &RedisServer) {
    let until = Instant::now() + Duration::from_secs(20);
    while !server.say(&["INFO", "clients"]).contains("connected_clients:1\r") {
        assert!(Instant::now() < until, "the connections end");
    }
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_with_everything_in_it() {
    for mut server in [RedisServer::start(), RedisServer::start_cluster()] {
        let kv = connect(&server.url()).await;
        let kept = key("kept");
        let written = batch([], [put(&kept, 3, "x")]);
        assert_eq!(kv.commit(written.clone()).await, Ok(Commit::Applied));
        server.restart();
        until_back(&kv).await;
        assert_eq!(read(&kv, &kept).await, Some((3, "x".into())));
        assert_eq!(walk(&kv, &partition("t.test"), b"", 10).await, [b"kept"]);
        assert_eq!(kv.settle(&partition("t.test"), written.attempt).await, Ok(Settled::Applied));
        store(&kv, [put(&kept, 4, "y")]).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_at_once() {
    let mut server = RedisServer::start();
    let kv = connect(&server.url()).await;
    store(&kv, [put(&key("kept"), 3, "x")]).await;
    server.stop();
    assert!(matches!(kv.get(&key("kept")).await, Err(KvError::Unavailable(_))));
    // Nothing listens, so nothing was sent: no need to settle.
    let outcome = kv.commit(batch([], [put(&key("new"), 1, "x")])).await;
    assert!(matches!(outcome, Err(KvError::Unavailable(_))), "{outcome:?}");
    assert!(matches!(kv.take(&key("kept")).await, Err(KvError::Unavailable(_))));
    assert!(matches!(kv.ping().await, Err(KvError::Unavailable(_))));
    let nobody = RedisKv::connect(&options(&server.url())).await;
    assert!(matches!(nobody, Err(RedisStartError::Unreachable(_))));
}

#[tokio::test]
async fn a_server_that_refuses_writes_gets_no_half_of_a_batch() {
    let server = RedisServer::start();
    let kv = connect(&server.url()).await;
    store(&kv, [put(&key("there"), 1, "x"), put_for(&key("brief"), 1, "x", Duration::from_millis(1))]).await;
    let work = || batch([], [delete(&key("there")), put(&key("new"), 1, vec![1; 100_000])]);
    // Full; then demoted.
    let refusals: [(&[&str], &[&str]); 2] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ];
    for (refuse, allow) in refusals {
        assert_eq!(server.say(refuse), "+OK\r\n");
        let outcome = kv.commit(work()).await;
        assert!(matches!(outcome, Err(KvError::Unavailable(_))), "{refuse:?}: {outcome:?}");
        assert!(kv.ping().await.is_err(), "{refuse:?}");
        assert_eq!(server.say(allow), "+OK\r\n");
        assert_eq!((read(&kv, &key("there")).await, read(&kv, &key("new")).await), (Some((1, "x".into())), None), "{refuse:?}");
    }
    assert_eq!(kv.commit(work()).await, Ok(Commit::Applied));
}

#[tokio::test]
async fn names_past_their_time_leave_the_index() {
    let server = RedisServer::start();
    let kv = connect(&server.url()).await;
    let lasting = key("lasting");
    let brief = |at: u32| put_for(&key(format!("brief {at}")), 1, "x", Duration::from_millis(1));
    for _ in 0..4 {
        store(&kv, (0..100).map(brief).collect::<Vec<_>>()).await;
    }
    let names = || server.say(&["ZCARD", "{t.test}/i"]);
    let until = Instant::now() + Duration::from_secs(20);
    // By writes alone, though nobody lists.
    while names() != ":1\r\n" {
        assert!(Instant::now() < until, "names stay in the index: {}", names());
        store(&kv, [put(&lasting, 1, "x")]).await;
    }
    assert_eq!(server.say(&["ZCARD", "{t.test}/e"]), ":0\r\n");
    // And by listings alone, though nobody writes.
    store(&kv, (0..100).map(brief).collect::<Vec<_>>()).await;
    while names() != ":1\r\n" {
        assert!(Instant::now() < until, "names stay in the index: {}", names());
        assert!(walk(&kv, &partition("t.test"), b"", 10).await.contains(&b"lasting".to_vec()));
    }
    assert_eq!(server.say(&["ZCARD", "{t.test}/e"]), ":0\r\n");
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again() {
    for server in [RedisServer::start(), RedisServer::start_cluster()] {
        let kv = connect(&server.url()).await;
        for version in 0..3 {
            assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "+OK\r\n");
            store(&kv, [put(&key("kept"), version, "x")]).await;
        }
    }
}

#[tokio::test]
async fn somebody_elses_data_in_the_place_of_ours_stops_a_batch_before_it_writes() {
    for place in ["{t.test}/i", "{t.test}/e", "{t.test}/d/here"] {
        let server = RedisServer::start();
        let kv = connect(&server.url()).await;
        assert_eq!(server.say(&["RPUSH", place, "theirs"]), ":1\r\n");
        let outcome = kv.commit(batch([Precondition::Absent(key("here"))], [put(&key("there"), 1, "x")])).await;
        assert!(outcome != Ok(Commit::Applied), "{place}: {outcome:?}");
        assert_eq!(read(&kv, &key("there")).await, None, "{place}");
    }
}

#[tokio::test]
async fn settings_that_lose_grants_are_refused_by_name() {
    let safe: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
    let cases: [(&[&str], u32, &[&str]); 9] = [
        (safe, 0, &[]),
        (&[], 0, &["appendonly"]),
        (&["--save", "60 1"], 0, &["appendonly"]),
        (&["--appendonly", "yes"], 0, &["appendfsync"]),
        (&["--appendonly", "yes", "--appendfsync", "no"], 0, &["appendfsync"]),
        (&["--maxmemory-policy", "allkeys-lru"], 0, &["maxmemory-policy", "appendonly"]),
        // With a replica that is waited for, the disk may lag; something must still be written.
        (&["--appendonly", "yes"], 1, &[]),
        (&["--save", "60 1"], 1, &[]),
        (&[], 1, &["save"]),
    ];
    for (settings, min_replicas, named) in cases {
        let server = RedisServer::start_with(settings);
        let options = |allow_volatile| RedisOptions { url: server.url().into(), allow_volatile, min_replicas };
        match RedisKv::connect(&options(false)).await.map(drop) {
            Ok(()) => assert!(named.is_empty(), "{settings:?} should be refused for {named:?}"),
            Err(RedisStartError::Unsafe(dangers)) => {
                assert_eq!(dangers.len(), named.len(), "{settings:?}: {dangers:?}");
                for name in named {
                    let told = dangers.iter().any(|danger| danger.contains(&format!("`{name}")) && danger.contains("set `"));
                    assert!(told, "{settings:?}: {dangers:?} should say what to do about {name}");
                }
            }
            Err(other) => panic!("{settings:?}: {other}"),
        }
        assert!(RedisKv::connect(&options(true)).await.is_ok(), "allow_volatile accepts {settings:?}");
    }
}

/// Where another server takes over by itself, what no replica had is lost.
#[tokio::test]
async fn a_failover_that_nobody_waits_for_is_refused() {
    let server = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &server.port().to_string()]);
    replica.wait_for("INFO replication", "master_link_status:up");
    let sentinel = Sentinel::watch(server.port(), 1);
    sentinel.wait_for(1, 0);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let refused = RedisKv::connect(&options(&url)).await.map(drop);
    assert!(
        matches!(&refused, Err(RedisStartError::Unsafe(dangers)) if dangers[0].contains("`store.min_replicas = 1`")),
        "{refused:?}"
    );
    let waits = RedisKv::connect(&RedisOptions { min_replicas: 1, ..options(&url) }).await.expect("it waits");
    assert_eq!(waits.notes(), [""; 0], "nothing is left to say");
    // The same server by its own address: nobody takes over by itself, and it is said what would be lost.
    let alone = connect(&server.url()).await;
    assert!(matches!(&alone.notes()[..], [note] if note.contains("store.min_replicas = 1")), "{:?}", alone.notes());
}

#[tokio::test]
async fn every_policy_that_evicts_is_refused() {
    let policies =
        ["volatile-lru", "allkeys-lru", "volatile-lfu", "allkeys-lfu", "volatile-random", "allkeys-random", "volatile-ttl"];
    for server in [RedisServer::start(), RedisServer::start_cluster()] {
        for policy in policies {
            assert_eq!(server.say(&["CONFIG", "SET", "maxmemory-policy", policy]), "+OK\r\n");
            let refused = RedisKv::connect(&options(&server.url())).await.err();
            assert!(refused.is_some_and(|why| why.to_string().contains(policy)), "{policy}");
        }
        assert_eq!(server.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "+OK\r\n");
        assert!(RedisKv::connect(&options(&server.url())).await.is_ok());
    }
}

#[tokio::test]
async fn what_cannot_be_learnt_counts_as_unsafe() {
    let server = RedisServer::start();
    for (user, command, named) in [("noconfig", "-config", "appendfsync"), ("noinfo", "-info", "maxmemory-policy")] {
        let made = server.say(&["ACL", "SETUSER", user, "on", ">word", "~*", "+@all", command]);
        assert_eq!(made, "+OK\r\n");
        let url = format!("redis://{user}:word@127.0.0.1:{}", server.port());
        let refused = RedisKv::connect(&options(&url)).await.err().map(|why| why.to_string()).unwrap_or_default();
        assert!(refused.contains(&format!("`{named}` cannot be learnt")), "{user}: {refused}");
        assert!(!refused.contains("word@"), "{refused}");
        let accepted = RedisKv::connect(&RedisOptions { allow_volatile: true, ..options(&url) }).await;
        store(&accepted.expect("allow_volatile accepts it"), [put(&key(user), 1, "x")]).await;
    }
}

#[tokio::test]
async fn a_replica_is_not_a_store() {
    let server = RedisServer::start();
    let port = server.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let refused = RedisKv::connect(&RedisOptions { allow_volatile: true, ..options(&replica.url()) }).await;
    assert!(matches!(refused, Err(RedisStartError::Unreachable(why)) if why.contains("is a replica")));
}

#[tokio::test]
async fn a_write_counts_once_its_replica_has_it() {
    let server = RedisServer::start();
    let port = server.port().to_string();
    let mut replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let linked = |replica: &RedisServer| replica.wait_for("INFO replication", "master_link_status:up");
    linked(&replica);
    let kv = RedisKv::connect(&RedisOptions { min_replicas: 1, ..options(&server.url()) }).await.expect("a safe server");
    let (kept, once) = (key("kept"), key("once"));
    store(&kv, [put(&kept, 1, "x"), put(&once, 1, "x")]).await;
    assert_eq!(replica.say(&["EXISTS", "{t.test}/d/kept"]), ":1\r\n", "it is there when the answer is");
    replica.stop();
    let work = batch([], [put(&kept, 2, "alone")]);
    assert_eq!(kv.commit(work.clone()).await, Ok(Commit::Unknown), "the server has it, and nobody else");
    assert!(matches!(kv.settle(&partition("t.test"), work.attempt).await, Err(KvError::Unavailable(_))));
    assert!(matches!(kv.take(&once).await, Err(KvError::Unavailable(_))), "what is taken once fails closed");
    assert!(kv.ping().await.is_err());
    replica.restart();
    linked(&replica);
    assert_eq!(kv.settle(&partition("t.test"), work.attempt).await, Ok(Settled::Applied));
    store(&kv, [put(&kept, 3, "together")]).await;
}

#[tokio::test]
async fn a_sentinel_that_hangs_does_not_keep_the_others_from_answering() {
    let server = RedisServer::start();
    let sentinels = [Sentinel::watch(server.port(), 1), Sentinel::watch(server.port(), 1)];
    sentinels.iter().for_each(|sentinel| sentinel.wait_for(0, 1));
    let ports = sentinels.each_ref().map(Sentinel::port);
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main", ports[0], ports[1]);
    sentinels[0].freeze();
    let kv = connect(&url).await;
    store(&kv, [put(&key("kept"), 1, "x")]).await;
    assert_eq!(kv.ping().await, Ok(()));
    sentinels[0].thaw();
}

#[tokio::test]
async fn a_sentinel_names_the_server_before_and_after_a_failover() {
    let mut first = RedisServer::start();
    let port = first.port().to_string();
    let second = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--appendonly", "yes", "--appendfsync", "always"]);
    second.wait_for("INFO replication", "master_link_status:up");
    let sentinel = Sentinel::watch(first.port(), 1);
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main", free_port(), sentinel.port());
    let until = Instant::now() + Duration::from_secs(30);
    let kv = loop {
        match RedisKv::connect(&RedisOptions { allow_volatile: true, ..options(&url) }).await {
            Ok(kv) => break kv,
            Err(why) => assert!(Instant::now() < until, "{why}"),
        }
    };
    let kept = key("kept");
    store(&kv, [put(&kept, 1, "x")]).await;
    sentinel.wait_for(1, 0);
    second.wait_for("EXISTS {t.test}/d/kept", ":1");
    first.stop();
    until_back(&kv).await;
    assert_eq!(read(&kv, &kept).await, Some((1, "x".into())));
    store(&kv, [put(&kept, 2, "y")]).await;
    assert_eq!(second.say(&["EXISTS", "{t.test}/d/kept"]), ":1\r\n");
}

/// A future among many is not polled while its owner awaits something else. What it has begun is not its own alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_not_polled_while_it_connects_holds_nobody_up() {
    let mut server = RedisServer::start();
    let kv = connect(&server.url()).await;
    store(&kv, [put(&key("known"), 1, "x")]).await;
    server.stop();
    // Who connects is let in, and hears nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", server.port())).expect("its port is free");
    let (known, begun) = (key("known"), Instant::now());
    let mut left = Box::pin(kv.get(&known));
    while begun.elapsed() < Duration::from_secs(1) {
        if futures::poll!(&mut left).is_ready() {
            left = Box::pin(kv.get(&known));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(silent);
    server.restart();
    let others = async {
        while kv.get(&known).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(30), others).await;
    assert!(back.is_ok(), "one that is left alone keeps all others from the store");
    drop(left);
}

/// A web server's threads have runtimes of their own, which end before the last refresh is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_the_runtime_of_whoever_asked_for_it() {
    for server in [RedisServer::start(), RedisServer::start_cluster()] {
        let kv = connect(&server.url()).await;
        let write = |round| kv.commit(batch([], [put(&key("kept"), round, "x")]));
        let elsewhere = || tokio::runtime::Runtime::new().expect("a runtime").block_on(write(1));
        let first = std::thread::scope(|threads| threads.spawn(elsewhere).join().expect("the thread"));
        assert_eq!(first, Ok(Commit::Applied));
        assert_eq!(write(2).await, Ok(Commit::Applied), "the connection ended with the other runtime");
    }
}
