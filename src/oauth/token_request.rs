//! The calls to a provider's endpoints: exchange of a code (RFC 6749 4.1.3), refresh (6), revocation
//! (RFC 7009), and the look-ups that a file asks for once connected.

use std::collections::BTreeMap;

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::connection::Tokens;
use crate::domain::ids::TokenSetName;
use crate::domain::provider::request::RevokedToken;
use crate::domain::provider::{AfterConnectSpec, Provider, RefreshClass};
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::domain::tokens::{ProviderFailure, TokenAnswer};

use jiff::Timestamp;

use super::client::Client;
use super::request::{BuildError, build, values_of};
use super::token_response::{Found, judge_lookup};

/// What an exchange needs of its flow: of a `ValidCallback`, or of a held authorization.
#[derive(Debug, Clone, Copy)]
pub struct Authorization<'a> {
    pub code: &'a SecretString,
    pub kept: &'a BTreeMap<String, String>,
    /// As it was sent with the authorize request.
    pub redirect_uri: &'a str,
    pub verifier: Option<&'a SecretString>,
}

pub fn exchange(provider: &Provider, client: &Client<'_>, flow: &Authorization<'_>) -> Result<HttpCall, BuildError> {
    let code = flow.code.expose_secret();
    let verifier = flow.verifier.map(ExposeSecret::expose_secret);
    let mut values = values_of(provider, client)?;
    values.set("code", code);
    values.set("redirect_uri", flow.redirect_uri);
    values.set("code_verifier", verifier.unwrap_or_default());
    for name in &provider.spec().callback.keep {
        // What the callback did not bring is empty, so that a param made of it is left out.
        values.set(format!("callback.{name}"), flow.kept.get(name).map_or("", String::as_str));
    }
    let mut standard = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", flow.redirect_uri)];
    standard.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    build(&provider.spec().token, client, &values, &standard)
}

/// The refresh of one token set, whose `tokens` are these.
pub fn refresh(provider: &Provider, client: &Client<'_>, _set: &TokenSetName, tokens: &Tokens) -> Result<HttpCall, BuildError> {
    if provider.refresh().class() == RefreshClass::None {
        return Err(BuildError::NotRefreshable);
    }
    let refresh_token = tokens.refresh.as_ref().ok_or(BuildError::NoRefreshToken)?.expose_secret();
    let scope = tokens.scopes.join(&provider.scopes().separator);
    let mut values = values_of(provider, client)?;
    values.set("refresh_token", refresh_token);
    values.set("access_token", tokens.access.expose_secret());
    values.set("scope", &scope);
    build(&provider.refresh().request, client, &values, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
}

/// The revocation of one token set; `None` where the provider has none.
pub fn revoke(provider: &Provider, client: &Client<'_>, tokens: &Tokens) -> Result<Option<HttpCall>, BuildError> {
    let Some(spec) = &provider.spec().revoke else { return Ok(None) };
    let access = (tokens.access.expose_secret(), "access_token");
    let refresh = tokens.refresh.as_ref().map(|refresh| (refresh.expose_secret(), "refresh_token"));
    let (token, hint) = match spec.token {
        RevokedToken::Access => access,
        RevokedToken::Refresh => refresh.unwrap_or(access),
    };
    let mut values = values_of(provider, client)?;
    values.set("token", token);
    values.set("access_token", access.0);
    values.set("refresh_token", refresh.map_or("", |(token, _)| token));
    let mut standard = vec![(spec.param.as_str(), token)];
    standard.extend(spec.hint.then_some(("token_type_hint", hint)));
    build(&spec.request, client, &values, &standard).map(Some)
}

/// A look-up to make with a new token, and how to read its answer.
#[derive(Debug, Clone)]
pub struct Lookup<'a> {
    pub call: HttpCall,
    provider: &'a Provider,
    step: &'a AfterConnectSpec,
}

impl Lookup<'_> {
    /// Its name in the file, for logs.
    pub fn name(&self) -> &str {
        &self.step.name
    }

    /// A failure does not stop the connection.
    pub fn is_optional(&self) -> bool {
        self.step.optional
    }

    pub fn read(&self, answer: &HttpAnswer, started: Timestamp) -> Result<Found, ProviderFailure> {
        judge_lookup(self.provider, self.step, answer, started)
    }
}

/// The look-ups of the file, in its order. A step whose token set did not come is left out.
pub fn after_connect<'a>(
    provider: &'a Provider,
    client: &Client<'_>,
    answer: &TokenAnswer,
) -> Result<Vec<Lookup<'a>>, BuildError> {
    let mut lookups = Vec::new();
    for step in &provider.spec().after_connect {
        let tokens = match &step.token_set {
            Some(name) => answer.sets.get(name),
            None => answer.sets.values().next(),
        };
        let Some(tokens) = tokens else { continue };
        let mut values = values_of(provider, client)?;
        values.set("access_token", tokens.access_token.expose_secret());
        values.set("token_type", &tokens.token_type);
        lookups.push(Lookup { call: build(&step.request, client, &values, &[])?, provider, step });
    }
    Ok(lookups)
}
