//! From a request's drawing in a provider file to the HTTP call. Each value is encoded for its
//! place; what cannot stand there is an error, never sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::domain::call::{HttpCall, Method};
use crate::domain::provider::param::ParamKind;
use crate::domain::provider::request::{BodyKind, ClientSecret, ParamValue};
use crate::domain::provider::template::{RenderError, Values};
use crate::domain::provider::{Provider, RequestSpec};
use crate::domain::secret::ExposeSecret;

use super::client::Client;
use super::client_auth::{self, Proof};
use super::jwt::JwtError;
use super::oauth1::SignError;
use super::signed;

/// Longest that the file's own params may be together, in bytes: some tokens of the longest kind.
const PARAMS_MAX: usize = 256 * 1_024;
/// Longest value of a header, in bytes.
const HEADER_MAX: usize = 8_000;

/// Why a request cannot be built. Says which setting, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("the setting `{0}` is missing")]
    MissingParam(String),
    #[error("the setting `{0}` is not acceptable")]
    BadParam(String),
    #[error("the settings do not make a URL of the provider")]
    BadUrl,
    #[error("the request would be longer than any provider takes")]
    TooLong,
    #[error("the header `{0}` would hold characters that no header may have")]
    BadHeader(String),
    #[error("the client secret is missing")]
    MissingClientSecret,
    #[error("this provider insists on PKCE")]
    MissingPkce,
    #[error("this provider asks no end user")]
    NobodyAsked,
    #[error("there is no refresh token")]
    NoRefreshToken,
    #[error("the provider's file knows no token set `{0}`")]
    UnknownTokenSet(String),
    #[error("this provider's grants cannot be refreshed")]
    NotRefreshable,
    #[error("the setting `{0}`, a key, {1}")]
    BadKey(String, JwtError),
    #[error("the flow has no temporary credentials")]
    NoTemporaryCredentials,
    #[error("the moment of the call was not handed in")]
    NoMoment,
    #[error("the call cannot be signed: {0}")]
    Unsigned(#[from] SignError),
}

impl From<RenderError> for BuildError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Missing(name) => BuildError::MissingParam(name),
            RenderError::BadUrl => BuildError::BadUrl,
            RenderError::TooLong => BuildError::TooLong,
        }
    }
}

/// The provider's own settings as values for templates, each checked again: a stored value that no
/// longer fits its rule is not sent.
pub(super) fn set_params<'a>(
    values: &mut Values<'a>,
    provider: &'a Provider,
    given: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), BuildError> {
    for param in provider.spec().params.values() {
        let value = provider.deployment_value(&param.name).or_else(|| given(&param.name)).or(param.default.as_deref());
        match value {
            Some(value) if param.fault(value).is_some() => return Err(BuildError::BadParam(param.name.clone())),
            Some(value) => param.substitutes(value).into_iter().for_each(|(name, value)| values.set(name, value)),
            None if param.optional && param.kind != ParamKind::PrivateKey => values.set(param.name.clone(), ""),
            None => {}
        }
    }
    Ok(())
}

/// The values that every call to an endpoint has.
pub(super) fn values_of<'a>(provider: &'a Provider, client: &Client<'a>) -> Result<Values<'a>, BuildError> {
    if provider.client_secret() == ClientSecret::Required && client.client_secret.is_none() {
        return Err(BuildError::MissingClientSecret);
    }
    let mut values = Values::default();
    let (public, secret) = (client.params, client.secret_params);
    let given = |name: &str| {
        let public = public.get(name).map(String::as_str);
        public.or_else(|| secret.get(name).map(ExposeSecret::expose_secret))
    };
    set_params(&mut values, provider, given)?;
    set_metadata(&mut values, provider, client);
    if let Some(moment) = client.moment {
        values.set("now", moment.now.as_second().to_string());
        values.set("now_ms", moment.now.as_millisecond().to_string());
        values.set("uuid", uuid::Builder::from_random_bytes(moment.random).into_uuid().to_string());
        values.set("random", hex::encode(moment.random));
    }
    values.set("client_id", client.client_id);
    values.set("redirect_uri", client.redirect_uri);
    if let Some(secret) = client.client_secret {
        values.set("client_secret", secret.expose_secret());
    }
    Ok(values)
}

/// What is kept of the connection, by the names that the file gives it. What did not come is empty, so that
/// a param made of it is left out.
fn set_metadata<'a>(values: &mut Values<'a>, provider: &'a Provider, client: &Client<'a>) {
    let text = |name: &str| match client.metadata.get(name) {
        Some(Value::String(text)) => Cow::from(text.as_str()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Cow::from(value.to_string()),
        _ => Cow::from(""),
    };
    for name in provider.spec().kept() {
        values.set(format!("metadata.{name}"), text(name));
    }
    for name in &provider.spec().callback.keep {
        values.set(format!("callback.{name}"), from_callback(provider, name, text(name)));
    }
}

/// What a callback that was just judged brought. What it did not is empty, so that a param made of it is left out.
pub(super) fn set_kept<'a>(values: &mut Values<'a>, provider: &'a Provider, kept: &'a BTreeMap<String, String>) {
    for name in &provider.spec().callback.keep {
        let value = kept.get(name).map_or("", String::as_str);
        values.set(format!("callback.{name}"), from_callback(provider, name, value.into()));
    }
}

/// A value of the callback as it stands in a request: of one that names a host, the host, which is judged again.
/// What is not the provider's is empty, and an empty host makes no URL.
fn from_callback<'a>(provider: &Provider, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
    match provider.spec().callback.hosts.get(name) {
        Some(rule) => rule.host_of(&value).unwrap_or_default().into(),
        None => value,
    }
}

/// Builds the call: the standard params, those of the client's proof, and the file's own.
pub(super) fn build(
    (provider, spec): (&Provider, &RequestSpec),
    client: &Client<'_>,
    mut values: Values<'_>,
    standard: &[(&str, &str)],
) -> Result<HttpCall, BuildError> {
    let mut url = spec.url.render(&values)?;
    signed::set_jwts(&mut values, provider, spec, client)?;
    let values = &values;
    let proof = client_auth::prove((provider, spec), client, values, &url)?;
    let mut params = named_params(spec, standard, &proof);
    let mut room = PARAMS_MAX;
    for (name, value) in &spec.params {
        let value = param_value(value, values)?;
        room = room.checked_sub(value.as_str().map_or(0, str::len)).ok_or(BuildError::TooLong)?;
        put(&mut params, name, value);
    }
    params.retain(|(_, value)| value.as_str() != Some(""));
    let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
    if let Some(authorization) = proof.authorization {
        headers.push(("authorization".to_owned(), authorization));
    }
    let body = place(spec, params, &mut url, &mut headers);
    for (name, template) in &spec.headers {
        set_header(&mut headers, name, template.render(values)?)?;
    }
    Ok(HttpCall { method: spec.method, url, headers, body })
}

/// The standard names, as this provider calls them, without those it does not want.
fn named_params(spec: &RequestSpec, standard: &[(&str, &str)], proof: &Proof<'_>) -> Vec<(String, Value)> {
    let proven = proof.params.iter().map(|(name, value)| (*name, value.as_ref()));
    let all = standard.iter().copied().chain(proven);
    let wanted = all.filter(|(name, _)| !spec.drop.iter().any(|dropped| dropped == name));
    let renamed = wanted.map(|(name, value)| {
        let name = spec.rename.get(name).map_or(name, String::as_str);
        (name.to_owned(), Value::from(value))
    });
    renamed.collect()
}

fn put(params: &mut Vec<(String, Value)>, name: &str, value: Value) {
    params.retain(|(known, _)| known != name);
    params.push((name.to_owned(), value));
}

fn param_value(value: &ParamValue, values: &Values<'_>) -> Result<Value, BuildError> {
    Ok(match value {
        ParamValue::Text(template) => Value::from(template.render(values)?),
        ParamValue::Integer(number) => Value::from(*number),
        ParamValue::Bool(flag) => Value::from(*flag),
    })
}

/// Puts the params where the provider wants them; gives the body.
fn place(spec: &RequestSpec, params: Vec<(String, Value)>, url: &mut url::Url, headers: &mut Vec<(String, String)>) -> Vec<u8> {
    if spec.body == BodyKind::Query {
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params.iter().map(|(name, value)| (name, text_of(value))));
        }
        return Vec::new();
    }
    if params.is_empty() && spec.method == Method::Delete {
        return Vec::new();
    }
    let (content_type, body) = match spec.body {
        BodyKind::Json => {
            let object: Map<String, Value> = params.into_iter().collect();
            ("application/json", Value::from(object).to_string())
        }
        BodyKind::Form | BodyKind::Query => {
            let pairs = params.iter().map(|(name, value)| (name, text_of(value)));
            ("application/x-www-form-urlencoded", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
        }
    };
    headers.push(("content-type".to_owned(), content_type.to_owned()));
    body.into_bytes()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn set_header(headers: &mut Vec<(String, String)>, name: &str, value: String) -> Result<(), BuildError> {
    let name = name.to_ascii_lowercase();
    // Visible ASCII and inner spaces (RFC 9110 5.5, without the obsolete rest): no value can begin another header.
    let allowed = value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.trim() == value;
    if !allowed || value.len() > HEADER_MAX {
        return Err(BuildError::BadHeader(name));
    }
    headers.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        headers.push((name, value));
    }
    Ok(())
}
