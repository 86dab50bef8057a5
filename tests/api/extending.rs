//! Tokens that extend themselves: there is no refresh token, and what has ended can be extended no more.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::sweep::{Scene, setup};
use crate::world::text;

const DAY: u64 = 86_400;
const EXTENDS: &str = "class = \"nonrotating\"\nwith = \"access_token\"\nmin_age = \"24h\"\nparams = { grant_type = \"extend\", token = \"{access_token}\" }";

/// Nobody's tokens are kept fresh for having been fetched, where `proactive_days` is 1.
async fn scene(settings: &[(&'static str, &str)]) -> Scene {
    let provider = FakeProvider::start().await;
    provider.always(TOKEN, Act::json(200, &json!({ "access_token": "longer", "token_type": "Bearer", "expires_in": 60 * DAY })));
    let mut setup = setup(&provider, EXTENDS, settings);
    let (_, file) = &mut setup.providers[0];
    *file = file
        .replace("grant_type = \"refresh_token\", refresh_token = \"REFRESH\"", "grant_type = \"extend\", token = \"ACCESS\"");
    Scene::of(provider, setup).await
}

async fn import(scene: &Scene, life: Option<u64>) {
    let body = json!({ "provider": "fake", "end_user_id": "ada", "access_token": "first", "expires_in": life });
    let (status, said) = scene.tenant.post("/import-connection", body).await;
    assert_eq!((status, &said["token_sets"]["default"]["refreshable"]), (201, &json!(true)), "{said}");
}

/// The tokens that were sent to be extended.
fn extended(scene: &Scene) -> Vec<String> {
    scene.provider.seen(TOKEN).iter().filter_map(|seen| seen.field("token")).collect()
}

async fn forced(scene: &Scene) -> Value {
    let body = json!({ "provider": "fake", "end_user_id": "ada", "force_refresh": true });
    scene.tenant.ok("/get-access-token", body).await
}

/// Its own end is what it would die of, so that it is extended in time whether or not anybody fetches it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_extended_before_its_end_though_nobody_asks() {
    let scene = scene(&[("refresh.proactive_days", "1")]).await;
    import(&scene, Some(60 * DAY)).await;
    scene.pass(50 * DAY).await;
    assert_eq!(extended(&scene), Vec::<String>::new(), "it is fresh, and nobody fetches it");
    scene.pass(5 * DAY).await;
    assert_eq!(extended(&scene), ["first"]);
    scene.pass(46 * DAY).await;
    for _ in 0..10 {
        scene.pass(DAY).await;
    }
    assert_eq!(extended(&scene), ["first", "longer"]);
    assert_eq!(scene.tenant.token("fake", "ada").await["access_token"], "longer");
}

/// Who fetches is served a token that has not begun to age.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_kept_fresh_for_who_fetches_it_and_never_asked_for_too_early() {
    let scene = scene(&[]).await;
    // By its life alone it would be due after 17 to 22 hours.
    import(&scene, Some(25 * 3_600)).await;
    scene.pass(DAY - 1_800).await;
    assert_eq!(extended(&scene), Vec::<String>::new(), "the provider refuses to extend so young a token");
    scene.pass(2_400).await;
    assert_eq!(extended(&scene), ["first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_forced_refresh_that_comes_too_early_calls_nobody() {
    let scene = scene(&[("refresh.proactive", "false")]).await;
    import(&scene, Some(60 * DAY)).await;
    scene.pass(DAY - 3_600).await;
    let early = forced(&scene).await;
    assert_eq!((early["access_token"].as_str(), early["warning"].as_str()), (Some("first"), Some("recently_refreshed")));
    let body = json!({ "provider": "fake", "end_user_id": "ada", "min_ttl": 60 * DAY - 3_600 });
    assert_eq!(scene.tenant.ok("/get-access-token", body).await["warning"], "expires_soon");
    assert_eq!(extended(&scene), Vec::<String>::new());
    scene.pass(3_600).await;
    let late = forced(&scene).await;
    assert_eq!((late["access_token"].as_str(), late["generation"].as_u64()), (Some("longer"), Some(2)));
    assert_eq!(extended(&scene), ["first"]);
}

/// What has ended is not sent: the connection says that it is over, why, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_has_ended_needs_the_end_user_again() {
    let scene = scene(&[("refresh.proactive", "false")]).await;
    import(&scene, Some(2 * DAY)).await;
    assert_eq!(scene.tenant.token("fake", "ada").await["access_token"], "first");
    scene.app.clock.advance(Duration::from_secs(2 * DAY));
    let (status, said) = scene.tenant.try_token("fake", "ada").await;
    assert_eq!(
        (status, said["code"].as_str(), said["reason"].as_str()),
        (409, Some("reauthorization_required"), Some("access_token_ended"))
    );
    let (_, listed) = scene.tenant.get("/connections?end_user_id=ada").await;
    let shown = &listed["connections"][0];
    assert_eq!(
        (text(&shown["status"]), text(&shown["status_reason"])),
        ("needs_reauth".to_owned(), "access_token_ended".to_owned())
    );
    assert!(text(&shown["status_advice"]).contains("only while it lives"), "{shown}");
    let (_, again) = scene.tenant.try_token("fake", "ada").await;
    assert_eq!((again["reason"].as_str(), extended(&scene).len()), (Some("access_token_ended"), 0), "{again}");
}

/// A token without an end is served, and left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_never_ends_is_left_alone() {
    let scene = scene(&[]).await;
    import(&scene, None).await;
    scene.pass(100 * DAY).await;
    assert_eq!(scene.tenant.token("fake", "ada").await["access_token"], "first");
    assert_eq!(extended(&scene), Vec::<String>::new());
}
