//! Installs that begin at the provider: they connect nobody, and only where the tenant has chosen so is the browser sent
//! on, to the tenant's own place, with what the provider named and nothing else.

use claviger::services::integrations::RedirectStyle;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::browser::Browser;
use crate::world::{BACK, Setting, TenantSide, World};

const PLACE: &str = "https://app.example/install?from=store";

/// The integration's redirect URI, with or without the choice.
async fn choose(world: &World, side: &TenantSide, provider: &str, install_url: Value) -> (u16, Value) {
    let body = json!({ "provider": provider, "install_url": install_url });
    world.call(&side.key, "/enable-provider", body).await
}

fn signed(key: &str, pairs: &[(&str, &str)]) -> String {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let message = form_urlencoded::Serializer::new(String::new()).extend_pairs(sorted).finish();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    format!("{message}&hmac={}", hex::encode(mac.finalize().into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_goes_to_the_tenant_and_connects_nobody() {
    let world = World::usual().await;
    let (status, enabled) = choose(&world, &world.acme, "store", json!(PLACE)).await;
    assert_eq!((status, &enabled["install_url"]), (200, &json!(PLACE)), "{enabled}");
    let address = enabled["redirect_uri"].as_str().unwrap();
    for extra in [vec![], vec![("code", "stolen")], vec![("state", "")], vec![("x", "1"), ("status", "success")]] {
        let pairs = [vec![("shop", "corner.stores.example"), ("timestamp", "1795000000")], extra].concat();
        let browser = Browser::default();
        let landed = browser.get(&format!("{address}?{}", signed("secret-1", &pairs))).await;
        let told = format!("{PLACE}&status=install&provider=store&integration=store&shop=corner");
        assert_eq!(landed.location().as_str(), told);
        assert!(browser.cookies().is_empty());
    }
    assert!(world.provider.calls().is_empty(), "a code without a flow of ours is not redeemed");
    assert!(world.connections(&world.acme).await.is_empty());

    // What the tenant does then is what it always does.
    let body = json!({ "end_user_id": "user_1", "shop": "corner" });
    let (status, made) = world.call(&world.acme.key, "/authorize-store", body).await;
    assert_eq!(status, 200, "{made}");
    let browser = Browser::default();
    let authorize = world.press(&browser, made["authorize_url"].as_str().unwrap(), "connect").await.location();
    let state = crate::browser::param(&authorize, "state").unwrap();
    let back = signed("secret-1", &[("shop", "corner.stores.example"), ("code", "c1"), ("state", &state)]);
    assert_eq!(
        browser.get(&format!("{address}?{back}")).await.location().as_str(),
        format!("{BACK}&status=success&provider=store")
    );
    assert_eq!(world.connections(&world.acme).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_or_is_no_install_is_refused() {
    let world = World::usual().await;
    let address = choose(&world, &world.acme, "store", json!(PLACE)).await.1["redirect_uri"].as_str().unwrap().to_owned();
    let shop = ("shop", "corner.stores.example");
    let good = signed("secret-1", &[shop]);
    let long = "x".repeat(2_000);
    let odd = [
        "shop=corner.stores.example".to_owned(),
        "shop=corner.stores.example&hmac=".to_owned(),
        format!("shop=corner.stores.example&hmac={}", "00".repeat(32)),
        signed("another secret", &[shop]),
        good.replace("corner", "other"),
        format!("{good}&more=1"),
        format!("{good}&shop=evil.stores.example"),
        signed("secret-1", &[]),
        signed("secret-1", &[("shop", "corner.evil.example")]),
        signed("secret-1", &[("shop", ".stores.example")]),
        signed("secret-1", &[("shop", "evil.example/.stores.example")]),
        signed("secret-1", &[("shop", "a b.stores.example")]),
        signed("secret-1", &[("shop", &format!("{long}.stores.example"))]),
        signed("secret-1", &[shop, shop]),
        signed("secret-1", &[shop, ("error", "access_denied")]),
        signed("secret-1", &[shop, ("state", &"A".repeat(43))]),
        signed("secret-1", &[shop, ("state", ""), ("state", "x")]),
        signed("secret-1", &[&[shop][..], &[("p", "1"); 120][..]].concat()),
    ];
    for query in odd {
        let seen = Browser::default().get(&format!("{address}?{query}")).await;
        assert_eq!(seen.status, 400, "{query}");
        assert!(!seen.body.contains("evil") && seen.header("location").is_empty());
    }
    assert!(world.provider.calls().is_empty() && world.connections(&world.acme).await.is_empty());
}

/// A browser cannot tell an integration that takes none from one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_choice_nothing_is_taken() {
    let world = World::usual().await;
    let query = signed("secret-1", &[("shop", "corner.stores.example"), ("code", "c")]);
    let refused = async |address: &str| {
        let seen = Browser::default().get(&format!("{address}?{query}")).await;
        let body = seen.body.split("<footer>").next().unwrap().to_owned();
        (seen.status, body)
    };
    let address = |enabled: &Value| enabled["redirect_uri"].as_str().unwrap().to_owned();
    let unchosen = address(&choose(&world, &world.rival, "store", Value::Null).await.1);
    let nobodys = format!("{}/authorization-success/int_{}", world.base, "0".repeat(32));
    let expected = refused(&nobodys).await;
    assert_eq!(expected.0, 400);
    assert_eq!(refused(&unchosen).await, expected);
    assert_eq!(refused(&format!("{}/authorization-success/No%20Id", world.base)).await, expected);
    assert_eq!(refused(&format!("{}/authorization-success", world.base)).await.0, 400);

    let chosen = address(&choose(&world, &world.acme, "store", json!(PLACE)).await.1);
    assert_eq!(refused(&chosen).await.0, 303);
    // It can be taken back, and a disabled integration takes nothing.
    let (_, off) = choose(&world, &world.acme, "store", json!("off")).await;
    assert_eq!(off["install_url"], Value::Null);
    assert_eq!(refused(&chosen).await, expected);
    choose(&world, &world.acme, "store", json!(PLACE)).await;
    assert_eq!(refused(&chosen).await.0, 303, "as it stays with every later update");
    choose(&world, &world.acme, "store", Value::Null).await;
    assert_eq!(refused(&chosen).await.0, 303);
    world.call(&world.acme.key, "/disable-provider", json!({ "provider": "store" })).await;
    assert_eq!(refused(&chosen).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_choice_is_a_place_of_the_tenants_own_and_for_such_providers() {
    let world = World::usual().await;
    for odd in
        ["http://app.example/", "https://u@app.example/", "https://app.example/#x", "/install", "javascript:alert(1)", "on"]
    {
        let (status, said) = choose(&world, &world.acme, "store", json!(odd)).await;
        assert_eq!((status, &said["field"]), (400, &json!("install_url")), "{odd}");
    }
    let (status, said) = choose(&world, &world.acme, "honest", json!(PLACE)).await;
    assert_eq!((status, &said["field"]), (400, &json!("install_url")), "{said}");
    let shared = World::with(Setting { redirect: RedirectStyle::Shared, ..Setting::default() }).await;
    let (status, said) = choose(&shared, &shared.acme, "store", json!(PLACE)).await;
    assert_eq!((status, &said["field"]), (400, &json!("install_url")), "{said}");
}
