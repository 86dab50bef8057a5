//! The question how long a new access token lives (RFC 7662), for providers whose answers do not say, and its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::provider::response::{ExpirySpec, ExpiryUnit};
use crate::domain::provider::{IntrospectSpec, Provider};
use crate::domain::secret::ExposeSecret as _;
use crate::domain::tokens::{IssuedTokens, ProviderFailure};

use super::answer::Body;
use super::client::Client;
use super::expiry::{LIFE_MAX, ends};
use super::provider_error::classify;
use super::request::{BuildError, build, values_of};
use super::token_response::{fails, first};

/// A clock that is further off than this is not believed, and a token "issued" longer ago is not the one in hand.
const SKEW_MAX: Duration = Duration::from_secs(600);
/// Lives from here on are told in whole minutes: what is more or less is the time that the two calls took.
const ROUNDED_FROM: u64 = 600;
const EXPIRY: ExpirySpec = ExpirySpec { unit: ExpiryUnit::Seconds, default: None, zero_means_never: false };

/// Why a life is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untold {
    /// The provider says that this token is not good.
    Inactive,
    Failed(ProviderFailure),
}

/// The question about one set's access token; `None` where the provider's file has none.
pub fn request(
    provider: &Provider,
    client: &Client<'_>,
    tokens: &IssuedTokens,
    metadata: &BTreeMap<String, Value>,
) -> Result<Option<HttpCall>, BuildError> {
    let Some(spec) = &provider.spec().introspect else { return Ok(None) };
    let token = tokens.access_token.expose_secret();
    let mut values = values_of(provider, &client.knowing(metadata))?;
    values.set("token", token);
    values.set("access_token", token);
    let mut standard = vec![(spec.param.as_str(), token)];
    standard.extend(spec.hint.then_some(("token_type_hint", "access_token")));
    build((provider, &spec.request), client, values, &standard).map(Some)
}

/// How long the token lives as a whole, which was asked for at `obtained_at` and asked about at `asked_at`. `None`: the
/// provider knows it and does not say, or nothing that could be.
pub fn judge(
    provider: &Provider,
    answer: &HttpAnswer,
    obtained_at: Timestamp,
    asked_at: Timestamp,
) -> Result<Option<Duration>, Untold> {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    let (Some(spec), Some(value)) = (&provider.spec().introspect, body.value()) else {
        return Err(Untold::Failed(classify(rules, answer, &body, asked_at)));
    };
    if !(200..300).contains(&answer.status) || fails(rules, answer, &body) {
        return Err(Untold::Failed(classify(rules, answer, &body, asked_at)));
    }
    if first(&spec.active, value).is_some_and(is_no) {
        return Err(Untold::Inactive);
    }
    Ok(life(spec, value, obtained_at, asked_at).and_then(believable))
}

fn is_no(value: &Value) -> bool {
    *value == Value::Bool(false) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("false"))
}

/// From the provider's own two times where it gives both, so that its clock may be wrong.
fn life(spec: &IntrospectSpec, body: &Value, obtained_at: Timestamp, asked_at: Timestamp) -> Option<Duration> {
    let at = |place| ends(&EXPIRY, None, first(place, body), asked_at);
    let left = || ends(&EXPIRY, first(&spec.expires_in, body), None, asked_at);
    let is_near = |issued: &Timestamp| issued.duration_since(obtained_at).unsigned_abs() <= SKEW_MAX;
    let (begin, end) = match at(&spec.expires_at) {
        Some(end) => (at(&spec.issued_at).filter(is_near).unwrap_or(obtained_at), end),
        None => (obtained_at, left()?),
    };
    Duration::try_from(end.duration_since(begin)).ok()
}

fn believable(life: Duration) -> Option<Duration> {
    let seconds = life.as_secs();
    let rounded = if seconds >= ROUNDED_FROM { (seconds + 30) / 60 * 60 } else { seconds };
    (seconds > 0 && life.as_secs_f64() <= LIFE_MAX).then(|| Duration::from_secs(rounded))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oauth::provider_file::testing::{acme, try_acme};

    const ASKED: &str = "introspect.url = \"https://acme.example/introspect\"\nresponse.expires_default = \"2h\"\n";
    const NOW: i64 = 1_795_000_000;

    fn judged(changes: &str, status: u16, body: &Value) -> Result<Option<u64>, Untold> {
        let answer = HttpAnswer { status, headers: Vec::new(), body: body.to_string().into_bytes() };
        let at = |second| Timestamp::from_second(second).unwrap();
        let life = judge(&acme(&format!("{ASKED}{changes}")), &answer, at(NOW), at(NOW + 3));
        life.map(|life| life.map(|life| life.as_secs()))
    }

    #[test]
    fn a_life_is_counted_from_when_the_token_was_issued() {
        for (body, life) in [
            (json!({ "active": true, "exp": NOW + 900 }), Some(900)),
            (json!({ "active": true, "exp": NOW + 902 }), Some(900)),
            (json!({ "active": true, "exp": NOW + 61 }), Some(61)),
            // A clock five minutes ahead, and one that is a day behind or a token of yesterday.
            (json!({ "active": true, "iat": NOW + 300, "exp": NOW + 1_200 }), Some(900)),
            (json!({ "active": true, "iat": NOW - 86_400, "exp": NOW + 900 }), Some(900)),
            (json!({ "active": true, "expires_in": 897 }), Some(900)),
            (json!({ "exp": (NOW + 900).to_string() }), Some(900)),
            (json!({ "active": true }), None),
            (json!({ "active": true, "exp": NOW }), None),
            (json!({ "active": true, "exp": NOW - 900 }), None),
            (json!({ "active": true, "exp": 0, "expires_in": -1 }), None),
            (json!({ "active": true, "exp": i64::MAX }), None),
            (json!({ "active": true, "exp": NOW + 700_000_000 }), None),
            (json!([]), None),
        ] {
            assert_eq!(judged("", 200, &body), Ok(life), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_no_life() {
        assert_eq!(judged("", 200, &json!({ "active": false, "exp": NOW + 900 })), Err(Untold::Inactive));
        assert_eq!(judged("", 200, &json!({ "active": "False" })), Err(Untold::Inactive));
        assert!(matches!(judged("", 401, &json!({ "active": false })), Err(Untold::Failed(_))));
        assert!(matches!(judged("", 200, &json!("x")), Err(Untold::Failed(_)) | Ok(None)));
        let wrapped = "introspect.active = \"/data/ok\"\nintrospect.expires_in = \"/data/left\"\n";
        assert_eq!(judged(wrapped, 200, &json!({ "data": { "ok": true, "left": 57 } })), Ok(Some(60)));
        assert_eq!(judged(wrapped, 200, &json!({ "data": { "ok": false } })), Err(Untold::Inactive));
    }

    #[test]
    fn its_rules_are_held() {
        for (changes, tells) in [
            ("introspect.url = \"https://acme.example/i\"", "response.expires_default: is missing"),
            ("introspect.hint = true\nresponse.expires_default = \"2h\"", "introspect.url: is missing"),
            ("introspect.url = \"https://acme.example/{token}\"\nresponse.expires_default = \"2h\"", "`{token}` is not declared"),
            (
                "introspect = { url = \"https://acme.example/i\", method = \"get\" }\nresponse.expires_default = \"2h\"",
                "introspect.body",
            ),
        ] {
            let faults = try_acme(changes).unwrap_err().join("\n");
            assert!(faults.contains(tells), "{changes}: {faults}");
        }
    }
}
