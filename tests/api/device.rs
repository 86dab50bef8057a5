//! A device's code and several nodes: the one that began the flow asks, and another goes on where it has stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::adapters::memory::MemoryKv;
use futures::future::join_all;
use serde_json::json;

use crate::clock::{TestClock, until};
use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::world::{Browser, Setup, TestApp};

const INTERVAL: Duration = Duration::from_secs(5);
/// Longer than any node leaves a flow alone: its interval twice, and a call's deadline.
const LEFT_ALONE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_node_asks_and_another_goes_on_when_it_has_stopped() {
    let clock = TestClock::new();
    let kv = Arc::new(MemoryKv::new(clock.clone()));
    let setup = |settings| Setup { clock: Some(clock.clone()), kv: Some(kv.clone()), settings, ..Setup::default() };
    let here = TestApp::with(setup(Vec::new())).await;
    let there = TestApp::with(setup(vec![("keys.master_file", here.master_key_file())])).await;
    let (tenant, provider, browser) = (here.tenant("dev@acme.example").await, FakeProvider::start().await, Browser::default());
    let definition = json!({
        "name": "Gadget", "grant": "device_code", "device": { "url": provider.url("/device") },
        "token": { "url": provider.url(TOKEN), "client_auth": "none" }, "refresh": { "class": "rotate_plain" },
    });
    tenant.ok("/define-provider", json!({ "provider": "gadget", "definition": definition })).await;
    tenant.ok("/enable-provider", json!({ "provider": "gadget", "client_id": "c" })).await;
    provider.always(
        "/device",
        Act::json(
            200,
            &json!({ "device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": provider.url("/go"), "expires_in": 900 }),
        ),
    );
    provider.always(TOKEN, Act::oauth_error(400, "authorization_pending"));
    let page = browser.press_connect(&tenant.link("gadget", "alice").await).await;
    let elsewhere = page.replace(&here.url, &there.url);

    until("a wait begins", || clock.sleepers() > 0).await;
    clock.advance(INTERVAL);
    until("a question", || provider.count(TOKEN) == 1).await;
    until("a wait begins", || clock.sleepers() > 0).await;
    for _ in 0..10 {
        assert!(browser.get(&elsewhere).await.body.contains("WDJB-MJHT"), "every node shows it");
    }
    assert_eq!(provider.count(TOKEN), 1, "looking asks nobody, wherever it is done");

    // A node that stops does not wait for somebody to enter a code.
    tokio::time::timeout(Duration::from_secs(30), here.stop()).await.expect("it stops");
    clock.advance(LEFT_ALONE);
    provider.next(TOKEN, Act::oauth_error(400, "authorization_pending"));
    // However many look at once, one question is asked.
    for look in join_all((0..8).map(|_| browser.get(&elsewhere))).await {
        assert_eq!(look.status, 200);
    }
    until("the other node asks", || provider.count(TOKEN) == 2).await;
    let tokens = json!({ "access_token": "at-1", "refresh_token": "rt-1", "expires_in": 3600 });
    provider.always(TOKEN, Act::json(200, &tokens));
    let give_up = Instant::now() + Duration::from_secs(30);
    let done = loop {
        let page = browser.get(&elsewhere).await;
        if !page.body.contains("WDJB-MJHT") {
            break page;
        }
        assert!(Instant::now() < give_up, "never connected");
        clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(done.status == 200 && done.body.contains("Connected"), "{}", done.body);
    assert_eq!(provider.count(TOKEN), 3, "once granted, nobody asks any more");
    let served = tenant.at(&there).token("gadget", "alice").await;
    assert_eq!(served["access_token"], json!("at-1"));

    // From then on a connection like any other.
    clock.advance(Duration::from_secs(3600));
    let refreshed = json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 3600 });
    provider.always(TOKEN, Act::json(200, &refreshed));
    assert_eq!(tenant.at(&there).token("gadget", "alice").await["access_token"], json!("at-2"));
    assert_eq!(provider.refreshes(), 1);
}
