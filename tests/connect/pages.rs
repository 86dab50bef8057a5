//! Every page: its headers, and that foreign text stays text.

use serde_json::json;

use crate::browser::{Browser, Seen, param};
use crate::world::{Setting, World};

/// Texts that try to leave their place in a page, each in its own way.
const POLYGLOTS: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><svg/onload=alert(1)>",
    "'-alert(1)-'",
    "</title><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "<a href=\"data:text/html,x\">x</a>",
];

fn assert_page(seen: &Seen, what: &str) -> String {
    let expected = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.header(name), value, "{what}: {name}");
    }
    assert!(!seen.header("x-request-id").is_empty());
    let policy = seen.header("content-security-policy").to_owned();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'sha256-"] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("script-src"), "{what}: {policy}");
    for foreign in ["<script", "<svg/", "<img", "<a ", "<link", "http-equiv", "@import", "url("] {
        assert!(!seen.body.contains(foreign), "{what}: {foreign}");
    }
    policy.split_once("form-action ").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_carries_its_policy() {
    let world = World::usual().await;
    let browser = Browser::default();
    let link = world.link(json!({ "end_user_id": "user_1", "return_url": crate::world::OTHER_BACK })).await;
    let forms = assert_page(&browser.get(&link).await, "connect");
    assert_eq!(forms, "'self' https://honest.example http://localhost:3000 https:", "the whole way of the form's POST");

    let ended = browser.get(&format!("{link}x")).await;
    assert_eq!(assert_page(&ended, "ended link"), "'none'");
    assert!(ended.body.contains(ended.header("x-request-id")), "a page with an error names its request");
    let lost = browser.get(&format!("{}/authorization-success/x?state=x", world.base)).await;
    assert_eq!(assert_page(&lost, "lost state"), "'none'");

    let homeless = World::with(Setting { user_redirect_url: None, ..Setting::default() }).await;
    let cancelled = homeless.press(&browser, &homeless.link_for("u").await, "cancel").await;
    assert_eq!(assert_page(&cancelled, "cancelled"), "'none'");
    let authorize = homeless.begin(&browser, "u").await;
    let done = browser.get(&homeless.callback(&authorize, "c")).await;
    assert_eq!(assert_page(&done, "done"), "'none'");
    assert!(!done.body.contains(done.header("x-request-id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_text_stays_text() {
    for polyglot in POLYGLOTS {
        let setting = Setting { tenant_name: polyglot, user_redirect_url: None, ..Setting::default() };
        let world = World::with(setting).await;
        let browser = Browser::default();
        let connect = browser.get(&world.link_for(polyglot).await).await;
        assert_page(&connect, polyglot);
        let authorize = world.begin(&browser, polyglot).await;
        let done = browser.get(&world.callback(&authorize, "c")).await;
        assert_eq!(done.status, 200);
        assert_page(&done, polyglot);

        let encoded: String = form_urlencoded::byte_serialize(polyglot.as_bytes()).collect();
        let authorize = world.begin(&browser, "u2").await;
        let (back, state) = (param(&authorize, "redirect_uri").unwrap(), param(&authorize, "state").unwrap());
        let query = format!(
            "error={encoded}&error_description={encoded}&error_uri={encoded}&state={state}&iss=https%3A%2F%2Fhonest.example"
        );
        let refused = browser.get(&format!("{back}?{query}")).await;
        assert_page(&refused, polyglot);
        assert!(!refused.body.contains("alert") && !refused.body.contains("7*7"), "what a provider says is not shown at all");
        for url in [format!("/authorize-{encoded}?link=x"), format!("/authorize-honest?link={encoded}")] {
            let page = browser.get(&format!("{}{url}", world.base)).await;
            assert!(!page.body.contains("alert"), "{url}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_cookie_is_as_narrow_as_it_can_be() {
    for (https, expected) in
        [(false, "HttpOnly; SameSite=Lax; Path=/; Max-Age=600"), (true, "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600")]
    {
        let world = World::with(Setting { https, ..Setting::default() }).await;
        let browser = Browser::default();
        let pressed = world.press(&browser, &world.link_for("u").await, "connect").await;
        let (pair, rest) = pressed.cookies()[0].split_once("; ").unwrap();
        assert_eq!(rest, expected);
        let (name, value) = pair.split_once('=').unwrap();
        let flow = name.strip_prefix(if https { "__Host-clv_" } else { "clv_" }).unwrap();
        assert_eq!((flow.len(), value.len()), (16, 43));
    }
}
