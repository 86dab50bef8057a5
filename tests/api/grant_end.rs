//! Grants that end though they are refreshed in time: it is told beforehand, once as an event, and stops nothing.

use std::time::{Duration, Instant};

use claviger::ports::clock::Clock as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::provider_file;
use crate::world::{Setup, Tenant, TestApp, text};

const DAY: u64 = 86_400;

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    began: Timestamp,
}

impl Scene {
    /// Alice has connected. Each answer of the provider gives its refresh token so many days, where it says it.
    async fn new(refresh: &str, days: Option<u64>) -> Self {
        let provider = FakeProvider::start().await;
        if let Some(days) = days {
            let tokens = json!({ "access_token": "at", "refresh_token": "rt", "expires_in": 3_600, "refresh_token_expires_in": days * DAY });
            provider.always(TOKEN, Act::json(200, &tokens));
        }
        let file = provider_file::with_refresh("Fake", &provider.url(""), refresh);
        let app = TestApp::with(Setup { providers: vec![("fake", file)], ..Setup::default() }).await;
        let began = app.clock.now();
        let tenant = app.connected().await;
        Self { app, tenant, provider, began }
    }

    fn after(&self, days: u64) -> String {
        (self.began + SignedDuration::from_secs((days * DAY) as i64)).to_string()
    }

    async fn served(&self) -> Value {
        self.tenant.token("fake", "alice").await
    }

    /// As the list and the connection by itself show it, which are of one mind.
    async fn shown(&self) -> Value {
        let (_, listed) = self.tenant.get("/connections?end_user_id=alice").await;
        let listed = &listed["connections"][0];
        let (_, alone) = self.tenant.get(&format!("/connections/{}", text(&listed["id"]))).await;
        assert_eq!(alone["grant_ends_at"], listed["grant_ends_at"]);
        alone
    }

    async fn told(&self) -> Vec<Value> {
        let shown = self.shown().await;
        let history = shown["history"].as_array().expect("a history").iter();
        history.filter(|event| event["kind"] == "connection.reauthorization_due").cloned().collect()
    }

    async fn tells(&self, times: usize) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while self.told().await.len() != times {
            assert!(Instant::now() < give_up, "{:?}", self.told().await);
            // What could not be noted is noted with a later fetch.
            self.app.clock.advance(Duration::from_secs(61));
            self.served().await;
        }
    }

    fn pass(&self, seconds: u64) {
        self.app.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_by_the_providers_rule_is_told_a_week_before_and_stops_nothing() {
    let scene = Scene::new("class = \"nonrotating\"\nmax_age = \"90d\"", None).await;
    assert_eq!(scene.shown().await["grant_ends_at"], json!(scene.after(90)));
    scene.pass(83 * DAY - 60);
    let served = scene.served().await;
    assert_eq!((&served["warning"], &served["grant_ends_at"]), (&Value::Null, &json!(scene.after(90))));
    assert_eq!(scene.told().await.len(), 0);
    scene.pass(60);
    for _ in 0..3 {
        assert_eq!(scene.served().await["warning"], "reauthorization_due");
    }
    scene.tells(1).await;
    assert!(text(&scene.told().await[0]["detail"]).contains(&scene.after(90)));
    let before = scene.provider.refreshes();
    scene.pass(10 * DAY);
    let late = scene.served().await;
    assert_eq!((&late["warning"], &late["expires_in"]), (&json!("reauthorization_due"), &json!(3_600)));
    assert_eq!(scene.provider.refreshes(), before + 1, "it is the provider that ends a grant");
    for _ in 0..3 {
        scene.pass(DAY);
        scene.served().await;
        assert_eq!(scene.served().await["warning"], "reauthorization_due");
    }
    assert_eq!((scene.told().await.len(), &scene.shown().await["status"]), (1, &json!("active")));
}

/// A new consent begins a new life.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_consent_moves_the_end() {
    let scene = Scene::new("class = \"nonrotating\"\nmax_age = \"90d\"", None).await;
    scene.pass(85 * DAY);
    assert_eq!(scene.served().await["warning"], "reauthorization_due");
    scene.tells(1).await;
    let since = scene.app.clock.now();
    let page = crate::world::Browser::default().connect_at_once(&scene.tenant.link("fake", "alice").await).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let end = since + SignedDuration::from_secs((90 * DAY) as i64);
    let served = scene.served().await;
    assert_eq!((&served["warning"], &served["grant_ends_at"]), (&Value::Null, &json!(end.to_string())));
    scene.pass(86 * DAY);
    scene.served().await;
    scene.tells(2).await;
}

/// The end that the provider names for the refresh token counts where it comes first, and a short life is told late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_earlier_end_counts() {
    let scene = Scene::new("class = \"nonrotating\"\nmax_age = \"90d\"", Some(30)).await;
    // From now on a refresh brings no refresh token, so that the first one and its end stay.
    scene.provider.always(TOKEN, Act::json(200, &json!({ "access_token": "at", "expires_in": 3_600 })));
    assert_eq!(scene.shown().await["grant_ends_at"], json!(scene.after(30)));
    scene.pass(26 * DAY);
    assert_eq!(scene.served().await["warning"], Value::Null, "three days are a tenth of its life");
    scene.pass(DAY);
    assert_eq!(scene.served().await["warning"], "reauthorization_due");
}

/// Each use of it brings another with an end of its own, which is moved as long as it is used: what counts is that one's
/// life, however old the consent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_that_each_refresh_moves_is_not_warned_of() {
    let scene = Scene::new("class = \"rotate_plain\"", None).await;
    let tokens =
        json!({ "access_token": "at", "refresh_token": "rt", "expires_in": 26 * DAY, "refresh_token_expires_in": 30 * DAY });
    scene.provider.always(TOKEN, Act::json(200, &tokens));
    let forced = json!({ "provider": "fake", "end_user_id": "alice", "force_refresh": true });
    for round in 0..6 {
        scene.tenant.ok("/get-access-token", forced.clone()).await;
        let refreshed = scene.app.clock.now();
        // Six days are left, of thirty.
        scene.pass(24 * DAY - 3_600 * 20);
        let served = scene.served().await;
        let end = refreshed + SignedDuration::from_secs((30 * DAY) as i64);
        assert_eq!((&served["warning"], &served["grant_ends_at"]), (&Value::Null, &json!(end.to_string())), "{round}");
    }
    scene.tells(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_nobody_set_an_end_none_is_shown() {
    let scene = Scene::new("class = \"nonrotating\"", None).await;
    assert_eq!(scene.shown().await["grant_ends_at"], Value::Null);
    scene.pass(1_000 * DAY);
    let served = scene.served().await;
    assert!(served.get("grant_ends_at").is_none() && served.get("warning").is_none(), "{served}");
}
