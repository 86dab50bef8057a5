//! `claviger provider test --live`, against the sandbox of a running `claviger dev`.

use std::io::Read as _;
use std::path::Path;

use crate::running::{Server, call, claviger, run, send, value};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Where an answer sends the browser.
fn location(method: &str, url: &str, form: &str) -> String {
    let mut answer = String::new();
    send(method, url, &[FORM], form).read_to_string(&mut answer).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_else(|| panic!("no redirect: {answer}"));
    line.to_owned()
}

/// A server with its sandbox, and the sandbox's origin as the connect flow shows it.
fn sandbox(folder: &Path) -> (Server, String) {
    let mut server = Server::start(claviger(folder).args(["dev", "--listen", "127.0.0.1:0"]));
    let lines = server.lines(4);
    let (url, key) = (value(&lines[0], "CLAVIGER_URL"), value(&lines[3], "CLAVIGER_API_KEY"));
    call(url, key, "/enable-provider", "provider=sandbox&client_id=me&client_secret=x&scopes=read");
    let made = call(url, key, "/authorize-sandbox", "end_user_id=a");
    let (path, link) = made["authorize_url"].as_str().unwrap().split_once("?link=").unwrap();
    let gone = location("POST", &format!("{path}/decision"), &format!("link={link}&decision=connect"));
    (server, gone.split_once("/authorize").unwrap().0.to_owned())
}

fn walk(folder: &Path, origin: &str, more: &[&str]) -> Server {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/sandbox.toml");
    let param = format!("sandbox_origin={origin}");
    let mut command = claviger(folder);
    command
        .args(["provider", "test"])
        .arg(file)
        .args(["--live", "live", "--listen", "127.0.0.1:0", "--param", &param])
        .args(more);
    Server::start(&mut command)
}

fn after<'a>(line: &'a str, what: &str) -> &'a str {
    line.strip_prefix(what).unwrap_or_else(|| panic!("{what} was expected: {line}")).trim_start()
}

#[test]
fn the_walk_ends_with_a_refresh_and_a_revocation_and_shows_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, origin) = sandbox(folder.path());
    let secret = folder.path().join("secret.txt");
    std::fs::write(&secret, "hush\n").unwrap();
    let mut walk = walk(folder.path(), &origin, &["--secret-file", secret.to_str().unwrap(), "--scope", "read", "--revoke"]);
    let lines = walk.lines(2);
    let url = after(&lines[1], "open this");
    let (path, query) = url.split_once('?').unwrap();
    let back = location("POST", path, &format!("{query}&account=alice&decision=allow"));
    assert!(back.starts_with(after(&lines[0], "redirect URI").split(' ').next().unwrap()), "{back}");
    // A callback that this walk did not begin is not heeded.
    let (landing, _) = back.split_once('?').unwrap();
    send("GET", &format!("{landing}?code=x&state=other"), &[], "").read_to_string(&mut String::new()).unwrap();
    send("GET", &back, &[], "").read_to_string(&mut String::new()).unwrap();
    let (status, said) = walk.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    for part in [
        "a code of ",
        "exchange",
        "an access token of ",
        "look-up       userinfo: account",
        "the refresh token rotated",
        "revoke        done",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let code = back.split_once("code=").unwrap().1.split('&').next().unwrap();
    assert!(!said.contains(code) && !said.contains("hush"), "{said}");
}

#[test]
fn a_denial_a_wrong_param_and_nobody_coming_end_the_walk_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, origin) = sandbox(folder.path());
    let mut denied = walk(folder.path(), &origin, &["--scope", "read"]);
    let lines = denied.lines(2);
    let (path, query) = after(&lines[1], "open this").split_once('?').unwrap();
    let back = location("POST", path, &format!("{query}&account=alice&decision=deny"));
    send("GET", &back, &[], "").read_to_string(&mut String::new()).unwrap();
    denied.wait_for_log("the end user declined");
    assert_eq!(denied.ended().0.code(), Some(1));

    let mut nobody = walk(folder.path(), &origin, &["--patience", "1"]);
    nobody.lines(2);
    nobody.wait_for_log("nobody came back within 1 s");
    assert_eq!(nobody.ended().0.code(), Some(1));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/sandbox.toml");
    for (more, said) in [(vec!["--param", "shop=x"], "is not a setting of"), (vec![], "give it with --param")] {
        let param = format!("sandbox_origin={origin}");
        let origin = if more.is_empty() { vec![] } else { vec!["--param", param.as_str()] };
        let ended =
            run(claviger(folder.path()).args(["provider", "test"]).arg(&file).args(["--live", "me"]).args(origin).args(more));
        assert_eq!(ended.code, 1, "{}", ended.err);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}
