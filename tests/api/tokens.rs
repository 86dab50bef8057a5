//! get-access-token in fair weather: what is served, and when it is refreshed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Setup, Tenant, TestApp, text};

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
}

impl Scene {
    /// Connected with a token of an hour.
    async fn connected() -> Self {
        let provider = FakeProvider::start().await;
        let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "nonrotating"))];
        let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
        let tenant = app.connected().await;
        Self { app, tenant, provider }
    }

    async fn ask(&self, more: Value) -> (u16, Value) {
        let mut body = json!({ "provider": "fake", "end_user_id": "alice" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.tenant.post("/get-access-token", body).await
    }

    fn wait(&self, seconds: u64) {
        self.app.clock.advance(Duration::from_secs(seconds));
    }
}

/// A token of 3600 s: fresh to 360 s before its end, then refreshed behind the caller's back, and
/// not served as good in its last 60 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_is_refreshed_when_it_is_due() {
    let scene = Scene::connected().await;
    let first = scene.tenant.token("fake", "alice").await;
    scene.wait(3600 - 361);
    assert_eq!(scene.tenant.token("fake", "alice").await["access_token"], first["access_token"]);
    assert_eq!(scene.provider.refreshes(), 0);

    scene.wait(1);
    assert_eq!(scene.tenant.token("fake", "alice").await["access_token"], first["access_token"], "served while it is refreshed");
    scene.provider.wait_for(TOKEN, 2).await;
    scene.wait(360 - 60);
    let second = scene.tenant.token("fake", "alice").await;
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(scene.provider.refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_still_works_is_served_while_its_refresh_fails() {
    let scene = Scene::connected().await;
    let first = scene.tenant.token("fake", "alice").await;
    scene.provider.always(TOKEN, Act::oauth_error(503, "temporarily_unavailable"));
    scene.wait(3600 - 30);
    let (status, said) = scene.ask(json!({})).await;
    assert_eq!((status, said["warning"].as_str()), (200, Some("refresh_failing")), "{said}");
    assert_eq!(said["access_token"], first["access_token"]);
    scene.wait(30);
    assert_eq!(scene.ask(json!({})).await.0, 503, "an expired token is never served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_forced_refresh_calls_the_provider_once_in_ten_seconds() {
    let scene = Scene::connected().await;
    let (_, forced) = scene.ask(json!({ "force_refresh": true })).await;
    assert_eq!((forced["generation"].as_u64(), scene.provider.refreshes()), (Some(2), 1));
    scene.wait(9);
    let (_, soon) = scene.ask(json!({ "force_refresh": "true" })).await;
    assert_eq!((soon["warning"].as_str(), soon["generation"].as_u64()), (Some("recently_refreshed"), Some(2)));
    scene.wait(1);
    let (_, later) = scene.ask(json!({ "force_refresh": true })).await;
    assert_eq!((later["generation"].as_u64(), scene.provider.refreshes()), (Some(3), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn min_ttl_is_kept_within_what_the_provider_gives() {
    let scene = Scene::connected().await;
    for (wanted, expected) in [(3540, 200), (3541, 400), (0, 200)] {
        let (status, said) = scene.ask(json!({ "min_ttl": wanted })).await;
        assert_eq!(status, expected, "{wanted}: {said}");
    }
    assert_eq!(scene.provider.refreshes(), 0);
    scene.wait(3600 - 1800);
    assert_eq!(scene.ask(json!({ "min_ttl": 1800 })).await.1["generation"], 1);
    assert_eq!(scene.ask(json!({ "min_ttl": "1801" })).await.1["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_integrations_and_accounts_stand_side_by_side() {
    let scene = Scene::connected().await;
    let second =
        json!({ "provider": "fake", "integration": "fake-eu", "client_id": "eu", "client_secret": "s", "scopes": "read" });
    let enabled = scene.tenant.ok("/enable-provider", second).await;
    assert!(text(&enabled["redirect_uri"]).contains("/authorization-success/int_"));
    for body in
        [json!({ "end_user_id": "alice", "integration": "fake-eu" }), json!({ "end_user_id": "alice", "account": "work" })]
    {
        let link = text(&scene.tenant.ok("/authorize-fake", body).await["authorize_url"]);
        assert_eq!(Browser::default().connect_at_once(&link).await.status, 200);
    }
    let tokens: std::collections::BTreeSet<String> = {
        let mut tokens = std::collections::BTreeSet::new();
        for more in [json!({}), json!({ "integration": "fake-eu" }), json!({ "account": "work" })] {
            tokens.insert(text(&scene.ask(more).await.1["access_token"]));
        }
        tokens
    };
    assert_eq!(tokens.len(), 3);

    let (_, all) = scene.tenant.get("/connections?end_user_id=alice").await;
    assert_eq!(all["connections"].as_array().unwrap().len(), 3);
    let forgotten = scene.tenant.ok("/forget-end-user", json!({ "end_user_id": "alice" })).await;
    assert_eq!(forgotten["connections"].as_array().unwrap().len(), 3);
    let (_, none) = scene.tenant.get("/connections").await;
    assert_eq!(none["connections"], json!([]));
}

/// Paging meets each connection once, whatever the page size and filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listing_meets_each_connection_once() {
    let scene = Scene::connected().await;
    for n in 0..40 {
        let body = json!({ "provider": "fake", "end_user_id": format!("user-{n}"), "access_token": "a", "refresh_token": "r", "expires_in": 3600 });
        assert_eq!(scene.tenant.post("/import-connection", body).await.0, 201);
    }
    for filter in ["", "&provider=fake", "&status=active"] {
        for limit in [1, 7, 200] {
            let (mut ids, mut cursor) = (Vec::new(), String::new());
            loop {
                let (status, page) = scene.tenant.get(&format!("/connections?limit={limit}{filter}{cursor}")).await;
                assert_eq!(status, 200, "{page}");
                let items = page["connections"].as_array().unwrap();
                assert!(items.len() <= limit);
                ids.extend(items.iter().map(|item| text(&item["id"])));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((ids.len(), distinct.len()), (41, 41), "{filter} {limit}");
        }
    }
    for bad in ["limit=0", "limit=201", "limit=x", "status=gone", "cursor=x"] {
        assert_eq!(scene.tenant.get(&format!("/connections?{bad}")).await.0, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_import_takes_no_place_that_is_taken() {
    let scene = Scene::connected().await;
    let import = |replace| json!({ "provider": "fake", "end_user_id": "alice", "access_token": "moved", "refresh_token": "r", "replace": replace });
    let (status, said) = scene.tenant.post("/import-connection", import(false)).await;
    assert_eq!((status, text(&said["code"]).as_str()), (409, "conflict"));
    assert_eq!(scene.tenant.post("/import-connection", import(true)).await.0, 201);
    assert_eq!(scene.tenant.token("fake", "alice").await["access_token"], "moved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn history_tells_what_happened_and_no_token() {
    let scene = Scene::connected().await;
    scene.wait(1);
    scene.ask(json!({ "force_refresh": true })).await;
    let (_, list) = scene.tenant.get("/connections").await;
    let (status, shown) = scene.tenant.get(&format!("/connections/{}", text(&list["connections"][0]["id"]))).await;
    assert_eq!(status, 200);
    let kinds: Vec<_> = shown["history"].as_array().unwrap().iter().map(|event| text(&event["kind"])).collect();
    assert_eq!(kinds, ["connection.refreshed", "connection.created"]);
    for secret in ["at-", "rt-", "s3cret"] {
        assert!(!shown.to_string().contains(secret) && !list.to_string().contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disabled_provider_serves_nobody_and_comes_back_whole() {
    let scene = Scene::connected().await;
    scene.tenant.ok("/disable-provider", json!({ "provider": "fake" })).await;
    let (status, said) = scene.ask(json!({})).await;
    assert_eq!((status, text(&said["code"]).as_str()), (404, "integration_not_found"));
    assert_eq!(scene.tenant.post("/authorize-fake", json!({ "end_user_id": "alice" })).await.0, 404);
    // Nothing but the provider is needed: what was stored is still there.
    scene.tenant.ok("/enable-provider", json!({ "provider": "fake" })).await;
    assert_eq!(scene.ask(json!({})).await.0, 200);
}

/// Only whoever may make links is handed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_comes_with_the_error_for_keys_that_may_make_links() {
    let scene = Scene::connected().await;
    for (scopes, linked) in [(json!(["tokens:read"]), false), (json!(["tokens:read", "links:write"]), true)] {
        let key = text(&scene.tenant.ok("/create-api-key", json!({ "name": "k", "scopes": scopes })).await["key"]);
        let (status, said) = scene.tenant.with_key(&key).try_token("fake", "nobody").await;
        assert_eq!((status, said["authorize_url"].is_string()), (404, linked), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn history_tells_which_scopes_were_not_granted() {
    let scene = Scene::connected().await;
    scene.tenant.enable("fake", "read write").await;
    let narrow = json!({ "access_token": "at", "refresh_token": "rt", "expires_in": 3600, "scope": "read" });
    scene.provider.next(TOKEN, Act::json(200, &narrow));
    scene.wait(1);
    let done = Browser::default().connect_at_once(&scene.tenant.link("fake", "alice").await).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let id = text(&scene.tenant.token("fake", "alice").await["connection_id"]);
    let (_, shown) = scene.tenant.get(&format!("/connections/{id}")).await;
    let newest = &shown["history"][0];
    assert_eq!(
        (text(&newest["kind"]).as_str(), newest["detail"].as_str()),
        ("connection.reconnected", Some("not granted: write"))
    );
}

/// What is kept of a connection is kept in a form that can be read again, however deep it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_that_could_not_be_read_again_is_refused() {
    let scene = Scene::connected().await;
    for (depth, expected) in [(1, 201), (31, 201), (32, 201), (33, 400), (64, 400), (120, 400), (126, 400), (127, 400)] {
        // The object of all metadata is the first level.
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1)).replace(":}", ":1}");
        let import =
            json!({ "provider": "fake", "end_user_id": format!("deep-{depth}"), "access_token": "t", "metadata": nested });
        let (status, said) = scene.tenant.post("/import-connection", import).await;
        assert_eq!(status, expected, "{depth}: {said}");
    }
    let (status, listed) = scene.tenant.get("/connections").await;
    assert_eq!((status, listed["connections"].as_array().map(Vec::len)), (200, Some(4)), "{listed}");
}

/// The tombstone of a connection ends one day; what is connected after that is served, also by a node
/// that still has the tombstone at hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_tombstone_does_not_hide_a_new_connection() {
    let scene = Scene::connected().await;
    for _ in 0..3 {
        assert_eq!(scene.ask(json!({ "force_refresh": true })).await.0, 200);
        scene.wait(60);
    }
    scene.tenant.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "alice" })).await;
    scene.wait(31 * 86_400);
    let import = json!({ "provider": "fake", "end_user_id": "alice", "access_token": "new" });
    scene.tenant.ok("/import-connection", import).await;
    scene.wait(60);
    let (status, said) = scene.ask(json!({})).await;
    assert_eq!((status, &said["access_token"]), (200, &json!("new")), "{said}");
}

/// A key that may change settings must not be able to have the stored secret sent to another host.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stored_secret_stays_with_its_host() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let at = |host: &str| json!({ "provider": "gitlab", "client_id": "c", "scopes": "read_user", "host": host });
    let with_secret = |host: &str| {
        let mut body = at(host);
        body["client_secret"] = json!("s3cret");
        body
    };
    tenant.ok("/enable-provider", with_secret("git.acme.example")).await;
    tenant.ok("/enable-provider", at("git.acme.example")).await;
    tenant.ok("/enable-provider", json!({ "provider": "gitlab", "scopes": "api" })).await;
    let (status, said) = tenant.post("/enable-provider", at("git.evil.example")).await;
    assert_eq!((status, &said["field"]), (400, &json!("client_secret")), "{said}");
    tenant.ok("/enable-provider", with_secret("git.other.example")).await;

    // Nor may those who have connected be sent there by whoever brings a secret of his own.
    tenant
        .ok(
            "/import-connection",
            json!({ "provider": "gitlab", "end_user_id": "alice", "access_token": "a", "refresh_token": "r" }),
        )
        .await;
    let (status, said) = tenant.post("/enable-provider", with_secret("git.evil.example")).await;
    assert_eq!((status, &said["field"]), (400, &json!("host")), "{said}");
    assert!(text(&said["detail"]).contains("while the integration has connections"), "{said}");
    tenant.ok("/enable-provider", with_secret("git.other.example")).await;
    let mut beside = with_secret("git.evil.example");
    beside["integration"] = json!("second");
    tenant.ok("/enable-provider", beside).await;
    tenant.ok("/revoke-connection", json!({ "provider": "gitlab", "end_user_id": "alice" })).await;
    tenant.ok("/enable-provider", with_secret("git.evil.example")).await;
}
