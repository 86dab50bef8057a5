//! Many callers, one expired token: the provider is asked once, whoever hangs up.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::fake_provider::{Act, FakeProvider, Gate, TOKEN};
use crate::provider_file;
use crate::world::{Setup, Tenant, TestApp, text};

const CALLERS: usize = 1_000;

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    gate: Gate,
}

/// A connection whose token has expired, at a provider that answers when the gate opens.
async fn expired() -> Scene {
    let provider = FakeProvider::start().await;
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_strict"))];
    let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
    let tenant = app.connected().await;
    app.clock.advance(Duration::from_secs(3600));
    let gate = Gate::new();
    let answer = json!({ "access_token": "at-new", "refresh_token": "rt-new", "token_type": "Bearer", "expires_in": 3600 });
    provider.next(TOKEN, Act::json(200, &answer).held(&gate));
    Scene { app, tenant, provider, gate }
}

fn call(tenant: &Tenant, calls: &mut JoinSet<(u16, serde_json::Value)>) -> tokio::task::AbortHandle {
    let tenant = tenant.clone();
    calls.spawn(async move { tenant.try_token("fake", "alice").await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_are_answered_from_one_refresh() {
    let scene = expired().await;
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        call(&scene.tenant, &mut calls);
    }
    scene.gate.reached_by(1).await;
    scene.gate.open();
    while let Some(answer) = calls.join_next().await {
        let (status, said) = answer.unwrap();
        assert_eq!((status, text(&said["access_token"]).as_str()), (200, "at-new"), "{said}");
    }
    assert_eq!(scene.provider.refreshes(), 1);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nine_hundred_who_hang_up_take_nothing_from_the_rest() {
    let scene = expired().await;
    let mut calls = JoinSet::new();
    let callers: Vec<_> = (0..CALLERS).map(|_| call(&scene.tenant, &mut calls)).collect();
    // The first to come leads; it is among those who leave.
    scene.gate.reached_by(1).await;
    callers.iter().take(CALLERS * 9 / 10).for_each(tokio::task::AbortHandle::abort);
    scene.gate.open();
    let mut answered = 0;
    while let Some(answer) = calls.join_next().await {
        let Ok((status, said)) = answer else { continue };
        assert_eq!((status, text(&said["access_token"]).as_str()), (200, "at-new"), "{said}");
        answered += 1;
    }
    assert!(answered >= CALLERS / 10, "{answered}");
    assert_eq!(scene.provider.refreshes(), 1);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_flight_goes_on_when_everybody_hangs_up() {
    let scene = expired().await;
    let mut calls = JoinSet::new();
    let callers: Vec<_> = (0..8).map(|_| call(&scene.tenant, &mut calls)).collect();
    scene.gate.reached_by(1).await;
    callers.iter().for_each(tokio::task::AbortHandle::abort);
    while calls.join_next().await.is_some() {}
    scene.gate.open();
    let answer = scene.tenant.token("fake", "alice").await;
    assert_eq!(answer["access_token"], "at-new");
    assert_eq!(scene.provider.refreshes(), 1);
    scene.app.stop().await;
}
