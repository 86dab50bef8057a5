//! Many at once on one code or one token, all of whom have read the grant before one writes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;

use crate::world::{Answer, World, exchange_fields, refresh_fields, with};

const CALLERS: usize = 64;

/// The same call from all callers, judged on the same reading.
async fn all_at_once(world: &Arc<World>, fields: &[(&str, &str)]) -> Vec<Answer> {
    world.kv.gather(CALLERS);
    let calls = (0..CALLERS).map(|_| {
        let (world, request) = (world.clone(), world.form_request("/token", fields));
        tokio::spawn(async move { world.try_send(request).await.unwrap() })
    });
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

fn split(answers: Vec<Answer>) -> (Vec<Answer>, Vec<String>) {
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    (good, bad.iter().map(Answer::error).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_redemptions_of_one_code_one_succeeds() {
    let world = Arc::new(World::start().await);
    // The client is known, so that the code alone decides.
    world.connect("read").await;
    let code = world.consent("read").await;
    let (good, bad) = split(all_at_once(&world, &with(&exchange_fields(), &[("code", &code)])).await);
    assert_eq!(good.len(), 1);
    assert_eq!(bad, vec!["400 invalid_grant"; CALLERS - 1]);
    // The others were replays.
    assert!(!world.works(&good[0].tokens().access).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_first_redemptions_one_fixes_the_secret() {
    let world = Arc::new(World::start().await);
    let codes = join_all((0..CALLERS).map(|_| world.consent("read"))).await;
    world.kv.gather(CALLERS);
    let calls = codes.iter().enumerate().map(async |(n, code)| {
        let secret = format!("secret {n}");
        world.post("/token", &with(&exchange_fields(), &[("code", code), ("client_secret", &secret)])).await
    });
    let (good, bad) = split(join_all(calls).await);
    assert_eq!(good.len(), 1);
    assert_eq!(bad, vec!["401 invalid_client"; CALLERS - 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refreshes_within_the_grace_all_succeed() {
    let world = Arc::new(World::start().await);
    let tokens = world.connect("read").await;
    let (good, bad) = split(all_at_once(&world, &refresh_fields(tokens.refresh_token())).await);
    assert_eq!(bad, Vec::<String>::new());
    let distinct: BTreeSet<_> = good.iter().map(|answer| answer.tokens().refresh).collect();
    assert_eq!(distinct.len(), CALLERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_strict_refreshes_one_succeeds_and_the_grant_ends() {
    let world = Arc::new(World::start().await);
    let tokens = world.connect("strict-rotation").await;
    let (good, bad) = split(all_at_once(&world, &refresh_fields(tokens.refresh_token())).await);
    assert_eq!((good.len(), bad.len()), (1, CALLERS - 1));
    let next = good[0].tokens();
    assert!(!world.works(&next.access).await);
    assert_eq!(world.refresh(next.refresh_token()).await.error(), "400 invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_flaky_refreshes_every_second_is_refused() {
    let world = Arc::new(World::start().await);
    let tokens = world.connect("flaky").await;
    let (good, bad) = split(all_at_once(&world, &refresh_fields(tokens.refresh_token())).await);
    assert_eq!(good.len(), CALLERS / 2);
    assert_eq!(bad, vec!["503 temporarily_unavailable"; CALLERS / 2]);
}
