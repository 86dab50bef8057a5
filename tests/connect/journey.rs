//! What goes right: the end user consents, and the tenant has a connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger::domain::event::EventKind;
use claviger::domain::ids::TokenSetName;
use claviger::services::connect::Callback;
use claviger::services::integrations::RedirectStyle;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::browser::{Browser, param};
use crate::world::{BACK, OTHER_BACK, Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_becomes_a_connection() {
    let world = World::usual().await;
    let browser = Browser::default();
    let link = world.link_for("user_1").await;
    let page = browser.get(&link).await;
    assert_eq!(page.status, 200);
    for told in ["Acme Analytics", "Honest Files", "user_1", "Connect</button>", "Cancel</button>"] {
        assert!(page.body.contains(told), "the page tells {told}");
    }

    let authorize = world.press(&browser, &link, "connect").await.location();
    assert_eq!(authorize.origin().ascii_serialization(), "https://honest.example");
    assert_eq!(param(&authorize, "client_id").unwrap(), "client-1");
    assert_eq!(param(&authorize, "scope").unwrap(), "read");
    assert_eq!(param(&authorize, "code_challenge_method").unwrap(), "S256");
    assert!(param(&authorize, "redirect_uri").unwrap().starts_with(&format!("{}/authorization-success/int_", world.base)));
    assert_eq!(browser.cookies().len(), 1);

    let back = browser.get(&world.callback(&authorize, "code-1")).await;
    assert_eq!(back.location().as_str(), format!("{BACK}&status=success&provider=honest"));
    assert!(browser.cookies().is_empty(), "the cookie has done its work");

    let sent = world.provider.exchanges();
    let field = |name: &str| sent[0].iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!((sent.len(), field("code").as_str()), (1, "code-1"));
    assert_eq!(field("redirect_uri"), param(&authorize, "redirect_uri").unwrap());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").as_bytes()));
    assert_eq!(challenge, param(&authorize, "code_challenge").unwrap());

    let connections = world.connections(&world.acme).await;
    let connection = &connections[0];
    assert_eq!((connections.len(), connection.end_user.as_str(), connection.confirmed), (1, "user_1", false));
    assert_eq!(connection.metadata["workspace"], json!("w1"));
    assert_eq!(connection.subject.as_deref(), Some("u1"));
    let tokens = &connection.set(&TokenSetName::default_set()).unwrap().current;
    assert_eq!(tokens.access.expose_secret(), "at-1");
    assert_eq!(tokens.scopes, ["read"]);
    let events = world.events(&world.acme, &connection.id).await;
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_user_goes_where_the_link_said_or_stays_on_a_page() {
    let world = World::usual().await;
    let browser = Browser::default();
    let link = world.link(json!({ "end_user_id": "user_1", "return_url": OTHER_BACK })).await;
    let authorize = world.press(&browser, &link, "connect").await.location();
    let back = browser.get(&world.callback(&authorize, "c")).await;
    assert_eq!(back.location().as_str(), format!("{OTHER_BACK}?status=success&provider=honest"));

    let homeless = World::with(Setting { user_redirect_url: None, ..Setting::default() }).await;
    let authorize = homeless.begin(&browser, "user_1").await;
    let done = browser.get(&homeless.callback(&authorize, "c")).await;
    assert_eq!(done.status, 200);
    assert!(done.body.contains("Connected") && done.body.contains("Acme Analytics can now use your Honest Files account."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_post_its_answer_and_be_asked_who_connected() {
    let world = World::with(Setting { https: true, ..Setting::default() }).await;
    let browser = Browser::default();
    let body = json!({ "end_user_id": "user_1", "shop": "corner" });
    let (status, made) = world.call(&world.acme.key, "/authorize-posting", body).await;
    assert_eq!(status, 200, "{made}");
    let link = world.reachable(made["authorize_url"].as_str().unwrap());
    let pressed = world.press(&browser, &link, "connect").await;
    let authorize = pressed.location();
    assert_eq!(authorize.host_str(), Some("corner.shops.example"));
    let cookie = pressed.cookies()[0];
    assert!(cookie.starts_with("__Host-clv_") && cookie.contains("SameSite=None") && cookie.contains("Secure"), "{cookie}");

    world.provider.will_answer(200, r#"{"access_token":"at","token_type":"Bearer"}"#);
    world.provider.will_answer(200, r#"{"id":7,"name":"Corner shop"}"#);
    let back = world.reachable(&param(&authorize, "redirect_uri").unwrap());
    let state = param(&authorize, "state").unwrap();
    let fields = [("code", "c"), ("state", state.as_str()), ("region", "eu")];
    let landed = browser.post_from("https://corner.shops.example", &back, &fields).await;
    assert_eq!(param(&landed.location(), "status").unwrap(), "success");
    let connection = &world.connections(&world.acme).await[0];
    assert_eq!(connection.metadata["region"], json!("eu"));
    assert_eq!(connection.metadata["account"], json!("Corner shop"));
    assert_eq!(connection.params["shop"], "corner");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_look_up_that_fails_does_not_cost_the_grant() {
    let world = World::usual().await;
    let browser = Browser::default();
    let (_, made) = world.call(&world.acme.key, "/authorize-posting", json!({ "end_user": "u", "shop": "corner" })).await;
    let authorize = world.press(&browser, made["authorize_url"].as_str().unwrap(), "connect").await.location();
    world.provider.will_answer(200, r#"{"access_token":"at","token_type":"Bearer"}"#);
    (0..3).for_each(|_| world.provider.will_answer(500, "oops"));
    let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
    let fields = [("code", "c"), ("state", state.as_str())];
    let landing = browser.post_from("https://corner.shops.example", &back, &fields);
    let patience = async {
        while world.connections(&world.acme).await.is_empty() {
            world.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let (landed, ()) = tokio::join!(landing, patience);
    assert_eq!(param(&landed.location(), "status").unwrap(), "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_again_replaces_the_grant_of_the_same_account_alone() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    browser.get(&world.callback(&authorize, "c1")).await;
    let first = world.connections(&world.acme).await.remove(0);

    let authorize = world.begin(&browser, "user_1").await;
    world.provider.will_answer(200, r#"{"access_token":"at-2","expires_in":3600,"scope":"read","sub":"u1"}"#);
    let back = browser.get(&world.callback(&authorize, "c2")).await;
    assert_eq!(param(&back.location(), "status").unwrap(), "success");
    let second = world.connections(&world.acme).await.remove(0);
    let tokens = &second.set(&TokenSetName::default_set()).unwrap().current;
    assert_eq!(tokens.access.expose_secret(), "at-2");
    assert_eq!(tokens.refresh.as_ref().unwrap().expose_secret(), "rt-1", "a second consent may come without one");
    assert_ne!(first.grant_id, second.grant_id);

    let authorize = world.begin(&browser, "user_1").await;
    world.provider.will_answer(200, r#"{"access_token":"at-3","expires_in":3600,"scope":"read","sub":"someone-else"}"#);
    let back = browser.get(&world.callback(&authorize, "c3")).await;
    assert_eq!(param(&back.location(), "code").unwrap(), "account_mismatch");
    let kept = world.connections(&world.acme).await.remove(0);
    assert_eq!(kept.grant_id, second.grant_id);
    let kinds: Vec<_> = world.events(&world.acme, &kept.id).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds.len(), 3);
    for kind in [EventKind::Created, EventKind::Reconnected, EventKind::AccountMismatch] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_flows_of_one_browser_do_not_disturb_each_other() {
    let world = World::usual().await;
    let browser = Browser::default();
    let first = world.begin(&browser, "user_1").await;
    let second = world.begin(&browser, "user_2").await;
    assert_eq!(browser.cookies().len(), 2);
    for authorize in [&second, &first] {
        let back = browser.get(&world.callback(authorize, "c")).await;
        assert_eq!(param(&back.location(), "status").unwrap(), "success");
    }
    assert_eq!(world.connections(&world.acme).await.len(), 2);
}

/// A server may drop what it was doing for a browser that has left; here that is done for sure.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_browser_loses_nothing() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    let gate = world.provider.hold();
    let arrived = url::Url::parse(&world.callback(&authorize, "c")).unwrap();
    let callback = Callback {
        integration: arrived.path_segments().unwrap().next_back().map(str::to_owned),
        pairs: arrived.query_pairs().into_owned().collect(),
        cookies: browser.cookies().into_iter().map(|(name, value)| (name.replacen("clv_", "", 1), value)).collect(),
    };
    let connect = world.services.connect.clone();
    let waiting = tokio::spawn(async move { connect.complete(callback).await });
    while world.provider.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    world.services.connect.drain().await;
    assert_eq!(world.connections(&world.acme).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_waits_for_a_store_that_is_away() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    let gate = world.provider.hold();
    let callback = world.callback(&authorize, "c");
    let landing = browser.get(&callback);
    let outage = async {
        while world.provider.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        world.switch.switch_off();
        gate.add_permits(1);
        for step in 0..200 {
            if step == 100 {
                world.switch.switch_on();
            }
            world.clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    let (landed, ()) = tokio::join!(landing, outage);
    assert_eq!(param(&landed.location(), "status").unwrap(), "success");
    assert_eq!(world.connections(&world.acme).await.len(), 1);
    assert_eq!(world.provider.exchanges().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_have_one_address_for_all_integrations() {
    let world = World::with(Setting { redirect: RedirectStyle::Shared, ..Setting::default() }).await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    assert_eq!(param(&authorize, "redirect_uri").unwrap(), format!("{}/authorization-success", world.base));
    let back = browser.get(&world.callback(&authorize, "c")).await;
    assert_eq!(param(&back.location(), "status").unwrap(), "success");

    let per_integration = World::usual().await;
    let authorize = per_integration.begin(&browser, "user_1").await;
    let (_, query) =
        per_integration.callback(&authorize, "c").split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let refused = browser.get(&format!("{}/authorization-success?{query}", per_integration.base)).await;
    assert_eq!(refused.status, 400);
    assert!(per_integration.provider.calls().is_empty());
}
