//! A browser that the provider sends although no flow of ours has begun: an install in its app store. What it brings
//! is judged, and of that only the settings that the file names go on; a code that came along belongs to nobody and is
//! not even read.

use std::collections::BTreeMap;

use crate::domain::provider::Provider;
use crate::domain::secret::SecretString;

use super::callback::{CallbackError, KEPT_MAX, PAIRS_MAX, check_signature, find};

/// Whether these are no callback of any flow, not even of one that is over. Some providers send an empty `state`.
pub fn is_install(pairs: &[(String, String)]) -> bool {
    pairs.iter().all(|(name, value)| name != "state" || value.is_empty())
}

/// The settings of a link that the provider's request names, each as its rule wants it.
pub fn judge(
    provider: &Provider,
    secret: Option<&SecretString>,
    pairs: &[(String, String)],
) -> Result<BTreeMap<String, String>, CallbackError> {
    let spec = provider.spec();
    let install = spec.install.as_ref().ok_or(CallbackError::Malformed("no install begins at this provider"))?;
    if pairs.len() > PAIRS_MAX || !is_install(pairs) {
        return Err(CallbackError::Malformed("it is no install"));
    }
    if find(pairs, "error").is_some() {
        return Err(CallbackError::Malformed("the provider calls it a failure"));
    }
    let decide = install.params.values().map(|param| param.from.as_str()).chain(spec.callback.signature.as_deref());
    for name in decide.chain(["state"]) {
        if pairs.iter().filter(|(known, _)| known == name).count() > 1 {
            return Err(CallbackError::Malformed("a param is there twice"));
        }
    }
    if let Some(name) = &spec.callback.signature {
        check_signature(name, secret, pairs)?;
    }
    let mut settings = BTreeMap::new();
    for (name, param) in &install.params {
        let value = find(pairs, &param.from).filter(|value| value.len() <= KEPT_MAX);
        let value = value.and_then(|value| value.strip_suffix(param.suffix.as_str()));
        let rule = spec.params.get(name);
        let value = value.filter(|value| !value.is_empty() && rule.is_some_and(|rule| rule.fault(value).is_none()));
        settings
            .insert(name.clone(), value.ok_or(CallbackError::Malformed("a param is missing or not as it must be"))?.to_owned());
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::form_urlencoded;

    use super::*;
    use crate::oauth::provider_file::testing::acme;

    const SHOP: &str = "params.shop = { title = \"S\", kind = \"subdomain\", needed_by = \"link\", example = \"x\" }\n\
        install = { params = { shop = { from = \"store\", suffix = \".acme.example\" } } }\n";

    fn judged(provider: &Provider, query: &str) -> Result<BTreeMap<String, String>, CallbackError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        judge(provider, Some(&"SECRET".into()), &pairs)
    }

    #[test]
    fn only_what_the_file_names_goes_on_and_only_as_its_rule_wants_it() {
        let provider = acme(SHOP);
        let expected = BTreeMap::from([("shop".to_owned(), "corner".to_owned())]);
        assert_eq!(judged(&provider, "store=corner.acme.example&code=c&x=1&state="), Ok(expected));
        for refused in [
            "",
            "shop=corner",
            "store=corner",
            "store=.acme.example",
            "store=evil.example%23.acme.example",
            "store=corner.acme.example.evil.example",
            "store=a.acme.example&store=b.acme.example",
            "store=corner.acme.example&state=s",
            "store=corner.acme.example&state=&state=",
            "store=corner.acme.example&error=access_denied",
        ] {
            assert!(judged(&provider, refused).is_err(), "{refused}");
        }
        assert!(judged(&acme(""), "store=corner.acme.example").is_err(), "a provider whose file has no such block");
        assert_eq!(judged(&acme("install = {}"), "code=c"), Ok(BTreeMap::new()));
        let many = "&x=1".repeat(PAIRS_MAX);
        assert!(judged(&provider, &format!("store=corner.acme.example{many}")).is_err());
    }

    #[test]
    fn where_callbacks_are_signed_so_are_installs() {
        let provider = acme(&format!("{SHOP}callback.signature = \"hmac\"\n"));
        let forged = "00".repeat(32);
        let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(b"SECRET").unwrap();
        hmac::Mac::update(&mut mac, b"store=corner.acme.example&timestamp=1");
        let good = hex::encode(hmac::Mac::finalize(mac).into_bytes());
        let with = |signature: &str| judged(&provider, &format!("timestamp=1&store=corner.acme.example&hmac={signature}"));
        assert!(with(&good).is_ok());
        assert_eq!(with(&forged).unwrap_err(), CallbackError::BadSignature);
        assert_eq!(judged(&provider, "timestamp=1&store=corner.acme.example").unwrap_err(), CallbackError::BadSignature);
        let other = format!("timestamp=1&store=other.acme.example&hmac={good}");
        assert_eq!(judged(&provider, &other).unwrap_err(), CallbackError::BadSignature);
    }

    proptest! {
        #[test]
        fn no_install_makes_it_panic(pairs in prop::collection::vec(("(store|state|error|hmac|\\PC{0,8})", "\\PC{0,40}([.]acme[.]example)?"), 0..6)) {
            if let Ok(settings) = judge(&acme(SHOP), None, &pairs) {
                prop_assert!(settings["shop"].bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)));
            }
        }
    }
}
