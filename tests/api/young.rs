//! Providers that refuse to refresh a token while it is young (`min_age`), where there is a refresh token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::sweep::{Scene, setup};

const LIFE: u64 = 4 * 3_600;
/// Well below what is left of a token that is not served as good any more.
const LEFT: u64 = 10;

/// Ada's token lives for `life`, counted by the import; each later one for four hours.
async fn scene(proactive: &'static str, life: u64) -> Scene {
    let provider = FakeProvider::start().await;
    let next = json!({ "access_token": "next", "token_type": "Bearer", "expires_in": LIFE, "refresh_token": "rt-2" });
    provider.always(TOKEN, Act::json(200, &next));
    let refresh = format!("class = \"rotate_plain\"\nmin_age = \"{}s\"", LIFE - LEFT);
    let setup = setup(&provider, &refresh, &[("refresh.proactive", proactive)]);
    let scene = Scene::of(provider, setup).await;
    let ada =
        json!({ "provider": "fake", "end_user_id": "ada", "access_token": "first", "refresh_token": "rt-1", "expires_in": life });
    scene.tenant.ok("/import-connection", ada).await;
    scene
}

/// Which token is served, and with what warning.
async fn asked(scene: &Scene, more: Value) -> (String, Option<String>) {
    let mut body = json!({ "provider": "fake", "end_user_id": "ada" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let said = scene.tenant.ok("/get-access-token", body).await;
    (said["access_token"].as_str().unwrap().to_owned(), said["warning"].as_str().map(str::to_owned))
}

fn served(token: &str, warning: Option<&str>) -> (String, Option<String>) {
    (token.to_owned(), warning.map(str::to_owned))
}

/// With ten seconds left, and not with eleven: by force, for a longer life, or because it is about to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_caller_has_a_young_token_refreshed() {
    for how in [json!({}), json!({ "force_refresh": true }), json!({ "min_ttl": 3_600 })] {
        let (scene, mut passed) = (scene("false", LIFE).await, 0);
        let mut pass_until = |left: u64| {
            scene.app.clock.advance(Duration::from_secs(LIFE - left - passed));
            passed = LIFE - left;
        };
        let forced = how["force_refresh"] == true;
        for left in [LIFE / 2, 1_500, 1_000, 100, 50, LEFT + 1] {
            pass_until(left);
            let fresh = left > 1_440 && !forced && (how["min_ttl"].is_null() || left > 3_600);
            let warning = if forced { "recently_refreshed" } else { "expires_soon" };
            assert_eq!(asked(&scene, how.clone()).await, served("first", (!fresh).then_some(warning)), "{how} {left}");
        }
        assert_eq!(scene.provider.refreshes(), 0, "{how}");
        pass_until(LEFT);
        assert_eq!(asked(&scene, how.clone()).await, served("next", None), "{how}");
        assert_eq!(scene.provider.refreshes(), 1, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sweep_leaves_a_young_token_alone() {
    let scene = scene("true", LIFE).await;
    scene.pass(LIFE - 600).await;
    assert_eq!(scene.provider.refreshes(), 0, "by its life alone it was due an hour ago");
    scene.pass(600).await;
    assert_eq!(scene.provider.refreshes(), 1);
}

/// One that was imported with little life left has no successor of its age to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_has_ended_is_refreshed_at_any_age() {
    let scene = scene("false", 60).await;
    scene.app.clock.advance(Duration::from_secs(59));
    assert_eq!(asked(&scene, json!({})).await, served("first", Some("expires_soon")));
    scene.app.clock.advance(Duration::from_secs(1));
    assert_eq!(asked(&scene, json!({})).await, served("next", None));
}
