//! The consent page: what it shows, what it refuses and to whom it says so, where it leads.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::world::{CLIENT, REDIRECT, World, form, request_fields, with, without};

/// The hidden fields of a page's form, as a browser would send them.
fn hidden_fields(html: &str) -> Vec<(String, String)> {
    let unescape = |text: &str| {
        let named = [("&#38;", "&"), ("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'")];
        // The ampersand last, or what it begins would be read again.
        named.iter().rev().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
    };
    let inputs = html.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            (name.to_owned(), unescape(rest.split_once('"').unwrap().0))
        })
        .collect()
}

#[tokio::test]
async fn the_page_names_who_asks_for_what_and_its_form_leads_back_with_a_code() {
    let world = World::start().await;
    let asked = with(&request_fields(), &[("scope", "write flaky"), ("state", "a&b<c>\"d'e é"), ("unknown", "ignored")]);
    let page = world.ask(&asked).await;
    assert_eq!(page.status, 200);
    for shown in [CLIENT, "http://127.0.0.1:9", "write", "flaky", "Ada Lovelace", "grace", "Allow", "Deny"] {
        assert!(page.text.contains(shown), "{shown}");
    }
    assert!(!page.text.contains("<code>read</code>"), "what was not asked for is not shown");

    let mut fields = hidden_fields(&page.text);
    fields.extend([("account".into(), "grace".into()), ("typed".into(), String::new()), ("decision".into(), "allow".into())]);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = world.form_request("/authorize", &fields).header("sec-fetch-site", "same-origin");
    let back = world.try_send(request).await.unwrap().back();
    assert_eq!(back["state"], "a&b<c>\"d'e é");
    assert_eq!(back["iss"], world.base);
    assert_eq!(back.len(), 3, "{back:?}");

    let tokens = world.redeem(&back["code"]).await.tokens();
    assert_eq!(tokens.body["scope"], "write flaky");
    assert_eq!(world.userinfo(&tokens.access).await.json()["sub"], "grace");
}

#[tokio::test]
async fn deny_leads_back_with_access_denied() {
    let world = World::start().await;
    let back = world.post("/authorize", &with(&request_fields(), &[("decision", "deny")])).await.back();
    assert_eq!(back["error"], "access_denied");
    assert_eq!(back["state"], "s t&a=t/e");
    assert_eq!(back["iss"], world.base);
    assert!(!back.contains_key("code"));
}

#[tokio::test]
async fn without_a_state_none_comes_back() {
    let world = World::start().await;
    let fields = with(&without(&request_fields(), "state"), &[("decision", "allow"), ("account", "ada")]);
    let back = world.post("/authorize", &fields).await.back();
    assert_eq!(back.keys().collect::<Vec<_>>(), ["code", "iss"]);
}

#[tokio::test]
async fn errors_of_the_request_go_to_the_client() {
    let world = World::start().await;
    let good = request_fields();
    let challenge = good.iter().find(|(name, _)| *name == "code_challenge").unwrap().1;
    let short = &challenge[1..];
    let (long, odd) = (format!("{challenge}a"), format!("+{short}"));
    let cases = [
        (without(&good, "response_type"), "invalid_request"),
        (with(&good, &[("response_type", "token")]), "unsupported_response_type"),
        (with(&good, &[("response_type", "code id_token")]), "unsupported_response_type"),
        (with(&good, &[("scope", "read openid")]), "invalid_scope"),
        (without(&good, "code_challenge"), "invalid_request"),
        (with(&good, &[("code_challenge", "")]), "invalid_request"),
        (with(&good, &[("code_challenge", short)]), "invalid_request"),
        (with(&good, &[("code_challenge", &long)]), "invalid_request"),
        (with(&good, &[("code_challenge", &odd)]), "invalid_request"),
        (without(&good, "code_challenge_method"), "invalid_request"),
        (with(&good, &[("code_challenge_method", "plain")]), "invalid_request"),
        ([good.clone(), vec![("scope", "read")]].concat(), "invalid_request"),
    ];
    for (fields, error) in cases {
        // The decision checks anew, so that nobody gets around the page.
        let decided = [fields.clone(), vec![("decision", "allow"), ("account", "ada")]].concat();
        for back in [world.ask(&fields).await.back(), world.post("/authorize", &decided).await.back()] {
            assert_eq!(back["error"], error, "{fields:?}");
            assert_eq!(back["state"], "s t&a=t/e");
            assert_eq!(back["iss"], world.base);
            assert!(!back["error_description"].is_empty());
            assert!(!back.contains_key("code"));
        }
    }
}

#[tokio::test]
async fn without_a_client_or_a_way_back_a_page_says_so() {
    let world = World::start().await;
    let good = request_fields();
    let (long_id, long_state) = ("x".repeat(201), "s".repeat(2049));
    let cases = [
        (without(&good, "client_id"), "client_id"),
        (with(&good, &[("client_id", "")]), "client_id"),
        (with(&good, &[("client_id", &long_id)]), "client_id"),
        ([good.clone(), vec![("client_id", CLIENT)]].concat(), "client_id"),
        (without(&good, "redirect_uri"), "redirect_uri"),
        (with(&good, &[("redirect_uri", "http://app.example/cb")]), "redirect_uri"),
        (with(&good, &[("redirect_uri", "javascript:alert(1)")]), "redirect_uri"),
        (with(&good, &[("redirect_uri", "https://app.example/#frag")]), "redirect_uri"),
        ([good.clone(), vec![("redirect_uri", REDIRECT)]].concat(), "redirect_uri"),
        (with(&good, &[("state", &long_state)]), "state"),
    ];
    for (fields, named) in cases {
        let decided = [fields.clone(), vec![("decision", "allow"), ("account", "ada")]].concat();
        for answer in [world.ask(&fields).await, world.post("/authorize", &decided).await] {
            assert_eq!(answer.status, 400, "{fields:?}");
            assert!(!answer.headers.contains_key("location"));
            assert!(answer.text.contains(named), "{named}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn limits_let_through_what_is_at_them() {
    let world = World::start().await;
    let (id, state) = ("x".repeat(200), "s".repeat(2048));
    let redirect = format!("{REDIRECT}&p={}", "x".repeat(2048 - REDIRECT.len() - 3));
    let fields = with(&request_fields(), &[("client_id", &id), ("state", &state), ("redirect_uri", &redirect)]);
    assert_eq!(world.ask(&fields).await.status, 200);

    let filled = |size: usize| {
        let query = form(&request_fields());
        format!("{query}&pad={}", "x".repeat(size - query.len() - 5))
    };
    assert_eq!(world.get(&format!("/authorize?{}", filled(16 * 1024))).await.status, 200);
    assert_eq!(world.get(&format!("/authorize?{}", filled(16 * 1024 + 1))).await.status, 414);
    for (size, status) in [(16 * 1024, 303), (16 * 1024 + 1, 413)] {
        let body = format!("decision=deny&{}", filled(size - 14));
        let answer = world.try_send(world.form_request("/authorize", &[]).body(body)).await.unwrap();
        assert_eq!(answer.status, status, "{size}");
    }
}

#[tokio::test]
async fn the_decision_is_allow_or_deny_by_an_account_with_a_name() {
    let world = World::start().await;
    let good = with(&request_fields(), &[("decision", "allow"), ("account", "ada")]);
    for decision in ["", "maybe", "Allow"] {
        assert_eq!(world.post("/authorize", &with(&good, &[("decision", decision)])).await.status, 400, "{decision}");
    }
    let twice = [good.clone(), vec![("decision", "deny")]].concat();
    assert_eq!(world.post("/authorize", &twice).await.status, 400);

    for (account, typed) in [("", ""), ("Ada", ""), ("ada", "no spaces"), ("a/b", ""), ("ada", "<b>")] {
        let answer = world.post("/authorize", &with(&good, &[("account", account), ("typed", typed)])).await;
        assert_eq!(answer.status, 400, "{account} {typed}");
        assert!(answer.text.contains("role=\"alert\"") && answer.text.contains("Allow"), "the page comes again");
    }

    let back = world.post("/authorize", &with(&good, &[("typed", " linus ")])).await.back();
    let tokens = world.redeem(&back["code"]).await.tokens();
    let user = world.userinfo(&tokens.access).await.json();
    assert_eq!((user["sub"].as_str(), user["name"].as_str()), (Some("linus"), Some("linus")));
}

#[tokio::test]
async fn another_site_cannot_press_allow() {
    let world = World::start().await;
    let fields = with(&request_fields(), &[("decision", "allow"), ("account", "ada")]);
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("none", 403), ("same-origin", 303)] {
        let request = world.form_request("/authorize", &fields).header("sec-fetch-site", site);
        assert_eq!(world.try_send(request).await.unwrap().status, status, "{site}");
    }
    let json = world.http.post(world.url("/authorize")).json_body(&form(&fields));
    assert_eq!(world.try_send(json).await.unwrap().status, 415);
}

#[tokio::test]
async fn what_the_client_sends_is_text_on_the_page() {
    let world = World::start().await;
    let hostile = "\"><script>alert(1)</script>";
    let page = world.ask(&with(&request_fields(), &[("client_id", hostile), ("state", hostile)])).await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert!(hidden_fields(&page.text).contains(&("state".to_owned(), hostile.to_owned())));
}

#[tokio::test]
async fn every_page_is_guarded_by_its_headers() {
    let world = World::start().await;
    let consent = world.ask(&request_fields()).await;
    let over_ipv6 = world.ask(&with(&request_fields(), &[("redirect_uri", "http://[::1]:9/cb")])).await;
    let pages = [
        (&consent, "form-action 'self' https: http://127.0.0.1:* http://localhost:*;"),
        (&over_ipv6, "form-action 'self' https: http:;"),
        (&world.ask(&[]).await, "form-action 'none';"),
        (&world.get("/").await, "form-action 'none';"),
        (&world.get("/nowhere").await, "form-action 'none';"),
    ];
    for (page, forms) in pages {
        let style = page.text.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(Sha256::digest(style));
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")), "{policy}");
        assert!(policy.contains(forms), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(!page.text.contains("style=") && !page.text.contains("<script"), "nothing inline that the policy forbids");
    }
    let back = world.post("/authorize", &with(&request_fields(), &[("decision", "deny")])).await;
    assert_eq!((back.header("cache-control"), back.header("referrer-policy")), ("no-store", "no-referrer"));
}

trait JsonBody {
    fn json_body(self, body: &str) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body.to_owned())
    }
}
