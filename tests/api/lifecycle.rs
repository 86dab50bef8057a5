//! Start, stop, start again: what was kept, who is answered, what the operator's listener says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::fake_provider::{Act, FakeProvider, Gate, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Setup, TestApp, client, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_kept_is_there_after_a_restart() {
    let store = tempfile::tempdir().unwrap();
    let setup = || Setup { store_url: Some(format!("sqlite:{}", store.path().join("store.db").display())), ..Setup::default() };
    let app = TestApp::with(setup()).await;
    let tenant = app.tenant("dev@acme.example").await;
    tenant.enable("sandbox", "read").await;
    Browser::default().connect_with_sandbox(&tenant.link("sandbox", "alice").await).await;
    let before = tenant.token("sandbox", "alice").await;
    let app = app.restart(setup()).await;
    let tenant = tenant.at(&app);
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], before["access_token"]);
    let (_, enabled) = tenant.get("/enabled-providers").await;
    assert_eq!(enabled["enabled_providers"][0]["scopes"], json!(["read"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_foreign_host_is_refused_in_dev() {
    let app = TestApp::usual().await;
    let of = |host: &str| client().get(format!("{}/healthz", app.url)).header("host", host.to_owned()).send();
    let port = app.url.rsplit(':').next().unwrap();
    for host in ["evil.example", "127.0.0.1", "localhost:1", &format!("evil.example:{port}")] {
        let answer = of(host).await.unwrap();
        assert_eq!(answer.status(), 400, "{host}");
        let said: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(text(&said["code"]), "invalid_request");
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LOCALHOST:{port}")] {
        assert_eq!(of(&host).await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_operators_listener_answers_health_alone() {
    let settings = vec![("server.ops_listen", "127.0.0.1:0".to_owned())];
    let app = TestApp::with(Setup { settings, ..Setup::default() }).await;
    let ops = app.ops.clone().unwrap();
    let status = async |path: &str| client().get(format!("{ops}{path}")).send().await.unwrap().status().as_u16();
    assert_eq!((status("/healthz").await, status("/readyz").await), (200, 200));
    assert_eq!((status("/providers").await, status("/docs").await), (404, 404));
}

/// A refresh behind a caller's back has no request that would keep the server alive; its tokens are
/// kept all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_under_way_is_kept_before_the_stop() {
    let store = tempfile::tempdir().unwrap();
    let provider = FakeProvider::start().await;
    let setup = || Setup {
        store_url: Some(format!("sqlite:{}", store.path().join("store.db").display())),
        providers: vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_strict"))],
        ..Setup::default()
    };
    let app = TestApp::with(setup()).await;
    let tenant = app.tenant("dev@acme.example").await;
    tenant.enable("fake", "read").await;
    Browser::default().connect_at_once(&tenant.link("fake", "alice").await).await;
    app.clock.advance(Duration::from_secs(3600 - 300));
    let gate = Gate::new();
    let answer = json!({ "access_token": "at-late", "refresh_token": "rt-late", "expires_in": 3600 });
    provider.next(TOKEN, Act::json(200, &answer).held(&gate));
    assert_eq!(tenant.token("fake", "alice").await["generation"], 1);
    gate.reached_by(1).await;

    let opened = Arc::new(AtomicBool::new(false));
    let stopping = tokio::spawn({
        let (opened, setup) = (opened.clone(), setup());
        async move {
            let app = app.restart(setup).await;
            (app, opened.load(Ordering::SeqCst))
        }
    });
    // The server no longer answers; one that did not wait for the provider would be gone by the end of this.
    let (http, mut refused) = (client(), 0);
    while refused < 200 {
        refused += usize::from(http.get(format!("{}/healthz", tenant.url)).send().await.is_err());
    }
    opened.store(true, Ordering::SeqCst);
    gate.open();
    let (app, waited) = stopping.await.unwrap();
    assert!(waited, "the server stopped while a refresh was under way");
    let answer = tenant.at(&app).token("fake", "alice").await;
    assert_eq!((answer["access_token"].as_str(), answer["generation"].as_u64()), (Some("at-late"), Some(2)));
    assert_eq!(provider.refreshes(), 1);
    app.stop().await;
}
