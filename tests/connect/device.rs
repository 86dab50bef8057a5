//! Consent on another device (RFC 8628): the browser shows a code, this server asks after it, and nobody but the browser
//! that pressed Connect has a part in it.

use std::time::{Duration, Instant};

use claviger::ports::outbound::CallError;
use serde_json::{Value, json};

use crate::browser::{Browser, Seen, param};
use crate::clock::until;
use crate::world::{BACK, STATE_TTL, World};

const INTERVAL: Duration = Duration::from_secs(5);
const LIFE: Duration = Duration::from_secs(900);

fn offer(n: usize) -> String {
    json!({
        "device_code": format!("device-code-{n}"), "user_code": format!("WDJB-{n:04}"), "verification_uri": "https://gadget.example/go",
        "verification_uri_complete": format!("https://gadget.example/go?code=WDJB-{n:04}"), "expires_in": LIFE.as_secs(), "interval": 5,
    })
    .to_string()
}

fn says(world: &World, error: &str) {
    world.provider.will_answer(400, &json!({ "error": error }).to_string());
}

/// Questions after codes, so far.
fn asked(world: &World) -> usize {
    world.provider.exchanges().len()
}

/// Time passes, and the server asks once more.
async fn asks_again(world: &World, after: Duration) {
    let before = asked(world);
    until("a wait begins", || world.clock.sleepers() > 0).await;
    world.clock.advance(after);
    until("a question", || asked(world) == before + 1).await;
}

/// After this nobody waits any more.
async fn at_rest(world: &World) {
    until("nobody waits", || world.clock.sleepers() == 0).await;
}

/// After this, what was answered is written down and its place is free: to wake up is not to be done.
async fn all_done(world: &World) {
    at_rest(world).await;
    world.services.connect.drain().await;
}

async fn gadget_link(world: &World, end_user: &str) -> String {
    let (status, made) = world.call(&world.acme.key, "/authorize-gadget", json!({ "end_user_id": end_user })).await;
    assert_eq!(status, 200, "{made}");
    made["authorize_url"].as_str().unwrap().to_owned()
}

/// Presses Connect; answers the address of the page with the code.
async fn begin(world: &World, browser: &Browser, end_user: &str) -> String {
    world.provider.will_answer(200, &offer(world.provider.calls().len()));
    let link = gadget_link(world, end_user).await;
    assert_eq!(browser.get(&link).await.status, 200);
    world.press(browser, &link, "connect").await.location().into()
}

/// The page that the browser lands on once the flow has ended: it looks until it is sent on.
async fn lands(browser: &Browser, page: &str) -> Seen {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = browser.get(page).await;
        if seen.status != 200 {
            return seen;
        }
        assert!(Instant::now() < give_up, "the page never goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn token(world: &World, end_user: &str) -> (u16, Value) {
    world.call(&world.acme.key, "/get-access-token", json!({ "provider": "gadget", "end_user_id": end_user })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_shown_asked_after_and_becomes_a_connection() {
    let (world, browser) = (World::usual().await, Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    let seen = browser.get(&page).await;
    assert_eq!(seen.status, 200);
    for part in ["WDJB-0000", "https://gadget.example/go?code=WDJB-0000", "Acme Analytics", "user_1", "http-equiv=\"refresh\""] {
        assert!(seen.body.contains(part), "{part}: {}", seen.body);
    }
    assert!(!seen.body.contains("device-code") && !page.contains("WDJB"), "the device code is for nobody");
    assert!(seen.header("content-security-policy").contains("form-action 'none'") && !seen.body.contains("<script"));

    says(&world, "authorization_pending");
    asks_again(&world, INTERVAL).await;
    says(&world, "slow_down");
    asks_again(&world, INTERVAL).await;
    // Five seconds more, not for once but from now on; and looking at the page asks nobody.
    for so_far in [2, 3] {
        until("a wait begins", || world.clock.sleepers() > 0).await;
        world.clock.advance(INTERVAL * 2 - Duration::from_secs(1));
        for _ in 0..20 {
            assert_eq!(browser.get(&page).await.status, 200, "it was asked too early, and has ended");
        }
        assert_eq!(asked(&world), so_far, "it was told to ask less often");
        assert!(world.connections(&world.acme).await.is_empty());
        if so_far == 2 {
            says(&world, "authorization_pending");
        }
        asks_again(&world, Duration::from_secs(1)).await;
    }
    let landed = lands(&browser, &page).await;
    assert_eq!(landed.location().as_str(), format!("{BACK}&status=success&provider=gadget"));
    assert!(browser.cookies().is_empty(), "the cookie has done its work");
    let [connection] = world.connections(&world.acme).await.try_into().unwrap();
    assert!(!connection.confirmed);
    at_rest(&world).await;

    let polls = world.provider.exchanges();
    assert!(polls.iter().all(|fields| fields.contains(&("device_code".to_owned(), "device-code-0".to_owned()))));
    assert_eq!(token(&world, "user_1").await.1["access_token"], json!("at-1"));
    assert_eq!(browser.get(&page).await.status, 400, "it ended once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_may_go_and_come_back() {
    let (world, browser) = (World::usual().await, Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    says(&world, "authorization_pending");
    asks_again(&world, INTERVAL).await;
    asks_again(&world, INTERVAL).await;
    // Nobody looks, and it is connected.
    let give_up = Instant::now() + Duration::from_secs(20);
    while world.connections(&world.acme).await.is_empty() {
        assert!(Instant::now() < give_up, "never connected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.clock.advance(STATE_TTL / 2);
    assert_eq!(param(&lands(&browser, &page).await.location(), "status").as_deref(), Some("success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_asked_again_ever_less_often() {
    let (world, browser) = (World::usual().await, Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    let [first, second, third] = [INTERVAL, INTERVAL * 2, INTERVAL * 4];
    world.provider.will_fail(CallError::InDoubt("cut".to_owned()));
    asks_again(&world, first).await;
    world.provider.will_answer(503, "<html>");
    asks_again(&world, second).await;
    until("a wait begins", || world.clock.sleepers() > 0).await;
    world.clock.advance(third - Duration::from_secs(1));
    assert_eq!(browser.get(&page).await.status, 200);
    assert_eq!(asked(&world), 2, "the pause has not doubled");
    asks_again(&world, Duration::from_secs(1)).await;
    assert_eq!(param(&lands(&browser, &page).await.location(), "status").as_deref(), Some("success"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_told_and_connects_nobody() {
    for (status, said, code) in [
        (400, r#"{"error":"access_denied"}"#, "access_denied"),
        (400, r#"{"error":"expired_token"}"#, "state_invalid"),
        (400, r#"{"error":"invalid_grant"}"#, "exchange_failed"),
        (401, r#"{"error":"invalid_client"}"#, "integration_broken"),
    ] {
        let (world, browser) = (World::usual().await, Browser::default());
        let page = begin(&world, &browser, "user_1").await;
        world.provider.will_answer(status, said);
        asks_again(&world, INTERVAL).await;
        let landed = lands(&browser, &page).await.location();
        assert_eq!((param(&landed, "status").as_deref(), param(&landed, "code").as_deref()), (Some("error"), Some(code)));
        at_rest(&world).await;
        assert!(world.connections(&world.acme).await.is_empty() && browser.cookies().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_nobody_enters_ends() {
    let (world, browser) = (World::usual().await, Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    says(&world, "authorization_pending");
    asks_again(&world, INTERVAL).await;
    until("a wait begins", || world.clock.sleepers() > 0).await;
    world.clock.advance(LIFE);
    at_rest(&world).await;
    assert_eq!(asked(&world), 1, "a code that is over is not asked after");
    let landed = lands(&browser, &page).await.location();
    assert_eq!(param(&landed, "code").as_deref(), Some("state_invalid"));
    assert!(world.connections(&world.acme).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_browser_sees_nothing_and_ends_nothing() {
    let (world, browser, foreign) = (World::usual().await, Browser::default(), Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    let own = begin(&world, &foreign, "user_2").await;
    let (cookie, _) = foreign.cookies().into_iter().next().map(|(name, value)| (value, name)).unwrap();
    let name = browser.cookies().into_keys().next().unwrap();
    let flow = page.split_once("flow=").unwrap().1;
    let odd = [page.clone(), page.replace("flow=", "flow=x&flow="), page.replace(flow, ""), page.replace("gadget", "honest")];
    for address in odd {
        let seen = foreign.get(&address).await;
        assert!(seen.status == 400 || seen.status == 410, "{address}: {}", seen.status);
        assert!(!seen.body.contains("WDJB"), "{address}");
    }
    // Its own secret under the other's name is another flow's.
    foreign.set_cookie(&name, &cookie);
    assert_eq!(foreign.get(&page).await.status, 400, "another flow's page is shown under this name");
    let astray = browser.get(&page.replace("gadget", "honest")).await;
    assert_eq!(astray.status, 400, "its own browser sees it at its own provider's address alone");
    assert!(foreign.get(&own).await.body.contains("WDJB-0001") && browser.get(&page).await.body.contains("WDJB-0000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_is_good_once_and_looking_calls_nobody() {
    let (world, browser) = (World::usual().await, Browser::default());
    let link = gadget_link(&world, "user_1").await;
    for _ in 0..3 {
        assert_eq!(browser.get(&link).await.status, 200);
        assert_eq!(browser.head(&link).await.status, 200);
    }
    assert!(world.provider.calls().is_empty() && browser.cookies().is_empty());
    let token = link.split_once("link=").unwrap().1;
    let decision = format!("{}/authorize-gadget/decision", world.base);
    let foreign = browser.post_from("https://evil.example", &decision, &[("link", token), ("decision", "connect")]).await;
    assert!(foreign.status == 400 && world.provider.calls().is_empty());
    world.provider.will_answer(200, &offer(0));
    assert_eq!(world.press(&browser, &link, "connect").await.status, 303);
    assert_eq!(world.press(&browser, &link, "connect").await.status, 410);
    assert_eq!(world.provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_cannot_be_shown_is_refused() {
    for (status, said, expected) in [
        (400, r#"{"error":"unauthorized_client"}"#, 424),
        (200, r#"{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)"}"#, 503),
        (503, "", 503),
    ] {
        let (world, browser) = (World::usual().await, Browser::default());
        let link = gadget_link(&world, "user_1").await;
        world.provider.will_answer(status, said);
        let seen = world.press(&browser, &link, "connect").await;
        assert_eq!((seen.status, seen.cookies().len()), (expected, 0), "{said}");
        at_rest(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_confirms_what_was_granted() {
    for (end_user, status) in [("victim", 403), ("user_1", 200)] {
        let (world, browser) = (World::confirmed_by_tenant().await, Browser::default());
        let page = begin(&world, &browser, "user_1").await;
        asks_again(&world, INTERVAL).await;
        at_rest(&world).await;
        assert!(world.connections(&world.acme).await.is_empty());
        assert!(world.provider.calls().iter().all(|call| call.url.path() != "/me"), "nothing is looked up before");
        let landed = lands(&browser, &page).await.location();
        let (told, ticket) = landed.as_str().split_once("&status=pending&ticket=").unwrap();
        assert_eq!(told, BACK);
        let finish = async |end_user: &str| {
            world.call(&world.acme.key, "/finish-authorization", json!({ "ticket": ticket, "end_user_id": end_user })).await
        };
        let (answered, said) = finish(end_user).await;
        assert_eq!(answered, status, "{said}");
        assert_eq!(world.connections(&world.acme).await.len(), usize::from(status == 200));
        if status == 200 {
            // Who entered the code somewhere else is known to nobody.
            assert_eq!(said["confirmed"], json!(false));
            assert!(world.provider.calls().iter().any(|call| call.url.path() == "/me"));
        }
        assert_eq!(finish("user_1").await.1["code"], json!("ticket_invalid"), "a ticket is good once");
    }
}

/// What was granted in a code's last second still waits for its browser as long as any other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_late_outlives_its_code() {
    let (world, browser) = (World::confirmed_by_tenant().await, Browser::default());
    let page = begin(&world, &browser, "user_1").await;
    says(&world, "authorization_pending");
    asks_again(&world, INTERVAL).await;
    asks_again(&world, LIFE - INTERVAL - Duration::from_secs(1)).await;
    all_done(&world).await;
    world.clock.advance(STATE_TTL / 2);
    assert_eq!(param(&lands(&browser, &page).await.location(), "status").as_deref(), Some("pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_waits_for_so_many_codes() {
    let world = World::usual().await;
    for n in 0..100 {
        begin(&world, &Browser::default(), &format!("user_{n}")).await;
    }
    let (link, browser) = (gadget_link(&world, "one_more").await, Browser::default());
    let refused = world.press(&browser, &link, "connect").await;
    assert_eq!((refused.status, world.provider.calls().len()), (429, 100));
    until("all wait", || world.clock.sleepers() == 100).await;
    world.clock.advance(LIFE);
    all_done(&world).await;
    begin(&world, &browser, "another").await;
}
