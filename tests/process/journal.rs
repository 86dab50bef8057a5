//! `claviger journal show`, with and without a server on the folder.

use std::path::Path;
use std::sync::Arc;

use claviger::adapters::journal::BlockJournal;
use claviger::adapters::sqlite::SqliteKv;
use claviger::adapters::system::{SystemClock, SystemEntropy};
use claviger::domain::call::HttpAnswer;
use claviger::store::{Keyring, MasterKey, Sent, Store};
use serde_json::json;

use crate::running::{Server, claviger, run};

const CANARY: &str = "canary-refresh-token";

fn dev(folder: &Path) -> Server {
    let mut command = claviger(folder);
    let mut server = Server::start(command.args(["dev", "--data", "data", "--listen", "127.0.0.1:0"]));
    server.lines(1);
    server
}

/// Puts an answer into the journal of a stopped `dev`, as a crash would leave it.
async fn leave_an_answer(data: &Path) {
    let kv = SqliteKv::open(&data.join("claviger.db"), Arc::new(SystemClock::start())).unwrap();
    let key = MasterKey::parse(&std::fs::read_to_string(data.join("master.key")).unwrap().into()).unwrap();
    let store = Store::open(Arc::new(kv), Arc::new(SystemEntropy), Keyring::new(key, Vec::new())).await.unwrap();
    let journal = BlockJournal::open_as_it_is(&data.join("journal")).unwrap();
    let journal = store.journal(Arc::new(journal)).await.unwrap();
    let sent: Sent = serde_json::from_value(json!({
        "tenant": format!("tnt_{}", "0".repeat(32)), "connection": format!("con_{}", "a".repeat(34)), "set": "default",
        "grant": "0".repeat(32), "from_generation": 7, "attempt": "a", "provider": "sandbox", "integration": "sandbox",
        "params": { "shop": CANARY }, "started_at": "2026-11-22T10:15:00Z",
    }))
    .unwrap();
    let answer = HttpAnswer { status: 200, headers: Vec::new(), body: CANARY.into() };
    journal.append(journal.reserve(&sent).unwrap(), &sent, &answer).await.unwrap();
}

#[tokio::test]
async fn the_journal_is_shown_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let show = || run(claviger(folder.path()).args(["journal", "show", "--data", "data"]));
    let server = dev(folder.path());
    let shown = show();
    assert_eq!(
        (shown.code, shown.out.as_str()),
        (0, "Nothing waits for the store; 0.0 % of 15 MiB is in use.\n"),
        "{}",
        shown.err
    );
    server.stop();
    assert_eq!(show().out, shown.out);
    leave_an_answer(&folder.path().join("data")).await;
    let shown = show();
    let entry = shown.out.lines().nth(1).unwrap_or_default();
    for part in ["2026-11-22T10:15:00Z", "sandbox", &format!("con_{}", "a".repeat(34)), "default", " 7 "] {
        assert!(entry.contains(part), "{part}: {}", shown.out);
    }
    assert!(shown.out.ends_with("1 entry waits for the store; 0.0 % of 15 MiB is in use.\n"), "{}", shown.out);
    assert!(!format!("{}{}", shown.out, shown.err).contains(CANARY));
}
