//! What each setting means, and what a mode asks of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::services::accounts::Signup;
use crate::services::defined::Definitions;
use crate::services::integrations::RedirectStyle;
use crate::services::refresh::RefreshPolicy;
use crate::services::sweep::SweepPolicy;
use crate::store::{Keyring, MasterKey};

use super::reader::Reader;
use super::source::Values;
use super::{
    Accounts, Cache, Connect, Journal, LogFormat, Mail, Mode, Node, Place, Problem, Problems, Providers, Sandbox, Server,
    Settings, StoreSettings, Telemetry,
};

const ADDRESS: &str = "an address and a port, such as 127.0.0.1:8080 or [::]:8080";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn settings(values: &Values, mode: Mode, unknown: Vec<Problem>) -> Result<Settings, Problems> {
    let mut reader = Reader::new(values, unknown);
    let settings = read_all(&mut reader, mode);
    reader.finish()?;
    settings.ok_or_else(|| Problems(Vec::new()))
}

pub(super) fn listen_address(values: &Values, unknown: Vec<Problem>) -> Result<SocketAddr, Problems> {
    let mut reader = Reader::new(values, unknown);
    let listen = address(&mut reader, "server.listen", Mode::Serve);
    reader.finish()?;
    listen.ok_or_else(|| Problems(Vec::new()))
}

/// `None` only beside a problem.
pub(super) fn read_all(reader: &mut Reader<'_>, mode: Mode) -> Option<Settings> {
    let server = server(reader, mode);
    let node = node(reader);
    let journal = Journal { bytes: reader.bytes("journal.bytes", crate::adapters::journal::BYTES) };
    let store = store(reader, mode);
    let keys = keys(reader);
    let accounts = accounts(reader);
    let mail = mail(reader, mode);
    let connect = connect(reader);
    let refresh = refresh(reader);
    let sweep = sweep(reader);
    let cache = cache(reader);
    let providers = providers(reader, connect.as_ref());
    let egress = reader.items("egress.allow");
    let sandbox = sandbox(reader, mode);
    let telemetry = telemetry(reader);
    Some(Settings {
        mode,
        server: server?,
        node: node?,
        journal,
        store: store?,
        keys: keys?,
        accounts: accounts?,
        mail,
        connect: connect?,
        refresh,
        sweep,
        cache,
        providers: providers?,
        egress,
        sandbox: sandbox?,
        telemetry: telemetry?,
    })
}

/// With one redirect address for all, a provider of a tenant's own could be sent another provider's codes.
fn providers(reader: &mut Reader<'_>, connect: Option<&Connect>) -> Option<Providers> {
    let dir = reader.text("providers.dir").map(PathBuf::from);
    let apart = connect.is_some_and(|connect| connect.redirect == RedirectStyle::PerIntegration);
    let custom = if reader.flag("providers.custom") && apart { Definitions::Allowed } else { Definitions::Refused };
    Some(Providers { dir, custom })
}

fn node(reader: &mut Reader<'_>) -> Option<Node> {
    let id = reader.text("node.id");
    let fits = |id: &String| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !id.as_ref().is_none_or(fits) {
        reader.problem("node.id", "must have at most 64 letters, digits, `-`, `_` and `.`, such as node-1");
    }
    let beat = reader.span("node.beat", SECOND / 10..=MINUTE);
    let Some(data) = reader.text("node.data") else {
        reader.problem("node.data", "is not set; give a folder, such as /var/lib/claviger");
        return None;
    };
    Some(Node { data: data.into(), id, beat })
}

fn server(reader: &mut Reader<'_>, mode: Mode) -> Option<Server> {
    let listen = address(reader, "server.listen", mode);
    let ops_listen = reader.value("server.ops_listen", ADDRESS);
    let insecure = reader.flag("server.tls_ends_elsewhere") || mode == Mode::Dev;
    let public_url = origin(reader, "server.public_url");
    match &public_url {
        Some(url) if url.scheme() == "http" && !insecure => reader.problem(
            "server.public_url",
            "begins with http; give the https URL, or set `server.tls_ends_elsewhere = true` if something else protects the way to here",
        ),
        None if mode == Mode::Serve && reader.text("server.public_url").is_none() => reader.problem(
            "server.public_url",
            "is not set; give the https URL under which browsers and providers reach this server",
        ),
        _ => {}
    }
    Some(Server {
        public_url,
        ops_listen,
        trusted_proxies: reader.items("server.trusted_proxies"),
        workers: reader.number("server.workers", 0..=512) as usize,
        max_connections: reader.number("server.max_connections", 1..=1_000_000) as usize,
        keep_alive: reader.span("server.keep_alive", SECOND..=60 * MINUTE),
        head_timeout: reader.span("server.head_timeout", SECOND..=5 * MINUTE),
        stop_timeout: reader.span("server.stop_timeout", SECOND..=10 * MINUTE),
        listen: listen?,
    })
}

/// `dev` trusts whoever reaches it with less than `serve` asks for, so it listens on loopback alone.
fn address(reader: &mut Reader<'_>, name: &'static str, mode: Mode) -> Option<SocketAddr> {
    let address: Option<SocketAddr> = reader.value(name, ADDRESS);
    match address {
        None if reader.text(name).is_none() => reader.problem(name, format!("is not set; write {ADDRESS}")),
        Some(address) if mode == Mode::Dev && !address.ip().is_loopback() => {
            reader.problem(name, format!("is `{address}`, but `dev` listens on loopback only; use `claviger serve` for more"));
        }
        _ => {}
    }
    address
}

/// An `http` or `https` URL with a host and nothing after it.
fn origin(reader: &mut Reader<'_>, name: &'static str) -> Option<Url> {
    let url: Url = reader.value(name, "a URL such as https://auth.example.com")?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let plain = url.username().is_empty() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && bare && plain {
        return Some(url);
    }
    reader.problem(name, "must be http or https, a host, at most a port, and nothing after it, such as https://auth.example.com");
    None
}

fn store(reader: &mut Reader<'_>, mode: Mode) -> Option<StoreSettings> {
    let url = reader.secret("store.url", "store.url_file");
    let min_replicas = reader.value::<u32>("store.min_replicas", "a whole number, such as 1");
    let allow_volatile = reader.flag("store.allow_volatile");
    let Some(url) = url else {
        if reader.text("store.url").is_none() && reader.text("store.url_file").is_none() {
            reader.problem(
                "store.url",
                "is not set; give a durable store, such as sqlite:/var/lib/claviger/claviger.db or redis://HOST",
            );
        }
        return None;
    };
    let place = place(&url);
    match &place {
        None => reader.problem("store.url", "begins with none of sqlite:, redis://, rediss://, redis+sentinel://, redis+cluster://, memory:"),
        Some(Place::Memory) if mode == Mode::Serve && !allow_volatile => reader.problem(
            "store.url",
            "is memory:, which loses every grant at the end; give a durable store such as sqlite:PATH, or set `store.allow_volatile = true`",
        ),
        Some(_) => {}
    }
    Some(StoreSettings { place: place?, min_replicas, allow_volatile })
}

fn place(url: &SecretString) -> Option<Place> {
    let text = url.expose_secret();
    if text == "memory:" {
        return Some(Place::Memory);
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        return (!path.is_empty()).then(|| Place::Sqlite(PathBuf::from(path)));
    }
    let schemes = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"];
    schemes.iter().any(|scheme| text.starts_with(scheme)).then(|| Place::Redis(url.clone()))
}

fn keys(reader: &mut Reader<'_>) -> Option<Keyring> {
    let Some(text) = reader.secret("keys.master", "keys.master_file") else {
        if reader.text("keys.master").is_none() && reader.text("keys.master_file").is_none() {
            reader.problem(
                "keys.master",
                "is not set; make a key with `claviger key generate`, keep a copy, and give it here or in `keys.master_file`",
            );
        }
        return None;
    };
    let mut keys = Vec::new();
    for (at, part) in text.expose_secret().split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        match MasterKey::parse(&SecretString::from(part)) {
            Ok(key) => keys.push(key),
            Err(why) => reader.problem("keys.master", format!("key {} will not do: {why}", at + 1)),
        }
    }
    let mut keys = keys.into_iter();
    Some(Keyring::new(keys.next()?, keys.collect()))
}

fn accounts(reader: &mut Reader<'_>) -> Option<Accounts> {
    let choices = [("open", Signup::Open), ("invite", Signup::Invite), ("closed", Signup::Closed)];
    Some(Accounts { signup: reader.choice("accounts.signup", &choices)? })
}

/// Its form is checked by the adapter; here only that a signup can be answered.
fn mail(reader: &mut Reader<'_>, mode: Mode) -> Option<Mail> {
    let url = reader.secret("mail.url", "mail.url_file");
    let from = reader.text("mail.from");
    let open = reader.text("accounts.signup").as_deref() == Some("open");
    if url.is_none() && open && mode == Mode::Serve {
        reader
            .problem("mail.url", "is not set, but `accounts.signup = open` sends codes by mail; give smtps://USER:PASSWORD@HOST");
    }
    Some(Mail { url: url?, from: from.unwrap_or_default() })
}

fn connect(reader: &mut Reader<'_>) -> Option<Connect> {
    let choices = [("per-integration", RedirectStyle::PerIntegration), ("shared", RedirectStyle::Shared)];
    let redirect = reader.choice("connect.redirect", &choices);
    let link_ttl = reader.span("connect.link_ttl", MINUTE..=7 * DAY);
    let state_ttl = reader.span("connect.state_ttl", MINUTE..=60 * MINUTE);
    let keep_trying = reader.span("refresh.keep_trying", SECOND..=60 * MINUTE);
    Some(Connect { link_ttl, state_ttl, keep_trying, redirect: redirect? })
}

fn refresh(reader: &mut Reader<'_>) -> RefreshPolicy {
    RefreshPolicy {
        call_deadline: reader.span("refresh.call_deadline", SECOND..=2 * MINUTE),
        patience: reader.span("refresh.patience", SECOND..=5 * MINUTE),
        force_interval: reader.span("refresh.force_interval", Duration::ZERO..=60 * MINUTE),
        backoff_base: reader.span("refresh.backoff_base", SECOND / 10..=MINUTE),
        backoff_cap: reader.span("refresh.backoff_cap", SECOND..=DAY),
        confirm_after: reader.span("refresh.confirm_after", Duration::ZERO..=60 * MINUTE),
        breaker: reader.span("refresh.breaker", SECOND..=60 * MINUTE),
        rate: reader.number("refresh.rate", 1..=1_000_000) as u32,
    }
}

fn sweep(reader: &mut Reader<'_>) -> SweepPolicy {
    let days = reader.number("refresh.proactive_days", 1..=3650) as u32;
    SweepPolicy { proactive: reader.flag("refresh.proactive"), recently: DAY * days }
}

fn cache(reader: &mut Reader<'_>) -> Cache {
    Cache {
        bytes: reader.bytes("cache.bytes", 0..=1 << 40),
        trust: reader.span("cache.trust", Duration::ZERO..=MINUTE),
        cut_off: reader.span("cache.cut_off", Duration::ZERO..=DAY),
    }
}

fn sandbox(reader: &mut Reader<'_>, mode: Mode) -> Option<Option<Sandbox>> {
    let enabled = reader.flag("sandbox.enabled");
    let next_free = mode == Mode::Dev && reader.text("sandbox.listen").is_none();
    let listen = if next_free { None } else { address(reader, "sandbox.listen", mode) };
    let public_url = origin(reader, "sandbox.public_url");
    if !enabled {
        return Some(None);
    }
    (next_free || listen.is_some()).then_some(Some(Sandbox { listen, public_url }))
}

fn telemetry(reader: &mut Reader<'_>) -> Option<Telemetry> {
    let log = reader.text("telemetry.log").unwrap_or_else(|| "info".to_owned());
    if let Err(why) = tracing_subscriber::EnvFilter::try_new(&log) {
        reader.problem("telemetry.log", format!("`{log}` will not do: {why}; write a level such as info"));
    }
    let format = reader.choice("telemetry.format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    Some(Telemetry { log, format: format? })
}
