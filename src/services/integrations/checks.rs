//! What an integration must be before it is stored: its client, its keys, its scopes, its places of return.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::domain::integration::{Confirm, Integration};
use crate::domain::provider::request::ClientSecret;
use crate::domain::provider::{ParamKind, Provider};
use crate::domain::refusal::Refusal;
use crate::oauth::{oauth1, signed};

const CLIENT_ID_MAX: usize = 1_000;
const SECRET_MAX: usize = 8_000;
const SCOPES_MAX: usize = 200;
const SCOPE_LENGTH_MAX: usize = 300;
const URL_MAX: usize = 2_000;
const RETURN_URLS_MAX: usize = 50;

pub(super) fn check(integration: &Integration, provider: &Provider) -> Result<(), Refusal> {
    check_client(integration, provider)?;
    if integration.scopes.len() > SCOPES_MAX || integration.scopes.iter().any(|scope| scope.len() > SCOPE_LENGTH_MAX) {
        return Err(Refusal::field("scopes", format!("may hold {SCOPES_MAX} scopes of {SCOPE_LENGTH_MAX} bytes")));
    }
    if integration.scopes.iter().any(|scope| scope.chars().any(char::is_control)) {
        return Err(Refusal::field("scopes", "must not contain control characters"));
    }
    if integration.return_urls.len() > RETURN_URLS_MAX {
        return Err(Refusal::field("return_urls", format!("may hold {RETURN_URLS_MAX} URLs")));
    }
    integration.user_redirect_url.iter().try_for_each(|url| check_return("user_redirect_url", url))?;
    integration.return_urls.iter().try_for_each(|url| check_return("return_urls", url))?;
    let asks = !provider.grant().is_minted();
    if asks
        && integration.confirm == Confirm::Tenant
        && integration.user_redirect_url.is_none()
        && integration.return_urls.is_empty()
    {
        return Err(Refusal::field(
            "user_redirect_url",
            "is needed with `confirm=tenant`: the ticket is handed to your own site there",
        ));
    }
    Ok(())
}

/// A stored secret stays with the host it was given for: who may change settings and never see secrets
/// would else have them sent to a host of their own.
pub(super) fn check_move(
    provider: &Provider,
    secret: &str,
    before: &BTreeMap<String, String>,
    params: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    match moved_host(provider, before, params) {
        None => Ok(()),
        Some(name) => Err(Refusal::field(secret, format!("must be sent again when `{name}` changes"))),
    }
}

/// The first setting that names (part of) a host and is not what it was.
pub(super) fn moved_host<'a>(
    provider: &'a Provider,
    before: &BTreeMap<String, String>,
    params: &BTreeMap<String, String>,
) -> Option<&'a str> {
    let names_host = |kind: &ParamKind| kind.fits_host() || *kind == ParamKind::Origin;
    let mut specs = provider.spec().params.iter();
    let moved = specs.find(|(name, spec)| names_host(&spec.kind) && before.get(*name) != params.get(*name));
    moved.map(|(name, _)| name.as_str())
}

/// A key that cannot sign is told now, not when the first end user comes back.
pub(super) fn check_keys(provider: &Provider, secrets: &BTreeMap<String, SecretString>) -> Result<(), Refusal> {
    let is_key = |name: &str| provider.spec().params.get(name).is_some_and(|param| param.kind == ParamKind::PrivateKey);
    for (name, text) in secrets.iter().filter(|(name, _)| is_key(name)) {
        let pem = text.expose_secret();
        let checked = if oauth1::signs_with(provider, name) {
            oauth1::PrivateKey::from_pem(pem).map(|_| ()).map_err(|fault| fault.to_string())
        } else {
            signed::check_key(provider, name, pem).map_err(|fault| fault.to_string())
        };
        checked.map_err(|fault| Refusal::field(name, fault))?;
    }
    Ok(())
}

fn check_client(integration: &Integration, provider: &Provider) -> Result<(), Refusal> {
    let id = &integration.client_id;
    if id.is_empty() || id.len() > CLIENT_ID_MAX || id.chars().any(char::is_control) {
        return Err(Refusal::field("client_id", format!("must have 1 to {CLIENT_ID_MAX} bytes and no control characters")));
    }
    let secrets = [
        ("client_secret", &integration.client_secret),
        ("api_key", &integration.api_key),
        ("api_secret", &integration.api_secret),
    ];
    for (field, secret) in secrets {
        let unfit = |text: &str| text.is_empty() || text.len() > SECRET_MAX || text.chars().any(char::is_control);
        if secret.as_ref().is_some_and(|secret| unfit(secret.expose_secret())) {
            return Err(Refusal::field(field, format!("must have 1 to {SECRET_MAX} bytes and no control characters")));
        }
    }
    if provider.client_secret() == ClientSecret::Required && integration.client_secret.is_none() {
        let rule = format!("is needed: {} hands it out together with the client id", provider.name());
        return Err(Refusal::field("client_secret", rule));
    }
    Ok(())
}

/// A place of return: https, or http on loopback; no user information, no fragment, and written so
/// that a URL parser leaves it as it is. It is compared byte for byte ever after.
pub(super) fn check_return(field: &str, text: &str) -> Result<(), Refusal> {
    let rule =
        "must be an absolute https URL (or http on loopback) without user information and without a fragment, in its normal form";
    let refused = || Refusal::field(field, rule);
    let url = Url::parse(text).map_err(|_| refused())?;
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    // The host stands in the connect page's policy, where ';' and ',' would end what it is part of.
    let host_fits = url.host_str().is_some_and(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[:]".contains(&b)));
    let plain = host_fits && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let normal = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    if text.len() <= URL_MAX && scheme_fits && plain && normal && text.is_ascii() { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_return_has_a_plain_host() {
        for good in [
            "https://a-1.example/x?y=;,",
            "https://xn--bcher-kva.example/",
            "http://[::1]:8/",
            "http://127.0.0.1:8/x",
            "https://a_b.example",
        ] {
            assert!(check_return("f", good).is_ok(), "{good}");
        }
        for bad in [
            "https://a;sandbox.example/",
            "https://a,sandbox/",
            "https://a'b.example/",
            "https://a\"b.example/",
            "https://a*.example/",
        ] {
            assert!(check_return("f", bad).is_err(), "{bad}");
        }
    }
}
