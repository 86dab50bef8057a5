//! Refreshes that meet others at the worst moment: another node, a revocation, a store that fails.

use std::sync::Arc;
use std::time::Duration;

use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::SystemEntropy;
use claviger::store::MasterKey;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::clock::TestClock;
use crate::fake_provider::{Act, Answer, FakeProvider, Gate, REVOKE, TOKEN};
use crate::provider_file;
use crate::unruly_kv::{Fate, UnrulyKv};
use crate::world::{Setup, Tenant, TestApp, text};

struct Scene {
    clock: Arc<TestClock>,
    store: Arc<MemoryKv>,
    kv: Arc<UnrulyKv>,
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    files: Vec<(&'static str, String)>,
    master: String,
}

impl Scene {
    /// Connected with a token of an hour.
    async fn connected(class: &str) -> Self {
        let (clock, provider) = (TestClock::new(), FakeProvider::start().await);
        let store = Arc::new(MemoryKv::new(clock.clone()));
        let kv = UnrulyKv::over(store.clone());
        let files = vec![("fake", provider_file::of_class("Fake", &provider.url(""), class))];
        let master = MasterKey::generate(&SystemEntropy).unwrap().expose_secret().to_owned();
        let app = node(&clock, kv.clone(), &files, &master).await;
        let tenant = app.connected().await;
        Self { clock, store, kv, app, tenant, provider, files, master }
    }

    /// Another node on the same store.
    async fn second_node(&self) -> (TestApp, Tenant, Arc<UnrulyKv>) {
        let kv = UnrulyKv::over(self.store.clone());
        let app = node(&self.clock, kv.clone(), &self.files, &self.master).await;
        let tenant = self.tenant.at(&app);
        (app, tenant, kv)
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn holds_refreshes(&self) -> Gate {
        let gate = Gate::new();
        let tokens = json!({ "access_token": "at-new", "refresh_token": "rt-new", "token_type": "Bearer", "expires_in": 3600 });
        self.provider.next(TOKEN, Act::json(200, &tokens).held(&gate));
        gate
    }

    async fn history(&self) -> Vec<String> {
        let (_, list) = self.tenant.get("/connections").await;
        let (_, shown) = self.tenant.get(&format!("/connections/{}", text(&list["connections"][0]["id"]))).await;
        shown["history"].as_array().unwrap().iter().map(|event| text(&event["kind"])).collect()
    }
}

async fn node(clock: &Arc<TestClock>, kv: Arc<UnrulyKv>, files: &[(&'static str, String)], master: &str) -> TestApp {
    let settings =
        vec![("keys.master", master.to_owned()), ("keys.master_file", String::new()), ("refresh.patience", "5m".to_owned())];
    let setup = Setup { kv: Some(kv), clock: Some(clock.clone()), providers: files.to_vec(), settings, ..Setup::default() };
    TestApp::with(setup).await
}

/// Lets the clock run until the call is answered, in steps, whenever so many are asleep.
async fn passing<T>(clock: &TestClock, (sleepers, step): (usize, Duration), call: tokio::task::JoinHandle<T>) -> T {
    while !call.is_finished() {
        if clock.sleepers() >= sleepers {
            clock.advance(step);
        }
        tokio::task::yield_now().await;
    }
    call.await.unwrap()
}

/// A caller waits, and behind it a flight that tries again.
const BOTH: (usize, Duration) = (2, Duration::from_millis(1));
/// A flight alone, which tries to commit.
const FLIGHT: (usize, Duration) = (0, Duration::from_millis(10));
const CALLER: (usize, Duration) = (1, Duration::from_secs(1));

fn forced(tenant: &Tenant) -> tokio::task::JoinHandle<(u16, Value)> {
    let tenant = tenant.clone();
    let body = json!({ "provider": "fake", "end_user_id": "alice", "force_refresh": true });
    tokio::spawn(async move { tenant.post("/get-access-token", body).await })
}

/// A node that read the grant before another node's whole refresh must not send the old refresh token.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_was_outrun_sends_nothing() {
    let scene = Scene::connected("rotate_strict").await;
    let (_second, tenant, kv) = scene.second_node().await;
    scene.wait(3600);
    let gate = Gate::new();
    // The first read is the caller's, the second the flight's.
    kv.hold_read(2, &gate);
    let slow = tokio::spawn({
        let tenant = tenant.clone();
        async move { tenant.token("fake", "alice").await }
    });
    gate.reached_by(1).await;
    let quick = scene.tenant.token("fake", "alice").await;
    gate.open();
    let slow = slow.await.unwrap();
    assert_eq!(scene.provider.refreshes(), 1, "the old refresh token was sent again");
    assert_eq!(slow["access_token"], quick["access_token"]);
}

/// While one node flies the other waits, and answers with what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_ask_the_provider_once() {
    let scene = Scene::connected("rotate_strict").await;
    let (_second, other, _) = scene.second_node().await;
    scene.wait(3600);
    let gate = scene.holds_refreshes();
    let first = forced(&scene.tenant);
    gate.reached_by(1).await;
    let second = forced(&other);
    // Two callers wait, and the second node looks again and again.
    while scene.clock.sleepers() < 3 && !second.is_finished() {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(first.await.unwrap().1["access_token"], "at-new");
    let (status, said) = passing(&scene.clock, BOTH, second).await;
    assert_eq!((status, said["access_token"].as_str(), scene.provider.refreshes()), (200, Some("at-new"), 1), "{said}");
}

/// What a provider asked for is remembered though somebody else wrote the grant at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_that_loses_a_race_is_recorded_all_the_same() {
    let scene = Scene::connected("nonrotating").await;
    scene.wait(3600);
    let throttled = Answer::new(429, "application/json", r#"{"error":"slow_down"}"#).header("retry-after", "1800");
    scene.provider.always(TOKEN, throttled);
    scene.kv.next_grant_commit(Fate::Conflict);
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 503);
    assert!(scene.kv.has_met_its_fate());
    scene.wait(1799);
    assert_eq!((scene.tenant.try_token("fake", "alice").await.0, scene.provider.refreshes()), (503, 1));
    scene.wait(2);
    scene.tenant.try_token("fake", "alice").await;
    assert_eq!(scene.provider.refreshes(), 2);
}

/// A flight whose end could not be written leaves its intent: a strict family is not asked again while
/// its access token lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_intent_left_behind_rests_a_strict_family() {
    let scene = Scene::connected("rotate_strict").await;
    scene.provider.next(TOKEN, Act::Close);
    scene.kv.next_grant_commit(Fate::Unavailable);
    let (status, said) = forced(&scene.tenant).await.unwrap();
    assert_eq!((status, said["warning"].as_str()), (200, Some("refresh_failing")), "{said}");
    assert!(scene.kv.has_met_its_fate());
    scene.wait(3000);
    let (status, said) = forced(&scene.tenant).await.unwrap();
    assert_eq!((status, said["warning"].as_str(), scene.provider.refreshes()), (200, Some("refresh_failing"), 1), "{said}");
    scene.wait(600);
    assert_eq!((scene.tenant.try_token("fake", "alice").await.0, scene.provider.refreshes()), (200, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_whose_answer_is_lost_for_good_doubles_nothing() {
    let scene = Scene::connected("rotate_strict").await;
    scene.wait(3600);
    scene.kv.next_grant_commit(Fate::AnswerLost);
    let call = forced(&scene.tenant);
    let (status, said) = passing(&scene.clock, BOTH, call).await;
    assert_eq!((status, said["generation"].as_u64()), (200, Some(2)), "{said}");
    assert_eq!(scene.history().await, ["connection.refreshed", "connection.created"]);
    assert_eq!(scene.provider.refreshes(), 1);
}

/// What was received is in the journal before anybody sees it: with the store away this node answers with it,
/// and the store has it as soon as it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_answers_from_its_journal_while_the_store_is_away() {
    let scene = Scene::connected("rotate_strict").await;
    let gate = scene.holds_refreshes();
    let call = forced(&scene.tenant);
    gate.reached_by(1).await;
    scene.kv.set_down(true);
    gate.open();
    assert_eq!(call.await.unwrap().1["access_token"], "at-new", "whoever waited for the refresh");
    for _ in 0..2 {
        let (status, said) = scene.tenant.try_token("fake", "alice").await;
        assert_eq!(
            (status, said["access_token"].as_str(), said["generation"].as_u64()),
            (200, Some("at-new"), Some(2)),
            "{said}"
        );
        // Longer than what was read is trusted.
        scene.wait(2);
    }
    scene.kv.set_down(false);
    // Another node reads the store, and sees the tokens once they are there.
    let (_second, other, _) = scene.second_node().await;
    let committed = tokio::spawn(async move {
        while other.try_token("fake", "alice").await.1["access_token"] != "at-new" {
            tokio::task::yield_now().await;
        }
    });
    passing(&scene.clock, FLIGHT, committed).await;
    assert_eq!(scene.provider.refreshes(), 1);
}

/// A caller whose patience ends is not served what was revoked, or whose integration was disabled,
/// while it waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_cut_off_while_waiting_is_not_served() {
    for (path, code) in [("/revoke-connection", "connection_not_found"), ("/disable-provider", "integration_not_found")] {
        for answered in [false, true] {
            let scene = Scene::connected("rotate_strict").await;
            let gate = scene.holds_refreshes();
            let call = forced(&scene.tenant);
            gate.reached_by(1).await;
            scene.tenant.ok(path, json!({ "provider": "fake", "end_user_id": "alice" })).await;
            if answered {
                gate.open();
            }
            let (status, said) = if answered { call.await.unwrap() } else { passing(&scene.clock, CALLER, call).await };
            assert_eq!((status, said["code"].as_str()), (404, Some(code)), "{path} {answered}: {said}");
        }
    }
}

/// Late tokens of a connection that is gone are ended at the provider, and stored nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_revives_what_was_revoked() {
    let scene = Scene::connected("rotate_strict").await;
    let gate = scene.holds_refreshes();
    let call = forced(&scene.tenant);
    gate.reached_by(1).await;
    scene.tenant.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "alice" })).await;
    gate.open();
    assert_eq!(call.await.unwrap().0, 404);
    let revoked: Vec<_> = scene.provider.seen(REVOKE).iter().map(|seen| seen.field("token").unwrap()).collect();
    assert_eq!(revoked, ["rt-2", "rt-new"]);
    assert_eq!(scene.tenant.get("/connections").await.1["connections"], json!([]));
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 404);
}

/// A stop waits for flights, and not for ever for a store that does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_ends_though_the_store_is_away() {
    let scene = Scene::connected("rotate_strict").await;
    let gate = scene.holds_refreshes();
    let call = forced(&scene.tenant);
    gate.reached_by(1).await;
    call.abort();
    scene.kv.set_down(true);
    gate.open();
    let stopping = tokio::spawn(scene.app.stop());
    let deadline = async {
        while !stopping.is_finished() {
            scene.clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), deadline).await.expect("the stop ends");
    stopping.await.unwrap();
}

/// A stale read must not bury what is newer, and what is newer must not stand for ever: versions begin
/// anew once a tombstone has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_sees_a_connection_that_was_made_anew_after_its_tombstone() {
    let scene = Scene::connected("nonrotating").await;
    let (_second, other, _) = scene.second_node().await;
    assert_eq!(other.try_token("fake", "alice").await.0, 200);
    scene.tenant.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "alice" })).await;
    scene.wait(2);
    assert_eq!(other.try_token("fake", "alice").await.0, 404);
    scene.wait(31 * 86_400);
    let import = json!({ "provider": "fake", "end_user_id": "alice", "access_token": "anew", "expires_in": 3600 });
    assert_eq!(scene.tenant.post("/import-connection", import).await.0, 201);
    let (status, said) = other.try_token("fake", "alice").await;
    assert_eq!((status, said["access_token"].as_str()), (200, Some("anew")), "{said}");
}

/// A refresh token's class changes nothing about this: what an older generation left is not held
/// against the next one, so that one false refusal does not end a grant.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refusal_is_forgotten_with_its_generation() {
    let scene = Scene::connected("rotate_plain").await;
    for _ in 0..2 {
        scene.wait(3600);
        scene.provider.next(TOKEN, Act::oauth_error(400, "invalid_grant"));
        assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 503);
        scene.wait(31);
        assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 200);
    }
}

/// A read that began before a commit ends after it: this node serves what was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_late_read_buries_nothing_newer() {
    let scene = Scene::connected("rotate_strict").await;
    scene.wait(2);
    let gate = Gate::new();
    scene.kv.hold_read(1, &gate);
    let late = tokio::spawn({
        let tenant = scene.tenant.clone();
        async move { tenant.token("fake", "alice").await }
    });
    gate.reached_by(1).await;
    let (_, new) = forced(&scene.tenant).await.unwrap();
    assert_eq!(new["generation"], 2);
    gate.open();
    assert_eq!(late.await.unwrap()["access_token"], new["access_token"]);
    assert_eq!(scene.tenant.token("fake", "alice").await["access_token"], new["access_token"]);
}

/// I14: where the provider may have rotated, a lost answer is said, and the next success ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_answer_leaves_a_grant_in_doubt() {
    let scene = Scene::connected("rotate_strict").await;
    scene.wait(1);
    scene.provider.next(TOKEN, Act::Close);
    assert_eq!(forced(&scene.tenant).await.unwrap().1["warning"], "refresh_failing");
    let status = || async { text(&scene.tenant.get("/connections").await.1["connections"][0]["status"]) };
    assert_eq!((status().await.as_str(), scene.history().await[0].as_str()), ("in_doubt", "connection.in_doubt"));
    scene.wait(3600);
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 200);
    assert_eq!(status().await, "active");
}
