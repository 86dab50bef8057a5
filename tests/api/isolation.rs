//! One tenant's things are out of reach of another's, route by route. The routes come from the route
//! table, so that a new one cannot be forgotten.

use std::collections::BTreeMap;

use claviger::web::endpoint::Access;
use claviger::web::table;
use serde_json::{Value, json};

use crate::fake_provider::FakeProvider;
use crate::provider_file;
use crate::world::{Browser, Setup, Tenant, TestApp, client, text};

/// What a call names of somebody's: as the owner has it, and as nobody has it.
struct Names {
    end_user: &'static str,
    connection: String,
    api_key: String,
    integration: &'static str,
    ticket: String,
    own_provider: &'static str,
}

type Fields = fn(&Names) -> Value;

/// How each tenant route is tried: the scope it needs, and its fields for the names given. A GET has
/// them in the path or query.
fn probes() -> BTreeMap<&'static str, (&'static str, Fields)> {
    let nothing: Fields = |_| json!({});
    BTreeMap::from([
        ("POST /create-api-key", ("admin", (|_| json!({ "name": "mine" })) as Fields)),
        ("GET /api-keys", ("admin", nothing)),
        ("POST /revoke-api-key", ("admin", |names| json!({ "id": names.api_key }))),
        (
            "POST /define-provider",
            (
                "integrations:write",
                |_| json!({ "provider": "mine", "definition": { "name": "Mine", "authorize": { "url": "https://m.example/a", "pkce": "off" }, "token": { "url": "https://m.example/t" }, "refresh": { "class": "none" } } }),
            ),
        ),
        ("GET /defined-providers", ("integrations:read", nothing)),
        ("POST /remove-provider", ("integrations:write", |names| json!({ "provider": names.own_provider }))),
        (
            "POST /enable-provider",
            (
                "integrations:write",
                |_| json!({ "provider": "fake", "client_id": "mine", "client_secret": "m", "integration": "mine" }),
            ),
        ),
        ("GET /enabled-providers", ("integrations:read", nothing)),
        (
            "POST /disable-provider",
            ("integrations:write", |names| json!({ "provider": "fake", "integration": names.integration })),
        ),
        (
            "POST /authorize-{provider}",
            ("links:write", |names| json!({ "end_user_id": names.end_user, "integration": names.integration })),
        ),
        ("POST /finish-authorization", ("links:write", |names| json!({ "ticket": names.ticket, "end_user_id": names.end_user }))),
        (
            "POST /get-access-token",
            (
                "tokens:read",
                |names| json!({ "provider": "fake", "integration": names.integration, "end_user_id": names.end_user }),
            ),
        ),
        ("GET /connections", ("connections:read", |names| json!({ "end_user_id": names.end_user }))),
        ("GET /connections/{id}", ("connections:read", |names| json!({ "id": names.connection }))),
        (
            "POST /revoke-connection",
            (
                "connections:write",
                |names| json!({ "provider": "fake", "integration": names.integration, "end_user_id": names.end_user }),
            ),
        ),
        ("POST /forget-end-user", ("connections:write", |names| json!({ "end_user_id": names.end_user }))),
        (
            "POST /import-connection",
            (
                "connections:write",
                |names| json!({ "provider": "fake", "integration": names.integration, "end_user_id": names.end_user, "access_token": "x" }),
            ),
        ),
    ])
}

/// Routes that need no credential, each with the reason that lets it in the list.
const OPEN: &[(&str, &str)] = &[
    ("POST /signup", "makes an account"),
    ("POST /verify-email", "carries a mailed code"),
    ("GET /verify-email", "a page that changes nothing"),
    ("POST /verify-email/page", "carries a mailed token"),
    ("POST /resend-verification", "says the same to everybody"),
    ("POST /forgot-password", "says the same to everybody"),
    ("POST /reset-password", "carries a mailed code"),
    ("GET /reset-password", "a page that changes nothing"),
    ("POST /reset-password/page", "carries a mailed token"),
    ("GET /providers", "the catalogue is public"),
    ("GET /providers/{id}", "the catalogue is public"),
    ("GET /authorize-{provider}", "carries a link"),
    ("HEAD /authorize-{provider}", "a page that changes nothing"),
    ("POST /authorize-{provider}/decision", "carries a link"),
    ("GET /authorize-{provider}/device", "carries its browser's cookie"),
    ("GET /authorization-success/{integration_id}", "carries a state, and its browser's cookie"),
    ("POST /authorization-success/{integration_id}", "carries a state, and its browser's cookie"),
    ("GET /authorization-success", "carries a state, and its browser's cookie"),
    ("POST /authorization-success", "carries a state, and its browser's cookie"),
    ("GET /healthz", "tells that the process runs"),
    ("GET /readyz", "tells whether it can work"),
    ("GET /openapi.json", "the same for everybody"),
    ("GET /docs", "the same for everybody"),
    ("GET /docs/{file:.*}", "the same for everybody"),
];

fn routes(open: bool) -> Vec<String> {
    let is_open = |access| access != Access::Tenant;
    table()
        .iter()
        .filter(|endpoint| is_open(endpoint.access) == open)
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect()
}

/// Calls a route with these fields where they belong, and without a key if there is none.
async fn call(url: &str, key: Option<&str>, route: &str, fields: &Value) -> (u16, Value) {
    let (method, path) = route.split_once(' ').unwrap();
    let mut path = path.replace("{provider}", "fake");
    if let Some(id) = fields["id"].as_str() {
        path = path.replace("{id}", id);
    }
    let request = match method {
        "GET" => {
            let query: Vec<String> =
                fields.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
            client().get(format!("{url}{path}?{}", query.join("&")))
        }
        _ => client().post(format!("{url}{path}")).header("content-type", "application/json").body(fields.to_string()),
    };
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

struct World {
    app: TestApp,
    owner: Tenant,
    other: Tenant,
    theirs: Names,
    nobodys: Names,
    /// Answers as long as it is held.
    _provider: FakeProvider,
}

async fn world() -> World {
    let provider = FakeProvider::start().await;
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "nonrotating"))];
    let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
    let (owner, other) = (app.tenant("owner@acme.example").await, app.tenant("other@rival.example").await);
    let body = json!({
        "provider": "fake", "integration": "theirs", "client_id": "c", "client_secret": "s", "scopes": "read",
        "confirm": "tenant", "user_redirect_url": "https://owner.example/back",
    });
    owner.ok("/enable-provider", body).await;
    let connected =
        json!({ "provider": "fake", "integration": "theirs", "end_user_id": "alice", "access_token": "at", "expires_in": 3600 });
    let connection = text(&owner.ok("/import-connection", connected).await["id"]);
    let own = json!({ "name": "Theirs", "authorize": { "url": "https://t.example/a", "pkce": "off" }, "token": { "url": "https://t.example/t" }, "refresh": { "class": "none" } });
    owner.ok("/define-provider", json!({ "provider": "theirs", "definition": own })).await;
    let ticket = ticket(&owner).await;
    let key = text(&owner.ok("/create-api-key", json!({ "name": "second" })).await["id"]);
    let theirs = Names { end_user: "alice", connection, api_key: key, integration: "theirs", ticket, own_provider: "theirs" };
    let nobodys = Names {
        end_user: "nobody",
        connection: format!("con_{}", "0".repeat(34)),
        api_key: "0".repeat(16),
        integration: "nobodys",
        ticket: "0".repeat(43),
        own_provider: "nobodys",
    };
    World { app, owner, other, theirs, nobodys, _provider: provider }
}

/// Walks a flow to the point where the tenant's backend is to confirm it.
async fn ticket(owner: &Tenant) -> String {
    let link =
        text(&owner.ok("/authorize-fake", json!({ "end_user_id": "bob", "integration": "theirs" })).await["authorize_url"]);
    let browser = Browser::default();
    let provider = browser.get(&link).await.location();
    let back = browser.get(&provider).await.location();
    let home = browser.get(&back).await.location();
    let (_, ticket) = home.split_once("ticket=").unwrap_or_else(|| panic!("no ticket in {home}"));
    ticket.split('&').next().unwrap().to_owned()
}

/// All that the owner can see, for telling whether anything changed.
async fn everything(owner: &Tenant) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in ["/api-keys", "/enabled-providers", "/defined-providers", "/connections"] {
        let (status, said) = owner.get(path).await;
        assert_eq!(status, 200);
        seen.push(said);
    }
    seen
}

fn without_names(mut said: Value, names: &Names) -> String {
    said.as_object_mut().map(|fields| fields.remove("request_id"));
    said.to_string()
        .replace(names.own_provider, "PROVIDER")
        .replace(names.integration, "INTEGRATION")
        .replace(names.end_user, "END_USER")
}

#[test]
fn every_route_is_probed_or_open_with_a_reason() {
    let probed: Vec<String> = probes().keys().map(|route| (*route).to_owned()).collect();
    for route in routes(false) {
        assert!(probed.contains(&route), "no probe for the tenant route {route}");
    }
    let listed: Vec<&str> = OPEN.iter().map(|(route, _)| *route).collect();
    for route in routes(true) {
        assert!(listed.contains(&route.as_str()), "{route} is open and not on the list of open routes");
    }
    assert_eq!(listed.len(), routes(true).len(), "a route on the list of open routes is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_tenant_route_answers_without_a_credential() {
    let world = world().await;
    for (route, (_, fields)) in probes() {
        let fields = fields(&world.theirs);
        for key in [None, Some("clv_0000000000000000_"), Some("x"), Some("")] {
            let (status, said) = call(&world.app.url, key, route, &fields).await;
            assert_eq!((status, said["code"].as_str()), (401, Some("unauthenticated")), "{route} with {key:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_another_tenant_has_looks_like_what_nobody_has() {
    let world = world().await;
    let before = everything(&world.owner).await;
    for (route, (_, fields)) in probes() {
        let (theirs_status, theirs) = call(&world.app.url, Some(&world.other.key), route, &fields(&world.theirs)).await;
        let (nobodys_status, nobodys) = call(&world.app.url, Some(&world.other.key), route, &fields(&world.nobodys)).await;
        if ["POST /create-api-key", "POST /enable-provider", "POST /define-provider"].contains(&route)
            || route.starts_with("GET /api-keys")
        {
            continue;
        }
        assert_eq!(theirs_status, nobodys_status, "{route}: {theirs} {nobodys}");
        assert_eq!(without_names(theirs, &world.theirs), without_names(nobodys, &world.nobodys), "{route}");
    }
    assert_eq!(everything(&world.owner).await, before);
    // The ticket is still the owner's: nobody else's try used it up.
    let finished = world.owner.ok("/finish-authorization", json!({ "ticket": world.theirs.ticket, "end_user_id": "bob" })).await;
    assert_eq!(finished["confirmed"], true);
}

/// One end user's token is not another's, within one tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_end_users_things_are_not_anothers() {
    let world = world().await;
    let ask = |end_user: &str| json!({ "provider": "fake", "integration": "theirs", "end_user_id": end_user });
    assert_eq!(world.owner.post("/get-access-token", ask("alice")).await.0, 200);
    for stranger in ["Alice", "alice ", " alice", "alic", "alicee", "bob"] {
        assert_eq!(world.owner.post("/get-access-token", ask(stranger)).await.0, 404, "{stranger:?}");
        assert_eq!(world.owner.post("/revoke-connection", ask(stranger)).await.0, 404, "{stranger:?}");
        let (_, list) = world.owner.get(&format!("/connections?end_user_id={}", stranger.replace(' ', "%20"))).await;
        assert_eq!(list["connections"], json!([]), "{stranger:?}");
    }
    // A ticket of one end user, offered for another, ends the flow.
    let (status, said) =
        world.owner.post("/finish-authorization", json!({ "ticket": world.theirs.ticket, "end_user_id": "alice" })).await;
    assert_eq!((status, said["code"].as_str()), (403, Some("end_user_mismatch")));
    let again = json!({ "ticket": world.theirs.ticket, "end_user_id": "bob" });
    assert_eq!(world.owner.post("/finish-authorization", again).await.0, 400);
}

/// Each route asks for exactly the scope it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_may_do_what_its_scopes_say_and_no_more() {
    use claviger::domain::scope::Scope;

    let world = world().await;
    for scope in Scope::ALL {
        let made = world.owner.ok("/create-api-key", json!({ "name": "narrow", "scopes": [scope.as_str()] })).await;
        let key = text(&made["key"]);
        for (route, (needed, fields)) in probes() {
            let (status, said) = call(&world.app.url, Some(&key), route, &fields(&world.nobodys)).await;
            let allowed = scope == Scope::Admin || scope.as_str() == needed;
            assert_eq!(status != 403, allowed, "{route} with {}: {status} {said}", scope.as_str());
            assert!(allowed || said["code"] == "insufficient_scope", "{route}: {said}");
        }
    }
}
