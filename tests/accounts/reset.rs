use std::time::Duration;

use crate::harness::{PASSWORD, Setup, TRUST, World, send};

const DEV: &str = "dev@example.com";
const NEW_PASSWORD: &str = "an altogether new one";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_takes_the_place_of_the_old_at_once_and_its_owner_is_told() {
    let world = World::start().await;
    world.verified(DEV).await;
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200, "remembered from here on");
    let code = world.forgot(DEV).await.code();
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200, "asking changes nothing");
    let fields = [("username", DEV), ("code", code.as_str()), ("new_password", NEW_PASSWORD)];
    let answer = world.post("/reset-password", &fields).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"password_changed":true}"#));
    world.sign_in(DEV, PASSWORD).await.refused(401, "unauthenticated");
    assert_eq!(world.sign_in(DEV, NEW_PASSWORD).await.status, 200);
    let told = world.one_mail().await;
    assert_eq!((told.0.to.as_str(), told.0.subject.as_str()), (DEV, "Your password was changed"));
}

/// A node that remembers the old password hears of the new one within the trust it has in what it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_forgets_the_old_password_within_its_trust() {
    let world = World::start().await;
    let other = world.beside(Setup::default()).await;
    world.verified(DEV).await;
    assert_eq!(other.sign_in(DEV, PASSWORD).await.status, 200);
    let token = world.forgot(DEV).await.token();
    assert_eq!(world.post("/reset-password", &[("token", &token), ("new_password", NEW_PASSWORD)]).await.status, 200);
    other.clock.advance(TRUST.trust);
    other.sign_in(DEV, PASSWORD).await.refused(401, "unauthenticated");
    assert_eq!(other.sign_in(DEV, NEW_PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_keys_outlive_the_password() {
    let world = World::start().await;
    world.verified(DEV).await;
    let form = [("username", DEV), ("password", PASSWORD), ("name", "k")];
    let key = world.post("/create-api-key", &form).await.json()["key"].as_str().unwrap().to_owned();
    let token = world.forgot(DEV).await.token();
    world.post("/reset-password", &[("token", &token), ("new_password", NEW_PASSWORD)]).await;
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(send(world.get("/api-keys").bearer_auth(&key)).await.status, 200);
}

/// Whoever reads the address's mail may have the account, also when a stranger signed up for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_proves_the_address_too() {
    let world = World::start().await;
    world.sign_up(DEV).await;
    let token = world.forgot(DEV).await.token();
    assert_eq!(world.post("/reset-password", &[("token", &token), ("new_password", NEW_PASSWORD)]).await.status, 200);
    assert_eq!(world.sign_in(DEV, NEW_PASSWORD).await.status, 200);
    world.sign_in(DEV, PASSWORD).await.refused(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_not_acceptable_costs_no_code() {
    let world = World::start().await;
    world.verified(DEV).await;
    let token = world.forgot(DEV).await.token();
    for bad in ["short", "password123", &"x".repeat(1025)] {
        let answer = world.post("/reset-password", &[("token", &token), ("new_password", bad)]).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.json()["field"], "new_password");
    }
    assert_eq!(world.post("/reset-password", &[("token", &token), ("new_password", NEW_PASSWORD)]).await.status, 200);
}
