//! Providers for which no end user is asked (`client_credentials`): connecting is one call, and so is each next token.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, Seen, TOKEN};
use crate::provider_file;
use crate::sweep::Scene;
use crate::world::{Setup, text};

/// A service whose answers name no end of a token.
const FILE: &str = r#"
grant = "client_credentials"

[params.account_id]
title = "Whose account it is"
kind = "text"
needed_by = "link"
example = "acc-1"

[authorize.scopes]
default = ["all"]

[token]
url = "{here}/token"
client_auth = "basic"
params = { account_id = "{account_id}" }

[response]
expires_default = "30m"
keep = { api = "/api_url" }

[[test]]
step = "exchange"
scopes = ["read", "write"]
request.url = "http://127.0.0.1:1/token"
request.headers = { authorization = "Basic Q0xJRU5UOlNFQ1JFVA==" }
request.form = { grant_type = "client_credentials", scope = "read write", account_id = "acc-1" }
answer = '{"access_token":"a","token_type":"Bearer"}'
expect = { access_token = "a", expires_in = 1800, no_refresh_token = true }

[[test]]
step = "refresh"
request.url = "http://127.0.0.1:1/token"
request.headers = { authorization = "Basic Q0xJRU5UOlNFQ1JFVA==" }
request.form = { grant_type = "client_credentials", scope = "all", account_id = "acc-1" }
answer = '{"access_token":"b","token_type":"Bearer"}'
expect = { access_token = "b" }

[[test]]
step = "exchange"
name = "refused"
status = 400
answer = '{"error":"invalid_grant"}'
expect = { failure = "subject_refused", code = "invalid_grant" }
"#;

fn minted(n: u32) -> Act {
    // More is granted than was asked for, which is not asked for the next time.
    let body =
        json!({ "access_token": format!("at-{n}"), "token_type": "Bearer", "scope": "read extra", "api_url": "https://api" });
    Act::json(200, &body)
}

async fn scene(settings: &[(&'static str, &str)]) -> Scene {
    let provider = FakeProvider::start().await;
    (1..9).for_each(|n| _ = provider.next(TOKEN, minted(n)));
    with(provider, settings).await
}

async fn with(provider: FakeProvider, settings: &[(&'static str, &str)]) -> Scene {
    let mut all = vec![("server.ops_listen", "127.0.0.1:0".to_owned())];
    all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let file = provider_file::on_loopback("Machine", &provider.url(""), FILE);
    Scene::of(provider, Setup { providers: vec![("fake", file)], settings: all, ..Setup::default() }).await
}

async fn connect(scene: &Scene, more: &Value) -> (u16, Value) {
    let mut body = json!({ "end_user_id": "ada", "account_id": "acc-7" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.tenant.post("/authorize-fake", body).await
}

/// What a request for a token said, apart from the client's proof.
fn said(seen: &Seen) -> Vec<(String, String)> {
    let mut form = seen.form();
    form.sort();
    form
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn connections(scene: &Scene) -> Vec<Value> {
    let (_, listed) = scene.tenant.get("/connections").await;
    listed["connections"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_call_connects_and_the_next_has_a_token() {
    let scene = scene(&[]).await;
    let (_, card) = scene.tenant.get("/providers/fake").await;
    assert_eq!((card["grant"].as_str(), card["refresh"]["with"].as_str()), (Some("client_credentials"), Some("client")));
    let (_, enabled) = scene.tenant.get("/enabled-providers").await;
    let enabled = &enabled["enabled_providers"][0];
    assert_eq!((&card["redirect_uri"], &enabled["redirect_uri"], &enabled["warnings"]), (&Value::Null, &Value::Null, &json!([])));

    let (status, made) = connect(&scene, &json!({ "scopes": ["write"] })).await;
    assert_eq!((status, made["status"].as_str(), made["confirmed"].as_bool()), (201, Some("active"), Some(true)), "{made}");
    assert_eq!((&made["settings"]["account_id"], &made["metadata"]["api"]), (&json!("acc-7"), &json!("https://api")));
    let set = &made["token_sets"]["default"];
    assert_eq!((&set["refreshable"], &set["scope"]), (&json!(true), &json!("read extra")));
    assert!(made.get("authorize_url").is_none() && !made.to_string().contains("at-1"), "{made}");
    let seen = scene.provider.seen(TOKEN);
    let asked = [("account_id", "acc-7"), ("grant_type", "client_credentials"), ("scope", "write")];
    assert_eq!((seen.len(), said(&seen[0])), (1, pairs(&asked)));
    assert!(seen[0].header("authorization").is_some_and(|proof| proof.starts_with("Basic ")));

    let served = scene.tenant.token("fake", "ada").await;
    assert_eq!((text(&served["access_token"]), scene.provider.count(TOKEN)), ("at-1".to_owned(), 1));
    let (_, shown) = scene.tenant.get(&format!("/connections/{}", text(&made["id"]))).await;
    assert_eq!(shown["history"][0]["kind"], "connection.created");
}

/// By the usual flight: once, with what was asked for when it was connected, and again where no answer came.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_next_token_is_minted_as_the_first_was() {
    let scene = scene(&[("refresh.proactive", "false")]).await;
    connect(&scene, &json!({ "scopes": ["write"] })).await;
    scene.app.clock.advance(Duration::from_secs(1_800));
    let served = scene.tenant.token("fake", "ada").await;
    assert_eq!((text(&served["access_token"]), served["generation"].as_u64()), ("at-2".to_owned(), Some(2)));
    let seen = scene.provider.seen(TOKEN);
    assert_eq!((seen.len(), said(&seen[1])), (2, said(&seen[0])));
    scene.provider.always(TOKEN, Act::Close);
    for _ in 3..9 {
        scene.app.clock.advance(Duration::from_secs(1_800));
        scene.tenant.token("fake", "ada").await;
    }
    scene.app.clock.advance(Duration::from_secs(1_800));
    assert_eq!(scene.tenant.try_token("fake", "ada").await.0, 503);
    scene.provider.always(TOKEN, minted(9));
    scene.app.clock.advance(Duration::from_secs(900));
    assert_eq!(text(&scene.tenant.token("fake", "ada").await["access_token"]), "at-9");
}

/// The integration's scopes are asked for anew each time, where the connection has none of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scopes_are_the_connections_or_the_integrations() {
    let scene = scene(&[("refresh.proactive", "false")]).await;
    connect(&scene, &json!({})).await;
    scene.tenant.enable("fake", "write").await;
    scene.app.clock.advance(Duration::from_secs(1_800));
    scene.tenant.token("fake", "ada").await;
    let scopes: Vec<_> = scene.provider.seen(TOKEN).iter().map(|seen| seen.field("scope").unwrap()).collect();
    assert_eq!(scopes, ["read", "write"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_refused_is_told_and_leaves_nothing() {
    let scene = with(FakeProvider::start().await, &[]).await;
    let (status, absent) = scene.tenant.try_token("fake", "ada").await;
    assert_eq!((status, absent["code"].as_str(), &absent["authorize_url"]), (404, Some("connection_not_found"), &Value::Null));
    assert!(text(&absent["detail"]).contains("POST /authorize-fake"), "{absent}");
    let (status, missing) = connect(&scene, &json!({ "account_id": "" })).await;
    assert_eq!((status, missing["field"].as_str(), scene.provider.count(TOKEN)), (400, Some("account_id"), 0), "{missing}");
    for (act, status, code, reason) in [
        (Act::oauth_error(401, "invalid_client"), 424, "integration_broken", Some("invalid_client")),
        (Act::oauth_error(400, "invalid_grant"), 424, "integration_broken", Some("invalid_grant")),
        (Act::oauth_error(400, "invalid_scope"), 424, "integration_broken", Some("invalid_scope")),
        (Act::oauth_error(429, "slow_down"), 503, "provider_unavailable", Some("slow_down")),
        (Act::Close, 503, "provider_unavailable", None),
    ] {
        scene.provider.next(TOKEN, act);
        let (answered, told) = connect(&scene, &json!({})).await;
        assert_eq!((answered, told["code"].as_str(), told["reason"].as_str()), (status, Some(code), reason), "{told}");
        assert!(
            reason.is_none_or(|reason| text(&told["detail"]).contains(reason)) && !told.to_string().contains("script"),
            "{told}"
        );
    }
    assert_eq!(connections(&scene).await, Vec::<Value>::new());
}

/// There is no grant that a provider could end: what it refuses today it may issue tomorrow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_refusal_ends_the_connection() {
    let provider = FakeProvider::start().await;
    provider.next(TOKEN, minted(1));
    let scene = with(provider, &[("refresh.proactive", "false")]).await;
    connect(&scene, &json!({})).await;
    scene.provider.always(TOKEN, Act::oauth_error(400, "invalid_grant"));
    for _ in 0..4 {
        scene.app.clock.advance(Duration::from_secs(1_800));
        let (status, told) = scene.tenant.try_token("fake", "ada").await;
        assert_eq!((status, told["reason"].as_str()), (424, Some("invalid_grant")), "{told}");
    }
    assert_eq!(connections(&scene).await[0]["status"], "active");
    scene.provider.always(TOKEN, minted(2));
    scene.app.clock.advance(Duration::from_secs(1_800));
    assert_eq!(text(&scene.tenant.token("fake", "ada").await["access_token"]), "at-2");
}

/// A subject for whom nothing is minted is one connection's affair: any number of them leave the others alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refused_subjects_leave_the_others_alone() {
    let provider = FakeProvider::start().await;
    (1..5).for_each(|n| _ = provider.next(TOKEN, minted(n)));
    let scene = with(provider, &[("refresh.proactive", "false")]).await;
    for user in ["ada", "ben", "cy", "dot"] {
        let (status, made) = scene.tenant.post("/authorize-fake", json!({ "end_user_id": user, "account_id": user })).await;
        assert_eq!(status, 201, "{made}");
    }
    scene.app.clock.advance(Duration::from_secs(1_800));
    let asked = scene.provider.count(TOKEN);
    for user in ["ada", "ben", "cy"] {
        scene.provider.next(TOKEN, Act::oauth_error(400, "invalid_grant"));
        for _ in 0..2 {
            let (status, told) = scene.tenant.try_token("fake", user).await;
            assert_eq!((status, told["reason"].as_str()), (424, Some("invalid_grant")), "{user}: {told}");
        }
    }
    assert_eq!(scene.provider.count(TOKEN), asked + 3, "each was asked for once, and rests by itself");
    scene.provider.always(TOKEN, minted(9));
    assert_eq!(text(&scene.tenant.token("fake", "dot").await["access_token"]), "at-9");
    // What is wrong with the client itself still rests all.
    scene.provider.always(TOKEN, Act::oauth_error(401, "invalid_client"));
    scene.app.clock.advance(Duration::from_secs(1_800));
    for user in ["ada", "ben", "cy", "dot"] {
        assert_eq!(scene.tenant.try_token("fake", user).await.0, 424, "{user}");
    }
    assert_eq!(scene.provider.count(TOKEN), asked + 6, "two of them found out");
}

/// Kept fresh for who fetches it; nothing dies of being left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_minted_ahead_for_who_fetches_it() {
    let scene = scene(&[("refresh.proactive", "true"), ("refresh.proactive_days", "1")]).await;
    connect(&scene, &json!({})).await;
    // It ages 3 min before its end, and is minted up to 6 min earlier.
    scene.pass(1_600).await;
    assert_eq!(scene.provider.count(TOKEN), 2);
    scene.pass(3 * 86_400).await;
    let count = scene.provider.count(TOKEN);
    scene.pass(30 * 86_400).await;
    assert_eq!(scene.provider.count(TOKEN), count, "nobody fetches it");
}

/// A tenant's own provider may do so, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tenant_may_define_one() {
    let scene = scene(&[]).await;
    let definition = json!({ "name": "Mine", "grant": "client_credentials", "token": { "url": scene.provider.url("/token") } });
    let defined = scene.tenant.ok("/define-provider", json!({ "provider": "mine", "definition": definition })).await;
    assert_eq!((&defined["redirect_uri"], &defined["grant"]), (&Value::Null, &json!("client_credentials")));
    scene.tenant.enable("mine", "read").await;
    let (status, made) = scene.tenant.post("/authorize-mine", json!({ "end_user_id": "ada" })).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(text(&scene.tenant.token("mine", "ada").await["access_token"]), "at-1");
}

const KEY: &str = include_str!("../../src/oauth/vectors/keys/rsa.pem");

/// RFC 7523 2.1: what a token is given for is an assertion that the tenant's key signs, anew each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_assertion_of_the_tenants_own_is_enough() {
    let provider = FakeProvider::start().await;
    (1..4).for_each(|n| _ = provider.next(TOKEN, minted(n)));
    let definition = json!({
        "name": "Signed", "grant": "jwt_bearer",
        "params": {
            "private_key": { "title": "Key", "kind": "private_key", "needed_by": "integration" },
            "subject": { "title": "For whom", "kind": "text", "needed_by": "link", "example": "x", "optional": true },
        },
        "jwt": { "assertion": { "alg": "RS256", "claims": { "iss": "{client_id}", "sub": "{subject}", "scope": "{scope}", "aud": "https://id" } } },
        "token": { "url": provider.url("/token"), "client_auth": "off", "drop": ["scope"], "params": { "assertion": "{jwt.assertion}" } },
        "response": { "expires_default": "30m" },
    });
    let scene = with(provider, &[("refresh.proactive", "false")]).await;
    scene.tenant.ok("/define-provider", json!({ "provider": "signed", "definition": definition })).await;
    let enabling = json!({ "provider": "signed", "client_id": "robot@acme", "scopes": ["drive"], "private_key": KEY });
    let (status, keyless) =
        scene.tenant.post("/enable-provider", json!({ "provider": "signed", "client_id": "robot@acme" })).await;
    assert_eq!((status, keyless["field"].as_str()), (400, Some("private_key")), "{keyless}");
    let enabled = scene.tenant.ok("/enable-provider", enabling).await;
    assert!(!enabled.to_string().contains("PRIVATE KEY"), "{enabled}");
    let (status, made) = scene.tenant.post("/authorize-signed", json!({ "end_user_id": "ada", "subject": "ada@acme" })).await;
    assert_eq!(status, 201, "{made}");
    for next in ["at-2", "at-3"] {
        scene.app.clock.advance(Duration::from_secs(1_800));
        assert_eq!(text(&scene.tenant.token("signed", "ada").await["access_token"]), next);
    }
    let mut ids = BTreeSet::new();
    for seen in scene.provider.seen(TOKEN) {
        let grant = seen.field("grant_type");
        assert_eq!((grant.as_deref(), seen.form().len()), (Some("urn:ietf:params:oauth:grant-type:jwt-bearer"), 2), "{seen:?}");
        let claims = claims_of(&seen.field("assertion").unwrap());
        let said = ["iss", "sub", "scope", "aud"].map(|name| text(&claims[name]));
        assert_eq!(said, ["robot@acme", "ada@acme", "drive", "https://id"]);
        ids.insert(text(&claims["jti"]));
    }
    assert_eq!(ids.len(), 3, "each request has an assertion of its own");
}

fn claims_of(assertion: &str) -> Value {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}
