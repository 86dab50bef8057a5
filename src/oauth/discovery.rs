//! An issuer's metadata: where it is, and whether it may be believed (OpenID Connect Discovery 1.0 section 4,
//! RFC 8414 section 3). Pure: the calls are built here, made elsewhere, and judged here.

use serde_json::Value;
use url::Url;

use crate::domain::call::{HttpAnswer, HttpCall, Method};
use crate::domain::provider::discovery::Discovered;
use crate::domain::provider::template::UrlTemplate;

use super::answer::Body;

/// Longest issuer, and longest endpoint, in bytes.
const URL_MAX: usize = 1_000;

/// Why an issuer's metadata is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    #[error("must be an https URL without a query and without a fragment")]
    BadIssuer,
    #[error("its metadata is not there (status {0})")]
    NotThere(u16),
    #[error("its metadata is not a JSON object")]
    Unreadable,
    #[error("its metadata names another issuer")]
    OtherIssuer,
    #[error("its metadata has no usable `{0}`")]
    Missing(&'static str),
}

/// Where to look, in order: OpenID Connect's place, then RFC 8414's.
pub fn calls(issuer: &str) -> Result<[HttpCall; 2], DiscoveryError> {
    if issuer.len() > URL_MAX || issuer.contains(['?', '{', '}']) || UrlTemplate::parse(issuer).is_err() {
        return Err(DiscoveryError::BadIssuer);
    }
    let url = Url::parse(issuer).map_err(|_| DiscoveryError::BadIssuer)?;
    let path = url.path().trim_end_matches('/');
    let call = |path: String| {
        let mut url = url.clone();
        url.set_path(&path);
        let headers = vec![("accept".to_owned(), "application/json".to_owned())];
        HttpCall { method: Method::Get, url, headers, body: Vec::new() }
    };
    Ok([call(format!("{path}/.well-known/openid-configuration")), call(format!("/.well-known/oauth-authorization-server{path}"))])
}

/// Believed only when it names the very issuer that was asked for (RFC 8414 section 3.3).
pub fn judge(issuer: &str, answer: &HttpAnswer) -> Result<Discovered, DiscoveryError> {
    if answer.status != 200 {
        return Err(DiscoveryError::NotThere(answer.status));
    }
    let body = Body::read(answer);
    let fields = body.value().filter(|value| value.is_object()).ok_or(DiscoveryError::Unreadable)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(DiscoveryError::OtherIssuer);
    }
    let endpoint = |name: &'static str| text(name).filter(|url| is_endpoint(url)).map(str::to_owned);
    let needed = |name: &'static str| endpoint(name).ok_or(DiscoveryError::Missing(name));
    let offers = |name: &str, value: &str| {
        fields.get(name).and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == value))
    };
    let says_auth = fields.get("token_endpoint_auth_methods_supported").is_some();
    Ok(Discovered {
        issuer: issuer.to_owned(),
        authorization_endpoint: needed("authorization_endpoint")?,
        token_endpoint: needed("token_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint"),
        s256: offers("code_challenge_methods_supported", "S256"),
        names_itself: fields.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        // RFC 8414 section 2: Basic where it does not say.
        basic: !says_auth || offers("token_endpoint_auth_methods_supported", "client_secret_basic"),
    })
}

/// A URL that a template takes as it is: braces in it would be holes.
fn is_endpoint(url: &str) -> bool {
    url.len() <= URL_MAX && !url.contains(['{', '}']) && UrlTemplate::parse(url).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> HttpAnswer {
        HttpAnswer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    fn metadata() -> Value {
        json!({
            "issuer": "https://id.example/a", "authorization_endpoint": "https://id.example/a/auth",
            "token_endpoint": "https://id.example/a/token", "revocation_endpoint": "https://id.example/a/revoke",
            "code_challenge_methods_supported": ["plain", "S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        })
    }

    #[test]
    fn both_places_are_where_the_papers_say() {
        let urls = |issuer: &str| calls(issuer).unwrap().map(|call| call.url.to_string());
        assert_eq!(
            urls("https://id.example"),
            ["https://id.example/.well-known/openid-configuration", "https://id.example/.well-known/oauth-authorization-server"]
        );
        for issuer in ["https://id.example/t/1", "https://id.example/t/1/"] {
            assert_eq!(
                urls(issuer),
                [
                    "https://id.example/t/1/.well-known/openid-configuration",
                    "https://id.example/.well-known/oauth-authorization-server/t/1"
                ]
            );
        }
        for bad in [
            "http://id.example",
            "https://id.example?x",
            "https://id.example#x",
            "https://u@id.example",
            "id.example",
            "",
            "https://{x}",
        ] {
            assert_eq!(calls(bad).unwrap_err(), DiscoveryError::BadIssuer, "{bad}");
        }
    }

    #[test]
    fn what_it_says_is_taken_over() {
        let found = judge("https://id.example/a", &answer(200, &metadata())).unwrap();
        assert_eq!((found.token_endpoint.as_str(), found.s256, found.basic), ("https://id.example/a/token", true, false));
        let mut quiet = metadata();
        quiet.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_supported") && name != "revocation_endpoint");
        let found = judge("https://id.example/a", &answer(200, &quiet)).unwrap();
        assert_eq!((found.revocation_endpoint, found.s256, found.basic), (None, false, true));
    }

    #[test]
    fn another_issuer_or_a_bad_endpoint_is_not_believed() {
        for other in ["https://id.example/a/", "https://id.example", "https://evil.example/a"] {
            assert_eq!(judge(other, &answer(200, &metadata())).unwrap_err(), DiscoveryError::OtherIssuer);
        }
        for (name, value) in [
            ("token_endpoint", json!("http://id.example/token")),
            ("token_endpoint", json!("https://{x}.example/token")),
            ("token_endpoint", json!(7)),
            ("authorization_endpoint", json!("javascript:alert(1)")),
        ] {
            let mut bad = metadata();
            bad[name] = value;
            assert!(matches!(judge("https://id.example/a", &answer(200, &bad)), Err(DiscoveryError::Missing(_))), "{bad}");
        }
        assert_eq!(judge("x", &answer(404, &metadata())).unwrap_err(), DiscoveryError::NotThere(404));
        assert_eq!(judge("x", &answer(200, &json!([1]))).unwrap_err(), DiscoveryError::Unreadable);
    }
}
