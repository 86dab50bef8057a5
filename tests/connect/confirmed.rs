//! `confirm = tenant`: nothing is exchanged until the tenant's backend names the end user of its own
//! session, and what was sent to somebody else connects nobody.

use std::time::Duration;

use claviger::domain::event::EventKind;
use claviger::domain::scope::{Scope, Scopes};
use claviger::services::api_keys::NewApiKey;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::browser::{Browser, param};
use crate::world::{BACK, LINK_TTL, STATE_TTL, World};

/// Opens the link in this browser, consents, and answers the ticket that the tenant's site gets.
async fn consent(world: &World, browser: &Browser, link: &str) -> String {
    let opened = browser.get(link).await;
    assert!(opened.cookies().is_empty());
    let landed = browser.get(&world.callback(&opened.location(), "code-1")).await.location();
    let (told, ticket) = landed.as_str().split_once("&status=pending&ticket=").unwrap();
    assert_eq!(told, BACK, "the browser brings nothing but the ticket");
    ticket.to_owned()
}

async fn finish(world: &World, key: &str, ticket: &str, end_user: &str) -> (u16, Value) {
    world.call(key, "/finish-authorization", json!({ "ticket": ticket, "end_user_id": end_user })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_confirms_with_its_own_session() {
    let world = World::confirmed_by_tenant().await;
    let link = world.link_for("user_1").await;
    let ticket = consent(&world, &Browser::default(), &link).await;
    assert!(world.provider.calls().is_empty(), "a held code is not exchanged");
    assert!(world.connections(&world.acme).await.is_empty());

    let (status, connection) = finish(&world, &world.acme.key, &ticket, "user_1").await;
    assert_eq!(status, 200, "{connection}");
    assert_eq!(connection["confirmed"], json!(true));
    assert_eq!(connection["end_user_id"], json!("user_1"));
    assert!(!connection.to_string().contains("at-1"), "no token in it");
    assert_eq!(world.provider.exchanges().len(), 1);

    let (status, again) = finish(&world, &world.acme.key, &ticket, "user_1").await;
    assert_eq!((status, &again["code"]), (400, &json!("ticket_invalid")));
    assert_eq!(Browser::default().get(&link).await.status, 410, "the link went with the ticket");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_sent_somebody_elses_link_connects_nobody() {
    let world = World::confirmed_by_tenant().await;
    let link = world.link_for("attacker").await;
    let ticket = consent(&world, &Browser::default(), &link).await;
    let (status, refused) = finish(&world, &world.acme.key, &ticket, "victim").await;
    assert_eq!((status, &refused["code"]), (403, &json!("end_user_mismatch")));

    let (status, refused) = finish(&world, &world.acme.key, &ticket, "attacker").await;
    assert_eq!((status, &refused["code"]), (400, &json!("ticket_invalid")), "the flow has ended");
    assert_eq!(Browser::default().get(&link).await.status, 410);
    assert!(world.provider.calls().is_empty() && world.connections(&world.acme).await.is_empty());

    let caller = claviger::domain::caller::Caller::authenticated(world.acme.id.clone(), Scopes::admin());
    let provider = claviger::domain::ids::ProviderId::parse("honest").unwrap();
    let name = claviger::domain::ids::IntegrationName::of_provider(&provider);
    let active = world.services.integrations.active(caller.tenant(), &provider, &name).await.unwrap();
    let end_user = claviger::domain::ids::EndUserId::parse("attacker").unwrap();
    let account = claviger::domain::ids::Account::default_account();
    let subject = world.services.connect.subject(&active, &end_user, &account, &Default::default()).unwrap();
    let events = world.events(&world.acme, &subject.connection_id()).await;
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::WrongEndUser]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_of_one_tenant_and_of_keys_that_may_make_links() {
    let world = World::confirmed_by_tenant().await;
    let ticket = consent(&world, &Browser::default(), &world.link_for("user_1").await).await;
    let (status, foreign) = finish(&world, &world.rival.key, &ticket, "user_1").await;
    let (unknown_status, unknown) = finish(&world, &world.rival.key, &"A".repeat(43), "user_1").await;
    assert_eq!(
        (status, foreign["code"].clone(), foreign["detail"].clone()),
        (unknown_status, unknown["code"].clone(), unknown["detail"].clone())
    );

    let new = NewApiKey { name: "reader".to_owned(), scopes: Scopes::of([Scope::TokensRead]), expires_in: None };
    let (_, reader) = world.services.api_keys.issue(&world.acme.id, new).await.unwrap();
    let (status, refused) = finish(&world, reader.expose_secret(), &ticket, "user_1").await;
    assert_eq!((status, &refused["code"]), (403, &json!("insufficient_scope")));

    assert_eq!(finish(&world, &world.acme.key, &ticket, "user_1").await.0, 200, "neither attempt has spent it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_confirmations_one_is_made() {
    let world = World::confirmed_by_tenant().await;
    let link = world.link_for("user_1").await;
    let tickets = [consent(&world, &Browser::default(), &link).await, consent(&world, &Browser::default(), &link).await];
    let attempts = (0..64).map(|n| finish(&world, &world.acme.key, &tickets[n % 2], "user_1"));
    let answers = futures::future::join_all(attempts).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(world.provider.exchanges().len(), 1);
    assert_eq!(world.connections(&world.acme).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_lives_until_completion() {
    let world = World::confirmed_by_tenant().await;
    let (link, browser) = (world.link_for("user_1").await, Browser::default());
    let declined = browser.get(&link).await.location();
    let state = param(&declined, "state").unwrap();
    let back = param(&declined, "redirect_uri").unwrap();
    let landed =
        browser.get(&format!("{back}?error=access_denied&state={state}&iss=https%3A%2F%2Fhonest.example")).await.location();
    assert_eq!(param(&landed, "code").unwrap(), "access_denied");

    // Begun in the link's last second, completed and confirmed as late as each step allows.
    world.clock.advance(LINK_TTL - Duration::from_secs(1));
    let authorize = browser.get(&link).await.location();
    world.clock.advance(STATE_TTL - Duration::from_secs(1));
    let landed = browser.get(&world.callback(&authorize, "c")).await.location();
    world.clock.advance(STATE_TTL - Duration::from_secs(1));
    assert_eq!(browser.get(&link).await.status, 410, "no flow begins any more");
    assert_eq!(finish(&world, &world.acme.key, &param(&landed, "ticket").unwrap(), "user_1").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_ends_by_itself() {
    let world = World::confirmed_by_tenant().await;
    let ticket = consent(&world, &Browser::default(), &world.link_for("user_1").await).await;
    world.clock.advance(STATE_TTL);
    let (status, refused) = finish(&world, &world.acme.key, &ticket, "user_1").await;
    assert_eq!((status, &refused["code"]), (400, &json!("ticket_invalid")));
    assert!(world.provider.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_link_has_no_page_and_no_button() {
    let world = World::confirmed_by_tenant().await;
    let (link, browser) = (world.link_for("user_1").await, Browser::default());
    assert_eq!(browser.head(&link).await.status, 200);
    assert_eq!(world.press(&browser, &link, "connect").await.status, 410);
    assert_eq!(browser.get(&link).await.status, 303, "it was not taken");
}
