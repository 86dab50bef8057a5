//! Refreshing before anybody asks: when, for whom, how fast, and what it leaves alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::adapters::memory::MemoryKv;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::clock::TestClock;
use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::provider_file;
use crate::world::{Setup, Tenant, TestApp, client, text};

const DAY: u64 = 86_400;
const STEP: u64 = 10 * DAY;

/// A node whose sweep runs, and one provider.
pub struct Scene {
    pub app: TestApp,
    pub tenant: Tenant,
    pub provider: FakeProvider,
}

impl Scene {
    async fn with(refresh: &str, settings: &[(&'static str, &str)]) -> Self {
        let provider = FakeProvider::start().await;
        let setup = setup(&provider, refresh, settings);
        Self::of(provider, setup).await
    }

    pub async fn of(provider: FakeProvider, setup: Setup) -> Self {
        let app = TestApp::with(setup).await;
        let tenant = app.tenant("dev@acme.example").await;
        tenant.enable("fake", "read").await;
        Self { app, tenant, provider }
    }

    async fn import(&self, end_user: &str, life: u64) {
        import(&self.tenant, end_user, Some(life)).await;
    }

    /// Moves on by so much, in steps of ten days, so that the sweep sees each.
    pub async fn pass(&self, seconds: u64) {
        for _ in 0..seconds / STEP {
            self.app.clock.advance(Duration::from_secs(STEP));
            self.idle().await;
        }
        self.app.clock.advance(Duration::from_secs(seconds % STEP));
        self.idle().await;
    }

    /// Returns when the sweep has looked everywhere and nothing that is due is left.
    pub async fn idle(&self) {
        self.reaches("nothing due", |metrics| metrics["claviger_sweep_due"] == 0.0).await;
    }

    /// Lets time pass, a tick and a look at the least, until the metrics say so.
    async fn reaches(&self, what: &str, enough: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
        let give_up = Instant::now() + Duration::from_secs(30);
        let mut looks = 0;
        loop {
            // The index is looked at anew at least every 30 s.
            for _ in 0..8 {
                self.app.clock.advance(Duration::from_secs(5));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let metrics = metrics(&self.app).await;
            looks += 1;
            if looks > 2 && enough(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < give_up, "{what}: {metrics:?}");
        }
    }
}

pub fn setup(provider: &FakeProvider, refresh: &str, settings: &[(&'static str, &str)]) -> Setup {
    let file = provider_file::with_refresh("Fake", &provider.url(""), refresh);
    let mut all = vec![("refresh.proactive", "true".to_owned()), ("server.ops_listen", "127.0.0.1:0".to_owned())];
    all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Setup { providers: vec![("fake", file)], settings: all, ..Setup::default() }
}

async fn import(tenant: &Tenant, end_user: &str, life: Option<u64>) {
    let body = json!({ "provider": "fake", "end_user_id": end_user, "access_token": format!("at-of-{end_user}"),
        "refresh_token": format!("rt-of-{end_user}"), "expires_in": life });
    let (status, said) = tenant.post("/import-connection", body).await;
    assert_eq!(status, 201, "{said}");
}

async fn metrics(app: &TestApp) -> BTreeMap<String, f64> {
    let url = format!("{}/metrics", app.ops.as_ref().expect("an operator's listener"));
    let page = client().get(url).send().await.expect("an answer").text().await.expect("a body");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap()).collect()
}

/// Who was refreshed, in order: by the refresh token that was sent.
fn refreshed(provider: &FakeProvider) -> Vec<String> {
    provider.seen(TOKEN).iter().filter_map(|seen| seen.field("refresh_token")).collect()
}

/// A token of an hour ages 6 min before its end, and is refreshed up to 12 min earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_is_refreshed_before_it_ages_though_nobody_asks() {
    let scene = Scene::with("class = \"nonrotating\"", &[]).await;
    scene.import("ada", 4 * 3600).await;
    scene.pass(4 * 3600 * 70 / 100 - 200).await;
    assert_eq!(refreshed(&scene.provider), Vec::<String>::new(), "it is fresh");
    scene.pass(4 * 3600 * 20 / 100 + 200).await;
    assert_eq!(refreshed(&scene.provider), ["rt-of-ada"]);
    let served = scene.tenant.token("fake", "ada").await;
    assert_eq!((served["generation"].as_u64(), served["warning"].as_str()), (Some(2), None), "nobody had to wait");
    assert_eq!(scene.provider.refreshes(), 1);
}

/// A grant is kept fresh for those who use it; after that only as long as an unused refresh token would die.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_fetches_nothing_is_left_alone_but_not_to_die() {
    for (refresh, least, most) in [("class = \"nonrotating\"", 0, 0), ("class = \"nonrotating\"\nidle_max = \"60d\"", 2, 3)] {
        let scene = Scene::with(refresh, &[("refresh.proactive_days", "1")]).await;
        scene.import("ada", 5 * DAY).await;
        scene.pass(140 * DAY).await;
        let count = scene.provider.refreshes();
        assert!((least..=most).contains(&count), "{refresh}: {count}");
    }
}

/// A fetch makes it one of those that are kept fresh; it is written down aside and once a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fetch_is_remembered_to_the_day() {
    let scene = Scene::with("class = \"nonrotating\"", &[("refresh.proactive_days", "2")]).await;
    scene.import("ada", 5 * DAY).await;
    scene.import("bob", 5 * DAY).await;
    scene.pass(3 * DAY).await;
    let last_fetched = async || {
        let (_, listed) = scene.tenant.get("/connections?end_user_id=ada").await;
        text(&listed["connections"][0]["last_fetched_at"])
    };
    let (imported, give_up) = (last_fetched().await, Instant::now() + Duration::from_secs(30));
    scene.tenant.token("fake", "ada").await;
    while last_fetched().await == imported {
        assert!(Instant::now() < give_up, "the fetch is noted aside");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let noted = last_fetched().await;
    scene.tenant.token("fake", "ada").await;
    // Due by now, whatever the jitter: with half a day left.
    scene.pass(DAY * 3 / 2).await;
    assert_eq!((refreshed(&scene.provider), last_fetched().await), (vec!["rt-of-ada".to_owned()], noted));
}

/// Where a refresh kills the access token that clients hold, it is made when that is of no use any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_kills_the_access_token_comes_late() {
    let scene = Scene::with("class = \"rotate_plain\"\nkills_access = true", &[]).await;
    scene.import("ada", 10 * 3600).await;
    scene.pass(10 * 3600 - 600).await;
    assert_eq!(scene.provider.refreshes(), 0, "clients still use it");
    scene.pass(600).await;
    assert_eq!(scene.provider.refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_gone_or_over_is_not_due() {
    let scene = Scene::with("class = \"nonrotating\"", &[]).await;
    for end_user in ["gone", "over", "off"] {
        scene.import(end_user, 3600).await;
    }
    scene.tenant.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "gone" })).await;
    scene.tenant.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "off" })).await;
    scene.provider.always(TOKEN, Act::oauth_error(400, "invalid_grant"));
    scene.app.clock.advance(Duration::from_secs(3600));
    scene.idle().await;
    assert_eq!(refreshed(&scene.provider), ["rt-of-over", "rt-of-over"], "asked, and asked again to be sure");
    scene.pass(3 * DAY).await;
    assert_eq!(scene.provider.refreshes(), 2);
    assert_eq!(scene.tenant.try_token("fake", "over").await.0, 409);
}

/// A failure is tried again by its backoff; the backlog tells of it until it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_fails_stays_due_until_it_is_refreshed() {
    let scene = Scene::with("class = \"nonrotating\"", &[]).await;
    scene.import("ada", 3600).await;
    scene.provider.always(TOKEN, Act::oauth_error(429, "slow_down"));
    scene.app.clock.advance(Duration::from_secs(3600));
    let seen = scene.reaches("a failure", |metrics| metrics["claviger_sweep_failed_total"] >= 2.0).await;
    assert_eq!(seen["claviger_sweep_due"], 1.0);
    // Due at 10 % of its life before its end, and by jitter up to 20 % before that.
    assert!(seen["claviger_sweep_oldest_due_seconds"] >= 360.0, "{seen:?}");
    assert!(seen["claviger_refresh_answers_total{class=\"throttled\"}"] >= 2.0 && seen["claviger_providers_slowed"] == 1.0);
    let fresh: Value =
        json!({ "access_token": "at-new", "token_type": "Bearer", "expires_in": 86_400, "refresh_token": "rt-new" });
    scene.provider.always(TOKEN, Act::json(200, &fresh));
    scene.idle().await;
    assert_eq!(text(&scene.tenant.token("fake", "ada").await["access_token"]), "at-new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_sweep_starts_nothing_and_says_what_is_due() {
    let scene = Scene::with("class = \"nonrotating\"", &[("refresh.proactive", "false")]).await;
    scene.import("ada", 3600).await;
    scene.app.clock.advance(Duration::from_secs(3600));
    let seen = scene.reaches("a backlog", |metrics| metrics["claviger_sweep_due"] == 1.0).await;
    assert_eq!((seen["claviger_sweep_paused"], scene.provider.refreshes()), (1.0, 0));
    assert_eq!(scene.tenant.token("fake", "ada").await["generation"], 2, "who asks is served all the same");
}

/// 2,000 that expire in one second: each is refreshed once, and at no moment had the provider been asked more often
/// than its file allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_expires_together_comes_at_the_providers_pace() {
    const COUNT: usize = 2_000;
    const RATE: usize = 400;
    let clock = TestClock::new();
    let kv = Arc::new(MemoryKv::new(clock.clone()));
    let provider = FakeProvider::start().await;
    let refresh = format!("class = \"rotate_strict\"\nrate = \"{RATE}/s\"");
    let on = |settings: &[(&'static str, &str)]| {
        let usual = setup(&provider, &refresh, settings);
        Setup { clock: Some(clock.clone()), kv: Some(kv.clone()), ..usual }
    };
    let before = TestApp::with(on(&[("refresh.proactive", "false")])).await;
    let tenant = before.tenant("dev@acme.example").await;
    tenant.enable("fake", "read").await;
    let mut imports = JoinSet::new();
    for n in 0..COUNT {
        if imports.len() >= 32 {
            imports.join_next().await.unwrap().unwrap();
        }
        let tenant = tenant.clone();
        imports.spawn(async move { import(&tenant, &format!("user-{n}"), Some(3600)).await });
    }
    imports.join_all().await;
    let key = before.master_key_file();
    clock.advance(Duration::from_secs(3600));
    let app = TestApp::with(on(&[("keys.master_file", &key)])).await;
    let (mut passed, give_up) = (Duration::ZERO, Instant::now() + Duration::from_secs(240));
    while provider.count(TOKEN) < COUNT {
        let step = Duration::from_millis(50);
        clock.advance(step);
        passed += step;
        let allowed = RATE + RATE * usize::try_from(passed.as_millis()).unwrap() / 1_000;
        let wait = Instant::now() + Duration::from_millis(100);
        while provider.count(TOKEN) < allowed.min(COUNT) && Instant::now() < wait {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let asked = provider.count(TOKEN);
        assert!(asked <= allowed, "{asked} in {passed:?}");
        assert!(Instant::now() < give_up, "{asked} in {passed:?}");
    }
    let tokens: std::collections::BTreeSet<_> = refreshed(&provider).into_iter().collect();
    assert_eq!((tokens.len(), provider.refreshes()), (COUNT, COUNT));
    assert_eq!(metrics(&app).await["claviger_refresh_answers_total{class=\"success\"}"], COUNT as f64);
    drop(before);
}
