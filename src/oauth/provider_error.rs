//! What a failed answer means (docs/refresh.md, "What an answer means"): the provider's own rules first, then one
//! table for all. Only a code that is plain leaves this file; a provider's words never do.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::call::HttpAnswer;
use crate::domain::provider::ErrorRules;
use crate::domain::tokens::{FailureClass, ProviderFailure};

use super::answer::Body;

/// Longest error code that is passed on.
pub const CODE_MAX: usize = 64;
/// A provider's `Retry-After` is honoured up to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

use FailureClass::{DeadGrant, InDoubt, IntegrationBroken, Misconfigured, Throttled};

/// Codes that mean the same everywhere. RFC 6749 5.2 and 4.1.2.1, RFC 8628 3.5, OpenID Connect Core
/// 3.1.2.6, what several large providers answer in their stead, and the problems of OAuth 1.0a.
const CODES: &[(&str, FailureClass)] = &[
    ("invalid_grant", DeadGrant),
    ("bad_refresh_token", DeadGrant),
    ("invalid_refresh_token", DeadGrant),
    ("expired_refresh_token", DeadGrant),
    ("token_revoked", DeadGrant),
    ("token_expired", DeadGrant),
    ("account_inactive", DeadGrant),
    ("interaction_required", DeadGrant),
    ("consent_required", DeadGrant),
    ("login_required", DeadGrant),
    ("bad_verification_code", DeadGrant),
    ("invalid_code", DeadGrant),
    ("code_already_used", DeadGrant),
    ("code_expired", DeadGrant),
    ("token_used", DeadGrant),
    ("token_rejected", DeadGrant),
    ("verifier_invalid", DeadGrant),
    ("consumer_key_unknown", IntegrationBroken),
    ("consumer_key_rejected", IntegrationBroken),
    ("consumer_key_refused", IntegrationBroken),
    ("signature_invalid", IntegrationBroken),
    ("signature_method_rejected", Misconfigured),
    ("timestamp_refused", Misconfigured),
    ("nonce_used", Misconfigured),
    ("invalid_client", IntegrationBroken),
    ("invalid_client_id", IntegrationBroken),
    ("bad_client_secret", IntegrationBroken),
    ("incorrect_client_credentials", IntegrationBroken),
    ("unauthorized_client", IntegrationBroken),
    ("application_suspended", IntegrationBroken),
    ("slow_down", Throttled),
    ("temporarily_unavailable", Throttled),
    ("too_many_requests", Throttled),
    ("rate_limited", Throttled),
    ("rate_limit_exceeded", Throttled),
    ("ratelimited", Throttled),
    ("server_error", InDoubt),
    ("internal_error", InDoubt),
    ("fatal_error", InDoubt),
    ("invalid_scope", Misconfigured),
    (BAD_REQUEST, Misconfigured),
    ("invalid_redirect_uri", Misconfigured),
    ("redirect_uri_mismatch", Misconfigured),
    ("bad_redirect_uri", Misconfigured),
    ("unsupported_grant_type", Misconfigured),
    ("unsupported_response_type", Misconfigured),
    ("invalid_target", Misconfigured),
];

/// Servers on older versions of the League's PHP library and of Authlib, and what was modelled on them, say `invalid_request`
/// where RFC 6749 5.2 has `invalid_grant`. They tell a dead refresh token from a bad request in these words alone.
const BAD_REQUEST: &str = "invalid_request";
const DEAD_WORDS: [&str; 4] =
    ["refresh token is invalid", "invalid refresh token", "refresh token has expired", "refresh token has been revoked"];
const PLACES_OF_WORDS: [&str; 3] = ["error_description", "message", "hint"];

/// Classifies an answer that is not a success.
pub(super) fn classify(rules: &ErrorRules, answer: &HttpAnswer, body: &Body, now: Timestamp) -> ProviderFailure {
    let code = code_of(rules, body);
    let (class, own_word) = match by_rules(rules, answer.status, code.as_deref(), body.value()) {
        Some(class) => (class, word_of(class)),
        None => by_table(answer.status, code.as_deref(), body),
    };
    let retry_after = retry_after(answer, now);
    ProviderFailure { class, code: code.unwrap_or_else(|| own_word.to_owned()), status: answer.status, retry_after }
}

/// The file's own rules; the first class one of whose predicates holds.
fn by_rules(rules: &ErrorRules, status: u16, code: Option<&str>, body: Option<&Value>) -> Option<FailureClass> {
    let holds = |(_, any): &&(FailureClass, Vec<_>)| {
        any.iter().any(|rule: &crate::domain::provider::response::Predicate| rule.holds(status, code, body))
    };
    rules.classes.iter().find(holds).map(|(class, _)| *class)
}

fn by_table(status: u16, code: Option<&str>, body: &Body) -> (FailureClass, &'static str) {
    let known = code.and_then(|code| CODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(code))).map(|(_, class)| *class);
    let known =
        if code.is_some_and(|code| code.eq_ignore_ascii_case(BAD_REQUEST)) && says_dead(body) { Some(DeadGrant) } else { known };
    match (status, known) {
        (429 | 425, _) | (_, Some(Throttled)) => (Throttled, "too_many_requests"),
        // A gateway's 5xx may hide a rotation that happened behind it, whatever it says.
        (500.., _) => (InDoubt, "server_error"),
        (408, _) => (InDoubt, "request_timeout"),
        (300..=399, _) => (InDoubt, "redirected"),
        (_, Some(class)) => (class, word_of(class)),
        // RFC 6749 5.2: 401 is the refusal of the client's proof.
        (401, None) => (IntegrationBroken, "invalid_client"),
        (_, None) => by_body(status, code, body),
    }
}

/// Whether a refused request is one whose refresh token was refused.
fn says_dead(body: &Body) -> bool {
    let said = |place: &&str| body.value()?.get(place)?.as_str().map(str::to_ascii_lowercase);
    PLACES_OF_WORDS.iter().filter_map(said).any(|said| DEAD_WORDS.iter().any(|words| said.contains(words)))
}

/// No code that anybody knows: what kind of answer it is decides.
fn by_body(status: u16, code: Option<&str>, body: &Body) -> (FailureClass, &'static str) {
    match body {
        Body::Empty => (InDoubt, "empty_answer"),
        Body::Html => (InDoubt, "html_answer"),
        Body::Unreadable => (InDoubt, "unreadable_answer"),
        // It says what it did not like, so it did nothing.
        Body::Fields(_) if code.is_some() || status >= 400 => (Misconfigured, "refused"),
        Body::Fields(_) => (InDoubt, "no_access_token"),
    }
}

fn word_of(class: FailureClass) -> &'static str {
    match class {
        DeadGrant => "dead_grant",
        IntegrationBroken => "integration_refused",
        Misconfigured | FailureClass::SubjectRefused => "refused",
        Throttled => "too_many_requests",
        FailureClass::NotSent => "not_sent",
        InDoubt => "in_doubt",
    }
}

/// The error's code: the first of the file's places that holds a plain one. A number counts as its
/// digits; of an object its `code`, `type` or `error`.
pub(super) fn code_of(rules: &ErrorRules, body: &Body) -> Option<String> {
    let value = body.value()?;
    rules.code.iter().filter_map(|pointer| pointer.find(value)).find_map(code_in)
}

fn code_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => plain_code(text),
        Value::Number(number) => plain_code(&number.to_string()),
        Value::Object(fields) => {
            ["code", "type", "error"].iter().filter_map(|name| fields.get(*name)).find_map(|inner| match inner {
                Value::String(text) => plain_code(text),
                _ => None,
            })
        }
        _ => None,
    }
}

/// A code of letters, digits and `_.-`, at most [`CODE_MAX`]: fit for logs, answers and metrics.
pub(super) fn plain_code(text: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (!text.is_empty() && text.len() <= CODE_MAX && text.bytes().all(allowed)).then(|| text.to_owned())
}

/// RFC 9110 10.2.3: seconds or a date.
fn retry_after(answer: &HttpAnswer, now: Timestamp) -> Option<Duration> {
    let text = answer.header("retry-after")?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(RETRY_AFTER_MAX))
}
