//! What a provider's redirect brings back. A [`ValidCallback`] is the only way to hold a code that
//! came from outside; that its `state` is ours is the caller's business, before this.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use url::form_urlencoded;

use crate::domain::provider::template::{Template, Values};
use crate::domain::provider::{CallbackSpec, Provider};
use crate::domain::secret::{ExposeSecret as _, SecretString};

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
    state: String,
    kept: BTreeMap<String, String>,
}

impl ValidCallback {
    pub fn code(&self) -> &SecretString {
        &self.code
    }

    /// As it came, for a provider that wants it with the code.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// What the provider's file keeps of the callback.
    pub fn kept(&self) -> &BTreeMap<String, String> {
        &self.kept
    }

    pub fn into_parts(self) -> (SecretString, String, BTreeMap<String, String>) {
        (self.code, self.state, self.kept)
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
    #[error("the callback is not signed with the client's secret")]
    BadSignature,
    #[error("the callback brings another token than the flow began with")]
    OtherToken,
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
    "user_refused",
    "permission_denied",
];

/// Judges the pairs of a query or a posted form, for the client with this secret.
pub fn validate(
    provider: &Provider,
    secret: Option<&SecretString>,
    pairs: &[(String, String)],
) -> Result<ValidCallback, CallbackError> {
    let spec = &provider.spec().callback;
    if pairs.len() > PAIRS_MAX {
        return Err(CallbackError::Malformed("too many params"));
    }
    let once = SINGLE
        .iter()
        .copied()
        .chain([spec.code_param.as_str()])
        .chain(spec.signature.as_deref())
        .chain(spec.keep.iter().map(String::as_str));
    for name in once {
        if pairs.iter().filter(|(known, _)| known == name).count() > 1 {
            return Err(CallbackError::Malformed("a param is there twice"));
        }
    }
    check_issuer(provider, find(pairs, "iss"))?;
    if let Some(error) = find(pairs, "error").filter(|error| !error.is_empty()) {
        return Err(refusal(error));
    }
    let declined = |(name, value): (&String, &String)| find(pairs, name).is_some_and(|came| value.is_empty() || came == value);
    if spec.denied.iter().any(declined) {
        return Err(CallbackError::Denied);
    }
    // A refusal needs no signature: nobody gains by it.
    if let Some(name) = &spec.signature {
        check_signature(name, secret, pairs)?;
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
    let state = find(pairs, "state").unwrap_or_default().to_owned();
    Ok(ValidCallback { code: code.into(), state, kept: kept(spec, pairs)? })
}

pub(super) fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
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

/// The hex HMAC-SHA256 of all other params, sorted by name and form-encoded, keyed with the client secret.
pub(super) fn check_signature(
    name: &str,
    secret: Option<&SecretString>,
    pairs: &[(String, String)],
) -> Result<(), CallbackError> {
    let signature = find(pairs, name).and_then(|text| hex::decode(text).ok()).ok_or(CallbackError::BadSignature)?;
    let mut others: Vec<&(String, String)> = pairs.iter().filter(|(known, _)| known != name).collect();
    others.sort();
    let message = form_urlencoded::Serializer::new(String::new()).extend_pairs(others).finish();
    let key = secret.ok_or(CallbackError::BadSignature)?.expose_secret();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| CallbackError::BadSignature)?;
    mac.update(message.as_bytes());
    mac.verify_slice(&signature).map_err(|_| CallbackError::BadSignature)
}

pub(super) fn refusal(error: &str) -> CallbackError {
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
        if spec.hosts.get(name).is_some_and(|rule| rule.host_of(value).is_none()) {
            return Err(CallbackError::Malformed("a param names a host that is not the provider's"));
        }
        kept.insert(name.clone(), value.to_owned());
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::oauth::provider_file::testing::acme;

    fn judge(provider: &Provider, query: &str) -> Result<ValidCallback, CallbackError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        validate(provider, Some(&"SECRET".into()), &pairs)
    }

    fn refused(changes: &str, query: &str) -> CallbackError {
        judge(&acme(changes), query).unwrap_err()
    }

    #[test]
    fn a_code_is_held_with_what_the_file_keeps() {
        let provider = acme("callback = { code = \"auth_code\", keep = [\"realm\", \"absent\"] }");
        let callback = judge(&provider, "auth_code=c%20d&realm=r%2F1&state=s&other=o").unwrap();
        assert_eq!(callback.code().expose_secret(), "c d");
        assert_eq!(callback.kept(), &BTreeMap::from([("realm".to_owned(), "r/1".to_owned())]));
        assert!(!format!("{callback:?}").contains("c d"));
        assert_eq!(judge(&provider, "code=c").unwrap_err(), CallbackError::Malformed("there is no code"));
    }

    #[test]
    fn what_decides_may_be_there_once() {
        let changes = "callback.keep = [\"realm\"]";
        for name in ["code", "state", "iss", "error", "realm"] {
            let query = format!("code=c&state=s&realm=r&iss=i&{name}=x&{name}=x");
            assert_eq!(refused(changes, &query), CallbackError::Malformed("a param is there twice"), "{name}");
        }
        assert!(judge(&acme(""), "code=c&x=1&x=2").is_ok());
    }

    #[test]
    fn the_code_is_bounded() {
        let provider = acme("");
        let code = |len: usize| judge(&provider, &format!("code={}", "c".repeat(len)));
        assert!(code(CODE_MAX - 1).is_ok() && code(CODE_MAX).is_ok() && code(CODE_MAX + 1).is_err() && code(0).is_err());
        assert!(judge(&provider, "state=s").is_err() && judge(&provider, "code=a%0Ab").is_err());
        let many: String = (0..PAIRS_MAX).map(|n| format!("&p{n}=1")).collect();
        assert!(judge(&provider, &format!("code=c{many}")).is_err());
        assert!(judge(&provider, many.trim_start_matches('&')).unwrap_err() == CallbackError::Malformed("there is no code"));
    }

    #[test]
    fn kept_values_are_bounded() {
        let provider = acme("callback.keep = [\"realm\"]");
        let kept = |value: String| judge(&provider, &format!("code=c&realm={value}"));
        assert!(
            kept("r".repeat(KEPT_MAX)).is_ok() && kept("r".repeat(KEPT_MAX + 1)).is_err() && kept("a%00".to_owned()).is_err()
        );
    }

    #[test]
    fn a_refusal_is_named_only_by_a_plain_code() {
        for word in ["access_denied", "user_cancelled_login", "ACCESS_DENIED"] {
            assert_eq!(refused("", &format!("error={word}&error_description=No&state=s")), CallbackError::Denied);
        }
        assert_eq!(refused("", "error=invalid_scope"), CallbackError::ProviderError("invalid_scope".to_owned()));
        for odd in ["%3Cscript%3E", "a+b", "%0d%0aSet-Cookie:x", &"x".repeat(65)] {
            assert_eq!(refused("", &format!("error={odd}")), CallbackError::ProviderError("unreadable_error".to_owned()));
        }
        // An error wins over a code: nothing is exchanged that the provider calls a failure.
        assert_eq!(refused("", "code=c&error=access_denied"), CallbackError::Denied);
        assert!(judge(&acme(""), "code=c&error=").is_ok());
    }

    #[test]
    fn a_provider_may_say_no_without_an_error() {
        let changes = "callback.denied = { response = \"denied\", refused = \"\" }";
        for query in ["response=denied", "refused=1", "code=c&refused=", "code=c&response=denied"] {
            assert_eq!(refused(changes, query), CallbackError::Denied, "{query}");
        }
        assert!(judge(&acme(changes), "code=c&response=approved").is_ok());
    }

    #[test]
    fn a_signed_callback_is_as_it_was_sent() {
        let provider = acme("callback = { keep = [\"shop\"], signature = \"hmac\" }");
        let signed = "4f0fec9dbd61b77e8e6bc55dacc650d30301fe47b5292e237244998fb3a38787";
        let query = format!("shop=a+%26b&code=c&state=s&hmac={signed}");
        assert_eq!(judge(&provider, &query).unwrap().kept()["shop"], "a &b");
        assert!(judge(&provider, &query.replace(signed, &signed.to_uppercase())).is_ok());
        for (part, other) in [
            ("a+%26b", "c"),
            ("code=c", "code=d"),
            ("state=s", "state=t"),
            ("&state=s", ""),
            (&signed[..2], "00"),
            (signed, ""),
            (signed, "zz"),
        ] {
            assert_eq!(judge(&provider, &query.replacen(part, other, 1)).unwrap_err(), CallbackError::BadSignature, "{part}");
        }
        assert_eq!(judge(&provider, &format!("{query}&more=1")).unwrap_err(), CallbackError::BadSignature);
        assert_eq!(judge(&provider, "code=c").unwrap_err(), CallbackError::BadSignature);
        assert_eq!(
            judge(&provider, &format!("{query}&hmac={signed}")).unwrap_err(),
            CallbackError::Malformed("a param is there twice")
        );
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(validate(&provider, Some(&"OTHER".into()), &pairs).unwrap_err(), CallbackError::BadSignature);
        assert_eq!(validate(&provider, None, &pairs).unwrap_err(), CallbackError::BadSignature);
        assert_eq!(judge(&provider, "error=access_denied").unwrap_err(), CallbackError::Denied);
    }

    #[test]
    fn a_host_that_is_not_the_providers_ends_the_flow() {
        let provider = acme("callback = { keep = [\"server\"], hosts = { server = [\"acme.example\"] } }");
        assert!(judge(&provider, "code=c&server=https%3A%2F%2Feu.acme.example").is_ok());
        for odd in ["https://evil.example", "https://acme.example@evil.example", "http://acme.example", ""] {
            let query = form_urlencoded::Serializer::new("code=c".to_owned()).append_pair("server", odd).finish();
            let refused = judge(&provider, &query).unwrap_err();
            assert_eq!(refused, CallbackError::Malformed("a param names a host that is not the provider's"), "{odd}");
        }
    }

    #[test]
    fn the_issuer_is_compared_where_the_file_names_one() {
        let changes = "callback.issuer = \"https://acme.example\"";
        assert!(judge(&acme(changes), "code=c&iss=https%3A%2F%2Facme.example").is_ok());
        for query in [
            "code=c",
            "code=c&iss=",
            "code=c&iss=https%3A%2F%2Facme.example%2F",
            "code=c&iss=HTTPS%3A%2F%2Facme.example",
            "error=access_denied&iss=https%3A%2F%2Fevil.example",
        ] {
            assert_eq!(refused(changes, query), CallbackError::WrongIssuer, "{query}");
        }
        assert!(judge(&acme(""), "code=c&iss=whatever").is_ok());
    }

    static PROVIDERS: LazyLock<[Provider; 3]> = LazyLock::new(|| {
        let signed = "callback = { keep = [\"realm\"], signature = \"error\", hosts = { realm = [\"acme.example\"] } }";
        [acme(""), acme("callback = { keep = [\"realm\"], issuer = \"https://acme.example\" }"), acme(signed)]
    });

    proptest! {
        #[test]
        fn no_callback_makes_it_panic(pairs in prop::collection::vec(("(code|state|iss|error|realm|\\PC{0,8})", "\\PC{0,40}"), 0..8)) {
            for provider in PROVIDERS.iter() {
                if let Ok(callback) = validate(provider, Some(&"SECRET".into()), &pairs) {
                    prop_assert!(pairs.iter().filter(|(name, _)| name == "code").count() == 1);
                    prop_assert!(!callback.code().expose_secret().is_empty());
                }
            }
        }
    }
}
