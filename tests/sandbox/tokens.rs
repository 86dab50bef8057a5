//! The token endpoint, userinfo and revocation: what works, what is refused, what it costs.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;

use crate::world::{CLIENT, SECRET, VERIFIER, World, exchange_fields, form, refresh_fields, with, without};

const OTHER: [(&str, &str); 2] = [("client_id", "rival"), ("client_secret", "rival's")];

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let encode = |text: &str| form(&[(text, "")]).trim_end_matches('=').to_owned();
    let joined = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(joined))
}

#[tokio::test]
async fn from_consent_to_token_to_expiry_to_the_next_token() {
    let world = World::start().await;
    let answer = world.redeem(&world.consent("read write").await).await;
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    let first = answer.tokens();
    assert_eq!(first.body["token_type"], "Bearer");
    assert_eq!(first.body["expires_in"], 300);
    assert_eq!(first.body["scope"], "read write");
    let user = world.userinfo(&first.access).await.json();
    assert_eq!((user["sub"].as_str(), user["name"].as_str()), (Some("ada"), Some("Ada Lovelace")));

    world.clock.advance(Duration::from_millis(299_999));
    assert!(world.works(&first.access).await);
    world.clock.advance(Duration::from_millis(1));
    let expired = world.userinfo(&first.access).await;
    assert_eq!(expired.status, 401);
    assert!(expired.header("www-authenticate").contains("error=\"invalid_token\""));

    let second = world.refresh(first.refresh_token()).await.tokens();
    assert!(second.access != first.access && second.refresh != first.refresh);
    assert_eq!(second.body["expires_in"], 300);
    assert!(world.works(&second.access).await);
}

#[tokio::test]
async fn a_client_proves_itself_in_one_way_of_two() {
    let world = World::start().await;
    let bare = without(&without(&exchange_fields(), "client_id"), "client_secret");
    let redeem = async |fields: &[(&str, &str)], header: Option<String>| {
        let code = world.consent("read").await;
        let mut request = world.form_request("/token", &with(fields, &[("code", &code)]));
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        world.try_send(request).await.unwrap()
    };
    let good = || Some(basic(CLIENT, SECRET));
    assert_eq!(redeem(&exchange_fields(), None).await.status, 200);
    assert_eq!(redeem(&bare, good()).await.status, 200);
    assert_eq!(redeem(&with(&bare, &[("client_id", CLIENT)]), good()).await.status, 200);

    for (fields, header, error) in [
        (exchange_fields(), good(), "400 invalid_request"),
        (with(&bare, &[("client_id", "rival")]), good(), "400 invalid_request"),
        (with(&bare, &[("client_secret", SECRET)]), None, "400 invalid_request"),
        (bare.clone(), None, "401 invalid_client"),
        (with(&bare, &[("client_id", CLIENT)]), None, "401 invalid_client"),
        (bare.clone(), Some(basic(CLIENT, "wrong")), "401 invalid_client"),
        (bare.clone(), Some(basic(CLIENT, "")), "401 invalid_client"),
        (bare.clone(), Some("Bearer x".to_owned()), "401 invalid_client"),
        (bare.clone(), Some("Basic ***".to_owned()), "401 invalid_client"),
        (with(&exchange_fields(), &[("client_secret", &"s".repeat(513))]), None, "401 invalid_client"),
        (with(&exchange_fields(), &[("client_secret", "wrong")]), None, "401 invalid_client"),
    ] {
        let answer = redeem(&fields, header.clone()).await;
        assert_eq!(answer.error(), error, "{fields:?} {header:?}");
        assert_eq!(answer.status == 401, answer.header("www-authenticate").starts_with("Basic "));
    }
}

#[tokio::test]
async fn the_first_redemption_fixes_the_secret() {
    let world = World::start().await;
    // A request that earns nothing fixes nothing.
    let code = world.consent("read").await;
    let unearned = with(&exchange_fields(), &[("code", "no such code"), ("client_secret", "squatter")]);
    let burnt = with(&unearned, &[("code", code.as_str()), ("redirect_uri", "https://else.example")]);
    for fields in [unearned, burnt] {
        assert_eq!(world.post("/token", &fields).await.error(), "400 invalid_grant");
    }
    let before = world.revoke("any").await;
    assert_eq!(before.error(), "401 invalid_client");

    let tokens = world.connect("read").await;
    let wrong = [("client_secret", "another")];
    let code = world.consent("read").await;
    for (path, fields) in [
        ("/token", with(&with(&exchange_fields(), &[("code", &code)]), &wrong)),
        ("/token", with(&refresh_fields(tokens.refresh_token()), &wrong)),
        ("/revoke", with(&refresh_fields(tokens.refresh_token()), &[wrong[0], ("token", tokens.refresh_token())])),
    ] {
        assert_eq!(world.post(path, &fields).await.error(), "401 invalid_client");
    }
    // Nothing of that cost anything.
    assert_eq!(world.redeem(&code).await.status, 200);
    assert_eq!(world.refresh(tokens.refresh_token()).await.status, 200);
}

#[tokio::test]
async fn a_claim_that_does_not_match_burns_the_code() {
    let world = World::start().await;
    let other_verifier = format!("{VERIFIER}x");
    for changed in [("code_verifier", other_verifier.as_str()), ("redirect_uri", "http://127.0.0.1:9/cb")] {
        let code = world.consent("read").await;
        let claim = with(&exchange_fields(), &[("code", &code), changed]);
        assert_eq!(world.post("/token", &claim).await.error(), "400 invalid_grant", "{changed:?}");
        assert_eq!(world.redeem(&code).await.error(), "400 invalid_grant", "{changed:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_in_order_costs_nothing() {
    let world = World::start().await;
    let code = world.consent("read").await;
    let good = with(&exchange_fields(), &[("code", &code)]);
    let (short, long, odd) = ("v".repeat(42), "v".repeat(129), format!("{VERIFIER}+"));
    for (fields, error) in [
        (without(&good, "grant_type"), "400 invalid_request"),
        (with(&good, &[("grant_type", "password")]), "400 unsupported_grant_type"),
        (without(&good, "code"), "400 invalid_request"),
        (without(&good, "redirect_uri"), "400 invalid_request"),
        (without(&good, "code_verifier"), "400 invalid_request"),
        (with(&good, &[("code_verifier", &short)]), "400 invalid_request"),
        (with(&good, &[("code_verifier", &long)]), "400 invalid_request"),
        (with(&good, &[("code_verifier", &odd)]), "400 invalid_request"),
        ([good.clone(), vec![("code", "x")]].concat(), "400 invalid_request"),
        ([good.clone(), vec![("client_id", CLIENT)]].concat(), "400 invalid_request"),
        (with(&good, &[("grant_type", "refresh_token")]), "400 invalid_request"),
        (with(&good, &[("code", &"c".repeat(257))]), "400 invalid_grant"),
        // Another client cannot burn what is not its own.
        (with(&good, &OTHER), "400 invalid_grant"),
    ] {
        assert_eq!(world.post("/token", &fields).await.error(), error, "{fields:?}");
    }
    let json = world.form_request("/token", &good).header("content-type", "application/json");
    let text = world.http.post(world.url("/token")).body(form(&good));
    for request in [text, json] {
        let answer = world.try_send(request).await.unwrap();
        assert!(answer.status == 200 || answer.error() == "400 invalid_request", "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_is_a_form_of_at_most_16_kib() {
    let world = World::start().await;
    let code = world.consent("read").await;
    let good = form(&with(&exchange_fields(), &[("code", &code)]));
    let padded = |size: usize| format!("{good}&pad={}", "x".repeat(size - good.len() - 5));
    let send = async |kind: &str, body: String| {
        let request = world.http.post(world.url("/token")).header("content-type", kind).body(body);
        world.try_send(request).await.unwrap()
    };
    for kind in ["application/json", "text/plain", "multipart/form-data; boundary=x"] {
        assert_eq!(send(kind, good.clone()).await.error(), "400 invalid_request", "{kind}");
    }
    let form_type = "application/x-www-form-urlencoded; charset=UTF-8";
    assert_eq!(send(form_type, padded(16 * 1024 + 1)).await.error(), "400 invalid_request");
    assert_eq!(send(form_type, padded(16 * 1024)).await.status, 200);
}

#[tokio::test]
async fn a_code_lives_ten_minutes() {
    let world = World::start().await;
    let (in_time, late) = (world.consent("read").await, world.consent("read").await);
    world.clock.advance(Duration::from_millis(599_999));
    assert_eq!(world.redeem(&in_time).await.status, 200);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.redeem(&late).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn a_code_used_twice_takes_its_tokens_with_it() {
    let world = World::start().await;
    let code = world.consent("read").await;
    let tokens = world.redeem(&code).await.tokens();
    let second = world.refresh(tokens.refresh_token()).await.tokens();
    // Another client's replay proves nothing about the owner.
    let rival = with(&with(&exchange_fields(), &[("code", &code)]), &OTHER);
    assert_eq!(world.post("/token", &rival).await.error(), "400 invalid_grant");
    assert!(world.works(&second.access).await);

    world.clock.advance(Duration::from_secs(299));
    assert_eq!(world.redeem(&code).await.error(), "400 invalid_grant");
    assert!(!world.works(&tokens.access).await && !world.works(&second.access).await);
    assert_eq!(world.refresh(second.refresh_token()).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn a_refresh_may_ask_for_less_and_never_for_more() {
    let world = World::start().await;
    let tokens = world.connect("read write").await;
    let token = tokens.refresh_token();
    for scope in ["read offline", "slow", "read nothing"] {
        let answer = world.post("/token", &with(&refresh_fields(token), &[("scope", scope)])).await;
        assert_eq!(answer.error(), "400 invalid_scope", "{scope}");
    }
    let less = world.post("/token", &with(&refresh_fields(token), &[("scope", "write")])).await.tokens();
    assert_eq!(less.body["scope"], "write");
    assert_eq!(world.userinfo(&less.access).await.json()["scope"], "write");
    let all = world.refresh(less.refresh_token()).await.tokens();
    assert_eq!(all.body["scope"], "read write");
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_the_grant_and_an_access_token_itself() {
    let world = World::start().await;
    let tokens = world.connect("read").await;
    let other = world.connect("read").await;
    let next = world.refresh(tokens.refresh_token()).await.tokens();

    let answer = world.revoke(&tokens.access).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert!(!world.works(&tokens.access).await && world.works(&next.access).await);

    // A rotated one names the grant as well.
    assert_eq!(world.revoke(tokens.refresh_token()).await.status, 200);
    assert!(!world.works(&next.access).await);
    assert_eq!(world.refresh(next.refresh_token()).await.error(), "400 invalid_grant");
    assert!(world.works(&other.access).await, "the account's other grant is untouched");

    for unknown in ["nonsense", &"x".repeat(257), tokens.refresh_token(), &tokens.access] {
        assert_eq!(world.revoke(unknown).await.status, 200);
    }
}

#[tokio::test]
async fn revocation_is_for_the_client_whose_token_it_is() {
    let world = World::start().await;
    let tokens = world.connect("read").await;
    let rival = |token| [OTHER[0], OTHER[1], ("token", token)];
    assert_eq!(world.post("/revoke", &rival(&tokens.access)).await.error(), "401 invalid_client");

    let rival_id = [OTHER[0], ("decision", "allow"), ("account", "ada")];
    let consent = world.post("/authorize", &with(&crate::world::request_fields(), &rival_id)).await;
    let code = consent.back()["code"].clone();
    let theirs = world.post("/token", &with(&with(&exchange_fields(), &[("code", &code)]), &OTHER)).await;
    assert_eq!(theirs.status, 200);
    for token in [tokens.access.as_str(), tokens.refresh_token()] {
        assert_eq!(world.post("/revoke", &rival(token)).await.error(), "400 unauthorized_client");
        assert_eq!(world.post("/token", &with(&refresh_fields(token), &OTHER)).await.error(), "400 invalid_grant");
    }
    assert_eq!(world.post("/revoke", &OTHER).await.error(), "400 invalid_request");
    assert!(world.works(&tokens.access).await);
    assert_eq!(world.refresh(tokens.refresh_token()).await.status, 200);
}

#[tokio::test]
async fn userinfo_wants_a_bearer_token() {
    let world = World::start().await;
    let tokens = world.connect("read").await;
    let none = world.get("/userinfo").await;
    assert_eq!((none.status, none.header("www-authenticate")), (401, "Bearer realm=\"sandbox\""));
    for wrong in ["nonsense", "", &"x".repeat(257), tokens.refresh_token()] {
        let answer = world.userinfo(wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
    let in_the_query = world.get(&format!("/userinfo?access_token={}", tokens.access)).await;
    assert_eq!(in_the_query.status, 401);
}
