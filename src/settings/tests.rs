use std::collections::BTreeSet;

use super::*;

const KEY: &str = "clvmaster_0011223344556677_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// What `serve` needs at least, and more.
fn serve(more: &[(&str, &str)]) -> Layers {
    let least = [
        ("CLAVIGER__KEYS__MASTER", KEY),
        ("CLAVIGER__SERVER__PUBLIC_URL", "https://auth.example.com"),
        ("CLAVIGER__STORE__URL", "sqlite:/tmp/claviger.db"),
    ];
    let pairs = least.iter().chain(more);
    Layers { environment: pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), ..Layers::default() }
}

fn problems(layers: &Layers, mode: Mode) -> Vec<(String, String)> {
    let Err(Problems(problems)) = Settings::load(layers, mode) else { return Vec::new() };
    problems.into_iter().map(|problem| (problem.setting, problem.what)).collect()
}

fn named(layers: &Layers, mode: Mode) -> Vec<String> {
    problems(layers, mode).into_iter().map(|(setting, _)| setting).collect()
}

/// What is said of the one setting that is wrong.
fn complaint(name: &str, value: &str, setting: &str) -> String {
    let found = problems(&serve(&[(name, value)]), Mode::Serve);
    match found.as_slice() {
        [(named, what)] if named == setting => what.clone(),
        other => panic!("{name}={value}: {other:?}"),
    }
}

#[test]
fn the_least_that_serve_takes() {
    let settings = Settings::load(&serve(&[]), Mode::Serve).unwrap();
    assert_eq!(settings.server.public_url.unwrap().as_str(), "https://auth.example.com/");
    assert_eq!(settings.server.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(matches!(settings.store.place, Place::Sqlite(path) if path.ends_with("claviger.db")));
    assert!(settings.sandbox.is_none());
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let nothing = Layers::default();
    assert_eq!(named(&nothing, Mode::Serve), ["server.public_url", "store.url", "keys.master"]);
    let text = Settings::load(&nothing, Mode::Serve).unwrap_err().to_string();
    assert!(text.starts_with("3 settings must be mended:\n"), "{text}");
}

#[test]
fn what_is_wrong_is_named_with_its_cure() {
    let cases = [
        ("CLAVIGER__KEYS__MASTER", "short", "keys.master", "claviger key generate"),
        (
            "CLAVIGER__KEYS__MASTER",
            "clvmaster_0011223344556677_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "keys.master",
            "not random",
        ),
        ("CLAVIGER__SERVER__PUBLIC_URL", "http://auth.example.com", "server.public_url", "tls_ends_elsewhere"),
        ("CLAVIGER__SERVER__PUBLIC_URL", "https://auth.example.com/path", "server.public_url", "nothing after it"),
        ("CLAVIGER__SERVER__PUBLIC_URL", "https://me:pw@auth.example.com", "server.public_url", "nothing after it"),
        ("CLAVIGER__SERVER__PUBLIC_URL", "ftp://auth.example.com", "server.public_url", "http or https"),
        ("CLAVIGER__SERVER__PUBLIC_URL", "auth.example.com", "server.public_url", "https://auth.example.com"),
        ("CLAVIGER__STORE__URL", "memory:", "store.url", "store.allow_volatile"),
        ("CLAVIGER__STORE__URL", "mysql://host", "store.url", "sqlite:"),
        ("CLAVIGER__STORE__URL", "sqlite:", "store.url", "sqlite:"),
        ("CLAVIGER__SERVER__LISTEN", "8080", "server.listen", "127.0.0.1:8080"),
        ("CLAVIGER__SERVER__LISTEN", "", "server.listen", "127.0.0.1:8080"),
        ("CLAVIGER__SERVER__TLS_ENDS_ELSEWHERE", "perhaps", "server.tls_ends_elsewhere", "true or false"),
        ("CLAVIGER__SERVER__TRUSTED_PROXIES", "10.0.0.1,proxy", "server.trusted_proxies", "`proxy`"),
        ("CLAVIGER__EGRESS__ALLOW", "http://x", "egress.allow", "`http://x`"),
        ("CLAVIGER__SERVER__MAX_CONNECTIONS", "0", "server.max_connections", "from 1 to"),
        ("CLAVIGER__SERVER__WORKERS", "513", "server.workers", "from 0 to 512"),
        ("CLAVIGER__CACHE__TRUST", "1", "cache.trust", "\"10s\""),
        ("CLAVIGER__CACHE__TRUST", "61s", "cache.trust", "60s"),
        ("CLAVIGER__CACHE__BYTES", "lots", "cache.bytes", "64MiB"),
        ("CLAVIGER__TELEMETRY__FORMAT", "xml", "telemetry.format", "json or text"),
        ("CLAVIGER__TELEMETRY__LOG", "claviger=loud", "telemetry.log", "info"),
    ];
    for (name, value, setting, cure) in cases {
        let what = complaint(name, value, setting);
        assert!(what.contains(cure), "{name}={value}: {what}");
    }
}

#[test]
fn a_bad_secret_is_never_repeated() {
    for value in ["clvmaster_hunter2hunter2", "hunter2hunter2"] {
        let text = Settings::load(&serve(&[("CLAVIGER__KEYS__MASTER", value)]), Mode::Serve).unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = Settings::load(&serve(&[("CLAVIGER__STORE__URL", "mysql://me:hunter2@host")]), Mode::Serve).unwrap_err();
    assert!(!text.to_string().contains("hunter2"), "{text}");
}

#[test]
fn an_unknown_name_stops_the_start_and_names_its_neighbour() {
    let found = problems(&serve(&[("CLAVIGER__SERVER__LISTN", "127.0.0.1:1")]), Mode::Serve);
    let [(setting, what)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(setting, "server.listn");
    assert!(what.contains("did you mean `server.listen`?") && what.contains("the environment"), "{what}");
    // A section where a setting belongs, and names of other programs.
    assert_eq!(named(&serve(&[("CLAVIGER__SERVER", "x")]), Mode::Serve), ["server"]);
    assert!(problems(&serve(&[("CLAVIGER_URL", "x"), ("SERVER__LISTEN", "x")]), Mode::Serve).is_empty());
}

#[test]
fn http_is_taken_where_the_operator_says_so() {
    let more = [("CLAVIGER__SERVER__PUBLIC_URL", "http://auth.internal"), ("CLAVIGER__SERVER__TLS_ENDS_ELSEWHERE", "true")];
    Settings::load(&serve(&more), Mode::Serve).unwrap();
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dotenv) = (folder.path().join("claviger.toml"), folder.path().join(".env"));
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\n[cache]\ntrust = \"2s\"\nbytes = 1024\n").unwrap();
    std::fs::write(&dotenv, "CLAVIGER__SERVER__WORKERS=2\nCLAVIGER__CACHE__TRUST=3s\nOTHER=1\n").unwrap();
    let mut layers = serve(&[("CLAVIGER__CACHE__TRUST", "4s")]);
    layers.file = Some(file);
    layers.dotenv = Some(dotenv);
    layers.fixed = vec![("cache.cut_off", "5s".to_owned())];
    let settings = Settings::load(&layers, Mode::Serve).unwrap();
    assert_eq!(settings.server.listen.port(), 1);
    assert_eq!(settings.server.workers, 2);
    assert_eq!(settings.cache.trust, Duration::from_secs(4));
    assert_eq!(settings.cache.cut_off, Duration::from_secs(5));
    assert_eq!(settings.cache.bytes, 1024);
    let shown = effective(&layers).unwrap();
    let origin = |name: &str| shown.iter().find(|shown| shown.name == name).map(|shown| shown.origin.as_str()).unwrap();
    assert!(origin("server.listen").ends_with("claviger.toml"));
    assert!(origin("server.workers").ends_with(".env"));
    assert_eq!(origin("cache.trust"), "the environment");
    assert_eq!(origin("cache.cut_off"), "the command line");
    assert_eq!(origin("server.keep_alive"), "default");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.toml");
    std::fs::write(&path, "server = [").unwrap();
    for path in [path, folder.path().join("absent.toml")] {
        let layers = Layers { file: Some(path.clone()), ..serve(&[]) };
        assert_eq!(named(&layers, Mode::Serve), [path.display().to_string()]);
    }
}

#[test]
fn a_secret_may_be_a_file_but_not_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let path = path.to_str().unwrap();
    let from_file = serve(&[("CLAVIGER__KEYS__MASTER", ""), ("CLAVIGER__KEYS__MASTER_FILE", path)]);
    Settings::load(&from_file, Mode::Serve).unwrap();
    let twice = serve(&[("CLAVIGER__KEYS__MASTER_FILE", path)]);
    assert_eq!(named(&twice, Mode::Serve), ["keys.master"]);
    let absent = serve(&[("CLAVIGER__KEYS__MASTER", ""), ("CLAVIGER__KEYS__MASTER_FILE", "/nowhere/master.key")]);
    assert_eq!(named(&absent, Mode::Serve), ["keys.master_file"]);
    std::fs::write(path, "").unwrap();
    let empty = serve(&[("CLAVIGER__KEYS__MASTER", ""), ("CLAVIGER__KEYS__MASTER_FILE", path)]);
    assert_eq!(named(&empty, Mode::Serve), ["keys.master_file"]);
}

#[test]
fn dev_listens_on_loopback_alone() {
    let dev = |more: &[(&str, &str)]| named(&serve(more), Mode::Dev);
    assert!(dev(&[("CLAVIGER__SERVER__LISTEN", "[::1]:0"), ("CLAVIGER__SERVER__PUBLIC_URL", "http://localhost:1")]).is_empty());
    assert_eq!(dev(&[("CLAVIGER__SERVER__LISTEN", "0.0.0.0:8080")]), ["server.listen"]);
    let sandbox = [("CLAVIGER__SANDBOX__ENABLED", "true"), ("CLAVIGER__SANDBOX__LISTEN", "192.168.0.1:1")];
    assert_eq!(dev(&sandbox), ["sandbox.listen"]);
}

#[test]
fn several_master_keys_are_read_newest_first() {
    let older = KEY.replace("0011223344556677", "8899aabbccddeeff");
    let settings = Settings::load(&serve(&[("CLAVIGER__KEYS__MASTER", &format!("{KEY},\n {older}"))]), Mode::Serve).unwrap();
    let shown = format!("{:?}", settings.keys);
    assert!(shown.find("0011223344556677").unwrap() < shown.find("8899aabbccddeeff").unwrap(), "{shown}");
}

#[test]
fn what_is_shown_holds_no_secret() {
    let layers = serve(&[("CLAVIGER__STORE__URL", "rediss://me:hunter2@cache.example:6380/1?password=hunter2")]);
    let all: String = effective(&layers).unwrap().iter().map(|shown| format!("{shown:?}\n")).collect();
    assert!(!all.contains("hunter2") && !all.contains("AAECAw"), "{all}");
    assert!(all.contains("cache.example:6380"), "{all}");
    let settings = Settings::load(&layers, Mode::Serve).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

/// The list of settings, the code that reads them and the example for operators cannot drift apart.
#[test]
fn every_setting_is_listed_read_and_exemplified() {
    let (values, _) = Layers::default().values().unwrap();
    let listed: BTreeSet<&str> = values.keys().map(String::as_str).collect();
    let mut reader = reader::Reader::new(&values, Vec::new());
    read::read_all(&mut reader, Mode::Serve);
    assert_eq!(*reader.names_read(), listed, "left: read, right: listed in config/default.toml");
    assert_eq!(include_str!("../../.env.example"), example(), "mend .env.example: it is made from config/default.toml");
}

/// `.env.example`, from the comments and defaults of `config/default.toml`.
fn example() -> String {
    let mut text =
        String::from("# Every setting as a variable of the environment. Copy this to .env and keep what you change.\n");
    let (mut section, mut comment) = (String::new(), String::new());
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if line.starts_with('#') {
            comment = line.to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            assert!(comment.ends_with('.'), "{section}.{key} needs a sentence above it");
            let value = value.trim_matches(['"', '[', ']']);
            let name = format!("CLAVIGER__{section}__{key}").to_uppercase();
            text.push_str(&format!("\n{comment}\n#{name}={value}\n"));
            comment.clear();
        }
    }
    text
}
