//! What a provider's redirect brings back. A [`ValidCallback`] is the only way to hold a code that
//! came from outside; that its `state` is ours is the caller's business, before this.

use std::collections::BTreeMap;

use crate::domain::provider::template::{Template, Values};
use crate::domain::provider::{CallbackSpec, Provider};
use crate::domain::secret::SecretString;

use super::provider_error::plain_code;

/// Longest code, in bytes. The longest real ones have about 2,000.
pub const CODE_MAX: usize = 8_192;
/// Longest kept value, in bytes.
pub const KEPT_MAX: usize = 1_024;
/// A callback has at most so many pairs.
pub const PAIRS_MAX: usize = 100;

/// Params that decide something, so that a second one is an attack or a fault.
const SINGLE: &[&str] = &["code", "state", "iss", "error"];

/// A callback that may be exchanged.
#[derive(Debug)]
pub struct ValidCallback {
    code: SecretString,
    kept: BTreeMap<String, String>,
}

impl ValidCallback {
    pub fn code(&self) -> &SecretString {
        &self.code
    }

    /// What the provider's file keeps of the callback.
    pub fn kept(&self) -> &BTreeMap<String, String> {
        &self.kept
    }

    pub fn into_parts(self) -> (SecretString, BTreeMap<String, String>) {
        (self.code, self.kept)
    }
}

/// Why a callback brings nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The end user (or somebody for them) said no.
    #[error("the end user declined")]
    Denied,
    /// The provider's error code when it is a plain one, else `unreadable_error`.
    #[error("the provider answered {0}")]
    ProviderError(String),
    #[error("the callback is malformed: {0}")]
    Malformed(&'static str),
    #[error("the callback comes from another issuer")]
    WrongIssuer,
}

/// Errors by which providers say that the end user declined.
const DENIALS: &[&str] = &[
    "access_denied",
    "user_denied",
    "user_cancelled_login",
    "user_cancelled_authorize",
    "user_cancel",
    "cancelled",
    "canceled",
    "consent_declined",
];

/// Judges the pairs of a query or a posted form.
pub fn validate(provider: &Provider, pairs: &[(String, String)]) -> Result<ValidCallback, CallbackError> {
    let spec = &provider.spec().callback;
    if pairs.len() > PAIRS_MAX {
        return Err(CallbackError::Malformed("too many params"));
    }
    let once = SINGLE.iter().copied().chain([spec.code_param.as_str()]).chain(spec.keep.iter().map(String::as_str));
    for name in once {
        if pairs.iter().filter(|(known, _)| known == name).count() > 1 {
            return Err(CallbackError::Malformed("a param is there twice"));
        }
    }
    check_issuer(provider, find(pairs, "iss"))?;
    if let Some(error) = find(pairs, "error").filter(|error| !error.is_empty()) {
        return Err(refusal(error));
    }
    let code = find(pairs, &spec.code_param).unwrap_or_default();
    if code.is_empty() {
        return Err(CallbackError::Malformed("there is no code"));
    }
    if code.len() > CODE_MAX {
        return Err(CallbackError::Malformed("the code is too long"));
    }
    if code.chars().any(char::is_control) {
        return Err(CallbackError::Malformed("the code has control characters"));
    }
    Ok(ValidCallback { code: code.into(), kept: kept(spec, pairs)? })
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// RFC 9207 2.4: compared character for character. Where the file names an issuer, its absence is
/// as wrong as another one; where it names none, whatever came is not judged.
fn check_issuer(provider: &Provider, came: Option<&str>) -> Result<(), CallbackError> {
    let Some(expected) = &provider.spec().callback.issuer else { return Ok(()) };
    let mut values = Values::default();
    for name in provider.spec().params.keys() {
        if let Some(value) = provider.deployment_value(name) {
            values.set(name.clone(), value);
        }
    }
    let expected = Template::parse(expected).ok().and_then(|template| template.render(&values).ok());
    if expected.is_some() && came == expected.as_deref() { Ok(()) } else { Err(CallbackError::WrongIssuer) }
}

fn refusal(error: &str) -> CallbackError {
    match plain_code(error) {
        Some(code) if DENIALS.contains(&code.to_ascii_lowercase().as_str()) => CallbackError::Denied,
        Some(code) => CallbackError::ProviderError(code),
        None => CallbackError::ProviderError("unreadable_error".to_owned()),
    }
}

fn kept(spec: &CallbackSpec, pairs: &[(String, String)]) -> Result<BTreeMap<String, String>, CallbackError> {
    let mut kept = BTreeMap::new();
    for name in &spec.keep {
        let Some(value) = find(pairs, name) else { continue };
        if value.len() > KEPT_MAX || value.chars().any(char::is_control) {
            return Err(CallbackError::Malformed("a kept param is too long or has control characters"));
        }
        kept.insert(name.clone(), value.to_owned());
    }
    Ok(kept)
}
