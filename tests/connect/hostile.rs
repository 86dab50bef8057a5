//! What goes wrong with malice.

use claviger::domain::ids::{IntegrationId, IntegrationName, ProviderId};
use futures::future::join_all;
use serde_json::json;

use crate::browser::{Browser, client, form, param};
use crate::world::{BACK, OTHER_BACK, World};

const RACERS: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_callbacks_with_one_state_one_is_exchanged() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    let cookie: Vec<String> = browser.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let client = client();
    let racers = (0..RACERS).map(|n| {
        let request = client.get(world.callback(&authorize, &format!("c{n}"))).header("cookie", cookie.join("; "));
        async { request.send().await.unwrap().status().as_u16() }
    });
    let landed = join_all(racers).await;
    assert_eq!(landed.iter().filter(|status| **status == 303).count(), 1);
    assert_eq!(landed.iter().filter(|status| **status == 400).count(), RACERS - 1);
    assert_eq!(world.provider.exchanges().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_presses_of_one_button_one_begins_a_flow() {
    let world = World::usual().await;
    let link = world.link_for("user_1").await;
    let browsers: Vec<Browser> = (0..64).map(|_| Browser::default()).collect();
    let pressed = join_all(browsers.iter().map(|browser| world.press(browser, &link, "connect"))).await;
    assert_eq!(pressed.iter().filter(|seen| seen.status == 303).count(), 1);
    assert!(pressed.iter().all(|seen| seen.status == 303 || seen.status == 410));
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_takes_nothing_and_sets_nothing() {
    let world = World::usual().await;
    let (link, browser) = (world.link_for("user_1").await, Browser::default());
    for _ in 0..20 {
        for seen in [browser.get(&link).await, browser.head(&link).await] {
            assert_eq!(seen.status, 200);
            assert!(seen.cookies().is_empty());
        }
    }
    assert_eq!(world.press(&browser, &link, "connect").await.status, 303);
    assert_eq!(browser.get(&link).await.status, 410);
}

/// Row 1: the authorize URL, or the callback, of one browser in another.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_one_browser_began_no_other_ends() {
    let world = World::usual().await;
    let (attacker, victim) = (Browser::default(), Browser::default());
    let authorize = world.begin(&attacker, "attacker").await;
    let refused = victim.get(&world.callback(&authorize, "victims-code")).await;
    assert_eq!(refused.status, 400);
    assert!(world.provider.calls().is_empty() && world.connections(&world.acme).await.is_empty());
    let spent = attacker.get(&world.callback(&authorize, "c")).await;
    assert_eq!(spent.status, 400, "the state is gone, whoever brought it");
}

/// Row 20, both ways round.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_only_good_with_the_state_of_its_own_flow() {
    let world = World::usual().await;
    let (attacker, victim) = (Browser::default(), Browser::default());
    world.begin(&victim, "victim").await;
    let theirs = world.begin(&attacker, "attacker").await;
    // The attacker's whole callback, in the victim's browser, which has a flow of its own.
    assert_eq!(victim.get(&world.callback(&theirs, "attackers-code")).await.status, 400);
    // A cookie of the right name with another value, of another name with the right value, of none.
    for spoil in ["value", "name", "both"] {
        let authorize = world.begin(&attacker, "attacker").await;
        let (name, value) = attacker.cookies().into_iter().next_back().unwrap();
        let other = Browser::default();
        match spoil {
            "value" => other.set_cookie(&name, &"A".repeat(43)),
            "name" => other.set_cookie("clv_0000000000000000", &value),
            _ => {}
        }
        assert_eq!(other.get(&world.callback(&authorize, "c")).await.status, 400, "{spoil}");
    }
    assert!(world.provider.calls().is_empty());
}

/// Rows 2, 3, 4: every flow at every address but its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_ends_at_the_address_of_its_integration_alone() {
    let world = World::usual().await;
    let browser = Browser::default();
    let id = |tenant, provider: &str| {
        let provider = ProviderId::parse(provider).unwrap();
        IntegrationId::derive(tenant, &provider, &IntegrationName::of_provider(&provider)).to_string()
    };
    let elsewhere = [
        id(&world.rival.id, "honest"),
        id(&world.acme.id, "posting"),
        id(&world.rival.id, "posting"),
        "int_00000000000000000000000000000000".to_owned(),
        "x".to_owned(),
    ];
    for place in elsewhere {
        let authorize = world.begin(&browser, "user_1").await;
        let right = id(&world.acme.id, "honest");
        let callback = world.callback(&authorize, "c");
        assert!(callback.contains(&right));
        let refused = browser.get(&callback.replace(&right, &place)).await;
        assert_eq!(refused.status, 400, "{place}");
        assert_eq!(browser.get(&callback).await.status, 400, "the state is gone");
    }
    assert!(world.provider.calls().is_empty());
}

/// Row 19.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_is_refused() {
    let world = World::usual().await;
    let browser = Browser::default();
    for iss in [
        "",
        "&iss=",
        "&iss=https%3A%2F%2Fevil.example",
        "&iss=https%3A%2F%2Fhonest.example%2F",
        "&iss=https%3A%2F%2FHONEST.example",
        "&iss=https%3A%2F%2Fhonest.example&iss=https%3A%2F%2Fhonest.example",
        "&iss=https%3A%2F%2Fevil.example&iss=https%3A%2F%2Fhonest.example",
    ] {
        let authorize = world.begin(&browser, "user_1").await;
        let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
        let landed = browser.get(&format!("{back}?code=c&state={state}{iss}")).await.location();
        assert_eq!(param(&landed, "status").unwrap(), "error", "{iss}");
    }
    assert!(world.provider.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbled_callbacks_end_on_a_page() {
    let world = World::usual().await;
    let browser = Browser::default();
    let authorize = world.begin(&browser, "user_1").await;
    let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
    let long = "x".repeat(6_000);
    for query in [
        String::new(),
        "code=c".to_owned(),
        "state=".to_owned(),
        format!("state={}", &state[1..]),
        format!("state={state}x"),
        format!("state={state}&state={state}&code=c"),
        format!("state={}&code=c", "A".repeat(43)),
        "state=%00%ff%fe".to_owned(),
        "state[]=a&state[]=b".to_owned(),
        "%%%&&&===".to_owned(),
        format!("state={long}"),
        format!("STATE={state}&code=c"),
    ] {
        let page = browser.get(&format!("{back}?{query}")).await;
        assert_eq!(page.status, 400, "{query}");
        assert!(page.body.contains("This sign-in has ended"), "{query}");
    }
    assert_eq!(browser.get(&world.callback(&authorize, "c")).await.status, 303, "none of them has spent the flow");
}

/// Only the page's own button presses, whatever another site makes a browser send.
#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_press_the_button() {
    let world = World::usual().await;
    let link = world.link_for("user_1").await;
    let (page, token) = link.split_once("?link=").unwrap();
    let url = format!("{page}/decision");
    let fields = [("link", token), ("decision", "connect")];
    let browser = Browser::default();
    for site in ["cross-site", "same-site", "none", ""] {
        let forged = browser.send(form(&url, &fields).header("sec-fetch-site", site)).await;
        assert_eq!(forged.status, 400, "{site}");
    }
    for origin in ["https://evil.example", "null", "", "http://127.0.0.1", "http://127.0.0.1:1"] {
        let forged = browser.send(form(&url, &fields).header("origin", origin)).await;
        assert_eq!(forged.status, 400, "{origin}");
    }
    for fields in [
        vec![("link", token)],
        vec![("link", token), ("decision", "")],
        vec![("link", token), ("decision", "CONNECT")],
        vec![("link", token), ("decision", "connect"), ("decision", "cancel")],
    ] {
        assert_eq!(browser.post(&url, &fields).await.status, 400);
    }
    assert_eq!(browser.post(&url, &[("decision", "connect")]).await.status, 410);
    assert_eq!(browser.post(&url, &[("link", token), ("link", token), ("decision", "connect")]).await.status, 410);
    let other_provider = url.replace("authorize-honest", "authorize-posting");
    assert_eq!(browser.post(&other_provider, &fields).await.status, 410);
    assert!(browser.cookies().is_empty());
    let ours = browser.send(form(&url, &fields).header("origin", &world.base)).await;
    assert_eq!(ours.status, 303, "none of them has taken the link");
}

/// Row 51: no address that is handed out comes from a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_host_changes_nothing() {
    let world = World::usual().await;
    let spoof = |request: reqwest::RequestBuilder| {
        request.header("host", "evil.example").header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example")
    };
    let body = json!({ "end_user_id": "u" }).to_string();
    let request = spoof(client().post(format!("{}/authorize-honest", world.base))).header("content-type", "application/json");
    let made = request.bearer_auth(&world.acme.key).body(body).send().await.unwrap().text().await.unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let link = made["authorize_url"].as_str().unwrap();
    assert!(link.starts_with(&world.base));
    let browser = Browser::default();
    let page = browser.send(spoof(client().get(link))).await;
    assert!(page.status == 200 && !page.body.contains("evil"));
    let (page, token) = link.split_once("?link=").unwrap();
    let pressed = browser.send(spoof(form(&format!("{page}/decision"), &[("link", token), ("decision", "connect")]))).await;
    let authorize = pressed.location();
    assert!(param(&authorize, "redirect_uri").unwrap().starts_with(&world.base));
    assert!(!pressed.cookies()[0].contains("evil"));
    let back = browser.send(spoof(client().get(world.callback(&authorize, "c")))).await;
    assert!(back.location().as_str().starts_with(BACK));
}

/// Row 21: whatever stands in a callback, a browser goes to a registered place or nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn every_redirect_of_a_callback_leads_to_a_registered_place() {
    let world = World::usual().await;
    let browser = Browser::default();
    let wishes = ["return_url", "redirect_uri", "user_redirect_url", "next", "url", "to", "RelayState"];
    let places =
        ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "https://app.example.evil.example"];
    for (n, wish) in wishes.iter().enumerate() {
        let authorize = world.begin(&browser, "user_1").await;
        let place: String = form_urlencoded::byte_serialize(places[n % places.len()].as_bytes()).collect();
        let landed = browser.get(&format!("{}&{wish}={place}", world.callback(&authorize, "c"))).await.location();
        assert!(
            [BACK, OTHER_BACK].iter().any(|registered| landed.as_str().starts_with(&format!("{registered}&status="))),
            "{landed}"
        );
    }
}

/// Row 23: what would split a header never reaches one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_splits_a_header() {
    let world = World::usual().await;
    let browser = Browser::default();
    for poison in ["%0d%0aset-cookie:x=1", "%0aX:1", "%00", "%e2%80%a8x", "a:b"] {
        for url in [
            format!("{}/authorize-honest?link={poison}", world.base),
            format!("{}/authorize-{poison}?link=x", world.base),
            format!("{}/authorization-success/{poison}?state=x", world.base),
        ] {
            let seen = browser.get(&url).await;
            assert!((400..500).contains(&seen.status), "{url}: {}", seen.status);
            assert!(seen.cookies().is_empty() && seen.headers.get("x").is_none());
        }
    }
}

/// A site beside ours, under one domain, can set cookies that come here, too, of any bytes. They must
/// not take the flow's own cookie with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_cookie_of_any_bytes_stops_nobody() {
    let world = World::usual().await;
    for foreign in [&b"junk=\xff\xfe"[..], b"\xff", b"=", b"a;;b", b"a=%ff%zz", b"a=\"b"] {
        let browser = Browser::default();
        let authorize = world.begin(&browser, "user_1").await;
        let own: Vec<String> = browser.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = [foreign, b"; ", own.join("; ").as_bytes()].concat();
        let request = client().get(world.callback(&authorize, "c")).header("cookie", cookie);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 303, "{}", foreign.escape_ascii());
    }
}
