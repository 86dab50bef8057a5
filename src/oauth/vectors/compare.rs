//! Compares what a file's author expects with what was made or understood of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::domain::call::HttpCall;
use crate::domain::secret::ExposeSecret;
use crate::domain::tokens::{FailureClass, TokenAnswer};

use super::super::callback::CallbackError;
use super::super::jwt::SigningKey;
use super::super::provider_file::{Expectation, RequestVector};
use super::signed::unsigned;
use super::{Outcome, started};

/// What the expectation does not name is not compared.
pub(super) fn differ<T: PartialEq + std::fmt::Debug>(what: &str, expected: Option<T>, found: Option<T>) -> Outcome {
    if expected.is_none() || expected == found {
        return Ok(());
    }
    let [expected, found] = [expected, found].map(|value| value.map_or("nothing".to_owned(), |value| format!("{value:?}")));
    Err(format!("{what}: expected {expected}, found {found}"))
}

pub(super) fn same_answer(expect: &Expectation, answer: TokenAnswer) -> Outcome {
    let names: Vec<String> = answer.sets.keys().map(|name| name.as_str().to_owned()).collect();
    differ("sets", expect.sets.clone(), Some(names))?;
    let tokens = match &expect.token_set {
        Some(wanted) => answer.sets.iter().find(|(name, _)| name.as_str() == wanted).map(|(_, tokens)| tokens),
        None => answer.sets.values().next(),
    };
    let tokens = tokens.ok_or("the token set did not come")?;
    let refresh = tokens.refresh_token.as_ref().map(ExposeSecret::expose_secret);
    let life = |end: Option<Timestamp>| end.map(|end| end.duration_since(started()).as_secs());
    differ("access_token", expect.access_token.as_deref(), Some(tokens.access_token.expose_secret()))?;
    differ("refresh_token", expect.refresh_token.as_deref(), refresh)?;
    differ("no_refresh_token", expect.no_refresh_token, Some(refresh.is_none()))?;
    let secret = tokens.token_secret.as_ref().map(ExposeSecret::expose_secret);
    differ("token_secret", expect.token_secret.as_deref(), secret)?;
    differ("token_type", expect.token_type.as_deref(), Some(&tokens.token_type))?;
    differ("expires_in", expect.expires_in, life(tokens.expires_at))?;
    differ("never_expires", expect.never_expires, Some(tokens.expires_at.is_none()))?;
    differ("refresh_expires_in", expect.refresh_expires_in, life(tokens.refresh_expires_at))?;
    differ("scopes", expect.scopes.as_ref(), tokens.scopes.as_ref())?;
    differ("subject", expect.subject.as_deref(), answer.subject.as_deref())?;
    same_metadata(expect, &answer.metadata)
}

pub(super) fn same_metadata(expect: &Expectation, found: &BTreeMap<String, Value>) -> Outcome {
    let Some(wanted) = &expect.metadata else { return Ok(()) };
    let wanted = serde_json::to_value(wanted).map_err(|error| error.to_string())?;
    let found = serde_json::to_value(found).map_err(|error| error.to_string())?;
    differ("metadata", Some(wanted), Some(found))
}

/// The same but for the order of the query.
pub(super) fn same_url(expected: &str, found: &Url) -> Outcome {
    let expected = Url::parse(expected).map_err(|error| format!("the expected URL cannot be read: {error}"))?;
    let pairs = |url: &Url| {
        let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
        pairs.sort();
        pairs
    };
    // Params that stand in a fragment have an order no more than those of a query.
    let fragment = |url: &Url| {
        let (route, query) = url.fragment().map(|text| text.split_once('?').unwrap_or((text, ""))).unzip();
        let mut pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        pairs.sort();
        (route.map(str::to_owned), pairs)
    };
    let base = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.path().to_owned());
    if base(&expected) == base(found) && pairs(&expected) == pairs(found) && fragment(&expected) == fragment(found) {
        return Ok(());
    }
    Err(format!("url:\n      expected {expected}\n      found    {found}"))
}

pub(super) fn same_call(expected: &RequestVector, call: &HttpCall, signers: &[SigningKey]) -> Outcome {
    let call = &unsigned(expected, call, signers)?;
    let sent =
        |name: &str| call.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    let mut parts = vec![same_url(&expected.url, &call.url)];
    let wanted = expected.method.as_deref().unwrap_or("POST");
    parts.push(differ("method", Some(wanted), Some(call.method.as_str())));
    let unwanted = expected.absent.iter().filter(|name| sent(name).is_some());
    parts.extend(unwanted.map(|name| Err(format!("header {name}: expected none, but it is sent"))));
    parts.extend(expected.headers.iter().map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        differ(&format!("header {name}"), Some(value.as_str()), Some(sent(&name).unwrap_or("(not sent)")))
    }));
    parts.push(same_body(expected, call));
    // All at once, so that a test is mended in one go.
    let told: Vec<String> = parts.into_iter().filter_map(Result::err).collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("\n      ")) }
}

/// Names what differs: of a form that is told whole, people would have to find it.
fn same_form(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Outcome {
    let missed = expected.iter().filter_map(|(name, value)| match found.get(name) {
        None => Some(format!("`{name}` is not sent")),
        Some(sent) => (sent != value).then(|| format!("`{name}` is sent as {sent:?}")),
    });
    let besides = found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("`{name}` is sent besides"));
    let told: Vec<String> = missed.chain(besides).collect();
    if told.is_empty() { Ok(()) } else { Err(format!("form: {}", told.join(", "))) }
}

fn same_body(expected: &RequestVector, call: &HttpCall) -> Outcome {
    if let Some(form) = &expected.form {
        let found = form_urlencoded::parse(&call.body).into_owned().collect();
        return same_form(form, &found);
    }
    if let Some(json) = &expected.json {
        let wanted = serde_json::to_value(json).map_err(|error| error.to_string())?;
        let found = serde_json::from_slice::<Value>(&call.body).map_err(|error| format!("the body is not JSON: {error}"))?;
        return differ("json", Some(wanted), Some(found));
    }
    if call.body.is_empty() { Ok(()) } else { Err("has a body; compare it by `form` or `json`".to_owned()) }
}

pub(super) fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NotSent => "not_sent",
        FailureClass::DeadGrant => "dead_grant",
        FailureClass::IntegrationBroken => "integration_broken",
        FailureClass::Misconfigured => "misconfigured",
        FailureClass::SubjectRefused => "subject_refused",
        FailureClass::Throttled => "throttled",
        FailureClass::InDoubt => "in_doubt",
    }
}

pub(super) fn callback_failure(error: &CallbackError) -> (&'static str, Option<&str>) {
    match error {
        CallbackError::Denied => ("denied", None),
        CallbackError::ProviderError(code) => ("provider_error", Some(code)),
        CallbackError::Malformed(_) => ("malformed", None),
        CallbackError::WrongIssuer => ("wrong_issuer", None),
        CallbackError::BadSignature => ("bad_signature", None),
        CallbackError::OtherToken => ("other_token", None),
    }
}
