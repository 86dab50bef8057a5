//! The commands that end by themselves.

use crate::running::{Ended, Server, claviger, http, run};
use crate::serve::serve;

fn ran(args: &[&str]) -> Ended {
    run(claviger(tempfile::tempdir().unwrap().path()).args(args))
}

#[test]
fn the_demo_shows_connect_token_expiry_and_refreshed_token() {
    let Ended { code, out, err } = ran(&["demo"]);
    assert_eq!(code, 0, "{out}\n{err}");
    let steps =
        ["/enable-provider", "/authorize-sandbox", "Connect", "Allow", "/get-access-token", "401", "/get-access-token", "200"];
    let mut rest = out.as_str();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step} is missing in: {out}"));
        rest = &rest[at + step.len()..];
    }
}

#[test]
fn every_command_has_help_with_an_example_and_exit_codes() {
    let commands: &[&[&str]] = &[
        &["dev"],
        &["demo"],
        &["serve"],
        &["config", "check"],
        &["tenant", "create"],
        &["backup"],
        &["restore"],
        &["resume"],
        &["node", "list"],
        &["node", "forget"],
        &["provider", "list"],
        &["provider", "show"],
        &["provider", "check"],
        &["provider", "new"],
        &["provider", "test"],
        &["provider", "docs"],
        &["provider", "compare"],
        &["sweep", "status"],
        &["sweep", "pause"],
        &["sweep", "resume"],
        &["key", "generate"],
        &["journal", "show"],
        &["healthcheck"],
    ];
    for command in commands {
        let help = ran(&[*command, &["--help"]].concat());
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Example") && help.out.contains("Exit codes: 0"), "{command:?}: {}", help.out);
    }
    // Every command of the list is among those above: nothing new goes without.
    let listed = ran(&["--help"]).out;
    let section = listed.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    for name in section.lines().filter_map(|line| line.strip_prefix("  ")).filter_map(|line| line.split_whitespace().next()) {
        assert!(name == "help" || commands.iter().any(|command| command[0] == name), "{name} is not tested");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [&["nonsense"][..], &["dev", "--nonsense"], &["tenant", "create"], &[]] {
        assert_eq!(ran(args).code, 2, "{args:?}");
    }
}

#[test]
fn keys_differ_and_are_alone_on_stdout() {
    let (one, other) = (ran(&["key", "generate"]), ran(&["key", "generate"]));
    assert_ne!(one.out, other.out);
    assert_eq!((one.out.lines().count(), one.err.as_str()), (1, ""));
}

#[test]
fn config_check_shows_origins_and_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let key = ran(&["key", "generate"]).out;
    let good = |url: &str| {
        run(claviger(folder.path())
            .args(["config", "check"])
            .env("CLAVIGER__KEYS__MASTER", key.trim())
            .env("CLAVIGER__SERVER__PUBLIC_URL", url)
            .env("CLAVIGER__STORE__URL", "redis://me:hunter2@cache.example"))
    };
    let fine = good("https://auth.example.com");
    assert_eq!(fine.code, 0, "{}", fine.err);
    assert!(fine.out.contains("cache.example") && fine.out.contains("the environment"), "{}", fine.out);
    assert!(!fine.out.contains("hunter2") && !fine.out.contains(key.trim()), "{}", fine.out);
    let bad = good("http://auth.example.com");
    assert_eq!(bad.code, 2);
    assert!(bad.out.contains("server.public_url") && bad.err.contains("server.public_url"), "{}", bad.err);
}

#[test]
fn a_dotenv_file_beside_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "CLAVIGER__SERVER__WORKERS=3\n").unwrap();
    let shown = run(claviger(folder.path()).args(["config", "check"]));
    let line = shown.out.lines().find(|line| line.starts_with("server.workers")).unwrap();
    assert!(line.contains('3') && line.ends_with(".env"), "{line}");
}

#[test]
fn healthcheck_says_whether_the_server_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(folder.path()));
    let line: serde_json::Value = serde_json::from_str(&server.wait_for_log("\"serving\"")).unwrap();
    let address = line["address"].as_str().unwrap().to_owned();
    let ask = || run(claviger(folder.path()).args(["healthcheck", "--address", &address]));
    assert_eq!((ask().code, ask().out.trim()), (0, "ready"));
    assert_eq!(http("GET", &format!("http://{address}/readyz"), &[], "").0, 200);
    server.stop();
    assert_eq!(ask().code, 1);
}

#[test]
fn providers_are_listed_shown_and_checked() {
    let listed = ran(&["provider", "list"]);
    assert_eq!(listed.code, 0);
    assert!(listed.out.contains("sandbox"), "{}", listed.out);
    assert_eq!((ran(&["provider", "show", "sandbox"]).code, ran(&["provider", "show", "nobody"]).code), (0, 2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acme.toml");
    std::fs::write(&path, "name = ").unwrap();
    assert_eq!(ran(&["provider", "check", path.to_str().unwrap()]).code, 1);
}

/// What a start refuses, `check` refuses: two files of one name, be they both ours, or one of them the catalogue's.
#[test]
fn check_finds_two_of_one_name_as_a_start_does() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let named = |id: &str, name: &str| {
        assert_eq!(ran(&["provider", "new", id, "--dir", dir]).code, 0);
        let path = folder.path().join(format!("{id}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let line = text.lines().find(|line| line.starts_with("name = ")).unwrap();
        std::fs::write(&path, text.replacen(line, &format!("name = \"{name}\""), 1)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = named("one", "Acme Files");
    let alone = ran(&["provider", "check", dir]);
    assert_eq!((alone.code, alone.out.ends_with("1 file, 0 with faults\n")), (0, true), "{}", alone.out);

    let two = named("two", "ACME files");
    let (listed, checked) = (ran(&["provider", "list", "--dir", dir]), ran(&["provider", "check", dir]));
    for said in [format!("{one}: name: is also the name of `two`"), format!("{two}: name: is also the name of `one`")] {
        assert!(listed.out.contains(&said) && checked.out.contains(&said), "{said}: {}{}", listed.out, checked.out);
    }
    assert_eq!((listed.code, checked.code), (1, 1));
    assert!(checked.out.ends_with("2 files, 2 with faults\n") && !checked.out.contains("fine"), "{}", checked.out);
    let file = ran(&["provider", "check", &one]);
    assert!(file.code == 1 && !file.out.contains(&two) && file.out.ends_with("1 file, 1 with faults\n"), "{}", file.out);

    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("copied.toml");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/providers/sandbox.toml"), &copy).unwrap();
    let copied = ran(&["provider", "check", copy.to_str().unwrap()]);
    assert!(copied.code == 1 && copied.out.contains("name: is also the name of `sandbox`"), "{}", copied.out);
}
