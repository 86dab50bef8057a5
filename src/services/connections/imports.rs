//! What tokens that a tenant brings must be like.

use crate::domain::provider::GrantType;
use crate::domain::refusal::Refusal;
use crate::domain::secret::ExposeSecret;
use crate::domain::tokens::{KEPT_DEPTH_MAX, is_within_depth};

use super::Import;

const TOKEN_MAX: usize = 16 * 1024;

pub(super) fn check_import(import: &Import) -> Result<(), Refusal> {
    let optional = [("refresh_token", import.refresh_token.as_ref()), ("token_secret", import.token_secret.as_ref())];
    let optional = optional.into_iter().filter_map(|(field, token)| Some((field, token?)));
    for (field, token) in std::iter::once(("access_token", &import.access_token)).chain(optional) {
        let text = token.expose_secret();
        // Some providers of OAuth 1.0a give an empty secret.
        if (text.is_empty() && field != "token_secret") || text.len() > TOKEN_MAX || text.chars().any(char::is_control) {
            return Err(Refusal::field(field, format!("must have 1 to {TOKEN_MAX} bytes and no control characters")));
        }
    }
    if !import.metadata.values().all(|value| is_within_depth(value, KEPT_DEPTH_MAX - 1)) {
        return Err(Refusal::field("metadata", format!("must not nest deeper than {KEPT_DEPTH_MAX} levels")));
    }
    Ok(())
}

/// A token of OAuth 1.0a has its secret, and is of no use without.
pub(super) fn check_signed(import: &Import, grant: GrantType) -> Result<(), Refusal> {
    match (grant, &import.token_secret, &import.refresh_token) {
        (GrantType::Oauth1, None, _) => {
            Err(Refusal::field("token_secret", "is needed: this provider's calls are signed with it (OAuth 1.0a)"))
        }
        (GrantType::Oauth1, Some(_), Some(_)) => {
            Err(Refusal::field("refresh_token", "is not of OAuth 1.0a, whose tokens are not refreshed"))
        }
        (GrantType::Oauth1, Some(_), None) | (_, None, _) => Ok(()),
        (_, Some(_), _) => Err(Refusal::field("token_secret", "is of OAuth 1.0a; this provider's tokens have none")),
    }
}
