//! A flow that sent a nonce takes no ID token that was made for another (OpenID Connect Core 3.1.3.7, 11).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use crate::browser::{Browser, param};
use crate::world::World;

/// An answer with an ID token of these claims.
fn with_claims(claims: &Value) -> Value {
    with_token(json!(format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()))))
}

fn with_token(id_token: Value) -> Value {
    json!({ "access_token": "at-1", "token_type": "Bearer", "id_token": id_token })
}

/// Where the browser is sent, and with what nonce.
async fn begun(world: &World, browser: &Browser) -> (Url, String) {
    let (status, made) = world.call(&world.acme.key, "/authorize-open", json!({ "end_user_id": "user_1" })).await;
    assert_eq!(status, 200, "{made}");
    let link = world.reachable(made["authorize_url"].as_str().unwrap());
    let opened = browser.get(&link).await;
    let authorize = if opened.status == 200 { world.press(browser, &link, "connect").await } else { opened }.location();
    let nonce = param(&authorize, "nonce").unwrap();
    (authorize, nonce)
}

/// The provider sends the browser back, and answers the exchange so; answers what the tenant's site is told.
async fn comes_back(world: &World, browser: &Browser, authorize: &Url, answer: &Value) -> Url {
    world.provider.will_answer(200, &answer.to_string());
    let (back, state) = (param(authorize, "redirect_uri").unwrap(), param(authorize, "state").unwrap());
    browser.get(&format!("{}?code=c&state={state}", world.reachable(&back))).await.location()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_token_of_this_flow_connects() {
    let world = World::usual().await;
    let browser = Browser::default();
    let (authorize, nonce) = begun(&world, &browser).await;
    let landed = comes_back(&world, &browser, &authorize, &with_claims(&json!({ "sub": "u1", "nonce": nonce }))).await;
    assert_eq!(param(&landed, "status").as_deref(), Some("success"));
    assert_eq!(world.connections(&world.acme).await[0].subject.as_deref(), Some("u1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_id_token_connects_nobody() {
    let world = World::usual().await;
    let browser = Browser::default();
    let (_, of_another) = begun(&world, &browser).await;
    let wrong = [
        with_claims(&json!({ "sub": "u1", "nonce": of_another })),
        with_claims(&json!({ "sub": "u1", "nonce": "" })),
        with_claims(&json!({ "sub": "u1", "nonce": 7 })),
        with_claims(&json!({ "sub": "u1", "nonce": null })),
        with_claims(&json!({ "sub": "u1" })),
        with_claims(&json!(["nonce"])),
        with_token(json!("i")),
        with_token(json!("e30.%%%.s")),
        with_token(json!("")),
        with_token(json!({ "nonce": "n" })),
    ];
    for answer in &wrong {
        let (authorize, _) = begun(&world, &browser).await;
        let landed = comes_back(&world, &browser, &authorize, answer).await;
        assert_eq!(param(&landed, "code").as_deref(), Some("state_invalid"), "{answer}");
        assert!(world.connections(&world.acme).await.is_empty(), "{answer}");
    }
    assert_eq!(world.provider.calls().len(), wrong.len(), "each code was redeemed, once");
}

/// Whether an ID token comes at all, the scopes decide.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_token_there_is_nothing_to_compare() {
    let world = World::usual().await;
    let browser = Browser::default();
    for answer in [json!({ "access_token": "at-1" }), with_token(Value::Null)] {
        let (authorize, _) = begun(&world, &browser).await;
        let landed = comes_back(&world, &browser, &authorize, &answer).await;
        assert_eq!(param(&landed, "status").as_deref(), Some("success"), "{answer}");
    }
}

/// A provider that was told no nonce owes none, and what it calls an ID token need not be one.
#[tokio::test(flavor = "multi_thread")]
async fn where_none_was_sent_none_is_asked_for() {
    let world = World::usual().await;
    let browser = Browser::default();
    for answer in [with_claims(&json!({ "sub": "u1", "nonce": "unasked" })), with_token(json!("i"))] {
        let authorize = world.begin(&browser, "user_1").await;
        world.provider.will_answer(200, &answer.to_string());
        let landed = browser.get(&world.callback(&authorize, "c")).await.location();
        assert_eq!(param(&landed, "status").as_deref(), Some("success"), "{answer}");
    }
}

/// The nonce waits with the code until the tenant's backend confirms.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_code_is_judged_by_its_own_nonce() {
    let world = World::confirmed_by_tenant().await;
    for right in [false, true] {
        let browser = Browser::default();
        let (authorize, nonce) = begun(&world, &browser).await;
        let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
        let landed = browser.get(&format!("{back}?code=c&state={state}")).await.location();
        let named = if right { nonce } else { "another".to_owned() };
        world.provider.will_answer(200, &with_claims(&json!({ "sub": "u1", "nonce": named })).to_string());
        let ticket = json!({ "ticket": param(&landed, "ticket").unwrap(), "end_user_id": "user_1" });
        let (status, said) = world.call(&world.acme.key, "/finish-authorization", ticket).await;
        let code = (!right).then_some("state_invalid");
        assert_eq!((status, said["code"].as_str()), (if right { 200 } else { 400 }, code), "{said}");
        assert_eq!(world.connections(&world.acme).await.len(), usize::from(right));
    }
}
