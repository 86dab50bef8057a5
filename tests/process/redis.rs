//! `claviger serve` on a Redis server: what is said of it, and what is refused.

use serde_json::Value;

use crate::redis_server::RedisServer;
use crate::running::{Server, http, run};
use crate::serve::{serve, url};

fn notes(url: &str) -> Vec<String> {
    let (status, body) = http("GET", &format!("{url}/readyz"), &[], "");
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    body["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_lone_server_is_taken_and_its_weakness_told_once() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let mut command = serve(folder.path());
    let server = Server::start(command.env("CLAVIGER__STORE__URL", redis.url()));
    let told: Value = serde_json::from_str(&server.wait_for_log("Redis stands alone")).unwrap();
    assert_eq!(told["level"], "WARN");
    let url = url(&server);
    for _ in 0..3 {
        let notes = notes(&url);
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.contains("since the last backup") && note.contains("store.url"), "what is lost, and what to do: {note}");
    }
    server.signal("TERM");
    assert!(server.rest_of_log().iter().all(|line| !line.contains("stands alone")), "once is enough");
}

#[test]
fn a_store_that_keeps_what_it_has_needs_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    assert_eq!(notes(&url(&server)), [""; 0]);
}

#[test]
fn an_unsafe_server_is_refused_and_taken_with_a_note_where_that_is_allowed() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start_with(&[]));
    let mut command = serve(folder.path());
    command.env("CLAVIGER__STORE__URL", redis.url());
    let refused = run(&mut command);
    assert!(
        refused.code != 0 && refused.err.contains("`appendonly`") && refused.err.contains("store.allow_volatile"),
        "{}",
        refused.err
    );
    let server = Server::start(command.env("CLAVIGER__STORE__ALLOW_VOLATILE", "true"));
    let notes = notes(&url(&server));
    assert!(notes.iter().any(|note| note.contains("`appendonly`")), "{notes:?}");
}
