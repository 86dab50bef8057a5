//! Each fault that a scope asks for, and that it leaves other grants alone.

use std::time::Duration;

use claviger::services::sandbox::scopes::SandboxScope;

use crate::world::{World, refresh_fields};

#[tokio::test]
async fn slow_works_at_once_and_answers_after_three_seconds() {
    let world = World::start().await;
    let code = world.consent("slow").await;
    let redeem = world.redeem(&code);
    let watch = async {
        let mut sleeps = world.sleeps.lock().await;
        let span = tokio::time::timeout(Duration::from_secs(30), sleeps.recv()).await.expect("it waits").unwrap();
        assert_eq!(span, Duration::from_secs(3));
        // The work is done: another redemption is a replay already.
        assert_eq!(world.redeem(&code).await.error(), "400 invalid_grant");
        world.clock.advance(span);
    };
    let (answer, ()) = tokio::join!(redeem, watch);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn flaky_refuses_every_second_call_of_its_own_grant() {
    let world = World::start().await;
    let mut tokens = world.connect("flaky").await;
    let mut steady = world.connect("read").await;
    for _ in 0..3 {
        let refused = world.refresh(tokens.refresh_token()).await;
        assert_eq!(refused.error(), "503 temporarily_unavailable");
        assert_eq!(refused.header("retry-after"), "1");
        assert!(world.works(&tokens.access).await);
        steady = world.refresh(steady.refresh_token()).await.tokens();
        // The refusal used nothing up, however long the client waits.
        world.clock.advance(Duration::from_secs(120));
        tokens = world.refresh(tokens.refresh_token()).await.tokens();
    }
}

#[tokio::test]
async fn lose_answer_rotates_and_closes_the_first_time_for_each_token() {
    let world = World::start().await;
    let mut tokens = world.connect("lose-answer").await;
    for _ in 0..3 {
        let lost = world.try_post("/token", &refresh_fields(tokens.refresh_token())).await;
        assert!(lost.is_err(), "no whole answer");
        tokens = world.refresh(tokens.refresh_token()).await.tokens();
    }
    // It was processed: a minute later the token is a used one.
    assert!(world.try_post("/token", &refresh_fields(tokens.refresh_token())).await.is_err());
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.refresh(tokens.refresh_token()).await.error(), "400 invalid_grant");
    assert!(!world.works(&tokens.access).await);
}

#[tokio::test]
async fn strict_rotation_ends_the_grant_at_the_first_reuse() {
    let world = World::start().await;
    let first = world.connect("strict-rotation").await;
    let second = world.refresh(first.refresh_token()).await.tokens();
    assert_eq!(world.refresh(first.refresh_token()).await.error(), "400 invalid_grant");
    assert!(!world.works(&second.access).await);
    assert_eq!(world.refresh(second.refresh_token()).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn a_lost_answer_under_strict_rotation_costs_the_grant() {
    let world = World::start().await;
    let tokens = world.connect("lose-answer strict-rotation").await;
    assert!(world.try_post("/token", &refresh_fields(tokens.refresh_token())).await.is_err());
    assert!(world.works(&tokens.access).await, "until somebody tries again");
    assert_eq!(world.refresh(tokens.refresh_token()).await.error(), "400 invalid_grant");
    assert!(!world.works(&tokens.access).await);
}

#[tokio::test]
async fn short_lived_tokens_live_eight_seconds() {
    let world = World::start().await;
    let tokens = world.connect("short-lived").await;
    assert_eq!(tokens.body["expires_in"], 8);
    world.clock.advance(Duration::from_millis(7_999));
    assert!(world.works(&tokens.access).await);
    world.clock.advance(Duration::from_millis(1));
    assert!(!world.works(&tokens.access).await);
    assert_eq!(world.refresh(tokens.refresh_token()).await.tokens().body["expires_in"], 8);
}

#[tokio::test]
async fn no_expiry_tokens_say_nothing_and_live_on() {
    let world = World::start().await;
    let tokens = world.connect("no-expiry").await;
    assert!(tokens.body.get("expires_in").is_none());
    world.clock.advance(Duration::from_secs(1000 * 24 * 3600));
    assert!(world.works(&tokens.access).await);
    assert_eq!(world.refresh(tokens.refresh_token()).await.status, 200);

    let unannounced = world.connect("no-expiry short-lived").await;
    assert!(unannounced.body.get("expires_in").is_none());
    world.clock.advance(Duration::from_secs(8));
    assert!(!world.works(&unannounced.access).await);
}

#[tokio::test]
async fn no_refresh_gives_no_refresh_token() {
    let world = World::start().await;
    let tokens = world.connect("no-refresh").await;
    assert!(tokens.body.get("refresh_token").is_none());
    assert!(world.works(&tokens.access).await);
}

#[tokio::test]
async fn dead_refuses_every_refresh() {
    let world = World::start().await;
    let tokens = world.connect("dead").await;
    for _ in 0..2 {
        assert_eq!(world.refresh(tokens.refresh_token()).await.error(), "400 invalid_grant");
    }
    assert!(world.works(&tokens.access).await);
}

/// A scope that has no effect of its own must be one of the ordinary ones, and those must have none.
#[tokio::test]
async fn ordinary_scopes_change_nothing() {
    use SandboxScope::*;
    let world = World::start().await;
    for scope in SandboxScope::ALL {
        match scope {
            Read | Write | Offline => {}
            Slow | Flaky | LoseAnswer | ShortLived | StrictRotation | NoRefresh | Dead | NoExpiry => continue,
        }
        let mut tokens = world.connect(scope.as_str()).await;
        for _ in 0..3 {
            assert_eq!(tokens.body["expires_in"], 300);
            tokens = world.refresh(tokens.refresh_token()).await.tokens();
        }
    }
}
