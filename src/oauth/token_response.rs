//! Judges the answers of a token endpoint: tokens, or what kind of failure. A 2xx without an access
//! token is a failure; a token that came is never thrown away for the sake of an oddity beside it.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::call::HttpAnswer;
use crate::domain::ids::TokenSetName;
use crate::domain::provider::response::{ErrorRules, Pointer, ResponseSpec, SetSpec, Source};
use crate::domain::provider::{AfterConnectSpec, GrantType, Provider, RefreshWith};
use crate::domain::secret::SecretString;
use crate::domain::tokens::{
    FailureClass, IssuedTokens, KEPT_DEPTH_MAX, Lifetime, ProviderFailure, TokenAnswer, is_within_depth,
};

use super::answer::Body;
use super::expiry;
use super::id_token::claims;
use super::provider_error::{classify, code_of};

/// Longest token, in bytes: a few providers issue some 10 KiB.
pub const TOKEN_MAX: usize = 64 * 1_024;
/// Longest kept value, as JSON, in bytes.
pub const KEPT_MAX: usize = 4 * 1_024;
/// An answer names at most so many scopes.
const SCOPES_MAX: usize = 500;

/// The answer to a code exchange: every token set that came, at least one.
pub fn judge_exchange(provider: &Provider, answer: &HttpAnswer, started: Timestamp) -> Result<TokenAnswer, ProviderFailure> {
    let spec = provider.spec();
    judge(&spec.response, &spec.response.sets, &spec.errors, answer, started)
        .map(|answer| typed(provider, unneeded_left_out(provider, answer)))
        .map_err(|failure| of_grant(provider, failure))
}

/// The answers of OAuth 1.0a name no type.
fn typed(provider: &Provider, mut answer: TokenAnswer) -> TokenAnswer {
    let grant = provider.grant();
    if grant == GrantType::Oauth1 {
        answer.sets.values_mut().for_each(|tokens| tokens.token_type = grant.token_type().to_owned());
    }
    answer
}

/// A refresh token that nothing is made with is not kept.
fn unneeded_left_out(provider: &Provider, mut answer: TokenAnswer) -> TokenAnswer {
    if provider.refresh().with() == RefreshWith::Client {
        answer.sets.values_mut().for_each(|tokens| tokens.refresh_token = None);
    }
    answer
}

/// Where tokens are minted there is no grant that could be over: what says so says that nothing is minted for this
/// subject, now.
fn of_grant(provider: &Provider, failure: ProviderFailure) -> ProviderFailure {
    match failure.class {
        FailureClass::DeadGrant if provider.grant().is_minted() => {
            ProviderFailure { class: FailureClass::SubjectRefused, ..failure }
        }
        _ => failure,
    }
}

/// The answer to a refresh of one token set.
pub fn judge_refresh(
    provider: &Provider,
    set: &TokenSetName,
    answer: &HttpAnswer,
    started: Timestamp,
) -> Result<TokenAnswer, ProviderFailure> {
    let spec = provider.spec();
    let response = &spec.refresh.response;
    let sets: Vec<SetSpec> = response.sets.iter().filter(|known| known.name == *set).cloned().collect();
    judge(response, &sets, &spec.errors, answer, started)
        .map(|answer| unneeded_left_out(provider, answer))
        .map_err(|failure| of_grant(provider, failure))
}

/// The answer to an exchange for a token that lives longer: it is read as a refresh is.
pub fn judge_extend(provider: &Provider, answer: &HttpAnswer, started: Timestamp) -> Result<TokenAnswer, ProviderFailure> {
    let spec = provider.spec();
    judge(&spec.refresh.response, &spec.refresh.response.sets, &spec.errors, answer, started)
        .map(|answer| unneeded_left_out(provider, answer))
}

/// Whether the provider's file says that this refusal need not be confirmed.
pub fn is_final(provider: &Provider, answer: &HttpAnswer) -> bool {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    let code = code_of(rules, &body);
    rules.finals.iter().any(|rule| rule.holds(answer.status, code.as_deref(), body.value()))
}

/// The answer to a revocation. A token that the provider no longer knows is revoked (RFC 7009 2.2).
pub fn judge_revoke(provider: &Provider, answer: &HttpAnswer, started: Timestamp) -> Result<(), ProviderFailure> {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    if (200..300).contains(&answer.status) && !fails(rules, answer, &body) {
        return Ok(());
    }
    let gone = ["invalid_token", "invalid_grant", "token_revoked", "invalid_auth"];
    let failure = classify(rules, answer, &body, started);
    if gone.contains(&failure.code.as_str()) { Ok(()) } else { Err(failure) }
}

/// What a look-up found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub metadata: BTreeMap<String, Value>,
    pub subject: Option<String>,
}

/// The answer to a look-up once connected.
pub fn judge_lookup(
    provider: &Provider,
    step: &AfterConnectSpec,
    answer: &HttpAnswer,
    started: Timestamp,
) -> Result<Found, ProviderFailure> {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    match body.value() {
        Some(value) if (200..300).contains(&answer.status) && !fails(rules, answer, &body) => {
            let view = View { body: value, claims: None };
            Ok(Found { metadata: view.kept(&step.keep), subject: view.subject(&step.subject) })
        }
        _ => Err(classify(rules, answer, &body, started)),
    }
}

fn judge(
    response: &ResponseSpec,
    sets: &[SetSpec],
    rules: &ErrorRules,
    answer: &HttpAnswer,
    started: Timestamp,
) -> Result<TokenAnswer, ProviderFailure> {
    let body = Body::read(answer);
    if (200..300).contains(&answer.status)
        && !fails(rules, answer, &body)
        && let Some(value) = body.value()
    {
        let found: BTreeMap<_, _> =
            sets.iter().filter_map(|set| Some((set.name.clone(), issued(response, set, value, started)?))).collect();
        if !found.is_empty() {
            let view = View { body: value, claims: claims(value) };
            return Ok(TokenAnswer {
                sets: found,
                metadata: view.kept(&response.keep),
                subject: view.subject(&response.subject),
            });
        }
    }
    Err(classify(rules, answer, &body, started))
}

/// The file's own signs of failure (`ok = false`).
pub(super) fn fails(rules: &ErrorRules, answer: &HttpAnswer, body: &Body) -> bool {
    let code = code_of(rules, body);
    rules.when.iter().any(|rule| rule.holds(answer.status, code.as_deref(), body.value()))
}

/// One token set, from the first of its places that holds an access token.
fn issued(response: &ResponseSpec, set: &SetSpec, body: &Value, started: Timestamp) -> Option<IssuedTokens> {
    let fields = &response.fields;
    let at = set.at.iter().filter_map(|base| base.find(body)).find(|at| token(first(&fields.access_token, at)).is_some())?;
    let expiry = &response.expiry;
    let (token_life, token_end) = (first(&fields.expires_in, at), first(&fields.expires_at, at));
    let is_named = expiry::is_named(expiry, token_life, token_end, started);
    let (life, end) = (first(&fields.refresh_expires_in, at), first(&fields.refresh_expires_at, at));
    let token_type = first(&fields.token_type, at).and_then(Value::as_str).filter(|text| is_token_type(text));
    Some(IssuedTokens {
        access_token: token(first(&fields.access_token, at))?.into(),
        refresh_token: token(first(&fields.refresh_token, at)).map(Into::into),
        token_secret: first(&fields.token_secret, at).and_then(token_secret),
        token_type: token_type.map_or_else(|| "Bearer".to_owned(), canonical_type),
        expires_at: expiry::ends(expiry, token_life, token_end, started),
        lifetime: if is_named { Lifetime::Named } else { Lifetime::Assumed },
        refresh_expires_at: expiry::refresh_ends(expiry.unit, life, end, started),
        scopes: first(&fields.scope, at).and_then(scopes),
    })
}

/// The first place that holds anything.
pub(super) fn first<'a>(pointers: &[Pointer], body: &'a Value) -> Option<&'a Value> {
    pointers.iter().filter_map(|pointer| pointer.find(body)).find(|value| !value.is_null())
}

/// A token is visible ASCII (RFC 6749 A.12): anything else could not be sent in a header.
pub(super) fn token(value: Option<&Value>) -> Option<&str> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= TOKEN_MAX && text.bytes().all(|b| (0x20..0x7f).contains(&b))).then_some(text)
}

/// Some providers of OAuth 1.0a give an empty one.
fn token_secret(value: &Value) -> Option<SecretString> {
    let text = value.as_str()?;
    (text.len() <= TOKEN_MAX && !text.chars().any(char::is_control)).then(|| text.into())
}

fn is_token_type(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Case carries no meaning (RFC 6749 7.1), and many clients know one spelling only.
fn canonical_type(text: &str) -> String {
    if text.eq_ignore_ascii_case("bearer") { "Bearer".to_owned() } else { text.to_owned() }
}

/// A list, or a text with spaces or commas between. Empty says nothing: providers without scopes
/// answer it.
fn scopes(value: &Value) -> Option<Vec<String>> {
    let split = |text: &str| text.split([' ', ',']).filter(|scope| is_scope(scope)).map(str::to_owned).collect::<Vec<_>>();
    let mut scopes = match value {
        Value::String(text) => split(text),
        Value::Array(items) => {
            items.iter().filter_map(Value::as_str).filter(|scope| is_scope(scope)).map(str::to_owned).collect()
        }
        _ => return None,
    };
    scopes.truncate(SCOPES_MAX);
    (!scopes.is_empty()).then_some(scopes)
}

fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.len() <= 500 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An answer as its reader sees it.
struct View<'a> {
    body: &'a Value,
    claims: Option<Value>,
}

impl View<'_> {
    fn find(&self, pointer: &Pointer) -> Option<&Value> {
        let found = match pointer.source {
            Source::Body => pointer.find(self.body),
            Source::IdToken => self.claims.as_ref()?.pointer(&pointer.path),
        };
        found.filter(|value| !value.is_null())
    }

    /// Values too large or too deep to be a fact about a connection are left out.
    fn kept(&self, keep: &BTreeMap<String, Pointer>) -> BTreeMap<String, Value> {
        let found = keep.iter().filter_map(|(name, pointer)| Some((name, self.find(pointer)?)));
        found
            .filter(|(_, value)| is_within_size(value, KEPT_MAX) && is_within_depth(value, KEPT_DEPTH_MAX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn subject(&self, places: &[Pointer]) -> Option<String> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let subject = places.iter().filter_map(|place| self.find(place)).find_map(text)?;
        (!subject.is_empty() && subject.len() <= 500 && !subject.chars().any(char::is_control)).then_some(subject)
    }
}

/// Whether a value as JSON has at most so many bytes. Writes no more than that, since a file may keep the same
/// large value under many names.
fn is_within_size(value: &Value, bytes: usize) -> bool {
    serde_json::to_writer(Room(bytes), value).is_ok()
}

/// Takes so many bytes, and no more.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
