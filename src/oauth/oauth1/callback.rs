//! What a provider of OAuth 1.0a sends the browser back with (RFC 5849 2.2): the token that the flow began with, and a
//! verifier. That the state beside them is ours is the caller's business, before this.

use subtle::ConstantTimeEq as _;

use crate::domain::provider::Provider;
use crate::oauth::callback::{self, CallbackError, ValidCallback, find, refusal};

/// Params that decide something, so that a second one is an attack or a fault.
const SINGLE: &[&str] = &["oauth_token", "oauth_verifier", "oauth_problem"];

/// Judges the pairs for a flow whose temporary credentials have this token.
pub fn validate(provider: &Provider, token: &str, pairs: &[(String, String)]) -> Result<ValidCallback, CallbackError> {
    for name in SINGLE {
        if pairs.iter().filter(|(known, _)| known == name).count() > 1 {
            return Err(CallbackError::Malformed("a param is there twice"));
        }
    }
    if let Some(problem) = find(pairs, "oauth_problem").filter(|problem| !problem.is_empty()) {
        return Err(refusal(problem));
    }
    let valid = callback::validate(provider, None, pairs);
    // A refusal names the token elsewhere or not at all; nobody gains by one.
    if let Err(CallbackError::Denied | CallbackError::ProviderError(_)) = valid {
        return valid;
    }
    let came = find(pairs, "oauth_token").unwrap_or_default();
    if !bool::from(came.as_bytes().ct_eq(token.as_bytes())) {
        return Err(CallbackError::OtherToken);
    }
    // The callback was confirmed, so there would be a verifier if the end user had agreed: some providers have no
    // other word for a no.
    let verifier = find(pairs, &provider.spec().callback.code_param).unwrap_or_default();
    if verifier.is_empty() { Err(CallbackError::Denied) } else { valid }
}
