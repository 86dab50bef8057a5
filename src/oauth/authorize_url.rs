//! The authorize request (RFC 6749 4.1.1): where the end user's browser is sent.

use std::collections::BTreeMap;

use url::{Url, form_urlencoded};

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
    let lists = lists_of(input.provider, input.scopes);
    assemble(input, &lists, &standard(input, &lists)?)
}

/// RFC 5849 2.2: the flow is known by the token of its temporary credentials; its state went with the callback's
/// address before.
pub fn of_oauth1(input: &AuthorizeInput<'_>, token: &str) -> Result<Url, BuildError> {
    let lists = lists_of(input.provider, input.scopes);
    let scopes = lists.iter().map(|(name, scope)| (*name, scope.as_str()));
    assemble(input, &lists, &[("oauth_token", token)].into_iter().chain(scopes).collect::<Vec<_>>())
}

fn lists_of<'a>(provider: &'a Provider, scopes: &[String]) -> Vec<(&'a str, String)> {
    scope_lists(provider.scopes(), &provider.scopes().asked(scopes))
}

/// The `scope` param for what the tenant names.
pub(super) fn scope_of(provider: &Provider, scopes: &[String]) -> String {
    lists_of(provider, scopes).into_iter().next().map(|(_, scope)| scope).unwrap_or_default()
}

fn assemble(input: &AuthorizeInput<'_>, lists: &[(&str, String)], standard: &[(&str, &str)]) -> Result<Url, BuildError> {
    let spec = &input.provider.spec().authorize;
    let scope = lists.first().map_or("", |(_, scope)| scope.as_str());
    let mut values = Values::default();
    set_params(&mut values, input.provider, |name| input.params.get(name).map(String::as_str))?;
    values.set("client_id", input.client_id);
    values.set("redirect_uri", input.redirect_uri);
    values.set("state", input.state);
    values.set("scope", scope);

    let mut pairs = named(spec, standard);
    for (name, template) in &spec.params {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name.clone(), template.render(&values)?));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    let mut url = spec.url.as_ref().ok_or(BuildError::NobodyAsked)?.render(&values)?;
    match &spec.fragment {
        Some(fragment) if spec.params_in_fragment => {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            url.set_fragment(Some(&format!("{fragment}?{query}")));
        }
        fragment => {
            url.query_pairs_mut().extend_pairs(pairs);
            url.set_fragment(fragment.as_deref());
        }
    }
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
pub(super) fn scope_lists<'a>(spec: &'a ScopeSpec, asked: &[String]) -> Vec<(&'a str, String)> {
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::oauth::provider_file::testing::acme;

    fn pairs(changes: &str, scopes: &[&str], challenge: Option<&str>) -> Result<BTreeMap<String, String>, BuildError> {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let (provider, params) = (acme(changes), BTreeMap::new());
        let url = build(&AuthorizeInput {
            provider: &provider,
            client_id: "c&d",
            redirect_uri: "https://broker.example/cb?x=1",
            scopes: &scopes,
            state: "s",
            pkce_challenge: challenge,
            nonce: None,
            params: &params,
        })?;
        assert_eq!(url.as_str().split('?').next(), Some("https://acme.example/authorize"));
        let found: Vec<_> = url.query_pairs().into_owned().collect();
        let distinct: BTreeMap<_, _> = found.iter().cloned().collect();
        assert_eq!(found.len(), distinct.len(), "a param twice");
        Ok(distinct)
    }

    fn get(pairs: &BTreeMap<String, String>, name: &str) -> String {
        pairs.get(name).cloned().unwrap_or_else(|| "(none)".to_owned())
    }

    #[test]
    fn pkce_is_as_the_file_says() {
        for (pkce, challenge, method) in [
            ("required", Some("x"), "S256"),
            ("optional", Some("x"), "S256"),
            ("plain", Some("x"), "plain"),
            ("optional", None, "(none)"),
            ("off", Some("x"), "(none)"),
        ] {
            let found = pairs(&format!("authorize.pkce = \"{pkce}\""), &[], challenge).unwrap();
            assert_eq!(get(&found, "code_challenge_method"), method, "{pkce}");
            assert_eq!(get(&found, "code_challenge"), if method == "(none)" { "(none)" } else { "x" });
        }
        for pkce in ["required", "plain"] {
            assert_eq!(pairs(&format!("authorize.pkce = \"{pkce}\""), &[], None), Err(BuildError::MissingPkce));
        }
    }

    #[test]
    fn scopes_are_joined_sorted_into_lists_and_never_doubled() {
        let changes =
            "authorize.scopes = { separator = \",\", default = [\"d\"], always = [\"off\"], lists = { user_scope = \"user/\" } }";
        let asked = |scopes: &[&str]| {
            let found = pairs(changes, scopes, None).unwrap();
            (get(&found, "scope"), get(&found, "user_scope"))
        };
        assert_eq!(asked(&[]), ("d,off".to_owned(), "(none)".to_owned()));
        assert_eq!(asked(&["a", "off", "a", "user/b", "user/c"]), ("a,off".to_owned(), "b,c".to_owned()));
        let none = pairs("authorize.scopes = \"none\"", &["a"], None).unwrap();
        assert_eq!(get(&none, "scope"), "(none)");
        assert_eq!(get(&pairs("", &[], None).unwrap(), "scope"), "(none)");
    }

    #[test]
    fn names_can_be_renamed_dropped_and_overridden() {
        let changes = "authorize = { rename = { client_id = \"client_key\" }, drop = [\"response_type\"], params = { redirect_uri = \"{redirect_uri}#x\", id = \"{client_id}\", none = \"\" } }";
        let found = pairs(changes, &[], None).unwrap();
        assert_eq!(get(&found, "client_key"), "c&d");
        assert_eq!(get(&found, "id"), "c&d");
        assert_eq!(get(&found, "redirect_uri"), "https://broker.example/cb?x=1#x");
        for name in ["client_id", "response_type", "none"] {
            assert_eq!(get(&found, name), "(none)");
        }
    }

    fn built(changes: &str) -> Url {
        let (provider, params) = (acme(changes), BTreeMap::new());
        let redirect_uri = "https://broker.example/cb";
        let (pkce_challenge, nonce, scopes) = (None, None, ["a#b?c".to_owned()]);
        build(&AuthorizeInput {
            provider: &provider,
            client_id: "c",
            redirect_uri,
            scopes: &scopes,
            state: "s",
            pkce_challenge,
            nonce,
            params: &params,
        })
        .unwrap()
    }

    #[test]
    fn a_page_may_route_by_its_fragment() {
        let url = built("authorize.fragment = \"redirect\"");
        assert_eq!((url.fragment(), url.query_pairs().count()), (Some("redirect"), 5));
        let url = built("authorize = { fragment = \"/oauth/authorize\", params_in_fragment = true }");
        assert_eq!(url.query(), None);
        let (route, query) = url.fragment().unwrap().split_once('?').unwrap();
        let pairs: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!((route, pairs["scope"].as_str(), pairs.len()), ("/oauth/authorize", "a#b?c", 5));
    }

    static SHOPS: LazyLock<Provider> = LazyLock::new(|| {
        let shop = "params.shop = { title = \"S\", kind = \"subdomain\", needed_by = \"link\", example = \"x\" }";
        let path = "params.path = { title = \"P\", kind = \"text\", needed_by = \"link\", example = \"x\" }";
        acme(&format!("{shop}\n{path}\nauthorize.url = \"https://{{shop}}.acme.example/a/{{path}}/b\""))
    });

    proptest! {
        /// Whatever tenants and links hand in, the browser goes to the host and path of the file.
        #[test]
        fn no_value_leaves_its_place(shop in "\\PC{0,30}", state in "\\PC{0,30}", scope in "\\PC{0,30}") {
            let params = BTreeMap::from([("shop".to_owned(), shop.clone()), ("path".to_owned(), state.clone())]);
            let input = AuthorizeInput { provider: &SHOPS, client_id: &state, redirect_uri: "https://broker.example/cb", scopes: std::slice::from_ref(&scope), state: &state, pkce_challenge: None, nonce: None, params: &params };
            if let Ok(url) = build(&input) {
                prop_assert!(url.host_str().unwrap().ends_with(".acme.example"));
                prop_assert_eq!(url.path_segments().unwrap().count(), 3);
                prop_assert_eq!(url.scheme(), "https");
                prop_assert!(url.fragment().is_none() && url.username().is_empty());
                let found: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
                prop_assert_eq!(found.get("state").cloned().unwrap_or_default(), state);
            }
        }
    }
}
