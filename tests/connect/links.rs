//! Making links: what a tenant may ask for, and what is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use claviger::domain::ids::{Account, EndUserId, IntegrationName, ProviderId};
use claviger::domain::link::FlowSubject;
use claviger::domain::scope::{Scope, Scopes};
use claviger::services::api_keys::NewApiKey;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::browser::Browser;
use crate::world::{BACK, LINK_TTL, OTHER_BACK, Setting, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_says_when_it_ends_and_then_ends() {
    let world = World::usual().await;
    let (_, made) = world.call(&world.acme.key, "/authorize-honest", json!({ "end_user": "user_1" })).await;
    assert_eq!(made["expires_at"], json!("2026-01-01T00:30:00Z"));
    let link = made["authorize_url"].as_str().unwrap();
    world.clock.advance(LINK_TTL - Duration::from_secs(1));
    assert_eq!(Browser::default().get(link).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    let ended = Browser::default().get(link).await;
    assert_eq!(ended.status, 410);
    assert!(ended.body.contains("This link has ended"));
    assert_eq!(world.press(&Browser::default(), link, "connect").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_have_limits() {
    let world = World::usual().await;
    let long = |n: usize| "x".repeat(n);
    let many = |n: usize| (0..n).map(|n| format!("s{n}")).collect::<Vec<_>>();
    for (body, field) in [
        (json!({ "end_user_id": long(200), "account": long(200), "scopes": many(200) }), None),
        (json!({ "end_user_id": long(201) }), Some("end_user_id")),
        (json!({ "end_user_id": "" }), Some("end_user_id")),
        (json!({ "end_user_id": "a\u{0}b" }), Some("end_user_id")),
        (json!({ "end_user_id": "u", "account": long(201) }), Some("account")),
        (json!({ "end_user_id": "u", "scopes": many(201) }), Some("scopes")),
        (json!({ "end_user_id": "u", "scopes": [long(300)] }), None),
        (json!({ "end_user_id": "u", "scopes": [long(301)] }), Some("scopes")),
        (json!({ "end_user_id": "u", "integration": "Not A Slug" }), Some("integration")),
        (json!({ "end_user_id": "u", "client_id": "mine" }), Some("client_id")),
        (json!({ "end_user_id": "u", "state": "mine", }), Some("state")),
        (json!({ "end_user_id": "u", "redirect_uri": "https://evil.example" }), Some("redirect_uri")),
    ] {
        let (status, answer) = world.call(&world.acme.key, "/authorize-honest", body.clone()).await;
        match field {
            None => assert_eq!(status, 200, "{body} {answer}"),
            Some(field) => assert_eq!((status, &answer["field"]), (400, &json!(field)), "{body} {answer}"),
        }
    }
    assert_eq!(world.call(&world.acme.key, "/authorize-honest", json!({})).await.0, 400);
    let (status, answer) = world.call(&world.acme.key, "/authorize-nowhere", json!({ "end_user_id": "u" })).await;
    assert_eq!((status, &answer["code"]), (404, &json!("provider_not_found")));
    let body = json!({ "end_user_id": "u", "integration": "another" });
    let (status, answer) = world.call(&world.acme.key, "/authorize-honest", body).await;
    assert_eq!((status, &answer["code"]), (404, &json!("integration_not_found")));
    let body = json!({ "end_user_id": "u", "shop": "corner", "scopes": "read" });
    let (status, answer) = world.call(&world.acme.key, "/authorize-posting", body).await;
    assert_eq!((status, &answer["field"]), (400, &json!("scopes")), "a provider without scopes");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_need_their_scope() {
    let world = World::usual().await;
    let others = [Scope::TokensRead, Scope::ConnectionsRead, Scope::ConnectionsWrite, Scope::IntegrationsRead, Scope::EventsRead];
    let reader = NewApiKey { name: "r".to_owned(), scopes: Scopes::of(others), expires_in: None };
    let (_, reader) = world.services.api_keys.issue(&world.acme.id, reader).await.unwrap();
    let body = json!({ "end_user_id": "u" });
    assert_eq!(world.call(reader.expose_secret(), "/authorize-honest", body.clone()).await.0, 403);
    let linker = NewApiKey { name: "l".to_owned(), scopes: Scopes::of([Scope::LinksWrite]), expires_in: None };
    let (_, linker) = world.services.api_keys.issue(&world.acme.id, linker).await.unwrap();
    assert_eq!(world.call(linker.expose_secret(), "/authorize-honest", body).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_return_is_registered_byte_for_byte_or_refused() {
    let world = World::usual().await;
    for registered in [BACK, OTHER_BACK] {
        let body = json!({ "end_user_id": "u", "return_url": registered });
        assert_eq!(world.call(&world.acme.key, "/authorize-honest", body).await.0, 200);
    }
    for near in spellings(BACK).into_iter().chain(spellings(OTHER_BACK)) {
        let body = json!({ "end_user_id": "u", "return_url": near });
        let (status, answer) = world.call(&world.acme.key, "/authorize-honest", body).await;
        assert_eq!((status, &answer["field"]), (400, &json!("return_url")), "{near:?}");
    }
}

/// Places that are nearly a registered one.
fn spellings(registered: &str) -> Vec<String> {
    let (scheme, rest) = registered.split_once("://").unwrap();
    let mut near: Vec<String> = [
        format!("{registered}/"),
        format!("{registered}#"),
        format!("{registered}?"),
        format!("{registered}&x=1"),
        format!(" {registered}"),
        format!("{registered} "),
        format!("{registered}\n"),
        format!("{registered}%00"),
        format!("{registered}/../evil"),
        format!("{scheme}://evil.example/?{registered}"),
        format!("{scheme}://user@{rest}"),
        format!("{scheme}://evil.example@{rest}"),
        format!("{scheme}:{rest}"),
        format!("{scheme}:///{rest}"),
        format!("{scheme}:\\\\{rest}"),
        format!("//{rest}"),
        rest.to_owned(),
        registered.to_uppercase(),
        registered.replace('.', "%2e"),
        registered.replacen("https", "http", 1).replacen("http:", "ftp:", 1),
        "javascript:alert(1)".to_owned(),
        "data:text/html,x".to_owned(),
        "https://evil.example".to_owned(),
    ]
    .into();
    // Every single character left out, doubled, or changed.
    for (at, c) in registered.char_indices() {
        near.push(format!("{}{}", &registered[..at], &registered[at + c.len_utf8()..]));
        near.push(format!("{}{c}{}", &registered[..at], &registered[at..]));
        near.push(format!("{}~{}", &registered[..at], &registered[at + c.len_utf8()..]));
    }
    near.retain(|url| url != registered && !url.is_empty());
    near
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_link_are_those_the_provider_declares_in_their_form() {
    let world = World::usual().await;
    for (shop, fits) in [
        ("corner", true),
        ("corner.evil", true),
        ("corner.evil.example/", false),
        ("evil.example#", false),
        ("a@b", false),
        ("a\r\nb", false),
        ("../x", false),
        ("a?b=c", false),
        ("%2e", false),
        ("ü", false),
    ] {
        let body = json!({ "end_user_id": "u", "shop": shop });
        let (status, answer) = world.call(&world.acme.key, "/authorize-posting", body).await;
        assert_eq!(status == 200, fits, "{shop:?} {answer}");
    }
    let (status, answer) = world.call(&world.acme.key, "/authorize-posting", json!({ "end_user_id": "u" })).await;
    assert_eq!((status, &answer["field"]), (400, &json!("shop")), "it is needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_integration_fixes_no_link_changes() {
    let world = World::usual().await;
    let fix = json!({ "provider": "posting", "shop": "corner", "client_secret": "s" });
    let (status, fixed) = world.call(&world.acme.key, "/enable-provider", fix).await;
    assert_eq!(status, 200, "{fixed}");
    for (body, fits) in [
        (json!({ "end_user_id": "u" }), true),
        (json!({ "end_user_id": "u", "shop": "corner" }), true),
        (json!({ "end_user_id": "u", "shop": "corner.evil" }), false),
        (json!({ "end_user_id": "u", "shop": "" }), true),
    ] {
        let (status, answer) = world.call(&world.acme.key, "/authorize-posting", body.clone()).await;
        assert_eq!(status == 200, fits, "{body} {answer}");
        assert!(fits || (status, &answer["field"]) == (400, &json!("shop")), "{body} {answer}");
    }
    let import = json!({ "provider": "posting", "end_user_id": "u", "access_token": "a", "shop": "corner.evil" });
    let (status, answer) = world.call(&world.acme.key, "/import-connection", import).await;
    assert_eq!((status, &answer["field"]), (400, &json!("shop")), "nor an import: {answer}");
}

async fn subject(world: &World, end_user: &str) -> FlowSubject {
    let provider = ProviderId::parse("honest").unwrap();
    let name = IntegrationName::of_provider(&provider);
    let active = world.services.integrations.active(&world.acme.id, &provider, &name).await.unwrap();
    let end_user = EndUserId::parse(end_user).unwrap();
    world.services.connect.subject(&active, &end_user, &Account::default_account(), &BTreeMap::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_link_is_handed_out_again_and_a_used_one_never() {
    let world = World::usual().await;
    let connect = &world.services.connect;
    let ask = || async { connect.reusable_link(subject(&world, "user_1").await).await.unwrap() };
    let first = ask().await;
    assert_eq!(ask().await, first);
    let other = connect.reusable_link(subject(&world, "user_2").await).await.unwrap();
    assert_ne!(other.authorize_url, first.authorize_url);

    world.press(&Browser::default(), &first.authorize_url, "connect").await.location();
    let second = ask().await;
    assert_ne!(second, first, "a link that was taken is not handed out");
    world.clock.advance(LINK_TTL - Duration::from_secs(90));
    assert_ne!(ask().await, second, "nor one that is about to end");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_askers_at_once_get_one_link() {
    let world = World::usual().await;
    let connect = &world.services.connect;
    let asks = (0..50).map(|_| async { connect.reusable_link(subject(&world, "user_1").await).await.unwrap().authorize_url });
    let first = futures::future::join_all(asks).await;
    let settled = connect.reusable_link(subject(&world, "user_1").await).await.unwrap().authorize_url;
    assert!(first.iter().all(|url| *url == settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmation_by_the_tenant_needs_a_place_to_hand_the_ticket_to() {
    let setting =
        Setting { confirm: claviger::domain::integration::Confirm::Tenant, user_redirect_url: None, ..Setting::default() };
    let world = World::with(setting).await;
    let (status, answer) = world.call(&world.acme.key, "/authorize-honest", json!({ "end_user_id": "u" })).await;
    assert_eq!((status, &answer["field"]), (400, &json!("return_url")));
    let body = json!({ "end_user_id": "u", "return_url": OTHER_BACK });
    assert_eq!(world.call(&world.acme.key, "/authorize-honest", body).await.0, 200);
}
