//! What goes wrong without malice: each ends on a clear page or with a code, and leaves nothing.

use std::time::Duration;

use claviger::ports::outbound::CallError;
use serde_json::json;

use crate::browser::{Browser, param};
use crate::world::{BACK, STATE_TTL, Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn cancel_takes_the_link_and_goes_back() {
    let world = World::usual().await;
    let (link, browser) = (world.link_for("user_1").await, Browser::default());
    let back = world.press(&browser, &link, "cancel").await;
    assert_eq!(back.location().as_str(), format!("{BACK}&status=error&provider=honest&code=access_denied"));
    assert!(back.cookies().is_empty());
    assert_eq!(world.press(&browser, &link, "connect").await.status, 410);

    let homeless = World::with(Setting { user_redirect_url: None, ..Setting::default() }).await;
    let page = homeless.press(&browser, &homeless.link_for("u").await, "cancel").await;
    assert_eq!(page.status, 403);
    assert!(page.body.contains("Nothing was connected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_is_told_in_our_words() {
    let told = [
        ("error=access_denied", "access_denied"),
        ("error=user_cancelled_login", "access_denied"),
        ("error=server_error", "provider_unavailable"),
        ("error=temporarily_unavailable", "provider_unavailable"),
        ("error=invalid_scope&error_description=%3Cscript%3E", "exchange_failed"),
        ("error=%3Cscript%3Ealert(1)%3C/script%3E", "exchange_failed"),
        ("", "invalid_request"),
        ("code=", "invalid_request"),
        ("code=a%00b", "invalid_request"),
        ("code=a&code=b", "invalid_request"),
        ("code=a&iss=https%3A%2F%2Fhonest.example", "invalid_request"),
    ];
    let (world, browser) = (World::usual().await, Browser::default());
    for (query, code) in told {
        let authorize = world.begin(&browser, "user_1").await;
        let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
        let landed = browser.get(&format!("{back}?{query}&state={state}&iss=https%3A%2F%2Fhonest.example")).await;
        let expected = format!("{BACK}&status=error&provider=honest&code={code}");
        assert_eq!(landed.location().as_str(), expected, "{query}");
        assert!(browser.cookies().is_empty(), "{query}");
    }
    assert!(world.provider.calls().is_empty() && world.connections(&world.acme).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_the_exchange_has_a_code_each() {
    let world = World::usual().await;
    let browser = Browser::default();
    for (status, body, code) in [
        (400, r#"{"error":"invalid_grant"}"#, "exchange_failed"),
        (401, r#"{"error":"invalid_client"}"#, "integration_broken"),
        (400, r#"{"error":"unsupported_grant_type"}"#, "integration_broken"),
        (429, r#"{"error":"slow_down"}"#, "provider_unavailable"),
        (500, "<html>oops</html>", "provider_unavailable"),
        (200, "<html>fine</html>", "provider_unavailable"),
        (200, r#"{"token_type":"Bearer"}"#, "provider_unavailable"),
    ] {
        let authorize = world.begin(&browser, "user_1").await;
        world.provider.will_answer(status, body);
        let landed = browser.get(&world.callback(&authorize, "c")).await;
        assert_eq!(param(&landed.location(), "code").as_deref(), Some(code), "{status} {body}");
    }
    for error in [CallError::NotSent("dns".to_owned()), CallError::InDoubt("reset".to_owned())] {
        let authorize = world.begin(&browser, "user_1").await;
        world.provider.will_fail(error);
        let landed = browser.get(&world.callback(&authorize, "c")).await;
        assert_eq!(param(&landed.location(), "code").as_deref(), Some("provider_unavailable"));
    }
    assert_eq!(world.provider.exchanges().len(), 9, "no code is sent twice");
    assert!(world.connections(&world.acme).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_ends_by_itself() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    world.clock.advance(STATE_TTL);
    let late = browser.get(&world.callback(&authorize, "c")).await;
    assert_eq!(late.status, 400);
    assert!(late.body.contains("This sign-in has ended"));

    let authorize = world.begin(&browser, "user_1").await;
    world.clock.advance(STATE_TTL - Duration::from_secs(1));
    assert_eq!(browser.get(&world.callback(&authorize, "c")).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_that_was_switched_off_serves_nobody_in_the_middle_of_a_flow() {
    let world = World::usual().await;
    let browser = Browser::default();
    let unopened = world.link_for("user_2").await;
    let authorize = world.begin(&browser, "user_1").await;
    assert_eq!(world.call(&world.acme.key, "/disable-provider", json!({ "provider": "honest" })).await.0, 200);
    let refused = browser.get(&world.callback(&authorize, "c")).await;
    assert_eq!(refused.status, 404);
    assert!(refused.body.contains("This is not set up correctly"));
    assert!(browser.cookies().is_empty() && world.provider.calls().is_empty());
    assert_eq!(browser.get(&unopened).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_return_that_was_taken_back_is_not_gone_to() {
    let world = World::usual().await;
    let browser = Browser::default();
    let link = world.link(json!({ "end_user_id": "u", "return_url": crate::world::OTHER_BACK })).await;
    let authorize = world.press(&browser, &link, "connect").await.location();
    let body = json!({ "provider": "honest", "return_urls": [], "user_redirect_url": BACK });
    let (status, answer) = world.call(&world.acme.key, "/enable-provider", body).await;
    assert_eq!(status, 200, "{answer}");
    let done = browser.get(&world.callback(&authorize, "c")).await;
    assert_eq!(done.status, 200);
    assert!(done.body.contains("Connected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_said_so() {
    let world = World::usual().await;
    let (link, browser) = (world.link_for("u").await, Browser::default());
    world.switch.switch_off();
    let page = browser.get(&link).await;
    assert_eq!(page.status, 503);
    assert!(page.body.contains("Not available at the moment"));
    world.switch.switch_on();
    assert_eq!(browser.get(&link).await.status, 200);
}
