//! The main job, end to end: on each store, with the sandbox and with a provider that nobody here wrote.

use std::time::Duration;

use serde_json::json;

use crate::oidc::{OidcOptions, OidcProvider, POST_CLIENT};
use crate::provider_file;
use crate::redis::RedisServer;
use crate::world::{Browser, Setup, TestApp, text};

const HOUR: Duration = Duration::from_secs(3600);

async fn with_the_sandbox(app: &TestApp) {
    let tenant = app.tenant("dev@acme.example").await;
    let enabled = tenant.enable("sandbox", "read").await;
    assert!(text(&enabled["redirect_uri"]).starts_with(&format!("{}/authorization-success/int_", app.url)));
    assert!(!enabled.to_string().contains("s3cret"));

    let (status, missing) = tenant.try_token("sandbox", "alice").await;
    assert_eq!((status, text(&missing["code"]).as_str()), (404, "connection_not_found"));

    let browser = Browser::default();
    let done = browser.connect_with_sandbox(&text(&missing["authorize_url"])).await;
    assert_eq!(done.status, 200, "{}", done.body);

    let first = tenant.token("sandbox", "alice").await;
    assert_eq!((first["generation"].as_u64(), first["metadata"]["account"].as_str()), (Some(1), Some("ada")));
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], first["access_token"]);

    app.clock.advance(HOUR);
    let second = tenant.token("sandbox", "alice").await;
    assert_eq!(second["generation"], 2);
    assert_ne!(second["access_token"], first["access_token"]);

    let ended = tenant.ok("/revoke-connection", json!({ "provider": "sandbox", "end_user_id": "alice" })).await;
    assert_eq!(ended, json!({ "revoked": true, "at_provider": "revoked" }));
    assert_eq!(tenant.try_token("sandbox", "alice").await.0, 404);
}

/// The provider's own counters are the oracle: what it saw is what was sent.
async fn with_a_strangers_provider(store_url: Option<String>) {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let endpoints = ("/auth", "/token", "/token/revocation");
    let file = provider_file::with_endpoints("Stranger", provider.issuer(), "class = \"rotate_strict\"", endpoints);
    let app = TestApp::with(Setup { store_url, providers: vec![("stranger", file)], ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    let client = json!({
        "provider": "stranger", "client_id": POST_CLIENT.id, "client_secret": POST_CLIENT.secret, "scopes": "openid offline_access",
    });
    tenant.ok("/enable-provider", client).await;

    let browser = Browser::default();
    let authorize = browser.press_connect(&tenant.link("stranger", "alice").await).await;
    let callback = provider.consent(&authorize, "alice@stranger.example").await;
    let done = browser.get(&callback).await;
    assert_eq!(done.status, 200, "{}", done.body);

    let first = tenant.token("stranger", "alice").await;
    for generation in 2..=4 {
        app.clock.advance(HOUR);
        assert_eq!(tenant.token("stranger", "alice").await["generation"], generation);
    }
    assert_ne!(tenant.token("stranger", "alice").await["access_token"], first["access_token"]);
    let stats = provider.stats().await;
    assert_eq!((stats.exchanged, stats.refreshed, stats.grants_revoked), (1, 3, 0));
    let ended = tenant.ok("/revoke-connection", json!({ "provider": "stranger", "end_user_id": "alice" })).await;
    assert_eq!(ended["at_provider"], "revoked");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_journey_in_memory() {
    with_the_sandbox(&TestApp::usual().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_journey_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store_url = Some(format!("sqlite:{}", folder.path().join("store.db").display()));
    let app = TestApp::with(Setup { store_url, ..Setup::default() }).await;
    with_the_sandbox(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_journey_on_redis() {
    let redis = RedisServer::start();
    let app = TestApp::with(Setup { store_url: Some(redis.url()), ..Setup::default() }).await;
    with_the_sandbox(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_strangers_provider_in_memory() {
    with_a_strangers_provider(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_strangers_provider_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    with_a_strangers_provider(Some(format!("sqlite:{}", folder.path().join("store.db").display()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_strangers_provider_on_redis() {
    let redis = RedisServer::start();
    with_a_strangers_provider(Some(redis.url())).await;
}
