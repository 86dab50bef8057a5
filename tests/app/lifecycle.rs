//! From start to stop, and the folder between.

use std::sync::Arc;
use std::time::Duration;

use claviger::adapters::sqlite::SqliteKv;

use crate::app::{Setup, TestApp, client};
use crate::clock::TestClock;

const PAST_EXPIRY: Duration = Duration::from_secs(9);

#[tokio::test]
async fn from_link_to_refreshed_token() {
    let app = TestApp::memory().await;
    let tenant = app.tenant("dev@example.test").await;
    tenant.enable("sandbox", &[("scopes", "read,short-lived")]).await;
    let landed = tenant.connect("sandbox", "alice").await;
    assert!(landed.status < 400, "{} {}", landed.status, landed.text);
    let first = tenant.token("sandbox", "alice").await.good();
    app.advance(PAST_EXPIRY);
    let second = tenant.token("sandbox", "alice").await.good();
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(second["generation"].as_u64(), first["generation"].as_u64().map(|generation| generation + 1));
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let app = TestApp::sqlite().await;
    let tenant = app.tenant("dev@example.test").await;
    tenant.enable("sandbox", &[]).await;
    tenant.connect("sandbox", "alice").await;
    let before = tenant.token("sandbox", "alice").await.good();
    let (clock, folder) = app.stop().await;
    let kv = Arc::new(SqliteKv::open(&folder.path().join("claviger.db"), clock.clone()).unwrap());
    let app = TestApp::start(clock, Setup { kv: Some(kv), ..Setup::default() }, folder).await;
    let mut tenant = tenant;
    tenant.url = app.url.clone();
    assert_eq!(tenant.token("sandbox", "alice").await.good()["access_token"], before["access_token"]);
}

#[tokio::test]
async fn a_foreign_host_is_refused_in_dev() {
    let app = TestApp::memory().await;
    let of = |host: &str| client().get(format!("{}/healthz", app.url)).header("host", host.to_owned()).send();
    let port = app.url.rsplit(':').next().unwrap();
    for host in ["evil.example", "127.0.0.1", "localhost:1", &format!("evil.example:{port}")] {
        assert_eq!(of(host).await.unwrap().status(), 400, "{host}");
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("LOCALHOST:{port}")] {
        assert_eq!(of(&host).await.unwrap().status(), 200, "{host}");
    }
}

#[tokio::test]
async fn the_operators_listener_answers_health_alone() {
    let setup = Setup { settings: vec![("server.ops_listen", "127.0.0.1:0".to_owned())], ..Setup::default() };
    let app = TestApp::start(TestClock::new(), setup, tempfile::tempdir().unwrap()).await;
    let ops = app.ops.as_deref().unwrap();
    let status = async |path: &str| client().get(format!("{ops}{path}")).send().await.unwrap().status().as_u16();
    assert_eq!((status("/healthz").await, status("/readyz").await), (200, 200));
    assert_eq!((status("/providers").await, status("/docs").await), (404, 404));
}
