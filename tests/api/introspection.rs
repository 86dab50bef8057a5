//! Providers whose answers do not say how long a token lives: they are asked when the end user connects, and what they
//! tell holds for every later token.

use std::time::Duration;

use claviger::ports::clock::Clock as _;
use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Page, Setup, Tenant, TestApp};

const INTROSPECT: &str = "/introspect";
const ASSUMED: u64 = 7_200;

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
}

impl Scene {
    /// The provider's answers name no life, and its file assumes two hours.
    async fn new() -> Self {
        let provider = FakeProvider::start().await;
        for n in 1..=4 {
            let tokens = json!({ "access_token": format!("at-{n}"), "token_type": "Bearer", "refresh_token": "rt" });
            provider.next(TOKEN, Act::json(200, &tokens));
        }
        let asks = r#"
[response]
expires_default = "2h"
[introspect]
url = "{here}/introspect"
[[test]]
step = "introspect"
request.url = "http://127.0.0.1:1/introspect"
request.form = { token = "ACCESS", token_type_hint = "access_token", client_id = "CLIENT", client_secret = "SECRET" }
answer = '{"active":true,"exp":1795000900}'
expect = { expires_in = 900 }
"#;
        let file = format!("{}{asks}", provider_file::of_class("Fake", &provider.url(""), "nonrotating"));
        let app = TestApp::with(Setup { providers: vec![("fake", file)], ..Setup::default() }).await;
        let tenant = app.tenant("dev@acme.example").await;
        tenant.enable("fake", "read").await;
        Self { app, tenant, provider }
    }

    /// What is tried again is tried after a pause, for which the clock has to move.
    async fn connect(&self, end_user: &str) -> Page {
        let (browser, link) = (Browser::default(), self.tenant.link("fake", end_user).await);
        let time = async {
            loop {
                self.app.clock.advance(Duration::from_millis(50));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            page = browser.connect_at_once(&link) => page,
            () = time => unreachable!("time has no end"),
        }
    }

    async fn connected(&self, end_user: &str) {
        let page = self.connect(end_user).await;
        assert_eq!(page.status, 200, "{}", page.body);
    }

    /// The life of the token that is served now, as told when it was new.
    async fn life(&self, end_user: &str) -> (String, u64) {
        let served = self.tenant.token("fake", end_user).await;
        (served["access_token"].as_str().unwrap().to_owned(), served["expires_in"].as_u64().unwrap())
    }

    fn lives(&self, seconds: i64) -> Value {
        json!({ "active": true, "exp": self.app.clock.now().as_second() + seconds })
    }
}

/// Less the moments that connecting took.
#[track_caller]
fn about(life: u64, expected: u64) {
    assert!(life <= expected && life + 30 >= expected, "{life} is not about {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_short_life_is_asked_for_once_and_holds_for_every_refresh() {
    let scene = Scene::new().await;
    scene.provider.always(INTROSPECT, Act::json(200, &scene.lives(900)));
    scene.connected("alice").await;
    let asked = &scene.provider.seen(INTROSPECT)[0];
    let sent = ["token", "token_type_hint", "client_secret"].map(|name| asked.field(name).unwrap_or_default());
    assert_eq!((asked.method.as_str(), sent), ("POST", ["at-1", "access_token", "s3cret"].map(str::to_owned)));
    let (first, life) = scene.life("alice").await;
    assert_eq!(first, "at-1");
    about(life, 900);
    for next in ["at-2", "at-3"] {
        // Less than its floor is left, of which the file's two hours know nothing.
        scene.app.clock.advance(Duration::from_secs(870));
        let (served, life) = scene.life("alice").await;
        assert_eq!(served, next, "a token of 15 minutes was served dead");
        about(life, 900);
    }
    assert_eq!(scene.provider.count(INTROSPECT), 1, "a refresh waits for no second call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_does_not_tell_leaves_what_the_file_assumes() {
    let untold = [
        Act::json(500, &json!({})),
        Act::oauth_error(401, "invalid_client"),
        Act::html(404, "<h1>no such page</h1>"),
        Act::json(200, &json!({ "active": true })),
        Act::json(200, &json!({ "active": true, "exp": 1 })),
        Act::Close,
    ];
    let scene = Scene::new().await;
    for n in 5..=6 {
        scene.provider.next(TOKEN, Act::json(200, &json!({ "access_token": format!("at-{n}"), "token_type": "Bearer" })));
    }
    for (n, act) in (1..).zip(untold) {
        let end_user = format!("user-{n}");
        scene.provider.always(INTROSPECT, act);
        scene.connected(&end_user).await;
        let (served, life) = scene.life(&end_user).await;
        assert_eq!(served, format!("at-{n}"));
        about(life, ASSUMED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_is_said_to_be_dead_twice_ends_the_flow() {
    let scene = Scene::new().await;
    let inactive = || Act::json(200, &json!({ "active": false }));
    scene.provider.next(INTROSPECT, inactive()).next(INTROSPECT, inactive());
    let page = scene.connect("alice").await;
    assert!(page.status >= 400, "{}", page.body);
    assert_eq!(scene.tenant.try_token("fake", "alice").await.1["code"], "connection_not_found");
    // Said once, it may not have come round yet at the provider.
    scene.provider.next(INTROSPECT, inactive()).next(INTROSPECT, Act::json(200, &scene.lives(1_800)));
    scene.connected("alice").await;
    about(scene.life("alice").await.1, 1_800);
    scene.provider.next(INTROSPECT, inactive()).next(INTROSPECT, Act::Close);
    scene.connected("grace").await;
    about(scene.life("grace").await.1, ASSUMED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_names_the_life_is_not_asked() {
    let scene = Scene::new().await;
    let told = json!({ "access_token": "told", "token_type": "Bearer", "refresh_token": "rt", "expires_in": 600 });
    for _ in 0..4 {
        scene.provider.next(TOKEN, Act::json(200, &told));
    }
    // The four that do not tell are used up first.
    scene.provider.always(INTROSPECT, Act::json(200, &scene.lives(900)));
    for _ in 0..4 {
        scene.connected("alice").await;
    }
    assert_eq!(scene.provider.count(INTROSPECT), 4);
    scene.connected("alice").await;
    let (served, life) = scene.life("alice").await;
    assert_eq!((served.as_str(), scene.provider.count(INTROSPECT)), ("told", 4));
    about(life, 600);
}
