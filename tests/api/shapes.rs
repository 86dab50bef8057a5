//! The engine against providers that nobody here wrote, in each shape in which a tenant may define one:
//! how the client proves itself, how the callback comes, how the token request is sent, who says where.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use claviger::oauth::vectors::keys;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer as Metadata, ResponseTemplate};

use crate::oidc::{
    BASIC_CLIENT, KEY_CLIENT, MockServer, ODD_CLIENT, OidcClient, OidcOptions, OidcProvider, POST_CLIENT, PUBLIC_CLIENT,
    SHARED_CLIENT,
};
use crate::world::{Browser, Tenant, TestApp, client, read, text};

const HOUR: Duration = Duration::from_secs(3600);
/// A token that is younger is not refreshed by force.
const FORCE_INTERVAL: Duration = Duration::from_secs(11);

/// A definition, and the client that it is for.
struct Shape {
    name: &'static str,
    client: OidcClient,
    definition: Value,
}

impl Shape {
    /// The client's proof holds for a minute.
    fn signs(&self) -> bool {
        [KEY_CLIENT, SHARED_CLIENT].contains(&self.client)
    }
}

/// The stranger's clock is the machine's: half a minute before it leaves room for two refreshes.
fn at_the_strangers_time(app: &TestApp) {
    #[expect(clippy::disallowed_methods, reason = "the provider has no other clock")]
    let now = Timestamp::now();
    app.clock.set_wall(now - SignedDuration::from_secs(30));
}

/// A definition with everything said, changed by `changes`.
fn definition(provider: &OidcProvider, changes: Value) -> Value {
    let mut whole = json!({
        "name": "Stranger",
        "authorize": { "url": provider.authorize_endpoint(), "pkce": "required" },
        "token": { "url": provider.token_endpoint(), "client_auth": "post" },
        "refresh": { "class": "rotate_strict" },
        "revoke": { "url": provider.revocation_endpoint() },
    });
    for (block, keys) in changes.as_object().unwrap() {
        let block = whole.as_object_mut().unwrap().entry(block.clone()).or_insert_with(|| json!({}));
        match keys {
            Value::Object(keys) => block.as_object_mut().unwrap().extend(keys.clone()),
            other => *block = other.clone(),
        }
    }
    whole
}

fn shapes(provider: &OidcProvider) -> Vec<Shape> {
    let shape = |name, client, changes| Shape { name, client, definition: definition(provider, changes) };
    let post_form = json!({ "response_mode": "form_post" });
    let look_up = json!([{ "name": "who", "url": provider.userinfo_endpoint(), "subject": "/sub", "keep": { "who": "/sub" } }]);
    let discovered = Shape {
        name: "discovery",
        client: BASIC_CLIENT,
        definition: json!({ "name": "Stranger", "issuer": provider.issuer(), "refresh": { "class": "rotate_strict" } }),
    };
    vec![
        shape("post", POST_CLIENT, json!({})),
        shape("basic", BASIC_CLIENT, json!({ "token": { "client_auth": "basic" } })),
        shape("basic-encoded", ODD_CLIENT, json!({ "token": { "client_auth": "basic", "basic": "encoded" } })),
        shape("public", PUBLIC_CLIENT, json!({ "token": { "client_auth": "none" } })),
        shape("form-post", POST_CLIENT, json!({ "authorize": { "params": post_form }, "callback": { "form_post": true } })),
        shape("json", POST_CLIENT, json!({ "token": { "url": provider.json_token_endpoint(), "body": "json" } })),
        shape(
            "issuer-checked",
            POST_CLIENT,
            json!({ "callback": { "issuer": provider.issuer() }, "authorize": { "nonce": true } }),
        ),
        shape(
            "look-up",
            BASIC_CLIENT,
            json!({ "token": { "client_auth": "basic", "client_id_in_body": true }, "after_connect": look_up }),
        ),
        discovered,
        shape("private-key", KEY_CLIENT, signing(json!({ "audience": provider.issuer() }))),
        shape("private-key-endpoint", KEY_CLIENT, signing(json!({ "audience": "endpoint", "header": { "kid": "of-the-test" } }))),
        Shape { name: "private-key-discovery", client: KEY_CLIENT, definition: self_named(provider.issuer()) },
        shape(
            "client-secret-jwt",
            SHARED_CLIENT,
            json!({ "token": { "client_auth": "client_secret_jwt" }, "client_assertion": { "audience": provider.issuer() } }),
        ),
        shape("made-by-hand", KEY_CLIENT, by_hand(provider)),
    ]
}

fn private_key() -> Value {
    json!({ "private_key": { "title": "Private key", "kind": "private_key", "needed_by": "integration" } })
}

/// A client that proves itself with its key.
fn signing(assertion: Value) -> Value {
    json!({ "params": private_key(), "token": { "client_auth": "private_key_jwt" }, "client_assertion": assertion })
}

/// The same of an issuer whose metadata say the rest.
fn self_named(issuer: &str) -> Value {
    let mut whole = json!({ "name": "Stranger", "issuer": issuer, "refresh": { "class": "rotate_strict" } });
    let keys = json!({ "params": private_key(), "token": { "client_auth": "private_key_jwt" } });
    whole.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    whole
}

/// The same proof, written out with `[jwt.NAME]`.
fn by_hand(provider: &OidcProvider) -> Value {
    let claims = json!({ "iss": "{client_id}", "sub": "{client_id}", "aud": [provider.issuer()], "nbf": "{now}" });
    let proof = json!({
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "{jwt.proof}",
    });
    json!({
        "params": private_key(),
        "jwt": { "proof": { "alg": "ES256", "ttl": "60s", "claims": claims } },
        "token": { "client_auth": "none", "params": proof },
        "revoke": { "params": proof },
    })
}

/// The end user consents at the provider, and the browser comes back as the provider sends it.
async fn connect(provider: &OidcProvider, tenant: &Tenant, shape: &Shape) {
    let browser = Browser::default();
    let authorize = browser.press_connect(&tenant.link(shape.name, "alice").await).await;
    let done = if shape.name == "form-post" {
        let (action, fields) = provider.consent_by_form(&authorize, "ada").await;
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(&action, &fields).await
    } else {
        browser.get(&provider.consent(&authorize, "ada").await).await
    };
    assert_eq!(done.status, 200, "{}: {}", shape.name, done.body);
}

async fn enable(tenant: &Tenant, shape: &Shape) {
    tenant.ok("/define-provider", json!({ "provider": shape.name, "definition": shape.definition })).await;
    let mut body = json!({ "provider": shape.name, "client_id": shape.client.id, "scopes": "openid read" });
    if !shape.client.secret.is_empty() {
        body["client_secret"] = json!(shape.client.secret);
    }
    if shape.client == KEY_CLIENT {
        body["private_key"] = json!(keys::P256);
    }
    tenant.ok("/enable-provider", body).await;
}

async fn userinfo(provider: &OidcProvider, token: &Value) -> (u16, Value) {
    read(client().get(provider.userinfo_endpoint()).bearer_auth(text(&token["access_token"]))).await
}

/// Connected, used, rotated, ended; the provider's own counters are the oracle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_shape_goes_the_whole_way() {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let shapes = shapes(&provider);
    for (before, shape) in (0..).zip(&shapes) {
        at_the_strangers_time(&app);
        enable(&tenant, shape).await;
        connect(&provider, &tenant, shape).await;
        let first = tenant.token(shape.name, "alice").await;
        assert_eq!(userinfo(&provider, &first).await, (200, json!({ "sub": "ada" })), "{}", shape.name);
        let mut last = first.clone();
        for generation in 2..=3 {
            // What was signed in an hour is good for nobody yet.
            app.clock.advance(if shape.signs() { FORCE_INTERVAL } else { HOUR });
            let body = json!({ "provider": shape.name, "end_user_id": "alice", "force_refresh": shape.signs() });
            last = tenant.ok("/get-access-token", body).await;
            assert_eq!(last["generation"], generation, "{}", shape.name);
            assert_ne!(last["access_token"], first["access_token"], "{}", shape.name);
        }
        assert_eq!(userinfo(&provider, &last).await.0, 200, "{}", shape.name);
        if shape.name == "look-up" {
            assert_eq!(last["metadata"], json!({ "who": "ada" }));
        }
        let ended = tenant.ok("/revoke-connection", json!({ "provider": shape.name, "end_user_id": "alice" })).await;
        assert_eq!(ended["at_provider"], "revoked", "{}", shape.name);
        assert_eq!(userinfo(&provider, &last).await.0, 401, "{}: the grant is over", shape.name);
        let stats = provider.stats().await;
        assert_eq!((stats.exchanged, stats.refreshed, stats.refused), (before + 1, 2 * (before + 1), 0), "{}", shape.name);
    }
    assert!(shapes.len() >= 9);
    app.stop().await;
}

/// The control to the test above: the provider refuses a client that comes in another shape than its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_in_the_wrong_shape_does_not_connect() {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let shape = |name, client, changes| Shape { name, client, definition: definition(&provider, changes) };
    let wrong = [
        shape("public-for-post", POST_CLIENT, json!({ "token": { "client_auth": "none" } })),
        shape("form-for-json", POST_CLIENT, json!({ "token": { "url": provider.json_token_endpoint() } })),
    ];
    for shape in &wrong {
        enable(&tenant, shape).await;
        let browser = Browser::default();
        let authorize = browser.press_connect(&tenant.link(shape.name, "alice").await).await;
        let done = browser.get(&provider.consent(&authorize, "ada").await).await;
        assert_ne!(done.status, 200, "{}", shape.name);
        assert_eq!(tenant.try_token(shape.name, "alice").await.0, 404, "{}", shape.name);
    }
    assert_eq!(provider.stats().await.exchanged, 0);
}

/// SECURITY, audience injection: a hostile issuer that calls an honest server's endpoints its own is told nothing that
/// the honest one takes, and no definition has what is good at one server sent to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_server_is_sent_what_another_takes() {
    let (honest, evil) = (OidcProvider::start(OidcOptions::default()).await, Metadata::start().await);
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let told = json!({
        "issuer": evil.uri(),
        "authorization_endpoint": honest.authorize_endpoint(),
        "token_endpoint": honest.token_endpoint(),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    });
    let metadata = Mock::given(path("/.well-known/openid-configuration"));
    metadata.respond_with(ResponseTemplate::new(200).set_body_json(told)).mount(&evil).await;
    at_the_strangers_time(&app);
    let injected = Shape { name: "injected", client: KEY_CLIENT, definition: self_named(&evil.uri()) };
    enable(&tenant, &injected).await;
    let browser = Browser::default();
    let authorize = browser.press_connect(&tenant.link("injected", "alice").await).await;
    let done = browser.get(&honest.consent(&authorize, "ada").await).await;
    assert_ne!(done.status, 200);
    let stats = honest.stats().await;
    assert_eq!((stats.exchanged, stats.refused), (0, 1), "it was asked, and took nothing");

    let at_evil = json!({ "url": format!("{}/token", evil.uri()), "client_auth": "private_key_jwt" });
    let mut stolen = definition(&honest, signing(json!({ "audience": honest.issuer() })));
    stolen["token"] = at_evil;
    let refused = tenant.post("/define-provider", json!({ "provider": "stolen", "definition": stolen })).await;
    assert_eq!(refused.0, 400, "{}", refused.1);
    assert!(refused.1.to_string().contains("client_assertion.audience: is of another host"), "{}", refused.1);
}

/// A private key is checked when it is given, and never comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_cannot_sign_is_refused_and_one_that_can_is_never_shown() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let definition = json!({
        "name": "Signed", "params": private_key(),
        "authorize": { "url": "https://acme.example/a", "pkce": "required" },
        "token": { "url": "https://acme.example/t", "client_auth": "private_key_jwt" },
        "client_assertion": { "audience": "https://acme.example", "alg": "ES256" },
        "refresh": { "class": "unknown" },
    });
    tenant.ok("/define-provider", json!({ "provider": "signed", "definition": definition })).await;
    let enabled = |key: &str| json!({ "provider": "signed", "client_id": "me", "private_key": key });
    for (key, advice) in [("secret", "-----BEGIN PRIVATE KEY-----"), (keys::RSA, "ec_paramgen_curve:P-256")] {
        let (status, said) = tenant.post("/enable-provider", enabled(key)).await;
        assert!(status == 400 && said.to_string().contains(advice), "{status} {said}");
        assert!(!said.to_string().contains("MIIE"), "{said}");
    }
    let given = tenant.ok("/enable-provider", enabled(keys::P256)).await;
    // Again without it: it is kept.
    let kept = tenant.ok("/enable-provider", json!({ "provider": "signed", "scopes": "a" })).await;
    let listed = tenant.get("/enabled-providers").await.1;
    for answer in [given, kept, listed] {
        assert!(!answer.to_string().contains("PRIVATE KEY") && answer.to_string().contains("signed"), "{answer}");
    }
}

/// A second server by other hands: found by its metadata, its tokens are JWTs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_strangers_server_goes_the_whole_way() {
    let server = MockServer::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let definition = json!({ "name": "Another", "issuer": server.issuer });
    let defined = tenant.ok("/define-provider", json!({ "provider": "another", "definition": definition })).await;
    assert_eq!((defined["pkce"].as_str(), defined["revokes_at_provider"].as_bool()), (Some("optional"), Some(true)));
    tenant.enable("another", "openid read").await;
    let done = Browser::default().connect_at_once(&tenant.link("another", "alice").await).await;
    assert_eq!(done.status, 200, "{}", done.body);

    let first = tenant.token("another", "alice").await;
    let claims = claims(&text(&first["access_token"]));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!(server.issuer), &json!("johndoe")));
    app.clock.advance(HOUR);
    let second = tenant.token("another", "alice").await;
    // Two of its tokens that are made within one second are the same.
    assert_eq!(second["generation"], 2);
    let ended = tenant.ok("/revoke-connection", json!({ "provider": "another", "end_user_id": "alice" })).await;
    assert_eq!(ended, json!({ "revoked": true, "at_provider": "revoked" }));
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("claims")
}
