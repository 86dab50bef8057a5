//! Start, stop, start again: what was kept, who is answered, what the operator's listener says.

use serde_json::json;

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
    let tenant = tenant.at(&app.url);
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
