//! Nodes as an operator sees them: who beats, whose name is taken, who is given up.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::redis_server::RedisServer;
use crate::running::{Server, run};
use crate::serve::{beside, serve, url};

/// A node on a store that several share, which beats ten times a second.
fn quick(folder: &Path, redis: &RedisServer) -> Command {
    let mut command = serve(folder);
    command.env("CLAVIGER__STORE__URL", redis.url()).env("CLAVIGER__NODE__BEAT", "100ms").env("CLAVIGER__JOURNAL__BYTES", "4MiB");
    command
}

fn remembered(node: &Path) -> u64 {
    let text = std::fs::read_to_string(node.join("node.state")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["beat"].as_u64().unwrap()
}

/// The node's folder as a careless clone has it: everything but the socket.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !happens() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_copied_folder_does_not_start_beside_its_original() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let server = Server::start(&mut quick(folder.path(), &redis));
    url(&server);
    let (node, copy) = (folder.path().join("node"), folder.path().join("copy"));
    copy_folder(&node, &copy);
    let copied = remembered(&copy);
    until("the original goes on", || remembered(&node) > copied + 2);
    let ended = run(quick(folder.path(), &redis).env("CLAVIGER__NODE__DATA", &copy));
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("another process works under the name") && ended.err.contains("node.data"), "{}", ended.err);
    let going = remembered(&node);
    until("the original still beats", || remembered(&node) > going);
}

/// A clone that starts while its original stands still, as in a snapshot of the machine, takes the name over;
/// the original notices when it goes on, and sends nothing.
#[test]
fn of_two_with_one_name_one_stands_back() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let server = Server::start(&mut quick(folder.path(), &redis));
    let base = url(&server);
    server.signal("STOP");
    let copy = folder.path().join("copy");
    copy_folder(&folder.path().join("node"), &copy);
    let other = Server::start(quick(folder.path(), &redis).env("CLAVIGER__NODE__DATA", &copy));
    url(&other);
    server.signal("CONT");
    server.wait_for_log("another process works under this node's name");
    let (status, said) = crate::running::http("GET", &format!("{base}/readyz"), &[], "");
    assert!(status == 503 && said.contains("node's name"), "{status} {said}");
}

#[test]
fn a_node_that_was_killed_starts_at_once_and_as_before() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        // A minute between beats: whoever had to watch for one would be seen to.
        let mut command = serve(folder.path());
        let server = Server::start(command.env("CLAVIGER__NODE__BEAT", "1m"));
        let base = url(&server);
        let (status, said) = crate::running::http("GET", &format!("{base}/readyz"), &[], "");
        assert_eq!((status, said.as_str()), (200, r#"{"status":"ok","notes":[]}"#));
        server.signal("KILL");
    }
}

#[test]
fn a_silent_node_is_forgotten_and_one_that_beats_is_not() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let named = |name: &str| {
        let mut command = quick(folder.path(), &redis);
        command.env("CLAVIGER__NODE__ID", name).env("CLAVIGER__NODE__DATA", folder.path().join(name));
        command
    };
    let asked = Server::start(&mut named("asked"));
    url(&asked);
    let other = Server::start(&mut named("other"));
    url(&other);
    let tell = |args: &[&str]| {
        let mut command = beside(folder.path(), args);
        run(command.env("CLAVIGER__STORE__URL", redis.url()).env("CLAVIGER__NODE__DATA", folder.path().join("asked")))
    };
    let list = || tell(&["node", "list"]).out;
    let state = |name: &str| list().lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    until("both are seen", || state("asked").contains("beats") && list().contains("other"));

    let refused = tell(&["node", "forget", "other", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("beats"), "{}", refused.err);
    let unsure = tell(&["node", "forget", "other"]);
    assert!(unsure.code == 1 && unsure.err.contains("nothing was done"), "{}", unsure.err);
    assert!(tell(&["node", "forget", "nobody", "--yes"]).err.contains("there is no node nobody"));

    other.signal("KILL");
    until("it is silent", || state("other").contains("silent"));
    let done = tell(&["node", "forget", "other", "--yes"]);
    assert_eq!((done.code, done.out.trim()), (0, "other is forgotten"), "{}", done.err);
    assert!(state("other").contains("forgotten"));
    // Its folder comes back: it is a node like any other.
    let other = Server::start(&mut named("other"));
    url(&other);
    until("it beats again", || state("other").contains("beats"));
    other.stop();
    until("it ended as it should", || state("other").contains("stopped"));
}
