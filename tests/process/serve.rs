//! `claviger serve`: its log, its hardening, its stop.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::running::{Server, call, claviger, get, http, received, run, run_typed, send, value};

/// The least that `serve` takes, on a folder.
pub fn serve(folder: &Path) -> Command {
    let key = folder.join("master.key");
    if !key.exists() {
        std::fs::write(&key, run(claviger(folder).args(["key", "generate"])).out).unwrap();
    }
    let mut command = claviger(folder);
    command
        .arg("serve")
        .env("CLAVIGER__KEYS__MASTER_FILE", &key)
        .env("CLAVIGER__SERVER__PUBLIC_URL", "https://auth.example.com")
        .env("CLAVIGER__SERVER__LISTEN", "127.0.0.1:0")
        .env("CLAVIGER__STORE__URL", format!("sqlite:{}", folder.join("claviger.db").display()))
        .env("CLAVIGER__NODE__DATA", folder.join("node"));
    command
}

/// The same settings for another command.
pub fn beside(folder: &Path, args: &[&str]) -> Command {
    let mut command = claviger(folder);
    let of_serve = serve(folder);
    command.args(args).envs(of_serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Where the log says that it listens.
pub fn url(server: &Server) -> String {
    let line: serde_json::Value = serde_json::from_str(&server.wait_for_log("\"serving\"")).unwrap();
    format!("http://{}", line["address"].as_str().unwrap())
}

#[test]
fn it_serves_logs_json_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    let url = url(&server);
    assert_eq!((get(&format!("{url}/healthz")), get(&format!("{url}/readyz"))), (200, 200));
    assert_eq!(http("GET", &format!("{url}/healthz"), &[("host", "auth.example.com")], "").0, 200);
    let line: serde_json::Value = serde_json::from_str(&server.wait_for_log("\"request\"")).unwrap();
    assert_eq!(line["route"], "/healthz");
    let (status, out) = server.stop();
    assert_eq!((status.code(), out.as_str()), (Some(0), ""));
}

#[test]
fn sigint_stops_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    url(&server);
    server.signal("INT");
    server.wait_for_log("\"stopped\"");
}

#[test]
fn its_memory_stays_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    url(&server);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
    // What is not dumpable belongs to root in /proc, whoever runs it.
    if !is_root() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(format!("/proc/{}/maps", server.id())).unwrap().uid(), 0);
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn tenants_are_made_beside_it_and_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    let base = url(&server);
    let made = run(&mut beside(folder.path(), &["tenant", "create", "one@example.com", "--generate"]));
    assert_eq!(made.code, 0, "{}", made.err);
    let (id, password) = made.out.trim().split_once('\n').unwrap();
    assert!(id.starts_with("tnt_"), "{id}");
    let form = format!("username=one@example.com&password={password}&name=x");
    let typed = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(http("POST", &format!("{base}/create-api-key"), &typed, &form).0, 201);
    server.stop();

    let typed = run_typed(&mut beside(folder.path(), &["tenant", "create", "two@example.com"]), "a long enough password\n");
    assert_eq!(typed.code, 0, "{}", typed.err);
    let again = run(&mut beside(folder.path(), &["tenant", "create", "one@example.com", "--generate"]));
    assert_eq!((again.code, again.out.trim()), (0, id));
    assert!(again.err.contains("keeps its password"), "{}", again.err);
    let weak = run_typed(&mut beside(folder.path(), &["tenant", "create", "three@example.com"]), "short\n");
    assert_eq!(weak.code, 1);
    assert!(weak.err.contains("password"), "{}", weak.err);
}

/// What becomes of whoever asked for the refresh.
#[derive(PartialEq, Eq)]
enum Asker {
    Waits,
    HangsUp,
}

#[test]
fn a_refresh_under_way_lands_and_is_answered_before_the_end() {
    stopped_in_a_refresh(Asker::Waits);
}

#[test]
fn a_refresh_that_nobody_waits_for_any_more_lands_too() {
    stopped_in_a_refresh(Asker::HangsUp);
}

/// The provider has seen a refresh and has not answered when the signal comes: the answer is waited
/// for and kept.
fn stopped_in_a_refresh(asker: Asker) {
    let folder = tempfile::tempdir().unwrap();
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", provider.local_addr().unwrap());
    let start = || {
        let mut command = claviger(folder.path());
        let mut server =
            Server::start(command.args(["dev", "--listen", "127.0.0.1:0"]).env("CLAVIGER__SANDBOX__PUBLIC_URL", &origin));
        let lines = server.lines(4);
        let of = |line: &str, name: &str| value(line, name).to_owned();
        (server, of(&lines[0], "CLAVIGER_URL"), of(&lines[3], "CLAVIGER_API_KEY"))
    };
    let (server, url, key) = start();
    call(&url, &key, "/enable-provider", "provider=sandbox&client_id=me&client_secret=s");
    let grant = "provider=sandbox&end_user_id=alice&access_token=old&refresh_token=r1&expires_in=3600";
    call(&url, &key, "/import-connection", grant);

    let asked = "provider=sandbox&end_user_id=alice";
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let asking = send("POST", &format!("{url}/get-access-token"), &headers, &format!("{asked}&force_refresh=true"));
    let (mut refresh, _) = provider.accept().unwrap();
    assert!(refresh.read(&mut [0; 4096]).unwrap() > 0);
    let asking = Some(asking).filter(|_| asker == Asker::Waits);
    server.signal("TERM");
    server.wait_for_log("stopping");
    let body = r#"{"access_token":"new","token_type":"Bearer","expires_in":3600,"refresh_token":"r2","scope":"read"}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    refresh.write_all(format!("{head}{body}").as_bytes()).unwrap();
    if let Some(asking) = asking {
        let (status, answer) = received(asking);
        assert!(status == 200 && answer.contains(r#""access_token":"new""#), "{status} {answer}");
    }
    assert_eq!(server.stop().0.code(), Some(0));

    let (_server, url, _) = start();
    assert_eq!(call(&url, &key, "/get-access-token", asked)["access_token"], "new");
}
