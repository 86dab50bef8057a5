//! The calls to a provider's endpoints: exchange of a code (RFC 6749 4.1.3), refresh (6), revocation
//! (RFC 7009), and the look-ups that a file asks for once connected.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::connection::Tokens;
use crate::domain::ids::TokenSetName;
use crate::domain::link::TemporaryCredentials;
use crate::domain::provider::request::RevokedToken;
use crate::domain::provider::{AfterConnectSpec, GrantType, Provider, RefreshClass, RefreshWith, RequestSpec};
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::domain::tokens::{ProviderFailure, TokenAnswer};

use super::authorize_url::{scope_lists, scope_of};
use super::client::Client;
use super::oauth1;
use super::request::{BuildError, build, set_kept, values_of};
use super::token_response::{Found, judge_lookup};

/// What an exchange needs of its flow: of a `ValidCallback`, or of a held authorization.
#[derive(Debug, Clone, Copy)]
pub struct Authorization<'a> {
    pub code: &'a SecretString,
    pub kept: &'a BTreeMap<String, String>,
    /// As it was sent with the authorize request.
    pub redirect_uri: &'a str,
    pub verifier: Option<&'a SecretString>,
    /// As it was sent with the authorize request, and came back.
    pub state: &'a str,
    /// As the tenant named them.
    pub scopes: &'a [String],
    /// With which a flow of OAuth 1.0a began.
    pub temporary: Option<&'a TemporaryCredentials>,
}

pub fn exchange(provider: &Provider, client: &Client<'_>, flow: &Authorization<'_>) -> Result<HttpCall, BuildError> {
    if provider.grant() == GrantType::Oauth1 {
        return oauth1::exchange(provider, client, flow);
    }
    let code = flow.code.expose_secret();
    let verifier = flow.verifier.map(ExposeSecret::expose_secret);
    let mut values = values_of(provider, client)?;
    values.set("code", code);
    values.set("state", flow.state);
    values.set("scope", scope_of(provider, flow.scopes));
    values.set("redirect_uri", flow.redirect_uri);
    values.set("code_verifier", verifier.unwrap_or_default());
    set_kept(&mut values, provider, flow.kept);
    let mut standard = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", flow.redirect_uri)];
    standard.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    build((provider, &provider.spec().token), client, values, &standard)
}

/// A token for the client itself, where no end user is asked (RFC 6749 4.4.2).
pub fn mint(provider: &Provider, client: &Client<'_>) -> Result<HttpCall, BuildError> {
    minted(provider, client, &provider.spec().token)
}

fn minted(provider: &Provider, client: &Client<'_>, request: &RequestSpec) -> Result<HttpCall, BuildError> {
    let lists = scope_lists(provider.scopes(), &provider.scopes().asked(client.scopes));
    let mut values = values_of(provider, client)?;
    values.set("scope", lists.first().map_or("", |(_, scope)| scope.as_str()));
    let mut standard = vec![("grant_type", provider.grant().value())];
    standard.extend(lists.iter().map(|(name, scope)| (*name, scope.as_str())));
    build((provider, request), client, values, &standard)
}

/// The refresh of one token set, whose `tokens` are these.
pub fn refresh(provider: &Provider, client: &Client<'_>, set: &TokenSetName, tokens: &Tokens) -> Result<HttpCall, BuildError> {
    if provider.refresh().class() == RefreshClass::None {
        return Err(BuildError::NotRefreshable);
    }
    // Its answer could not be read, and with it the next token would be lost.
    if !provider.refresh().response.sets.iter().any(|known| known.name == *set) {
        return Err(BuildError::UnknownTokenSet(set.to_string()));
    }
    if provider.grant().is_minted() {
        return minted(provider, client, &provider.refresh().request);
    }
    let scope = tokens.scopes.join(&provider.scopes().separator);
    let mut values = values_of(provider, client)?;
    values.set("scope", scope);
    let mut standard = Vec::new();
    let with = provider.refresh().with();
    if with != RefreshWith::Client {
        values.set("access_token", tokens.access.expose_secret());
    }
    if with == RefreshWith::RefreshToken {
        let refresh_token = tokens.refresh.as_ref().ok_or(BuildError::NoRefreshToken)?.expose_secret();
        values.set("refresh_token", refresh_token);
        standard.extend([("grant_type", "refresh_token"), ("refresh_token", refresh_token)]);
    }
    build((provider, &provider.refresh().request), client, values, &standard)
}

/// The exchange of a new access token for one that lives longer; `None` where the file asks for none.
pub fn extend(provider: &Provider, client: &Client<'_>, answer: &TokenAnswer) -> Result<Option<HttpCall>, BuildError> {
    let (Some(spec), Some(tokens)) = (&provider.spec().extend, answer.sets.values().next()) else { return Ok(None) };
    let mut values = values_of(provider, &client.knowing(&answer.metadata))?;
    values.set("access_token", tokens.access_token.expose_secret());
    build((provider, spec), client, values, &[]).map(Some)
}

/// The host and port that a refresh goes to; `None` where the URL cannot be built.
pub fn refresh_host(provider: &Provider, client: &Client<'_>) -> Option<String> {
    let url = provider.refresh().request.url.render(&values_of(provider, client).ok()?).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
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
    let call = build((provider, &spec.request), client, values, &standard)?;
    oauth1::signed(provider, client, call, Some((access.0, tokens.secret.as_ref())), &[]).map(Some)
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

/// One look-up of the file, which may use what the answer and the look-ups before it brought. `None` where its
/// token set did not come, and where it is optional and what it needs did not.
pub fn look_up<'a>(
    provider: &'a Provider,
    step: &'a AfterConnectSpec,
    client: &Client<'_>,
    answer: &TokenAnswer,
) -> Result<Option<Lookup<'a>>, BuildError> {
    let tokens = match &step.token_set {
        Some(name) => answer.sets.get(name),
        None => answer.sets.values().next(),
    };
    let Some(tokens) = tokens else { return Ok(None) };
    let mut values = values_of(provider, &client.knowing(&answer.metadata))?;
    values.set("access_token", tokens.access_token.expose_secret());
    values.set("token_type", tokens.token_type.as_str());
    match build((provider, &step.request), client, values, &[]) {
        Ok(call) => {
            let credentials = (tokens.access_token.expose_secret(), tokens.token_secret.as_ref());
            let call = oauth1::signed(provider, client, call, Some(credentials), &[])?;
            Ok(Some(Lookup { call, provider, step }))
        }
        Err(BuildError::BadUrl) if step.optional => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
