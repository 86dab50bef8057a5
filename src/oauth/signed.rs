//! What a file has signed for its requests: header and claims are filled in, and the tenant's key signs them. What
//! makes each unlike any other comes with the call's moment.

use jiff::SignedDuration;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::domain::provider::jwt::{Audience, ClaimValue, JwtKey, JwtSpec};
use crate::domain::provider::param::ParamKind;
use crate::domain::provider::template::Values;
use crate::domain::provider::{Provider, RequestSpec};
use crate::domain::secret::ExposeSecret;

use super::client::Client;
use super::jwt::{self, JwtError, KeyError, SigningKey};
use super::request::BuildError;

/// Claims that are a number of seconds (RFC 7519 2, NumericDate).
const DATES: &[&str] = &["exp", "iat", "nbf"];

/// Checks a setting of an integration that is a private key, for everything that the file has it sign.
pub fn check_key(provider: &Provider, param: &str, pem: &str) -> Result<(), KeyError> {
    let key = SigningKey::from_pem(pem)?;
    let signs = JwtKey::Param(param.to_owned());
    let mut algorithms = provider.spec().signed().filter(|jwt| jwt.key == signs).filter_map(|jwt| jwt.algorithm);
    algorithms.try_for_each(|algorithm| key.fits(algorithm))
}

/// The key of a block, of the client's own.
pub(super) fn key_of(provider: &Provider, key: &JwtKey, client: &Client<'_>) -> Result<SigningKey, BuildError> {
    match key {
        JwtKey::ClientSecret => {
            let secret = client.client_secret.ok_or(BuildError::MissingClientSecret)?;
            Ok(SigningKey::shared(secret.expose_secret()))
        }
        JwtKey::Param(name) => {
            let missing = || BuildError::MissingParam(name.clone());
            let text = client.secret_params.get(name).ok_or_else(missing)?.expose_secret();
            let is_private = provider.spec().params.get(name).is_some_and(|param| param.kind == ParamKind::PrivateKey);
            if !is_private {
                return Ok(SigningKey::shared(text));
            }
            SigningKey::from_pem(text).map_err(|cause| BuildError::BadKey(name.clone(), cause.into()))
        }
    }
}

/// Gives `{jwt.NAME}` its value, for those that the request sends.
pub(super) fn set_jwts(
    values: &mut Values<'_>,
    provider: &Provider,
    spec: &RequestSpec,
    client: &Client<'_>,
) -> Result<(), BuildError> {
    for name in spec.jwts() {
        if let Some(jwt) = provider.spec().jwts.get(name) {
            let made = make(provider, (name, jwt), client, values, Map::new())?;
            values.set(format!("jwt.{name}"), made);
        }
    }
    Ok(())
}

/// The client's own, for a call to `url` (RFC 7523 3).
pub(super) fn client_assertion(
    provider: &Provider,
    client: &Client<'_>,
    values: &Values<'_>,
    url: &Url,
) -> Result<String, BuildError> {
    let missing = || BuildError::MissingParam("client_assertion".to_owned());
    let spec = provider.spec().client_assertion.as_ref().ok_or_else(missing)?;
    let audience = match &spec.audience {
        Audience::Issuer(issuer) => issuer.render_text(values)?,
        Audience::Endpoint => url.to_string(),
    };
    let own = [("iss", client.client_id), ("sub", client.client_id), ("aud", &audience)];
    let claims = own.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    make(provider, ("client_assertion", &spec.jwt), client, values, claims)
}

fn make(
    provider: &Provider,
    (name, spec): (&str, &JwtSpec),
    client: &Client<'_>,
    values: &Values<'_>,
    own: Map<String, Value>,
) -> Result<String, BuildError> {
    let mut claims = own;
    claims.extend(of_the_moment(name, spec, client)?.into_iter().filter(|(name, _)| !spec.drop.contains(name)));
    for (claim, value) in &spec.claims {
        let value = claim_value(claim, value, values)?;
        claims.insert(claim.clone(), value);
    }
    claims.retain(|_, value| *value != "");
    let mut header = Map::new();
    for (field, template) in &spec.header {
        let value = template.render(values)?;
        header.extend((!value.is_empty()).then(|| (field.clone(), value.into())));
    }
    let key = key_of(provider, &spec.key, client)?;
    let setting = match &spec.key {
        JwtKey::ClientSecret => "client_secret",
        JwtKey::Param(param) => param,
    };
    let bad = |cause: JwtError| BuildError::BadKey(setting.to_owned(), cause);
    jwt::sign(&key, spec.algorithm.unwrap_or_else(|| key.usual()), header, claims).map_err(bad)
}

/// `iat`, `exp`, and a `jti` that no other JWT has: two of one call have different names.
fn of_the_moment(name: &str, spec: &JwtSpec, client: &Client<'_>) -> Result<[(String, Value); 3], BuildError> {
    let moment = client.moment.ok_or_else(|| BuildError::MissingParam("now".to_owned()))?;
    let seconds = |span: std::time::Duration| SignedDuration::from_secs(span.as_secs().try_into().unwrap_or(i64::MAX));
    let far = |_| BuildError::BadParam(format!("jwt.{name}.ttl"));
    let issued = moment.now.checked_sub(seconds(spec.backdate)).map_err(far)?;
    let expires = moment.now.checked_add(seconds(spec.ttl)).map_err(far)?;
    let digest = Sha256::new_with_prefix(moment.random).chain_update(name).finalize();
    let id: String = hex::encode(digest).chars().take(32).collect();
    let dated = |name: &str, value: Value| (name.to_owned(), value);
    Ok([dated("iat", issued.as_second().into()), dated("exp", expires.as_second().into()), dated("jti", id.into())])
}

fn claim_value(claim: &str, value: &ClaimValue, values: &Values<'_>) -> Result<Value, BuildError> {
    Ok(match value {
        ClaimValue::Integer(number) => (*number).into(),
        ClaimValue::Bool(flag) => (*flag).into(),
        ClaimValue::Text(template) => {
            let text = template.render(values)?;
            if !DATES.contains(&claim) {
                return Ok(text.into());
            }
            text.parse::<i64>().map_err(|_| BuildError::BadParam(format!("claims.{claim}")))?.into()
        }
        ClaimValue::List(templates) => {
            let texts = templates.iter().map(|template| template.render(values)).collect::<Result<Vec<_>, _>>()?;
            texts.into_iter().filter(|text| !text.is_empty()).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::json;
    use url::form_urlencoded;

    use super::*;
    use crate::domain::call::HttpCall;
    use crate::domain::secret::SecretString;
    use crate::oauth::client::{Moment, NOTHING};
    use crate::oauth::provider_file::testing::acme;
    use crate::oauth::token_request::{Authorization, exchange};
    use crate::oauth::vectors::keys;

    const KEY: &str = "params.private_key = { title = \"K\", kind = \"private_key\", needed_by = \"integration\" }\n";

    struct Tenant {
        secret: SecretString,
        params: BTreeMap<String, String>,
        secrets: BTreeMap<String, SecretString>,
    }

    fn tenant(pem: &str, params: &[(&str, &str)]) -> Tenant {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Tenant { secret: "a secret of both sides".into(), params, secrets: [("private_key".to_owned(), pem.into())].into() }
    }

    impl Tenant {
        fn sends(&self, changes: &str, second: i64) -> Result<HttpCall, BuildError> {
            let now = Timestamp::from_second(second).unwrap();
            let client = Client {
                client_id: "me",
                client_secret: Some(&self.secret),
                params: &self.params,
                secret_params: &self.secrets,
                redirect_uri: "https://broker.example/cb",
                scopes: &[],
                metadata: &NOTHING,
                moment: Some(Moment { now, random: [u8::try_from(second % 256).unwrap(); 16] }),
            };
            let flow = Authorization {
                code: &"c".into(),
                kept: &BTreeMap::new(),
                redirect_uri: "https://broker.example/cb",
                verifier: None,
                state: "st",
                scopes: &[],
                temporary: None,
            };
            exchange(&acme(changes), &client, &flow)
        }

        fn form(&self, changes: &str) -> BTreeMap<String, String> {
            form_urlencoded::parse(&self.sends(changes, 1_000).unwrap().body).into_owned().collect()
        }
    }

    fn opened(key: &SigningKey, token: &str) -> (Value, Map<String, Value>) {
        let (header, claims) = jwt::opened(key, token).expect("a JWT of this key");
        (header.into(), claims)
    }

    #[test]
    fn claims_and_header_are_filled_in_and_dated() {
        let changes = format!(
            "{KEY}params.team = {{ title = \"T\", kind = \"text\", needed_by = \"integration\", example = \"t\", optional = true }}\n\
            jwt.secret = {{ alg = \"ES256\", ttl = \"10m\", backdate = \"60s\", header = {{ kid = \"{{team}}\", none = \"\" }}, \
            claims = {{ iss = \"{{team}}\", sub = \"{{client_id}}\", aud = [\"https://a.example\", \"\"], nbf = \"{{now}}\", n = 7, yes = true, none = \"\" }} }}\n\
            token = {{ client_auth = \"none\", params = {{ client_secret = \"{{jwt.secret}}\" }} }}"
        );
        let tenant = tenant(keys::P256, &[("team", "T/1")]);
        let sent = tenant.form(&changes);
        let (header, mut claims) = opened(&SigningKey::from_pem(keys::P256).unwrap(), &sent["client_secret"]);
        assert_eq!(header, json!({ "alg": "ES256", "typ": "JWT", "kid": "T/1" }));
        assert_eq!(claims.remove("jti").unwrap().as_str().unwrap().len(), 32);
        let expected = json!({ "iss": "T/1", "sub": "me", "aud": ["https://a.example"], "nbf": 1_000, "n": 7, "yes": true, "iat": 940, "exp": 1_600 });
        assert_eq!(Value::from(claims), expected);
        assert_eq!(sent["client_id"], "me");
    }

    #[test]
    fn a_jwt_stands_in_headers_and_says_only_what_the_file_wants() {
        let changes = format!(
            "{KEY}jwt.app = {{ claims = {{ iss = \"{{client_id}}\" }}, drop = [\"jti\", \"iat\"] }}\n\
            token = {{ client_auth = \"off\", headers = {{ Authorization = \"Bearer {{jwt.app}}\" }} }}"
        );
        for (pem, algorithm) in [(keys::RSA, "RS256"), (keys::P256, "ES256"), (keys::P384, "ES384"), (keys::ED25519, "EdDSA")] {
            let call = tenant(pem, &[]).sends(&changes, 1_000).unwrap();
            let header = call.headers.iter().find(|(name, _)| name == "authorization").unwrap();
            let (header, claims) = opened(&SigningKey::from_pem(pem).unwrap(), header.1.strip_prefix("Bearer ").unwrap());
            assert_eq!(header["alg"], algorithm);
            assert_eq!(Value::from(claims), json!({ "iss": "me", "exp": 1_300 }));
        }
    }

    #[test]
    fn a_client_proves_itself_by_its_key_or_by_its_secret() {
        let to = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let private =
            format!("{KEY}token.client_auth = \"private_key_jwt\"\nclient_assertion.audience = \"https://id.acme.example\"");
        let shared = "token.client_auth = \"client_secret_jwt\"\nclient_assertion = { audience = \"https://id.acme.example/\", ttl = \"30s\" }";
        let tenant = tenant(keys::RSA, &[]);
        for (changes, key, algorithm, audience, life) in [
            (private.as_str(), SigningKey::from_pem(keys::RSA).unwrap(), "RS256", "https://id.acme.example", 60),
            (shared, SigningKey::shared("a secret of both sides"), "HS256", "https://id.acme.example/", 30),
        ] {
            let sent = tenant.form(changes);
            assert_eq!((sent["client_assertion_type"].as_str(), sent["client_id"].as_str()), (to, "me"));
            assert!(!sent.contains_key("client_secret"));
            let (header, mut claims) = opened(&key, &sent["client_assertion"]);
            assert_eq!(header["alg"], algorithm);
            claims.remove("jti").unwrap();
            let expected = json!({ "iss": "me", "sub": "me", "aud": audience, "iat": 1_000, "exp": 1_000 + life });
            assert_eq!(Value::from(claims), expected);
        }
    }

    #[test]
    fn no_two_have_the_same_id() {
        let changes = format!(
            "{KEY}jwt.a = {{}}\njwt.b = {{}}\nclient_assertion.audience = \"endpoint\"\n\
            token = {{ client_auth = \"private_key_jwt\", params = {{ a = \"{{jwt.a}}\", b = \"{{jwt.b}}\" }} }}"
        );
        let key = SigningKey::from_pem(keys::ED25519).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for second in [1_000, 1_001] {
            let call = tenant(keys::ED25519, &[]).sends(&changes, second).unwrap();
            let sent: BTreeMap<_, _> = form_urlencoded::parse(&call.body).into_owned().collect();
            for name in ["a", "b", "client_assertion"] {
                ids.insert(opened(&key, &sent[name]).1["jti"].to_string());
            }
            // Without an issuer, it is for the very place that it is sent to.
            assert_eq!(opened(&key, &sent["client_assertion"]).1["aud"], "https://acme.example/token");
        }
        assert_eq!(ids.len(), 6);
    }

    #[test]
    fn what_cannot_be_signed_is_not_sent_and_nothing_of_the_key_is_told() {
        let changes = |alg: &str| format!("{KEY}jwt.a = {{ alg = \"{alg}\" }}\ntoken.params = {{ a = \"{{jwt.a}}\" }}");
        let wrong = tenant(keys::P256, &[]).sends(&changes("RS256"), 1_000).unwrap_err();
        assert!(wrong.to_string().contains("`private_key`, a key, is a P-256 key, and RS256"), "{wrong}");
        let none = Tenant { secrets: BTreeMap::new(), ..tenant("", &[]) }.sends(&changes("ES256"), 1_000);
        assert_eq!(none, Err(BuildError::MissingParam("private_key".to_owned())));
        let broken = tenant("-----BEGIN PRIVATE KEY-----\ntopsecret\n-----END PRIVATE KEY-----", &[]);
        let broken = broken.sends(&changes("ES256"), 1_000).unwrap_err();
        assert!(broken.to_string().contains("damaged") && !format!("{broken:?}{broken}").contains("topsecret"), "{broken:?}");
        let date = format!("{KEY}jwt.a = {{ claims = {{ nbf = \"soon\" }} }}\ntoken.params = {{ a = \"{{jwt.a}}\" }}");
        assert_eq!(tenant(keys::P256, &[]).sends(&date, 1_000), Err(BuildError::BadParam("claims.nbf".to_owned())));
    }

    #[test]
    fn a_key_is_checked_for_all_that_it_is_to_sign() {
        let provider = acme(&format!(
            "{KEY}jwt.a = {{ alg = \"ES256\" }}\njwt.b = {{ alg = \"HS256\", key = \"client_secret\" }}\ntoken.params = {{ a = \"{{jwt.a}}{{jwt.b}}\" }}"
        ));
        assert_eq!(check_key(&provider, "private_key", keys::P256), Ok(()));
        let wrong = check_key(&provider, "private_key", keys::RSA).unwrap_err();
        assert!(matches!(wrong, KeyError::WrongKind { wanted: "ES256", .. }), "{wrong}");
        assert_eq!(check_key(&provider, "private_key", "x"), Err(KeyError::NotPem));
    }
}
