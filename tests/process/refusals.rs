//! What `serve` refuses to start with: each case names its setting, and nothing secret.

use std::process::Command;

use crate::running::{Ended, Server, claviger, run};
use crate::serve::serve;

const ZERO_KEY: &str = "clvmaster_0011223344556677_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn refusal(change: impl FnOnce(&mut Command)) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path());
    change(&mut command);
    run(&mut command)
}

#[test]
fn each_missing_or_weak_setting_is_named() {
    let cases: [(&str, Option<&str>, &str); 14] = [
        ("CLAVIGER__KEYS__MASTER_FILE", None, "keys.master"),
        ("CLAVIGER__KEYS__MASTER_FILE", Some("/nowhere/master.key"), "keys.master_file"),
        ("CLAVIGER__KEYS__MASTER_FILE", Some("/dev/null"), "keys.master_file"),
        ("CLAVIGER__SERVER__PUBLIC_URL", None, "server.public_url"),
        ("CLAVIGER__SERVER__PUBLIC_URL", Some("http://auth.example.com"), "server.public_url"),
        ("CLAVIGER__SERVER__PUBLIC_URL", Some("https://"), "server.public_url"),
        ("CLAVIGER__STORE__URL", None, "store.url"),
        ("CLAVIGER__STORE__URL", Some("memory:"), "store.url"),
        ("CLAVIGER__STORE__URL", Some("postgres://db"), "store.url"),
        ("CLAVIGER__SERVER__LISTEN", Some("somewhere"), "server.listen"),
        ("CLAVIGER__ACCOUNTS__SIGNUP", Some("open"), "mail.url"),
        ("CLAVIGER__MAIL__URL", Some("carrier-pigeon:"), "mail.url"),
        ("CLAVIGER__SERVER__LISTENS", Some("127.0.0.1:1"), "did you mean `server.listen`?"),
        ("CLAVIGER__PROVIDERS__DIR", Some("/nowhere"), "/nowhere"),
    ];
    for (name, value, named) in cases {
        let Ended { code, out, err } = refusal(|command| match value {
            Some(value) => _ = command.env(name, value),
            None => _ = command.env_remove(name),
        });
        assert!(code == 1 || code == 2, "{name}={value:?}: {code}");
        assert_eq!(out, "", "{name}={value:?}");
        assert!(err.contains(named), "{name}={value:?}: {err}");
    }
}

#[test]
fn weak_master_keys_are_refused_and_not_repeated() {
    let cut = "clvmaster_0011223344556677_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    for key in ["hunter2hunter2hunter2", cut, "clvmaster_xyz_AAECAwQF", ZERO_KEY, &ZERO_KEY.replace('_', "-")] {
        let Ended { code, err, .. } = refusal(|command| {
            command.env_remove("CLAVIGER__KEYS__MASTER_FILE").env("CLAVIGER__KEYS__MASTER", key);
        });
        assert_eq!(code, 2, "{key}");
        assert!(err.contains("keys.master") && err.contains("claviger key generate"), "{key}: {err}");
        assert!(!err.contains(key), "{err}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let Ended { code, err, .. } = run(claviger(folder.path()).args(["serve"]).env("CLAVIGER__CACHE__TRUST", "soon"));
    assert_eq!(code, 2);
    for setting in ["keys.master", "server.public_url", "store.url", "cache.trust"] {
        assert!(err.contains(&format!("  {setting}: ")), "{setting}: {err}");
    }
}

#[test]
fn another_master_key_does_not_open_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    server.wait_for_log("\"serving\"");
    server.stop();
    std::fs::remove_file(folder.path().join("master.key")).unwrap();
    let ended = run(&mut serve(folder.path()));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("keys.master") && ended.err.contains("another master key"), "{}", ended.err);
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    server.wait_for_log("\"serving\"");
    let second = run(&mut serve(folder.path()));
    assert_eq!(second.code, 1);
    assert!(second.err.contains("another claviger runs on the folder"), "{}", second.err);
}

/// Nothing listens there, or what listens is no Redis: it ends, and names the setting.
#[test]
fn a_redis_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = refusal(|command| _ = command.env("CLAVIGER__STORE__URL", format!("redis://:hunter2@127.0.0.1:{port}")));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("store.url") && !ended.err.contains("hunter2"), "{}", ended.err);
}

/// A store that vanished is not founded anew: it must come back from wherever its copies are.
#[test]
fn an_emptied_or_exchanged_store_is_not_started_on() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let started = |folder: &std::path::Path| {
        let server = Server::start(&mut serve(folder));
        server.wait_for_log("\"serving\"");
        server.stop();
    };
    started(folder.path());
    std::fs::copy(folder.path().join("master.key"), other.path().join("master.key")).unwrap();
    started(other.path());

    std::fs::remove_file(folder.path().join("claviger.db")).unwrap();
    let emptied = run(&mut serve(folder.path()));
    assert_eq!(emptied.code, 1);
    assert!(emptied.err.contains("the store is empty") && emptied.err.contains("node.state"), "{}", emptied.err);
    std::fs::copy(other.path().join("claviger.db"), folder.path().join("claviger.db")).unwrap();
    let exchanged = run(&mut serve(folder.path()));
    assert_eq!(exchanged.code, 1);
    assert!(exchanged.err.contains("another deployment") && exchanged.err.contains("store.url"), "{}", exchanged.err);
    let server = Server::start(serve(folder.path()).arg("--restored"));
    server.wait_for_log("restore mode");
    server.wait_for_log("\"serving\"");
}
