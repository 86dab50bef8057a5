//! Refresh tokens: each use gives the next, and a second use is a grace or the end.

use std::time::Duration;

use claviger::ports::kv::{Kv, Partition};

use crate::world::{SECRET, World};

#[tokio::test]
async fn the_previous_token_works_for_a_minute_and_then_ends_the_grant() {
    let world = World::start().await;
    let first = world.connect("read").await;
    let second = world.refresh(first.refresh_token()).await.tokens();
    world.clock.advance(Duration::from_millis(59_999));
    // Its answer was lost, say. Both lines go on.
    let again = world.refresh(first.refresh_token()).await.tokens();
    assert_ne!(again.refresh, second.refresh);
    let third = world.refresh(second.refresh_token()).await.tokens();
    assert!(world.works(&again.access).await && world.works(&third.access).await);

    // The grace counts from the first use, not from the last.
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.refresh(first.refresh_token()).await.error(), "400 invalid_grant");
    for tokens in [again, third] {
        assert!(!world.works(&tokens.access).await, "the grant is over");
        assert_eq!(world.refresh(tokens.refresh_token()).await.error(), "400 invalid_grant");
    }
}

#[tokio::test]
async fn a_token_that_was_never_used_waits_ninety_days_and_no_longer() {
    let world = World::start().await;
    let day = Duration::from_secs(24 * 3600);
    let first = world.connect("read").await;
    world.clock.advance(day * 90 - Duration::from_millis(1));
    let second = world.refresh(first.refresh_token()).await.tokens();
    world.clock.advance(day * 90 - Duration::from_millis(1));
    let third = world.refresh(second.refresh_token()).await.tokens();
    world.clock.advance(day * 90);
    assert_eq!(world.refresh(third.refresh_token()).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let world = World::start().await;
    let pending = world.consent("write").await;
    let replayed = world.consent("read").await;
    let victim = world.redeem(&replayed).await.tokens();
    let strict = world.connect("strict-rotation").await;
    let rotated = world.refresh(strict.refresh_token()).await.tokens();
    let flaky = world.connect("flaky").await;

    let world = world.restart().await;
    assert!(world.works(&victim.access).await);
    assert_eq!(world.redeem(&pending).await.tokens().body["scope"], "write");
    assert_eq!(world.redeem(&replayed).await.error(), "400 invalid_grant");
    assert!(!world.works(&victim.access).await, "the replay was noticed");
    assert_eq!(world.refresh(strict.refresh_token()).await.error(), "400 invalid_grant");
    assert!(!world.works(&rotated.access).await, "the reuse was noticed");
    assert_eq!(world.refresh(flaky.refresh_token()).await.error(), "503 temporarily_unavailable");
    let impostor = [("client_id", "acme"), ("client_secret", "not it"), ("token", "x")];
    assert_eq!(world.post("/revoke", &impostor).await.error(), "401 invalid_client");
}

#[tokio::test]
async fn nothing_secret_is_stored_as_it_is() {
    let world = World::start().await;
    let (used, unused) = (world.consent("read").await, world.consent("read").await);
    let first = world.redeem(&used).await.tokens();
    let second = world.refresh(first.refresh_token()).await.tokens();
    let secrets = [SECRET, &used, &unused, &first.access, first.refresh_token(), &second.access, second.refresh_token()];

    let partition = Partition::new("sandbox").unwrap();
    let page = world.kv.list(&partition, b"", None, 1000).await.unwrap();
    assert!(page.next.is_none());
    // Two grants, two codes, a client, and two tokens of each kind.
    assert_eq!(page.entries.len(), 9);
    for entry in page.entries {
        let text = format!("{} {}", String::from_utf8_lossy(&entry.name), String::from_utf8_lossy(&entry.value));
        for secret in secrets {
            // A part that holds no prefix.
            assert!(!text.contains(&secret[secret.len() - 20..]), "{text}");
        }
    }
}
