//! OAuth 1.0a against a server that nobody here wrote and that checks every signature: the whole way by each signature
//! method, and what must not go through.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::oauth1_server::Oauth1Server;
use crate::world::{Browser, Page, Tenant, TestApp, text};

const YEARS: Duration = Duration::from_secs(5 * 366 * 86_400);

/// A client of the server: its name there says how it signs.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    method: &'static str,
    params_in: &'static str,
}

const SHAPES: &[Shape] = &[
    Shape { name: "hmacsha1", method: "HMAC-SHA1", params_in: "header" },
    Shape { name: "hmacsha1", method: "HMAC-SHA1", params_in: "query" },
    Shape { name: "hmacsha1", method: "HMAC-SHA1", params_in: "body" },
    Shape { name: "hmacsha256", method: "HMAC-SHA256", params_in: "header" },
    Shape { name: "rsasha1", method: "RSA-SHA1", params_in: "header" },
    Shape { name: "rsasha256", method: "RSA-SHA256", params_in: "query" },
    Shape { name: "plaintext", method: "PLAINTEXT", params_in: "header" },
];

impl Shape {
    fn id(self) -> String {
        format!("{}-{}", self.name, self.params_in)
    }

    fn is_rsa(self) -> bool {
        self.method.starts_with("RSA")
    }

    /// As the server made them of the name.
    fn consumer(self) -> (String, String) {
        (format!("{}consumerkey0123456789", self.name)[..28].to_owned(), format!("secret of {}: 100%+&=", self.name))
    }

    fn definition(self, server: &Oauth1Server) -> Value {
        let realm = (self.params_in == "header").then_some("Photos");
        let key = json!({ "private_key": { "title": "Key", "kind": "private_key", "needed_by": "integration", "secret": true } });
        json!({
            "name": "Stranger",
            "grant": "oauth1",
            "oauth1": { "signature_method": self.method, "params_in": self.params_in, "realm": realm },
            "params": if self.is_rsa() { key } else { json!({}) },
            "request_token": { "url": server.url("/request_token"), "params": { "access": "read & write" } },
            "authorize": { "url": server.url("/authorize"), "params": { "name": "Ours" } },
            "token": { "url": server.url("/access_token") },
            "response": { "keep": { "name": "/screen_name" }, "subject": "/user_id" },
            "revoke": { "url": server.url("/invalidate"), "token": "access_token", "drop": ["token"] },
            "after_connect": [{ "name": "photos", "url": server.url("/resource"), "keep": { "first": "/photos/0" } }],
        })
    }

    async fn enable(self, tenant: &Tenant, server: &Oauth1Server, changes: Value) {
        let (key, secret) = self.consumer();
        let mut definition = self.definition(server);
        for (block, value) in changes.as_object().unwrap() {
            definition[block] = value.clone();
        }
        tenant.ok("/define-provider", json!({ "provider": self.id(), "definition": definition })).await;
        let mut body = json!({ "provider": self.id(), "client_id": key, "return_urls": ["https://app.example/back"] });
        if self.is_rsa() {
            body["private_key"] = json!(server.private_key().await);
        } else {
            body["client_secret"] = json!(secret);
        }
        tenant.ok("/enable-provider", body).await;
    }
}

const USUAL: Shape = SHAPES[0];

/// A server, ours before it, and the usual shape enabled.
async fn usual(arguments: &[&str], changes: Value) -> (Oauth1Server, TestApp, Tenant) {
    let server = Oauth1Server::start(arguments).await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    USUAL.enable(&tenant, &server, changes).await;
    (server, app, tenant)
}

fn pairs(url: &str) -> Vec<(String, String)> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

fn names(url: &str) -> Vec<String> {
    pairs(url).into_iter().map(|(name, _)| name).collect()
}

/// As the tenant's page is told.
fn told(page: &Page, name: &str) -> Option<String> {
    pairs(&page.location()).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

async fn link_back(tenant: &Tenant, end_user: &str) -> String {
    let asked = json!({ "end_user_id": end_user, "return_url": "https://app.example/back" });
    text(&tenant.ok(&format!("/authorize-{}", USUAL.id()), asked).await["authorize_url"])
}

/// Connected, used, kept for years, ended: the server is the oracle of each signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_signature_method_goes_the_whole_way() {
    let server = Oauth1Server::start(&[]).await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let rsa_key = server.private_key().await;
    for shape in SHAPES {
        let id = shape.id();
        let (key, secret) = shape.consumer();
        shape.enable(&tenant, &server, json!({})).await;
        let browser = Browser::default();
        let authorize = browser.press_connect(&tenant.link(&id, "alice").await).await;
        assert_eq!(names(&authorize), ["oauth_token", "name"], "{id}: neither our address nor the state");
        let back = browser.get(&authorize).await.location();
        assert_eq!(names(&back), ["state", "oauth_token", "oauth_verifier"], "{id}");
        assert_eq!(browser.get(&back).await.status, 200, "{id}");

        app.clock.advance(YEARS);
        let token = tenant.token(&id, "alice").await;
        let realm = if shape.params_in == "header" { json!("Photos") } else { Value::Null };
        let signing = &token["signing"];
        assert_eq!((&signing["consumer_key"], &signing["signature_method"]), (&json!(key), &json!(shape.method)), "{id}");
        assert_eq!((&signing["params_in"], &signing["realm"]), (&json!(shape.params_in), &realm), "{id}");
        assert_eq!((&token["token_type"], &token["expires_at"]), (&json!("OAuth"), &Value::Null), "{id}");
        assert_eq!(token["metadata"], json!({ "name": "ada", "first": "vacation.jpg" }), "{id}");

        let rsa_key = shape.is_rsa().then_some(rsa_key.as_str());
        let (status, body) = server.call_api(&token, &secret, rsa_key).await;
        assert!(status == 200 && body.contains("vacation.jpg"), "{id}: {status} {body}");
        if !shape.is_rsa() {
            // The control: neither the token nor the client signs with another secret.
            assert_eq!(server.call_api(&token, "another secret", None).await.0, 401, "{id}");
            let mut other = token.clone();
            other["token_secret"] = json!("another");
            assert_eq!(server.call_api(&other, &secret, None).await.0, 401, "{id}");
        }

        let ended = tenant.ok("/revoke-connection", json!({ "provider": id, "end_user_id": "alice" })).await;
        assert_eq!(ended["at_provider"], "revoked", "{id}");
        assert_eq!(server.call_api(&token, &secret, rsa_key).await.0, 401, "{id}: the token is over");
    }
    let (stats, all) = (server.stats().await, SHAPES.len() as u32);
    assert_eq!((stats.requested, stats.exchanged, stats.invalidated), (all, all, all));
    // The look-up and the tenant's call; and what was meant to be refused, no more.
    assert_eq!((stats.used, stats.refused), (2 * all, all + 2 * 5));
    assert!(stats.extra.iter().all(|access| access == "read & write"), "{stats:?}");
    let realm = |shape: &Shape| if shape.params_in == "header" { "Photos" } else { "" };
    let places: BTreeMap<_, _> = SHAPES.iter().map(|shape| (shape.id(), vec![realm(shape).to_owned()])).collect();
    assert_eq!(stats.places, places, "each call has its params where its definition wants them");
    app.stop().await;
}

/// A wrong client secret is told at the first step, and the link is still good once it is put right.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_client_secret_is_told_before_anybody_leaves() {
    let (server, _app, tenant) = usual(&[], json!({})).await;
    tenant.ok("/enable-provider", json!({ "provider": USUAL.id(), "client_secret": "wrong" })).await;
    let (browser, link) = (Browser::default(), tenant.link(&USUAL.id(), "alice").await);
    let page = browser.get(&link).await;
    let refused = browser.submit(&page, &[("decision", "connect")]).await;
    assert_eq!(refused.status, 424, "{}", refused.body);
    assert_eq!((server.stats().await.requested, server.stats().await.refused), (0, 1));
    tenant.ok("/enable-provider", json!({ "provider": USUAL.id(), "client_secret": USUAL.consumer().1 })).await;
    assert_eq!(browser.connect_at_once(&link).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_user_who_declines_is_not_connected() {
    let (server, _app, tenant) = usual(&[], json!({})).await;
    let browser = Browser::default();
    let authorize = browser.press_connect(&link_back(&tenant, "alice").await).await;
    let back = browser.get(&format!("{authorize}&decline=1")).await.location();
    assert_eq!(names(&back), ["state", "denied"]);
    let landed = browser.get(&back).await;
    assert_eq!((told(&landed, "status").as_deref(), told(&landed, "code").as_deref()), (Some("error"), Some("access_denied")));
    assert_eq!((server.stats().await.exchanged, tenant.try_token(&USUAL.id(), "alice").await.0), (0, 404));
}

/// RFC 5849 4.8 and its predecessor's session fixation: a flow ends only with its own token, and only once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_callback_with_another_flows_token_ends_the_flow() {
    let (server, _app, tenant) = usual(&[], json!({})).await;
    let browser = Browser::default();
    let (mine, other) = (link_back(&tenant, "alice").await, link_back(&tenant, "mallory").await);
    let (mine, other) = (browser.press_connect(&mine).await, browser.press_connect(&other).await);
    let (mine, other) = (browser.get(&mine).await.location(), browser.get(&other).await.location());
    let of = |url: &str, name: &str| pairs(url).into_iter().find(|(known, _)| known == name).unwrap().1;
    let mixed = mine.replace(&of(&mine, "oauth_token"), &of(&other, "oauth_token"));
    let mixed = mixed.replace(&of(&mine, "oauth_verifier"), &of(&other, "oauth_verifier"));
    assert_ne!(mixed, mine);
    let landed = browser.get(&mixed).await;
    assert_eq!(told(&landed, "code").as_deref(), Some("state_invalid"));
    assert!(browser.get(&mine).await.status >= 400, "its own callback comes too late");
    assert_eq!(server.stats().await.exchanged, 0);
    assert_eq!(told(&browser.get(&other).await, "status").as_deref(), Some("success"));
}

/// Version 1.0 had neither the confirmation nor the verifier: a flow there can be begun by one and ended by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn version_1_0_is_refused() {
    let (_server, _app, tenant) = usual(&["--unconfirmed"], json!({})).await;
    let (browser, link) = (Browser::default(), link_back(&tenant, "alice").await);
    let page = browser.get(&link).await;
    assert_eq!(browser.submit(&page, &[("decision", "connect")]).await.status, 424);

    // A provider that merely predates the confirmation is excused by its file; a missing verifier never is.
    let excused = json!({ "oauth1": { "callback_confirmed": false } });
    let (_server, _app, tenant) = usual(&["--unconfirmed"], excused.clone()).await;
    let landed = Browser::default().connect_at_once(&link_back(&tenant, "alice").await).await;
    assert_eq!(told(&landed, "status").as_deref(), Some("success"));
    let (server, _app, tenant) = usual(&["--unconfirmed", "--no-verifier"], excused).await;
    let landed = Browser::default().connect_at_once(&link_back(&tenant, "alice").await).await;
    assert_eq!(told(&landed, "code").as_deref(), Some("access_denied"));
    assert_eq!(server.stats().await.exchanged, 0);
}

/// `confirm = tenant`: the verifier is held with its temporary credentials until the backend says whose it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_held_verifier_is_exchanged_for_the_right_end_user() {
    let (server, _app, tenant) = usual(&[], json!({})).await;
    tenant.ok("/enable-provider", json!({ "provider": USUAL.id(), "confirm": "tenant" })).await;
    let browser = Browser::default();
    let authorize = browser.get(&link_back(&tenant, "alice").await).await.location();
    let back = browser.get(&authorize).await.location();
    let ticket = told(&browser.get(&back).await, "ticket").expect("a ticket");
    assert_eq!(server.stats().await.exchanged, 0);
    let done = tenant.ok("/finish-authorization", json!({ "ticket": ticket, "end_user_id": "alice" })).await;
    assert_eq!(done["confirmed"], true);
    let token = tenant.token(&USUAL.id(), "alice").await;
    assert_eq!(server.call_api(&token, &USUAL.consumer().1, None).await.0, 200);
}

/// A token from elsewhere comes with its secret; and OAuthHandler's names for the client are understood.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_is_imported_with_its_secret() {
    let (server, _app, tenant) = usual(&[], json!({})).await;
    Browser::default().connect_at_once(&tenant.link(&USUAL.id(), "alice").await).await;
    let token = tenant.token(&USUAL.id(), "alice").await;
    let (key, secret) = USUAL.consumer();
    let names = json!({ "provider": USUAL.id(), "integration": "again", "client_id": "of OAuth 2", "client_secret": "x", "api_key": key, "api_secret": secret });
    tenant.ok("/enable-provider", names).await;
    let mut import =
        json!({ "provider": USUAL.id(), "integration": "again", "end_user_id": "alice", "access_token": token["access_token"] });
    let (status, said) = tenant.post("/import-connection", import.clone()).await;
    assert!(status == 400 && said["detail"].as_str().unwrap().contains("token_secret"), "{said}");
    import["token_secret"] = token["token_secret"].clone();
    tenant.ok("/import-connection", import.clone()).await;
    let again =
        tenant.ok("/get-access-token", json!({ "provider": USUAL.id(), "integration": "again", "end_user_id": "alice" })).await;
    assert_eq!((&again["token_secret"], &again["token_type"]), (&token["token_secret"], &json!("OAuth")));
    assert_eq!(server.call_api(&again, &secret, None).await.0, 200);

    tenant.enable("sandbox", "read").await;
    import["provider"] = json!("sandbox");
    import["integration"] = Value::Null;
    let (status, said) = tenant.post("/import-connection", import).await;
    assert!(status == 400 && said["detail"].as_str().unwrap().contains("token_secret"), "{said}");
}
