//! The authorize request (RFC 6749 4.1.1): where the end user's browser is sent.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::provider::template::Values;
use crate::domain::provider::{AuthorizeSpec, PkceUse, Provider, ScopeSpec};

use super::request::{BuildError, set_params};

/// What one flow adds to the provider's file.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizeInput<'a> {
    pub provider: &'a Provider,
    pub client_id: &'a str,
    pub redirect_uri: &'a str,
    /// As the tenant named them; the file's `default` and `always` are applied here.
    pub scopes: &'a [String],
    pub state: &'a str,
    pub pkce_challenge: Option<&'a str>,
    pub nonce: Option<&'a str>,
    /// The integration's and the link's public params, merged.
    pub params: &'a BTreeMap<String, String>,
}

pub fn build(input: &AuthorizeInput<'_>) -> Result<Url, BuildError> {
    let spec = &input.provider.spec().authorize;
    let asked = spec.scopes.asked(input.scopes);
    let lists = scope_lists(&spec.scopes, &asked);
    let scope = lists.first().map_or("", |(_, scope)| scope.as_str());
    let mut values = Values::default();
    set_params(&mut values, input.provider, |name| input.params.get(name).map(String::as_str))?;
    values.set("client_id", input.client_id);
    values.set("redirect_uri", input.redirect_uri);
    values.set("state", input.state);
    values.set("scope", scope);

    let mut pairs = named(spec, &standard(input, &lists)?);
    for (name, template) in &spec.params {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.clone(), template.render(&values)?));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    let mut url = spec.url.render(&values)?;
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(url)
}

fn standard<'a>(input: &AuthorizeInput<'a>, lists: &'a [(&'a str, String)]) -> Result<Vec<(&'a str, &'a str)>, BuildError> {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", input.client_id),
        ("redirect_uri", input.redirect_uri),
        ("state", input.state),
    ];
    pairs.extend(lists.iter().map(|(name, scope)| (*name, scope.as_str())));
    match (input.provider.pkce(), input.pkce_challenge) {
        (PkceUse::Required | PkceUse::Plain, None) => return Err(BuildError::MissingPkce),
        (PkceUse::Off, _) | (_, None) => {}
        (PkceUse::Plain, Some(challenge)) => pairs.extend([("code_challenge", challenge), ("code_challenge_method", "plain")]),
        (_, Some(challenge)) => pairs.extend([("code_challenge", challenge), ("code_challenge_method", "S256")]),
    }
    pairs.extend(input.nonce.map(|nonce| ("nonce", nonce)));
    Ok(pairs)
}

/// The scope params, `scope` first: a scope goes to the list whose prefix it has, else to `scope`.
fn scope_lists<'a>(spec: &'a ScopeSpec, asked: &[String]) -> Vec<(&'a str, String)> {
    let prefix_of = |scope: &str| spec.lists.values().find(|prefix| scope.starts_with(prefix.as_str()));
    let join = |prefix: Option<&String>| {
        let mine = asked.iter().filter(|scope| prefix_of(scope) == prefix);
        let bare: Vec<&str> =
            mine.map(|scope| prefix.and_then(|prefix| scope.strip_prefix(prefix.as_str())).unwrap_or(scope)).collect();
        bare.join(&spec.separator)
    };
    let mut lists = vec![("scope", join(None))];
    lists.extend(spec.lists.iter().map(|(name, prefix)| (name.as_str(), join(Some(prefix)))));
    lists
}

fn named(spec: &AuthorizeSpec, standard: &[(&str, &str)]) -> Vec<(String, String)> {
    let wanted = standard.iter().filter(|(name, _)| !spec.drop.iter().any(|dropped| dropped == name));
    wanted.map(|(name, value)| (spec.rename.get(*name).map_or(*name, String::as_str).to_owned(), (*value).to_owned())).collect()
}
