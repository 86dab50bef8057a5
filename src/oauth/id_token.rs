//! The claims of an ID token that came with tokens, and whether it is of this flow. Its signature need not be checked,
//! since it comes straight from the token endpoint over TLS (OpenID Connect Core 3.1.3.7, 6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::domain::call::HttpAnswer;

use super::answer::Body;

/// Why an ID token is not taken for one of this flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    #[error("the ID token cannot be read")]
    Unreadable,
    #[error("the ID token names no `nonce`, though one was sent (OpenID Connect Core 3.1.3.7, 11)")]
    Missing,
    #[error("the ID token names the `nonce` of another flow")]
    Other,
}

/// The ID token of an answer must name the nonce that was sent. An answer without one has nothing to compare: whether
/// one comes, the scopes decide.
pub fn check_nonce(answer: &HttpAnswer, sent: &str) -> Result<(), NonceError> {
    let body = Body::read(answer);
    let Some(token) = body.value().and_then(id_token) else { return Ok(()) };
    let claims = claims_of(token).ok_or(NonceError::Unreadable)?;
    match claims.get("nonce") {
        None | Some(Value::Null) => Err(NonceError::Missing),
        Some(named) if named == sent => Ok(()),
        Some(_) => Err(NonceError::Other),
    }
}

/// The claims of the ID token in a body, if one is there and can be read.
pub(super) fn claims(body: &Value) -> Option<Value> {
    id_token(body).and_then(claims_of)
}

fn id_token(body: &Value) -> Option<&Value> {
    body.get("id_token").filter(|token| !token.is_null())
}

fn claims_of(token: &Value) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.as_str()?.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok().filter(Value::is_object)
}
