//! The device authorization grant (RFC 8628): a code for the end user is asked for, and the token endpoint is asked,
//! again and again, whether it was entered. Both as calls to make and answers to judge.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::{Host, Url};

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::provider::{Owner, Provider};
use crate::domain::secret::{ExposeSecret as _, SecretString};
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};

use super::answer::Body;
use super::authorize_url::scope_lists;
use super::client::Client;
use super::provider_error::classify;
use super::request::{BuildError, build, values_of};
use super::token_response::{fails, judge_exchange};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Longest device code, in bytes.
const DEVICE_CODE_MAX: usize = 8_192;
/// Longest code that a person is asked to type, in characters.
const USER_CODE_MAX: usize = 40;
const URI_MAX: usize = 2_000;
/// A provider that does not say how long its code lives.
const LIFE: Duration = Duration::from_secs(600);
/// No code is waited for longer, nor between two questions.
pub const LIFE_MAX: Duration = Duration::from_secs(1_800);
/// RFC 8628 3.2: where the provider does not say how often it may be asked; and 3.5: what `slow_down` adds.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// RFC 8628 3.5, and what large providers answer in their stead.
const PENDING: &[&str] = &["authorization_pending"];
const DENIED: &[&str] = &["access_denied", "authorization_declined"];
const EXPIRED: &[&str] = &["expired_token", "token_expired", "code_expired"];

/// A code to show, and what it is asked after with.
#[derive(Debug, Clone)]
pub struct Offer {
    pub device_code: SecretString,
    pub user_code: String,
    /// Where the end user enters it.
    pub verification_uri: Url,
    /// The same, with the code in it.
    pub verification_uri_complete: Option<Url>,
    pub life: Duration,
    pub interval: Duration,
}

/// What the token endpoint says of a code.
#[derive(Debug)]
pub enum Polled {
    Granted(TokenAnswer),
    NotYet,
    /// Ask less often, from now on.
    SlowDown,
    Denied,
    Expired,
    /// Nothing was learnt; the next question may wait for so long.
    Unclear(Option<Duration>),
    Refused(ProviderFailure),
}

/// RFC 8628 3.1.
pub fn ask(provider: &Provider, client: &Client<'_>, scopes: &[String]) -> Result<HttpCall, BuildError> {
    let device = provider.spec().device.as_ref().ok_or(BuildError::BadUrl)?;
    let lists = scope_lists(provider.scopes(), &provider.scopes().asked(scopes));
    let mut values = values_of(provider, client)?;
    values.set("scope", lists.first().map_or("", |(_, scope)| scope.as_str()));
    let standard: Vec<(&str, &str)> = lists.iter().map(|(name, scope)| (*name, scope.as_str())).collect();
    build((provider, device), client, values, &standard)
}

/// RFC 8628 3.2.
pub fn judge_offer(provider: &Provider, answer: &HttpAnswer, started: Timestamp) -> Result<Offer, ProviderFailure> {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    let good = (200..300).contains(&answer.status) && !fails(rules, answer, &body);
    let offer = body.value().filter(|_| good).and_then(|body| offer(provider, body));
    offer.ok_or_else(|| classify(rules, answer, &body, started))
}

fn offer(provider: &Provider, body: &Value) -> Option<Offer> {
    let text = |name: &str, max: usize| {
        let text = body.get(name)?.as_str()?;
        (!text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)).then_some(text)
    };
    let uri = |name: &str| text(name, URI_MAX).and_then(|text| place(provider, text));
    let seconds = |name: &str| body.get(name).and_then(seconds);
    Some(Offer {
        device_code: text("device_code", DEVICE_CODE_MAX)?.into(),
        user_code: text("user_code", 4 * USER_CODE_MAX).filter(|code| code.chars().count() <= USER_CODE_MAX)?.to_owned(),
        // The second name is that of the drafts, which some have kept.
        verification_uri: uri("verification_uri").or_else(|| uri("verification_url"))?,
        verification_uri_complete: uri("verification_uri_complete"),
        life: seconds("expires_in").unwrap_or(LIFE).min(LIFE_MAX),
        interval: seconds("interval").unwrap_or(INTERVAL).clamp(Duration::from_secs(1), LIFE_MAX),
    })
}

/// A number, or its digits in quotes.
fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).map(Duration::from_secs)
}

/// A person is sent there, so it is a page of the web; on loopback only for who may define such a provider.
fn place(provider: &Provider, text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let fits = url.scheme() == "https" || url.scheme() == "http" && loopback && provider.spec().owner == Owner::Tenant;
    (fits && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// RFC 8628 3.4.
pub fn poll(
    provider: &Provider,
    client: &Client<'_>,
    device_code: &SecretString,
    scopes: &[String],
) -> Result<HttpCall, BuildError> {
    let code = device_code.expose_secret();
    let lists = scope_lists(provider.scopes(), &provider.scopes().asked(scopes));
    let mut values = values_of(provider, client)?;
    values.set("device_code", code);
    values.set("scope", lists.first().map_or("", |(_, scope)| scope.as_str()));
    build((provider, &provider.spec().token), client, values, &[("grant_type", GRANT), ("device_code", code)])
}

/// RFC 8628 3.5. Only a plain refusal ends the flow: what may pass is asked again.
pub fn judge_poll(provider: &Provider, answer: &HttpAnswer, started: Timestamp) -> Polled {
    let failure = match judge_exchange(provider, answer, started) {
        Ok(tokens) => return Polled::Granted(tokens),
        Err(failure) => failure,
    };
    let is = |codes: &[&str]| codes.contains(&failure.code.as_str());
    match failure.class {
        _ if is(PENDING) => Polled::NotYet,
        _ if is(&["slow_down"]) => Polled::SlowDown,
        _ if is(DENIED) => Polled::Denied,
        _ if is(EXPIRED) => Polled::Expired,
        FailureClass::Throttled | FailureClass::InDoubt | FailureClass::NotSent => Polled::Unclear(failure.retry_after),
        FailureClass::DeadGrant
        | FailureClass::SubjectRefused
        | FailureClass::IntegrationBroken
        | FailureClass::Misconfigured => Polled::Refused(failure),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::call::Method;
    use crate::oauth::client::NOTHING;
    use crate::oauth::provider_file::testing::acme;

    const DEVICE: &str = "grant = \"device_code\"\ndevice.url = \"https://acme.example/device\"\ntoken.client_auth = \"none\"\n";

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    fn offered(more: &str) -> Option<Offer> {
        let body = format!(
            r#"{{"device_code":"dc","user_code":"WDJB-MJHT","verification_uri":"https://acme.example/device","expires_in":900{more}}}"#
        );
        judge_offer(&acme(DEVICE), &answer(200, &body), Timestamp::UNIX_EPOCH).ok()
    }

    #[test]
    fn the_calls_are_those_of_the_standard() {
        let (params, secrets) = (BTreeMap::new(), BTreeMap::new());
        let client = Client {
            client_id: "c",
            client_secret: None,
            params: &params,
            secret_params: &secrets,
            redirect_uri: "",
            scopes: &[],
            metadata: &NOTHING,
            moment: None,
        };
        let (provider, scopes) = (acme(DEVICE), ["a".to_owned(), "b".to_owned()]);
        let asked_by_get = acme(&format!("{DEVICE}token.method = \"get\"\ntoken.body = \"query\"\n"));
        for provider in [&provider, &asked_by_get] {
            let asked = ask(provider, &client, &scopes).unwrap();
            assert_eq!((asked.method, asked.url.as_str()), (Method::Post, "https://acme.example/device"));
            assert_eq!(asked.body, b"scope=a+b&client_id=c");
        }
        let polled = poll(&provider, &client, &"dc".into(), &scopes).unwrap();
        let sent = String::from_utf8(polled.body).unwrap();
        assert_eq!(sent, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc&client_id=c");
        assert_eq!(polled.url.as_str(), "https://acme.example/token");
    }

    #[test]
    fn an_offer_is_whole_and_bounded() {
        let plain = offered("").unwrap();
        assert_eq!((plain.interval, plain.life), (INTERVAL, Duration::from_secs(900)));
        let more =
            offered(r#","interval":"7","expires_in":999999,"verification_uri_complete":"https://acme.example/device?c=W""#);
        let more = more.unwrap();
        assert_eq!((more.interval, more.life), (Duration::from_secs(7), LIFE_MAX));
        assert_eq!(more.verification_uri_complete.unwrap().query(), Some("c=W"));
        assert_eq!(offered(r#","interval":0"#).unwrap().interval, Duration::from_secs(1));
        assert_eq!(offered(&format!(r#","interval":{}"#, u64::MAX)).unwrap().interval, LIFE_MAX);
        for odd in [
            r#","device_code":"""#,
            r#","device_code":7"#,
            r#","user_code":"a\u0000b""#,
            r#","verification_uri":"http://acme.example/""#,
            r#","verification_uri":"http://127.0.0.1/""#,
            r#","verification_uri":"javascript:alert(1)""#,
            r#","verification_uri":"https://u@acme.example/""#,
        ] {
            assert!(offered(odd).is_none(), "{odd}");
        }
        assert!(offered(&format!(r#","user_code":"{}""#, "x".repeat(USER_CODE_MAX + 1))).is_none());
        assert!(offered(r#","verification_uri_complete":"javascript:alert(1)""#).unwrap().verification_uri_complete.is_none());
    }

    #[test]
    fn each_answer_means_what_the_standard_says() {
        let means = |status, body: &str| match judge_poll(&acme(DEVICE), &answer(status, body), Timestamp::UNIX_EPOCH) {
            Polled::Granted(_) => "granted",
            Polled::NotYet => "not yet",
            Polled::SlowDown => "slow down",
            Polled::Denied => "denied",
            Polled::Expired => "expired",
            Polled::Unclear(_) => "unclear",
            Polled::Refused(_) => "refused",
        };
        for (status, body, meaning) in [
            (200, r#"{"access_token":"a"}"#, "granted"),
            (400, r#"{"error":"authorization_pending"}"#, "not yet"),
            (428, r#"{"error":"authorization_pending"}"#, "not yet"),
            (200, r#"{"error":"authorization_pending"}"#, "not yet"),
            (400, r#"{"error":"slow_down"}"#, "slow down"),
            (403, r#"{"error":"slow_down"}"#, "slow down"),
            (400, r#"{"error":"access_denied"}"#, "denied"),
            (400, r#"{"error":"authorization_declined"}"#, "denied"),
            (400, r#"{"error":"expired_token"}"#, "expired"),
            (200, r#"{"error":"token_expired"}"#, "expired"),
            (429, "", "unclear"),
            (503, "<html>", "unclear"),
            (200, "", "unclear"),
            (400, r#"{"error":"invalid_grant"}"#, "refused"),
            (401, r#"{"error":"invalid_client"}"#, "refused"),
            (400, r#"{"error":"incorrect_device_code"}"#, "refused"),
        ] {
            assert_eq!(means(status, body), meaning, "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in 200_u16..600, body in "\\PC{0,200}") {
            let said = answer(status, &body);
            _ = judge_poll(&acme(DEVICE), &said, Timestamp::UNIX_EPOCH);
            prop_assert!(judge_offer(&acme(DEVICE), &said, Timestamp::UNIX_EPOCH).is_err());
        }
    }
}
