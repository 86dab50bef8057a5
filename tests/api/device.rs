//! A device's code and several nodes: the one that began the flow asks, and another goes on where it has stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::adapters::memory::MemoryKv;
use claviger::ports::kv::Kv;
use futures::future::join_all;
use serde_json::json;

use crate::clock::{TestClock, until};
use crate::fake_provider::{Act, FakeProvider, Gate, TOKEN};
use crate::unruly_kv::UnrulyKv;
use crate::world::{Browser, Page, Setup, Tenant, TestApp};

const CODE: &str = "WDJB-MJHT";
const INTERVAL: Duration = Duration::from_secs(5);
/// Longer than any node leaves a flow alone: its interval twice, and a call's deadline.
const LEFT_ALONE: Duration = Duration::from_secs(60);

struct Scene {
    clock: Arc<TestClock>,
    store: Arc<MemoryKv>,
    tenant: Tenant,
    provider: FakeProvider,
    browser: Browser,
    /// Of the code, as the first node named it.
    page: String,
}

impl Scene {
    /// Alice has pressed Connect, and the first node, which is answered too, waits to ask after her code.
    async fn begun() -> (TestApp, Self) {
        let (clock, provider, browser) = (TestClock::new(), FakeProvider::start().await, Browser::default());
        let store = Arc::new(MemoryKv::new(clock.clone()));
        let here = TestApp::with(Setup { clock: Some(clock.clone()), kv: Some(store.clone()), ..Setup::default() }).await;
        let tenant = here.tenant("dev@acme.example").await;
        let definition = json!({
            "name": "Gadget", "grant": "device_code", "device": { "url": provider.url("/device") },
            "token": { "url": provider.url(TOKEN), "client_auth": "none" }, "refresh": { "class": "rotate_plain" },
        });
        tenant.ok("/define-provider", json!({ "provider": "gadget", "definition": definition })).await;
        tenant.ok("/enable-provider", json!({ "provider": "gadget", "client_id": "c" })).await;
        let code = json!({ "device_code": "d", "user_code": CODE, "verification_uri": provider.url("/go"), "expires_in": 900 });
        provider.always("/device", Act::json(200, &code));
        provider.always(TOKEN, Act::oauth_error(400, "authorization_pending"));
        let page = browser.press_connect(&tenant.link("gadget", "alice").await).await;
        until("a wait begins", || clock.sleepers() > 0).await;
        (here, Self { clock, store, tenant, provider, browser, page })
    }

    /// Another node, with the page as it names it.
    async fn other_node(&self, here: &TestApp, kv: Arc<dyn Kv>) -> (TestApp, String) {
        let settings = vec![("keys.master_file", here.master_key_file())];
        let there = TestApp::with(Setup { clock: Some(self.clock.clone()), kv: Some(kv), settings, ..Setup::default() }).await;
        let page = self.page.replace(&here.url, &there.url);
        (there, page)
    }

    fn asked(&self) -> usize {
        self.provider.count(TOKEN)
    }

    /// The code is entered; answers the page on which the browser lands once some node has asked again.
    async fn lands(&self, page: &str) -> Page {
        let tokens = json!({ "access_token": "at-1", "refresh_token": "rt-1", "expires_in": 3600 });
        self.provider.always(TOKEN, Act::json(200, &tokens));
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            let seen = self.browser.get(page).await;
            if !seen.body.contains(CODE) {
                return seen;
            }
            assert!(Instant::now() < give_up, "never connected");
            self.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_node_asks_and_another_goes_on_when_it_has_stopped() {
    let (here, scene) = Scene::begun().await;
    let (there, elsewhere) = scene.other_node(&here, scene.store.clone()).await;
    scene.clock.advance(INTERVAL);
    until("a question", || scene.asked() == 1).await;
    until("a wait begins", || scene.clock.sleepers() > 0).await;
    for _ in 0..10 {
        assert!(scene.browser.get(&elsewhere).await.body.contains(CODE), "every node shows it");
    }
    assert_eq!(scene.asked(), 1, "looking asks nobody, wherever it is done");

    // A node that stops does not wait for somebody to enter a code.
    tokio::time::timeout(Duration::from_secs(30), here.stop()).await.expect("it stops");
    scene.clock.advance(LEFT_ALONE);
    // However many look at once, one question is asked.
    for look in join_all((0..8).map(|_| scene.browser.get(&elsewhere))).await {
        assert_eq!(look.status, 200);
    }
    until("the other node asks", || scene.asked() == 2).await;
    let done = scene.lands(&elsewhere).await;
    assert!(done.status == 200 && done.body.contains("Connected"), "{}", done.body);
    assert_eq!(scene.asked(), 3, "once granted, nobody asks any more");
    let tenant = scene.tenant.at(&there);
    assert_eq!(tenant.token("gadget", "alice").await["access_token"], "at-1");

    // From then on a connection like any other.
    scene.clock.advance(Duration::from_secs(3600));
    let refreshed = json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 3600 });
    scene.provider.always(TOKEN, Act::json(200, &refreshed));
    assert_eq!(tenant.token("gadget", "alice").await["access_token"], "at-2");
    assert_eq!(scene.provider.refreshes(), 1);
}

/// Both have seen that the first has stopped; who writes it down first, asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_go_on_with_a_flow_one_asks() {
    let (here, scene) = Scene::begun().await;
    let kv = UnrulyKv::over_flows(scene.store.clone());
    let (_there, elsewhere) = scene.other_node(&here, kv.clone()).await;
    tokio::time::timeout(Duration::from_secs(30), here.stop()).await.expect("it stops");
    scene.clock.advance(LEFT_ALONE);
    // The look itself reads, and then who goes on because of it.
    let late = Gate::new();
    kv.hold_read(2, &late);
    assert_eq!(scene.browser.get(&elsewhere).await.status, 200);
    late.reached_by(1).await;
    assert_eq!(scene.browser.get(&elsewhere).await.status, 200);
    until("the other asks", || scene.asked() == 1).await;
    late.open();
    until("the late one sees that it is late", || kv.conflicts() > 0).await;
    for _ in 0..10 {
        assert_eq!(scene.browser.get(&elsewhere).await.status, 200);
    }
    assert_eq!(scene.asked(), 1, "it has not asked all the same");
    assert!(scene.lands(&elsewhere).await.body.contains("Connected"));
    assert_eq!(scene.asked(), 2);
}
