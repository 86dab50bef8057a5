//! `claviger provider test --live`, against the sandbox of a running `claviger dev`.

use std::io::Read as _;
use std::path::Path;

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::oauth1_server::Oauth1Server;
use crate::running::{Ended, Server, call, claviger, run, send, value};

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
    let (param, secret) = (format!("sandbox_origin={origin}"), held(folder, "secret.txt", "hush\n"));
    let mut command = claviger(folder);
    command
        .args(["provider", "test"])
        .arg(file)
        .args(["--live", "live", "--listen", "127.0.0.1:0", "--param", &param, "--secret-file", &secret])
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
    let mut walk = walk(folder.path(), &origin, &["--scope", "read", "--revoke"]);
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

/// What `provider new` begins with for this grant, led to a server on this machine.
fn started(folder: &Path, grant: &str) {
    let made = run(claviger(folder).args(["provider", "new", "acme", "--dir", ".", "--grant", grant]));
    assert_eq!(made.code, 0, "{}", made.err);
    let text = std::fs::read_to_string(folder.join("acme.toml")).unwrap().replace("/oauth/", "/");
    let (facts, tests) = text.split_at(text.find("[[test]]").unwrap());
    let facts = facts.replace("\nurl = \"https://auth.example.com", "\nurl = \"{here}");
    let here = "[params.here]\ntitle = \"Where it is\"\nkind = \"origin\"\nneeded_by = \"deployment\"\nexample = \"https://auth.example.com\"\n";
    std::fs::write(folder.join("acme.toml"), format!("{facts}\n{here}\n{tests}")).unwrap();
    let checked = run(claviger(folder).args(["provider", "check", "acme.toml"]));
    assert_eq!(checked.code, 0, "{}", checked.out);
}

/// The walk where no end user is asked; it ends by itself.
fn minting(folder: &Path, origin: &str, more: &[&str]) -> Ended {
    let here = format!("here={origin}");
    run(claviger(folder).args(["provider", "test", "acme.toml", "--live", "robot", "--param", &here]).args(more))
}

fn held(folder: &Path, name: &str, text: &str) -> String {
    std::fs::write(folder.join(name), text).unwrap();
    name.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn client_credentials_are_walked_without_a_browser() {
    let (folder, provider) = (tempfile::tempdir().unwrap(), FakeProvider::start().await);
    let folder = folder.path();
    started(folder, "client_credentials");
    let (origin, secret) = (provider.url(""), held(folder, "secret.txt", "hush\n"));
    for n in 1..3 {
        let body = serde_json::json!({ "access_token": format!("minted-{n}"), "token_type": "bearer", "expires_in": 3600 });
        provider.next(TOKEN, Act::json(200, &body));
    }
    let walked = minting(folder, &origin, &["--secret-file", &secret, "--scope", "read", "--revoke"]);
    assert_eq!(walked.code, 0, "{}", walked.err);
    let lines: Vec<&str> = walked.out.lines().collect();
    assert!(lines[0].starts_with("token         default: an access token of 8 bytes, until "), "{}", walked.out);
    assert!(lines[1].starts_with("refresh       default: an access token of 8 bytes, until "), "{}", walked.out);
    assert_eq!(lines[2..], ["revoke        the provider's file has no call for it"]);
    assert!(!walked.out.contains("minted-") && !walked.out.contains("hush"), "{}", walked.out);
    for seen in provider.seen(TOKEN) {
        assert_eq!(
            (seen.field("grant_type").as_deref(), seen.field("scope").as_deref()),
            (Some("client_credentials"), Some("read"))
        );
        assert_eq!(seen.header("authorization"), Some("Basic cm9ib3Q6aHVzaA=="));
    }
    assert_eq!(provider.count(TOKEN), 2);

    provider.always(TOKEN, Act::oauth_error(401, "invalid_client"));
    for (more, said) in [
        (vec!["--secret-file", secret.as_str()], "401 invalid_client: it refuses the client"),
        (vec![], "give it with --secret-file"),
    ] {
        let ended = minting(folder, &origin, &more);
        assert_eq!((ended.code, ended.err.contains(said)), (1, true), "{}", ended.err);
    }
    assert_eq!(provider.count(TOKEN), 3, "without a secret nothing is sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_jwt_bearer_grant_is_walked_with_a_key_from_a_file() {
    let (folder, provider) = (tempfile::tempdir().unwrap(), FakeProvider::start().await);
    let folder = folder.path();
    started(folder, "jwt_bearer");
    let origin = provider.url("");
    let body = serde_json::json!({ "access_token": "minted", "token_type": "bearer", "expires_in": 3600 });
    provider.always(TOKEN, Act::json(200, &body));
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/src/oauth/vectors/keys/rsa.pem");
    let walked = minting(folder, &origin, &["--param-file", &format!("private_key={key}")]);
    assert_eq!(walked.code, 0, "{}", walked.err);
    let assertions: Vec<_> = provider.seen(TOKEN).iter().map(|seen| seen.field("assertion").unwrap()).collect();
    assert!(assertions.len() == 2 && assertions.iter().all(|jwt| jwt.starts_with("eyJ")), "{assertions:?}");
    let broken = held(folder, "broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (key, said) in [(broken.as_str(), "private_key"), ("nowhere.pem", "nowhere.pem")] {
        let ended = minting(folder, &origin, &["--param-file", &format!("private_key={key}")]);
        assert_eq!((ended.code, ended.err.contains(said)), (1, true), "{key}: {}", ended.err);
    }
    provider.always(TOKEN, Act::oauth_error(400, "invalid_grant"));
    let refused = minting(folder, &origin, &["--param-file", &format!("private_key={key}")]);
    assert!(refused.err.contains("400 invalid_grant: it issues no token for this subject"), "{}", refused.err);
}

/// Against a server by other hands, which checks each signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn oauth_1_is_walked_there_and_back() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Oauth1Server::start(&[]).await);
    let folder = folder.path();
    started(folder, "oauth1");
    let here = format!("here={}", server.url(""));
    // As the server makes them of the method's name.
    let client = &"hmacsha1consumerkey0123456789"[..28];
    let walk = |secret: &str| {
        let secret = held(folder, "secret.txt", secret);
        let mut command = claviger(folder);
        command.args(["provider", "test", "acme.toml", "--live", client, "--listen", "127.0.0.1:0"]);
        Server::start(command.args(["--param", &here, "--secret-file", &secret]))
    };
    let mut walked = walk("secret of hmacsha1: 100%+&=");
    let lines = walked.lines(3);
    assert!(after(&lines[1], "request-token").starts_with("a token of "), "{lines:?}");
    let back = location("GET", after(&lines[2], "open this"), "");
    send("GET", &back, &[], "").read_to_string(&mut String::new()).unwrap();
    let (status, said) = walked.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    for part in
        ["a verifier of ", "an access token of ", "no end named, its secret of ", "default: there is none: a token is served"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let stats = server.stats().await;
    assert_eq!((stats.requested, stats.exchanged, stats.refused), (1, 1, 0));
    let wrong = walk("another");
    wrong.wait_for_log("request-token: the provider answered 401");
    assert_eq!(wrong.ended().0.code(), Some(1));
}
