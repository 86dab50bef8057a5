//! The provider by hand, with no Claviger between.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::oidc::{BASIC_CLIENT, OidcClient, OidcOptions, OidcProvider, OidcStats, POST_CLIENT};

const REDIRECT: &str = "http://127.0.0.1:9/authorization-success/x";
const VERIFIER: &str = "a-verifier-of-more-than-forty-three-characters";

struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.body)).to_owned()
    }
}

fn authorize_url(provider: &OidcProvider, client: OidcClient, pkce: bool) -> String {
    let mut url: Url = provider.authorize_endpoint().parse().unwrap();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut query = url.query_pairs_mut();
    query.extend_pairs([("response_type", "code"), ("client_id", client.id), ("redirect_uri", REDIRECT)]);
    query.extend_pairs([("scope", "openid read"), ("state", "state-1")]);
    if pkce {
        query.extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    drop(query);
    url.into()
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url: Url = url.parse().unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

async fn post(url: String, client: OidcClient, fields: &[(&str, &str)]) -> Answer {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let mut request = reqwest::Client::new().post(url).header("content-type", "application/x-www-form-urlencoded");
    if client == BASIC_CLIENT {
        request = request.basic_auth(client.id, Some(client.secret));
    } else {
        form.extend_pairs([("client_id", client.id), ("client_secret", client.secret)]);
    }
    let response = request.body(form.finish()).send().await.unwrap();
    let status = response.status().as_u16();
    Answer { status, body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default() }
}

async fn exchange(provider: &OidcProvider, client: OidcClient, code: &str, verifier: &str) -> Answer {
    let fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT), ("code_verifier", verifier)];
    post(provider.token_endpoint(), client, &fields).await
}

async fn refresh(provider: &OidcProvider, client: OidcClient, token: &str) -> Answer {
    post(provider.token_endpoint(), client, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

/// The end user consents and the code is exchanged.
async fn connect(provider: &OidcProvider, client: OidcClient) -> Answer {
    let back = provider.consent(&authorize_url(provider, client, true), "ada").await;
    assert!(back.starts_with(REDIRECT), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("state-1"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(provider.issuer()));
    let answer = exchange(provider, client, &parameter(&back, "code").unwrap(), VERIFIER).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

async fn userinfo(provider: &OidcProvider, access_token: &str) -> Answer {
    let response = reqwest::Client::new().get(provider.userinfo_endpoint()).bearer_auth(access_token).send().await.unwrap();
    let status = response.status().as_u16();
    Answer { status, body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default() }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_grant() {
    for client in [POST_CLIENT, BASIC_CLIENT] {
        let provider = OidcProvider::start(OidcOptions { access_token_ttl: 7 }).await;
        let first = connect(&provider, client).await;
        assert_eq!(first.body["expires_in"], 7);
        assert_eq!(userinfo(&provider, &first.text("access_token")).await.text("sub"), "ada");

        let second = refresh(&provider, client, &first.text("refresh_token")).await;
        assert_eq!(second.status, 200, "{}", second.body);
        assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
        assert_eq!(userinfo(&provider, &second.text("access_token")).await.status, 200);

        let reused = refresh(&provider, client, &first.text("refresh_token")).await;
        assert_eq!((reused.status, reused.text("error")), (400, "invalid_grant".to_owned()));
        let after = refresh(&provider, client, &second.text("refresh_token")).await;
        assert_eq!((after.status, after.text("error")), (400, "invalid_grant".to_owned()));
        assert_eq!(userinfo(&provider, &second.text("access_token")).await.status, 401);
        assert_eq!(provider.stats().await, OidcStats { exchanged: 1, refreshed: 1, refused: 2, grants_revoked: 1 });
    }
}

#[tokio::test]
async fn pkce_is_required_and_checked() {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let back = provider.consent(&authorize_url(&provider, POST_CLIENT, false), "ada").await;
    assert_eq!(parameter(&back, "error").as_deref(), Some("invalid_request"), "{back}");

    let back = provider.consent(&authorize_url(&provider, POST_CLIENT, true), "ada").await;
    let wrong = "another-verifier-of-more-than-forty-three-characters";
    let answer = exchange(&provider, POST_CLIENT, &parameter(&back, "code").unwrap(), wrong).await;
    assert_eq!((answer.status, answer.text("error")), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn a_client_must_come_as_it_is_registered() {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let tokens = connect(&provider, POST_CLIENT).await;
    let stranger = OidcClient { secret: "wrong", ..POST_CLIENT };
    let answer = refresh(&provider, stranger, &tokens.text("refresh_token")).await;
    assert_eq!((answer.status, answer.text("error")), (401, "invalid_client".to_owned()));
    assert_eq!(refresh(&provider, POST_CLIENT, &tokens.text("refresh_token")).await.status, 200);
}

#[tokio::test]
async fn an_end_user_can_cancel_and_a_client_can_revoke() {
    let provider = OidcProvider::start(OidcOptions::default()).await;
    let back = provider.cancel(&authorize_url(&provider, POST_CLIENT, true)).await;
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("state-1"));

    let tokens = connect(&provider, POST_CLIENT).await;
    let revoked = post(provider.revocation_endpoint(), POST_CLIENT, &[("token", &tokens.text("refresh_token"))]).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(refresh(&provider, POST_CLIENT, &tokens.text("refresh_token")).await.status, 400);
}
