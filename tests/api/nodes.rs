//! The cache, within its bounds: what a node may still say when the store is away, or when another
//! node has changed it.

use std::sync::Arc;
use std::time::Duration;

use claviger::adapters::memory::MemoryKv;
use serde_json::json;

use crate::clock::TestClock;
use crate::switched_kv::SwitchedKv;
use crate::world::{Setup, Tenant, TestApp, text};

async fn connected(tenant: &Tenant) {
    tenant.enable("sandbox", "read").await;
    let import = json!({ "provider": "sandbox", "end_user_id": "alice", "access_token": "at", "expires_in": 3600 });
    assert_eq!(tenant.post("/import-connection", import).await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_serves_what_it_knows_for_half_a_minute_without_its_store() {
    let clock = TestClock::new();
    let kv = Arc::new(SwitchedKv::new(clock.clone()));
    let app = TestApp::with(Setup { clock: Some(clock.clone()), kv: Some(kv.clone()), ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    connected(&tenant).await;
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], "at");

    kv.switch_off();
    clock.advance(Duration::from_secs(29));
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], "at");
    assert_eq!(tenant.get("/readyz").await.0, 503);
    clock.advance(Duration::from_secs(2));
    let (status, said) = tenant.try_token("sandbox", "alice").await;
    assert_eq!((status, text(&said["code"]).as_str()), (503, "store_unavailable"), "{said}");

    kv.switch_on();
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], "at");
}

/// A network that swallows everything, or a disk that stands still: nobody says that the store is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_does_not_wait_for_a_silent_store_to_serve_what_it_knows() {
    let clock = TestClock::new();
    let kv = Arc::new(SwitchedKv::new(clock.clone()));
    let app = TestApp::with(Setup { clock: Some(clock.clone()), kv: Some(kv.clone()), ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    connected(&tenant).await;
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], "at");

    kv.fall_silent();
    clock.advance(Duration::from_secs(2));
    // Whoever waits for the store has waited long enough, each time somebody does.
    let time = async {
        loop {
            clock.advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let said = tokio::select! {
        said = tenant.token("sandbox", "alice") => said,
        () = time => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it waits for the store"),
    };
    assert_eq!(said["access_token"], "at");
    kv.switch_on();
    assert_eq!(tenant.token("sandbox", "alice").await["access_token"], "at");
}

/// What one node ends, another serves for `cache.trust` (1 s) at the most.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_revocation_is_seen_by_every_node_within_a_second() {
    let clock = TestClock::new();
    let kv = Arc::new(MemoryKv::new(clock.clone()));
    let setup = |settings| Setup { clock: Some(clock.clone()), kv: Some(kv.clone()), settings, ..Setup::default() };
    let here = TestApp::with(setup(Vec::new())).await;
    let there = TestApp::with(setup(vec![("keys.master_file", here.master_key_file())])).await;
    let tenant = here.tenant("dev@acme.example").await;
    let over_there = tenant.at(&there);
    connected(&tenant).await;

    let ask = || over_there.try_token("sandbox", "alice");
    assert_eq!(ask().await.0, 200);
    tenant.ok("/revoke-connection", json!({ "provider": "sandbox", "end_user_id": "alice" })).await;
    assert_eq!(tenant.try_token("sandbox", "alice").await.0, 404, "the node that ended it");
    clock.advance(Duration::from_millis(1000));
    assert_eq!(ask().await.0, 404, "another node");

    connected(&tenant).await;
    assert_eq!(ask().await.0, 200);
    tenant.ok("/disable-provider", json!({ "provider": "sandbox" })).await;
    clock.advance(Duration::from_millis(1000));
    assert_eq!(ask().await.0, 404, "a disabled provider");

    let id = tenant.key.split('_').nth(1).unwrap();
    tenant.ok("/revoke-api-key", json!({ "id": id })).await;
    assert_eq!(tenant.get("/connections").await.0, 401, "the node that revoked the key");
    clock.advance(Duration::from_millis(1000));
    assert_eq!(over_there.get("/connections").await.0, 401, "a revoked key elsewhere");
}
