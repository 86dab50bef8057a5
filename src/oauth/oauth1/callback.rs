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

#[cfg(test)]
mod tests {
    use url::form_urlencoded;

    use super::*;
    use crate::domain::secret::ExposeSecret as _;
    use crate::oauth::provider_file::testing::try_defined;

    const FILE: &str = r#"
        name = "Acme"
        grant = "oauth1"
        request_token.url = "https://acme.example/initiate"
        authorize.url = "https://acme.example/authorize"
        token.url = "https://acme.example/token"
    "#;

    /// The verifier that the callback brought to the flow of the token `mine`.
    fn judged(query: &str) -> Result<String, CallbackError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        validate(&try_defined(FILE).unwrap(), "mine", &pairs).map(|valid| valid.code().expose_secret().to_owned())
    }

    #[test]
    fn a_callback_brings_its_own_flows_token_and_a_verifier() {
        assert_eq!(judged("state=s&oauth_token=mine&oauth_verifier=v"), Ok("v".to_owned()));
        for (query, refused) in [
            ("oauth_token=other&oauth_verifier=v", CallbackError::OtherToken),
            ("oauth_token=&oauth_verifier=v", CallbackError::OtherToken),
            ("oauth_verifier=v", CallbackError::OtherToken),
            ("oauth_token=mine", CallbackError::Denied),
            ("oauth_token=mine&oauth_verifier=", CallbackError::Denied),
        ] {
            assert_eq!(judged(query), Err(refused), "{query}");
        }
        for name in SINGLE {
            let twice = judged(&format!("oauth_token=mine&oauth_verifier=v&{name}=a&{name}=b"));
            assert_eq!(twice, Err(CallbackError::Malformed("a param is there twice")), "{name}");
        }
    }

    /// Whether or not it names the token.
    #[test]
    fn a_refusal_is_one_with_and_without_the_token() {
        for token in ["", "&oauth_token=mine", "&oauth_token=other"] {
            for (query, refused) in [
                ("denied=mine", CallbackError::Denied),
                ("oauth_problem=user_refused&oauth_verifier=v", CallbackError::Denied),
                ("oauth_problem=token_expired&oauth_verifier=v", CallbackError::ProviderError("token_expired".to_owned())),
            ] {
                assert_eq!(judged(&format!("{query}{token}")), Err(refused), "{query}{token}");
            }
        }
        assert_eq!(judged("oauth_problem=&oauth_token=mine&oauth_verifier=v"), Ok("v".to_owned()));
    }
}
