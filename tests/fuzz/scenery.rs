//! What the cases are played with: made-up providers that use every part of the engine, and the files
//! of the catalogue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use claviger::domain::ids::ProviderId;
use claviger::domain::provider::Provider;
use claviger::domain::secret::SecretString;
use claviger::oauth::client::{Client, Moment, NOTHING};
use claviger::oauth::provider_file::{Shelf, Source, parse};
use claviger::oauth::vectors::keys;
use jiff::Timestamp;

const ACME: &str = r#"
name = "Acme"
docs = "https://docs.acme.example/oauth"
checked = 2026-01-02
known = "docs"
categories = ["testing"]
credentials = "Ask Acme."
authorize = { url = "https://acme.example/authorize", pkce = "optional" }
[[test]]
step = "authorize"
url = "https://acme.example/authorize"
[[test]]
step = "exchange"
request = { url = "https://acme.example/token" }
answer = "{}"
expect = { failure = "in_doubt" }
[[test]]
step = "refresh"
request = { url = "https://acme.example/token" }
answer = "{}"
[[test]]
step = "device"
request = { url = "https://acme.example/device" }
answer = "{}"
expect = { failure = "in_doubt" }
[[test]]
step = "install"
callback = "realm=r%2F1"
expect = { metadata = { shop = "r" } }
[[test]]
step = "introspect"
request = { url = "https://acme.example/introspect" }
answer = "{}"
expect = {}
[[test]]
step = "revoke"
request = { url = "https://acme.example/revoke" }
"#;

/// Plain; with envelopes, fallbacks and rules; with several token sets, a checked callback and look-ups; with what is signed;
/// of OAuth 1.0a; with a code for another device; with installs; with hosts that the callback names, and signed.
const KINDS: [&str; 8] = [
    r#"
token = { url = "https://acme.example/token" }
refresh = { class = "rotate_plain" }
"#,
    r#"
token = { url = "https://acme.example/token", body = "json", client_auth = "basic" }
refresh = { class = "unknown" }
callback = { code = "auth_code", keep = ["realm", "state"] }
revoke = { url = "https://acme.example/revoke", hint = true }
introspect = { url = "https://acme.example/introspect", active = ["/active", "/data/ok"], expires_in = ["/expires_in", "/x"] }
[response]
at = ["/data", "", "/items/0"]
access_token = ["/token", "/access_token"]
expires_unit = "ms"
expires_default = "2h"
zero_means_never = true
keep = { shop = "/data/shop", tid = "id_token:/tid", x = "/x" }
subject = ["/none", "/data/user", "id_token:/sub"]
[errors]
when = [{ pointer = "/ok", equals = false }, { pointer = "/error" }]
code = ["/error/code", "/error", "/data/0"]
dead_grant = [{ error = "gone" }, { pointer = "/message", contains = "GONE" }]
throttled = [{ status = 429 }, { status = 400, pointer = "/x", equals = 7 }]
"#,
    r#"
token = { url = "https://acme.example/token", params = { realm = "{callback.realm}" } }
refresh = { class = "rotate_strict", params = { old = "{access_token}", scope = "{scope}" } }
callback = { keep = ["realm"], issuer = "https://acme.example" }
response = { sets = { bot = "", user = "/user" }, keep = { x = "/x" } }
after_connect = [
  { name = "who", url = "https://acme.example/me", keep = { id = "/id" }, subject = ["/id", "/user/id"], optional = true },
  { name = "more", token_set = "user", url = "https://acme.example/{access_token_kind}", subject = "/id" },
]
params = { access_token_kind = { title = "K", kind = "text", needed_by = "link", example = "x", default = "y" } }
"#,
    r#"
params = { private_key = { title = "K", kind = "private_key", needed_by = "integration" } }
token = { url = "https://acme.example/token", client_auth = "private_key_jwt", client_secret = "required", params = { proof = "{jwt.proof}" } }
refresh = { class = "rotate_plain", headers = { x-proof = "Bearer {jwt.shared}" } }
after_connect = [{ name = "app", url = "https://acme.example/app", headers = { authorization = "Bearer {jwt.proof}" }, keep = { x = "/x" } }]
[client_assertion]
audience = "https://acme.example"
header = { kid = "k" }
[jwt.proof]
alg = "ES256"
ttl = "5m"
backdate = "60s"
header = { x5t = "{sha256_base64url(client_id)}" }
claims = { iss = "{client_id}", aud = ["https://acme.example", "{random}"], nbf = "{now}", n = 7, yes = true }
drop = ["jti"]
[jwt.shared]
alg = "HS256"
key = "client_secret"
"#,
    r#"
grant = "oauth1"
oauth1 = { signature_method = "HMAC-SHA256", params_in = "header", realm = "{client_id}" }
request_token = { url = "https://acme.example/initiate", params = { scope = "{scope}" } }
token = { url = "https://acme.example/token", params = { realm = "{callback.realm}" } }
revoke = { url = "https://acme.example/revoke" }
callback = { keep = ["realm"] }
response = { keep = { x = "/x" }, subject = "/id" }
after_connect = [{ name = "who", url = "https://acme.example/me", keep = { id = "/id" } }]
[[test]]
step = "request_token"
request = { url = "https://acme.example/initiate" }
answer = "{}"
"#,
    r#"
grant = "device_code"
device = { url = "https://acme.example/device", params = { scope = "{scope}" } }
token = { url = "https://acme.example/token", client_auth = "none", params = { again = "{device_code}" } }
refresh = { class = "nonrotating", params = {} }
"#,
    r#"
token = { url = "https://acme.example/token" }
refresh = { class = "none" }
install = { params = { shop = { from = "realm", suffix = "/1" } } }
params = { shop = { title = "S", kind = "text", pattern = "[a-z]+", needed_by = "link", example = "x" } }
"#,
    r#"
token = { url = "https://{callback.server}/token", params = { place = "{callback.realm}" } }
refresh = { class = "rotate_plain", url = "https://{callback.realm}.acme.example/token" }
callback = { keep = ["server", "realm"], signature = "hmac", hosts = { server = ["acme.example", "acme.co.uk"], realm = "label" } }
revoke = { url = "https://{callback.server}/revoke" }
"#,
];

/// Without an end user.
const MINTED: &str = r#"
name = "Acme"
docs = "https://docs.acme.example/oauth"
checked = 2026-01-02
known = "docs"
categories = ["testing"]
credentials = "Ask Acme."
grant = "client_credentials"
authorize = { scopes = { separator = ",", default = ["all"] } }
token = { url = "https://acme.example/token", client_auth = "basic", params = { audience = "{client_id}:{scope}" } }
response = { expires_default = "1h", keep = { shop = "/data/shop" } }
errors = { dead_grant = [{ error = "gone" }] }
[[test]]
step = "exchange"
request = { url = "https://acme.example/token" }
answer = "{}"
expect = { failure = "in_doubt" }
"#;

pub struct Scenery {
    pub providers: Vec<Provider>,
    /// The catalogue's files, which may be extended.
    pub shelf: Shelf,
    /// A few of them, for what a tenant defines.
    pub short_shelf: Shelf,
    pub texts: Vec<String>,
}

impl Scenery {
    pub fn new() -> Self {
        let shelf = catalogue();
        let kinds: Vec<String> = KINDS.map(acme).into_iter().chain([MINTED.to_owned()]).collect();
        let texts = shelf.values().map(|source| source.text.clone()).chain(kinds.clone()).collect();
        let short_shelf = shelf.iter().take(2).map(|(id, source)| (id.clone(), source.clone())).collect();
        Self { providers: kinds.iter().map(|kind| provider(kind)).collect(), shelf, short_shelf, texts }
    }
}

/// A client with this secret and a key, and no other settings.
pub fn client(secret: &SecretString) -> Client<'_> {
    static PARAMS: BTreeMap<String, String> = BTreeMap::new();
    static SECRETS: LazyLock<BTreeMap<String, SecretString>> =
        LazyLock::new(|| [("private_key".to_owned(), keys::P256.into())].into());
    Client {
        client_id: "c",
        client_secret: Some(secret),
        params: &PARAMS,
        secret_params: &SECRETS,
        redirect_uri: "https://broker.example/cb",
        scopes: &[],
        metadata: &NOTHING,
        moment: Some(Moment { now: Timestamp::UNIX_EPOCH, random: [7; 16] }),
    }
}

fn acme(kind: &str) -> String {
    let (papers, tests) = ACME.split_once("[[test]]").expect("tests");
    let papers = if kind.contains("oauth1") { papers.replace("optional", "off") } else { papers.to_owned() };
    format!("{papers}{kind}[[test]]{tests}")
}

/// A provider of this text, which must be good.
pub fn provider(text: &str) -> Provider {
    let id = ProviderId::parse("acme").expect("an id");
    let shelf = [(id.clone(), Source { file: "acme.toml".to_owned(), text: text.to_owned() })].into();
    parse(&id, &shelf).unwrap_or_else(|faults| panic!("{faults:?}")).provider
}

fn catalogue() -> Shelf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let files = std::fs::read_dir(folder).expect("the catalogue").map(|entry| entry.expect("a file").path());
    let read = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).map(|path| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let text = std::fs::read_to_string(&path).expect("a file");
        (ProviderId::parse(name).expect("an id"), Source { file: format!("{name}.toml"), text })
    });
    read.collect()
}
