//! The scripted provider does what the script says, and tells what it was asked.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::fake_provider::{AUTHORIZE, Act, Answer, FakeProvider, Gate, REVOKE, TOKEN};

fn client() -> Client {
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().pool_max_idle_per_host(0);
    builder.timeout(Duration::from_secs(60)).build().unwrap()
}

async fn post(provider: &FakeProvider, path: &str, body: &'static str) -> reqwest::Result<Response> {
    let request = client().post(provider.url(path)).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.header(AUTHORIZATION, "Basic eDp5").body(body).send().await
}

/// A response with the body that came whole, or nothing.
async fn body_of(sent: reqwest::Result<Response>) -> Option<(u16, String)> {
    let response = sent.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

async fn token(provider: &FakeProvider) -> Option<(u16, String)> {
    body_of(post(provider, TOKEN, "grant_type=refresh_token&refresh_token=a%20b").await).await
}

#[tokio::test]
async fn by_default_it_is_a_well_behaved_server() {
    let provider = FakeProvider::start().await;
    let authorize = provider.url("/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb%3Fa%3D1&state=x%26y");
    let back = client().get(authorize).send().await.unwrap();
    assert_eq!(
        (back.status().as_u16(), &back.headers()["location"]),
        (302, &"http://127.0.0.1:9/cb?a=1&code=code-1&state=x%26y".parse().unwrap())
    );

    for n in [2, 3] {
        let (status, body) = token(&provider).await.unwrap();
        let expected = json!({ "access_token": format!("at-{n}"), "refresh_token": format!("rt-{n}"), "token_type": "Bearer", "expires_in": 3600 });
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, expected));
    }
    assert_eq!(body_of(post(&provider, REVOKE, "token=t").await).await.unwrap().0, 200);
    assert_eq!(body_of(post(&provider, "/elsewhere", "").await).await.unwrap().0, 404);
}

#[tokio::test]
async fn it_remembers_what_it_was_asked() {
    let provider = FakeProvider::start().await;
    token(&provider).await.unwrap();
    body_of(post(&provider, "/token?shop=a%26b", "grant_type=authorization_code").await).await.unwrap();
    let seen = provider.seen(TOKEN);
    assert_eq!((seen.len(), provider.count(TOKEN), provider.refreshes()), (2, 2, 1));
    assert_eq!(seen[0].method, "POST");
    assert_eq!(seen[0].header("authorization"), Some("Basic eDp5"));
    assert_eq!(seen[0].field("refresh_token").as_deref(), Some("a b"));
    assert_eq!(seen[0].form().len(), 2);
    assert_eq!(seen[1].param("shop").as_deref(), Some("a&b"));
    assert_eq!(provider.count(AUTHORIZE), 0);
    provider.wait_for(TOKEN, 2).await;
}

#[tokio::test]
async fn the_script_goes_first_in_its_order() {
    let provider = FakeProvider::start().await;
    provider.next(TOKEN, Act::oauth_error(400, "invalid_grant")).next(TOKEN, Act::html(503, "<p>busy"));
    provider.always(TOKEN, Answer::new(429, "text/plain", "later").header("retry-after", "7"));
    let (status, body) = token(&provider).await.unwrap();
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["error"].clone()), (400, json!("invalid_grant")));
    assert_eq!(token(&provider).await, Some((503, "<p>busy".to_owned())));
    for _ in 0..2 {
        let answer = post(&provider, TOKEN, "").await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    }
    assert_eq!(body_of(post(&provider, REVOKE, "").await).await.unwrap().0, 200, "another path has its own script");
}

#[tokio::test]
async fn it_misbehaves_on_the_wire() {
    let provider = FakeProvider::start().await;
    let whole = Answer::new(200, "application/json", "{\"access_token\":\"t\"}");
    provider.next(TOKEN, Act::Close).next(TOKEN, Act::Half(whole)).next(TOKEN, Act::Raw(b"SSH-2.0-nope\r\n\r\n".to_vec()));
    for act in ["close", "half", "raw"] {
        assert_eq!(token(&provider).await, None, "{act}");
    }
    assert_eq!(provider.count(TOKEN), 3, "it was asked each time");

    provider.next(TOKEN, Act::huge(5_000_000)).next(TOKEN, Act::redirect(307, "http://127.0.0.1:1/"));
    let (_, body) = token(&provider).await.unwrap();
    assert!(body.len() == 5_000_000 && serde_json::from_str::<Value>(&body).is_ok());
    assert_eq!(token(&provider).await.unwrap().0, 307);
}

#[tokio::test]
async fn a_held_answer_comes_when_the_gate_opens() {
    let provider = Arc::new(FakeProvider::start().await);
    let gate = Gate::new();
    provider.always(TOKEN, Act::json(200, &json!({})).held(&gate));
    let asked: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let provider = provider.clone();
                async move { token(&provider).await }
            })
        })
        .collect();
    gate.reached_by(3).await;
    assert!(asked.iter().all(|call| !call.is_finished()));
    gate.open();
    for call in asked {
        assert_eq!(call.await.unwrap(), Some((200, "{}".to_owned())));
    }
    assert!(token(&provider).await.is_some(), "an open gate holds nobody");
}

#[tokio::test]
async fn silence_lasts_until_somebody_goes() {
    let provider = FakeProvider::start().await;
    provider.always(TOKEN, Act::Silence);
    let call = tokio::spawn(post_forever(provider.url(TOKEN)));
    provider.wait_for(TOKEN, 1).await;
    assert!(!call.is_finished());
    drop(provider);
    assert!(call.await.unwrap().is_err(), "the provider's end closes its connections");
}

async fn post_forever(url: String) -> reqwest::Result<Response> {
    client().post(url).send().await
}
