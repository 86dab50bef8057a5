//! The calls of a flow, and what is understood of the first answer. The exchange's is read like any other token
//! endpoint's, at the places that the provider's file gives.

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::link::TemporaryCredentials;
use crate::domain::provider::Provider;
use crate::domain::provider::oauth1::{Oauth1Spec, PRIVATE_KEY};
use crate::domain::secret::{ExposeSecret as _, SecretString};
use crate::domain::tokens::{FailureClass, ProviderFailure};
use crate::oauth::answer::Body;
use crate::oauth::authorize_url::scope_of;
use crate::oauth::client::Client;
use crate::oauth::provider_error::classify;
use crate::oauth::request::{BuildError, build, set_kept, values_of};
use crate::oauth::token_request::Authorization;
use crate::oauth::token_response::{fails, token};

use super::signature::{Key, PrivateKey};
use super::signer::Signer;

/// Where the provider sends the end user back to: our address with the flow's state, which OAuth 1.0a itself does not
/// have. RFC 5849 2.2: the provider adds to whatever query is there.
pub fn callback_url(redirect_uri: &str, state: &str) -> Result<String, BuildError> {
    let mut url = Url::parse(redirect_uri).map_err(|_| BuildError::BadUrl)?;
    url.query_pairs_mut().append_pair("state", state);
    Ok(url.into())
}

/// RFC 5849 2.1. `callback`: see [`callback_url`]; `scopes` as the tenant named them.
pub fn request_token(
    provider: &Provider,
    client: &Client<'_>,
    callback: &str,
    scopes: &[String],
) -> Result<HttpCall, BuildError> {
    let spec = spec_of(provider)?;
    let mut values = values_of(provider, client)?;
    values.set("scope", scope_of(provider, scopes));
    let call = build((provider, &spec.request_token), client, values, &[])?;
    signed(provider, client, call, None, &[("oauth_callback", callback)])
}

/// The answer to it. A provider that does not confirm the callback may be of version 1.0, whose flows can be taken over
/// (RFC 5849, appendix A), unless its file says that it merely predates the confirmation.
pub fn judge_request_token(
    provider: &Provider,
    answer: &HttpAnswer,
    started: Timestamp,
) -> Result<TemporaryCredentials, ProviderFailure> {
    let rules = &provider.spec().errors;
    let body = Body::read(answer);
    let found = body.value().filter(|_| (200..300).contains(&answer.status) && !fails(rules, answer, &body));
    let found = found.and_then(|body| Some((body, token(body.get("oauth_token"))?)));
    let Some((fields, token)) = found else { return Err(classify(rules, answer, &body, started)) };
    let confirmed = matches!(fields.get("oauth_callback_confirmed"), Some(Value::Bool(true)))
        || fields.get("oauth_callback_confirmed").and_then(Value::as_str) == Some("true");
    if !confirmed && provider.spec().oauth1.as_ref().is_none_or(|spec| spec.confirms_callback) {
        let code = "callback_not_confirmed".to_owned();
        return Err(ProviderFailure { class: FailureClass::Misconfigured, code, status: answer.status, retry_after: None });
    }
    let secret = fields.get("oauth_token_secret").and_then(Value::as_str).unwrap_or_default();
    Ok(TemporaryCredentials { token: token.into(), secret: secret.into() })
}

/// RFC 5849 2.3: the verifier stands where a code would.
pub(in crate::oauth) fn exchange(
    provider: &Provider,
    client: &Client<'_>,
    flow: &Authorization<'_>,
) -> Result<HttpCall, BuildError> {
    let temporary = flow.temporary.ok_or(BuildError::NoTemporaryCredentials)?;
    let mut values = values_of(provider, client)?;
    values.set("state", flow.state);
    values.set("scope", scope_of(provider, flow.scopes));
    set_kept(&mut values, provider, flow.kept);
    let call = build((provider, &provider.spec().token), client, values, &[])?;
    let credentials = (temporary.token.expose_secret(), Some(&temporary.secret));
    signed(provider, client, call, Some(credentials), &[("oauth_verifier", flow.code.expose_secret())])
}

/// Signs a call with the credentials of a token, where the provider's calls are signed; else it is as it was.
pub(in crate::oauth) fn signed(
    provider: &Provider,
    client: &Client<'_>,
    call: HttpCall,
    credentials: Option<(&str, Option<&SecretString>)>,
    own: &[(&str, &str)],
) -> Result<HttpCall, BuildError> {
    let Some(spec) = &provider.spec().oauth1 else { return Ok(call) };
    let moment = client.moment.ok_or(BuildError::NoMoment)?;
    // Of 24 characters: some servers take 20 to 30.
    let nonce = hex::encode(moment.random.get(..12).unwrap_or(&moment.random));
    let (token, secret) = credentials.unwrap_or_default();
    let private_key = if spec.signature.is_rsa() { Some(private_key(client)?) } else { None };
    let key = match &private_key {
        Some(key) => Key::Private(key),
        None => Key::Secrets {
            client: client.client_secret.ok_or(BuildError::MissingClientSecret)?.expose_secret(),
            token: secret.map_or("", |secret| secret.expose_secret()),
        },
    };
    let signer = Signer {
        method: spec.signature,
        params_in: spec.params_in,
        realm: &realm(spec, provider, client)?,
        consumer_key: client.client_id,
        key,
        token,
        nonce: &nonce,
        timestamp: moment.now.as_second(),
    };
    signer.sign(call, own)
}

/// Empty where the file names none.
pub fn realm(spec: &Oauth1Spec, provider: &Provider, client: &Client<'_>) -> Result<String, BuildError> {
    match &spec.realm {
        Some(realm) => Ok(realm.render(&values_of(provider, client)?)?),
        None => Ok(String::new()),
    }
}

/// Whether this setting is the key of the calls' signatures.
pub fn signs_with(provider: &Provider, param: &str) -> bool {
    provider.spec().oauth1.as_ref().is_some_and(|spec| spec.signs_with(param))
}

fn private_key(client: &Client<'_>) -> Result<PrivateKey, BuildError> {
    let pem = client.secret_params.get(PRIVATE_KEY).ok_or_else(|| BuildError::MissingParam(PRIVATE_KEY.to_owned()))?;
    Ok(PrivateKey::from_pem(pem.expose_secret())?)
}

fn spec_of(provider: &Provider) -> Result<&Oauth1Spec, BuildError> {
    provider.spec().oauth1.as_ref().ok_or(BuildError::NoTemporaryCredentials)
}
