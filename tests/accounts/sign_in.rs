use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use reqwest::header::AUTHORIZATION;

use crate::harness::{PASSWORD, Setup, TRUST, World, send};

const DEV: &str = "dev@example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_an_unknown_address_are_told_the_same() {
    let world = World::start().await;
    world.verified(DEV).await;
    world.sign_up("waiting@example.com").await;
    let wrong = world.sign_in(DEV, "not the password").await;
    wrong.refused(401, "unauthenticated");
    for username in ["unknown@example.com", "waiting@example.com", "not an address", ""] {
        assert_eq!(world.sign_in(username, "not the password").await.comparable(), wrong.comparable(), "{username}");
    }
    let long = "x".repeat(1025);
    assert_eq!(world.sign_in(DEV, &long).await.comparable(), wrong.comparable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_the_same_in_any_case() {
    let world = World::start().await;
    world.verified("Dev@Example.com").await;
    assert_eq!(world.sign_in("dEV@eXAMPLE.COM", PASSWORD).await.status, 200);
    world.post("/signup", &[("username", DEV), ("password", PASSWORD)]).await;
    assert_eq!(world.one_mail().await.0.subject, "You already have an account");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_may_hold_what_basic_and_forms_hold() {
    let world = World::start().await;
    for (n, password) in ["with:colon:and more", "späße & 100% = ☂", " spaces around it "].into_iter().enumerate() {
        let username = format!("dev{n}@example.com");
        let fields = [("username", username.as_str()), ("password", password)];
        assert_eq!(world.post("/signup", &fields).await.status, 202);
        let token = world.one_mail().await.token();
        world.post("/verify-email", &[("token", &token)]).await;
        assert_eq!(world.sign_in(&username, password).await.status, 200, "{password}");
        let key = world.post("/create-api-key", &[&fields[..], &[("name", "k")]].concat()).await;
        assert_eq!(key.status, 201, "{password}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_no_credential_is_refused_before_anything_else() {
    let world = World::start().await;
    for header in ["Basic", "Basic !!!", "Basic ZGV2", "Basic /////w==", "Digest x", "Bearer", "Bearer clv_x", ""] {
        let answer = send(world.get("/api-keys").header(AUTHORIZATION, header)).await;
        answer.refused(401, "unauthenticated");
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    send(world.get("/api-keys")).await.refused(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_get_the_fields_are_no_credential() {
    let world = World::start().await;
    world.verified(DEV).await;
    let path = format!("/api-keys?username={DEV}&password={}", PASSWORD.replace(' ', "+"));
    send(world.get(&path)).await.refused(401, "unauthenticated");
}

/// Callers who send the password with each request are hashed once an hour, and not limited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_password_may_come_as_often_as_it_likes() {
    let world = World::start().await;
    world.verified(DEV).await;
    for _ in 0..10 {
        let answers = join_all((0..20).map(|_| world.sign_in(DEV, PASSWORD))).await;
        let limited = answers.iter().filter(|answer| answer.status != 200).count();
        assert_eq!(limited, 0, "{:?}", answers.iter().find(|answer| answer.status != 200));
        world.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_bridges_an_outage_of_the_store_and_no_more() {
    let world = World::start().await;
    world.verified(DEV).await;
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    let key_form = [("username", DEV), ("password", PASSWORD), ("id", "0123456789abcdef")];
    world.kv.away.store(true, Ordering::SeqCst);
    world.sign_in(DEV, "not the password").await.refused(503, "store_unavailable");
    world.clock.advance(TRUST.cut_off - Duration::from_secs(1));
    // Signed in; it is the revocation that needs the store.
    let answer = world.post("/revoke-api-key", &key_form).await;
    answer.refused(503, "store_unavailable");
    assert!(world.state.accounts.authenticate(None, DEV, PASSWORD.into()).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    let refusal = world.state.accounts.authenticate(None, DEV, PASSWORD.into()).await.unwrap_err();
    assert_eq!(refusal.code.as_str(), "store_unavailable");
    world.kv.away.store(false, Ordering::SeqCst);
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_told_to_come_back_and_the_server_goes_on() {
    let world = World::with(Setup { hashes_at_once: 1, ..Setup::default() }).await;
    world.verified(DEV).await;
    let crowd = (0..150).map(|n| {
        let world = &world;
        async move { world.sign_in_from(&format!("10.0.0.{n}"), &format!("user{n}@example.com"), "not the password").await }
    });
    let answers = join_all(crowd).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "one hash at a time and two dozen places are not enough for 150");
    assert!(refused.iter().all(|answer| answer.headers.contains_key("retry-after")));
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)));
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200, "afterwards all is well");
}
