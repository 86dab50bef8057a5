//! `claviger dev`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::running::{Ended, Server, claviger, get, http, run, value};

/// What `dev` says first.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    url: String,
    email: String,
    password: String,
    key: String,
}

fn dev(folder: &Path) -> (Server, Said) {
    let mut server = Server::start(claviger(folder).args(["dev", "--listen", "127.0.0.1:0"]));
    let lines = server.lines(4);
    let said = Said {
        url: value(&lines[0], "CLAVIGER_URL").to_owned(),
        email: value(&lines[1], "CLAVIGER_EMAIL").to_owned(),
        password: value(&lines[2], "CLAVIGER_PASSWORD").to_owned(),
        key: value(&lines[3], "CLAVIGER_API_KEY").to_owned(),
    };
    (server, said)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_folder_gets_everything_and_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (server, first) = dev(folder.path());
    assert_eq!(get(&format!("{}/readyz", first.url)), 200);
    let bearer = format!("Bearer {}", first.key);
    assert_eq!(http("GET", &format!("{}/enabled-providers", first.url), &[("authorization", &bearer)], "").0, 200);
    let form = format!("username={}&password={}", first.email, first.password);
    let typed = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(http("POST", &format!("{}/create-api-key", first.url), &typed, &format!("{form}&name=x")).0, 201);

    let data = folder.path().join("data");
    let kept = std::fs::read_to_string(data.join("dev.env")).unwrap();
    assert!(kept.starts_with(&format!("CLAVIGER_URL={}\nCLAVIGER_EMAIL=", first.url)), "{kept}");
    assert_eq!((mode(&data), mode(&data.join("dev.env")), mode(&data.join("master.key"))), (0o700, 0o600, 0o600));
    assert_eq!(mode(&data.join("admin.sock")), 0o600);

    let (status, rest) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(rest.contains("Try it") && rest.contains("/get-access-token"), "{rest}");

    let (server, second) = dev(folder.path());
    assert_eq!((&second.email, &second.password, &second.key), (&first.email, &first.password, &first.key));
    let bearer = format!("Bearer {}", second.key);
    assert_eq!(http("GET", &format!("{}/enabled-providers", second.url), &[("authorization", &bearer)], "").0, 200);
    drop(server);
}

#[test]
fn a_lost_dev_env_is_replaced_by_another_account() {
    let folder = tempfile::tempdir().unwrap();
    let (server, first) = dev(folder.path());
    server.stop();
    std::fs::remove_file(folder.path().join("data/dev.env")).unwrap();
    let (_server, second) = dev(folder.path());
    assert_ne!(first.key, second.key);
    let bearer = format!("Bearer {}", second.key);
    assert_eq!(http("GET", &format!("{}/enabled-providers", second.url), &[("authorization", &bearer)], "").0, 200);
}

#[test]
fn a_folder_has_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, _) = dev(folder.path());
    let Ended { code, out, err } = run(claviger(folder.path()).args(["dev", "--listen", "127.0.0.1:0"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("another claviger runs on the folder ./data"), "{err}");
}

#[test]
fn the_master_key_is_not_made_anew_beside_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = dev(folder.path());
    server.stop();
    std::fs::remove_file(folder.path().join("data/master.key")).unwrap();
    let ended = run(claviger(folder.path()).args(["dev", "--listen", "127.0.0.1:0"]));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("keys.master_file"), "{}", ended.err);
    assert!(!folder.path().join("data/master.key").exists());
}

#[test]
fn it_listens_on_loopback_and_to_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(claviger(folder.path()).args(["dev", "--listen", "0.0.0.0:0"]));
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("server.listen") && refused.err.contains("loopback"), "{}", refused.err);
    let (_server, said) = dev(folder.path());
    let (status, body) = http("GET", &format!("{}/healthz", said.url), &[("host", "evil.example")], "");
    assert_eq!(status, 400, "{body}");
}

#[test]
fn a_taken_port_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(claviger(folder.path()).args(["dev", "--listen", &address]));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains(&address) && ended.err.contains("server.listen"), "{}", ended.err);
}
