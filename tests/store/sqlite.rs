//! What SQLite alone can get wrong: the file, its owner, its schema, and what a crash leaves.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use claviger::adapters::sqlite::SqliteKv;
use claviger::ports::kv::{Commit, Kv, KvError, Precondition, SETTLE_WINDOW, Settled};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::clock::TestClock;
use crate::world::{batch, delete, key, partition, put, put_for, read, store, walk};

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn open(&self) -> SqliteKv {
        SqliteKv::open(&self.path(), TestClock::new()).expect("the file opens")
    }

    /// The file as any program sees it.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).expect("the file is a database")
    }

    fn count(&self, table: &str) -> i64 {
        self.raw().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counting")
    }
}

fn refusal(path: &Path) -> String {
    match SqliteKv::open(path, TestClock::new()) {
        Err(KvError::Refused(why)) => why,
        other => panic!("it should be refused: {:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn a_store_that_was_closed_opens_with_everything_in_it() {
    let home = Home::new();
    let (kept, gone) = (key("kept"), key("gone"));
    let written = batch([], [put(&kept, 4, "x"), put(&gone, 1, "x")]);
    {
        let kv = home.open();
        assert_eq!(kv.commit(written.clone()).await, Ok(Commit::Applied));
        store(&kv, [delete(&gone)]).await;
    }
    let names: Vec<_> =
        std::fs::read_dir(home.0.path()).expect("the folder").map(|file| file.expect("a file").file_name()).collect();
    assert_eq!(names, ["store.db"], "a clean close leaves one file");
    let kv = home.open();
    assert_eq!((read(&kv, &kept).await, read(&kv, &gone).await), (Some((4, "x".into())), None));
    assert_eq!(kv.settle(&partition("t.test"), written.attempt).await, Ok(Settled::Applied));
}

#[tokio::test]
async fn the_files_are_the_owners_alone() {
    let home = Home::new();
    std::fs::File::create(home.path()).expect("a file");
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o644)).expect("a lax mode");
    let kv = home.open();
    store(&kv, [put(&key("a"), 1, "x")]).await;
    let mut found = 0;
    for file in std::fs::read_dir(home.0.path()).expect("the folder") {
        let file = file.expect("a file");
        assert_eq!(file.metadata().expect("its mode").permissions().mode() & 0o777, 0o600, "{file:?}");
        found += 1;
    }
    assert_eq!(found, 3, "the file, its log and its index");
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let home = Home::new();
    home.raw().execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 1").expect("their file");
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o644)).expect("their mode");
    assert!(refusal(&home.path()).contains("belongs to another program"));
    assert_eq!(std::fs::metadata(home.path()).expect("their file").permissions().mode() & 0o777, 0o644);
    let text = home.0.path().join("notes.txt");
    std::fs::write(&text, "not a database, and long enough to be looked at as one".repeat(100)).expect("their notes");
    let before = std::fs::read(&text).expect("their notes");
    assert!(refusal(&text).contains("store.url"));
    assert_eq!(std::fs::read(&text).expect("their notes"), before);
    assert!(matches!(SqliteKv::open(&home.0.path().join("no/folder"), TestClock::new()), Err(KvError::Unavailable(_))));
}

#[test]
fn a_newer_schema_is_refused_and_says_what_to_do() {
    let home = Home::new();
    drop(home.open());
    home.raw().pragma_update(None, "user_version", 2).expect("a newer schema");
    let why = refusal(&home.path());
    assert!(why.contains("newer Claviger") && why.contains("schema 2"), "{why}");
    home.raw().pragma_update(None, "user_version", 1).expect("our schema");
    drop(home.open());
}

#[tokio::test]
async fn the_connection_is_set_up_to_lose_and_leak_nothing() {
    let home = Home::new();
    let kv = home.open();
    let secret = "a-value-that-must-not-stay-in-the-file".repeat(40);
    store(&kv, [put(&key("a"), 1, secret.clone()), put(&key("b"), 1, secret.clone())]).await;
    store(&kv, [delete(&key("a")), put(&key("b"), 2, "replaced")]).await;
    let mode: String = home.raw().pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("the mode");
    assert_eq!(mode, "wal");
    drop(kv);
    let file = std::fs::read(home.path()).expect("the file");
    assert!(!file.windows(20).any(|part| part == &secret.as_bytes()[..20]), "what was deleted is overwritten");
}

#[tokio::test]
async fn rows_past_their_time_leave_the_file_in_steps() {
    let home = Home::new();
    let clock = TestClock::new();
    let kv = SqliteKv::open(&home.path(), clock.clone()).expect("a new file");
    for round in 0..5 {
        let brief = |at: u32| put_for(&key(format!("brief {round} {at}")), 1, "x", Duration::from_secs(1));
        store(&kv, (0..200).map(brief).collect::<Vec<_>>()).await;
    }
    store(&kv, [put(&key("lasting"), 1, "x")]).await;
    assert_eq!(home.count("entries"), 1001);
    clock.advance(SETTLE_WINDOW + Duration::from_secs(10));
    store(&kv, [put(&key("lasting"), 2, "x")]).await;
    // A value past its time that is not collected yet can be made anew, and stays.
    let made = batch([Precondition::Absent(key("brief 4 199"))], [put(&key("brief 4 199"), 1, "x")]);
    assert_eq!(kv.commit(made).await, Ok(Commit::Applied));
    // A step with each write, and more while nobody waits.
    for _ in 0..50 {
        store(&kv, [put(&key("lasting"), 3, "x")]).await;
    }
    assert_eq!(walk(&kv, &partition("t.test"), b"", 10).await, [&b"brief 4 199"[..], b"lasting"]);
    drop(kv);
    assert_eq!(home.count("entries"), 2);
    let old: i64 = 1_767_225_600_000 + 5_000;
    let kept = home.raw().query_row("SELECT count(*) FROM groups WHERE at < ?1", [old], |row| row.get::<_, i64>(0));
    assert_eq!(kept.expect("counting"), 0, "attempts past the settle window are forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_half_of_its_batch() {
    let home = Home::new();
    let kv = std::sync::Arc::new(home.open());
    for round in 0..200 {
        let (one, two) = (key(format!("{round} one")), key(format!("{round} two")));
        let (kv2, work) = (kv.clone(), batch([], [put(&one, 1, "x"), put(&two, 1, "x")]));
        let caller = tokio::spawn(async move { kv2.commit(work).await });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        let _ = caller.await;
        assert_eq!(kv.ping().await, Ok(()), "whatever was queued before is done now");
        assert_eq!(read(&*kv, &one).await.is_some(), read(&*kv, &two).await.is_some(), "round {round}");
    }
}

const CHILD: &str = "CLAVIGER_TEST_STORE_TO_FILL";

/// Not a test: the process that the next test kills. It says each number once it is stored.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_killed_process_loses_nothing_it_acknowledged"]
async fn fill_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let kv = std::sync::Arc::new(SqliteKv::open(Path::new(&path), TestClock::new()).expect("a new file"));
    let fill = |task: u32| {
        let kv = kv.clone();
        tokio::spawn(async move {
            for turn in 0.. {
                let (one, two) = (key(format!("{task} {turn} one")), key(format!("{task} {turn} two")));
                store(&*kv, [put(&one, 1, vec![7; 3000]), put(&two, 1, "x")]).await;
                println!("stored {task} {turn}");
            }
        })
    };
    futures::future::join_all((0..8).map(fill)).await;
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let home = Home::new();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["sqlite::fill_until_killed", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, home.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs again");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().map(|line| line.expect("a line"));
    let acknowledged = |line: String| line.split_once("stored ").map(|(_, number)| number.to_owned());
    let mut stored = Vec::new();
    while stored.len() < 300 {
        stored.extend(acknowledged(next().expect("the child goes on until it is killed")));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    // What it had said before it died and we had not read yet counts as well. The last line may be cut.
    let mut rest: Vec<String> = std::iter::from_fn(next).collect();
    rest.pop();
    stored.extend(rest.into_iter().filter_map(acknowledged));
    let kv = home.open();
    for number in &stored {
        assert!(read(&kv, &key(format!("{number} one"))).await.is_some(), "{number} was acknowledged");
    }
    let names = walk(&kv, &partition("t.test"), b"", 1000).await;
    assert_eq!(names.len() % 2, 0, "no half of a batch");
    assert!(names.len() >= 2 * stored.len());
}
