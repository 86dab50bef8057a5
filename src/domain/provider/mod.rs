//! A provider as data: what its file said, checked. Code that holds a [`Provider`] may rely on every
//! rule of [`rules`]; nothing here knows how a file is written or a request is sent.

pub mod destinations;
pub mod discovery;
mod expression;
pub mod grant;
mod hosts;
pub mod install;
pub mod jwt;
pub mod lifetimes;
mod names;
pub mod oauth1;
pub mod param;
pub mod redirects;
pub mod request;
pub mod response;
pub mod rules;
pub mod template;

use std::collections::BTreeMap;

pub use grant::GrantType;
pub use hosts::HostRule;
pub use install::{InstallParam, InstallSpec};
pub use lifetimes::{Rate, RefreshClass, RefreshSpec, RefreshWith};
pub use oauth1::Oauth1Spec;
pub use param::{Choice, NeededBy, ParamKind, ParamSpec};
pub use redirects::{Loopback, RedirectRules};
pub use request::{
    AfterConnectSpec, AuthorizeSpec, CallbackSpec, IntrospectSpec, PkceUse, RequestSpec, RevokeSpec, ScopeSpec, UseSpec,
};
pub use response::{ErrorRules, ResponseSpec, SetSpec};

use super::ids::ProviderId;
use super::refusal::Refusal;

/// What a provider file says.
#[derive(Debug, Clone)]
pub struct ProviderSpec {
    pub id: ProviderId,
    pub owner: Owner,
    pub name: String,
    /// Where the provider documents its OAuth.
    pub docs: String,
    /// `YYYY-MM-DD`: when somebody last compared the file with that.
    pub checked: String,
    pub known: Known,
    pub categories: Vec<String>,
    /// How to get client credentials, in a sentence or two.
    pub credentials: String,
    /// What a tenant should know beforehand.
    pub warnings: Vec<String>,
    pub params: BTreeMap<String, ParamSpec>,
    pub grant: GrantType,
    /// What is signed for the requests that send it.
    pub jwts: BTreeMap<String, jwt::JwtSpec>,
    /// With what the client proves itself, where it signs.
    pub client_assertion: Option<jwt::AssertionSpec>,
    /// Of [`GrantType::Oauth1`] alone.
    pub oauth1: Option<Oauth1Spec>,
    pub authorize: AuthorizeSpec,
    /// Where a code for another device is had.
    pub device: Option<RequestSpec>,
    /// What begins at the provider.
    pub install: Option<InstallSpec>,
    pub callback: CallbackSpec,
    pub token: RequestSpec,
    /// Whether an integration must, may or cannot have a client secret.
    pub client_secret: request::ClientSecret,
    /// Made once with a new access token, for one that lives longer.
    pub extend: Option<RequestSpec>,
    pub response: ResponseSpec,
    pub refresh: RefreshSpec,
    /// Asked about a new access token whose answer does not say how long it lives.
    pub introspect: Option<IntrospectSpec>,
    pub revoke: Option<RevokeSpec>,
    pub after_connect: Vec<AfterConnectSpec>,
    pub errors: ErrorRules,
    pub usage: UseSpec,
    pub redirects: RedirectRules,
}

impl ProviderSpec {
    /// The declared param that a hole of this name is filled from.
    pub fn param_of(&self, hole: &str) -> Option<&ParamSpec> {
        let name = hole.split_once('.').map_or(hole, |(name, _)| name);
        self.params.get(name).filter(|param| param.fills(hole))
    }

    /// Whatever is signed.
    pub fn signed(&self) -> impl Iterator<Item = &jwt::JwtSpec> {
        self.jwts.values().chain(self.client_assertion.iter().map(|assertion| &assertion.jwt))
    }

    /// Every request that the file draws, with its place.
    pub fn requests(&self) -> impl Iterator<Item = (String, &RequestSpec)> {
        let refresh = (self.refresh.class() != RefreshClass::None).then_some(("refresh", &self.refresh.request));
        let extend = self.extend.as_ref().map(|extend| ("extend", extend));
        let revoke = self.revoke.as_ref().map(|revoke| ("revoke", &revoke.request));
        let introspect = self.introspect.as_ref().map(|introspect| ("introspect", &introspect.request));
        let device = self.device.as_ref().map(|device| ("device", device));
        let request_token = self.oauth1.as_ref().map(|oauth1| ("request_token", &oauth1.request_token));
        let named =
            [device, request_token, Some(("token", &self.token)), refresh, extend, introspect, revoke].into_iter().flatten();
        let lookups = self.after_connect.iter().enumerate().map(|(at, step)| (format!("after_connect.{at}"), &step.request));
        named.map(|(at, request)| (at.to_owned(), request)).chain(lookups)
    }

    /// The names of what is kept of a connection: of its callback, of answers, of look-ups.
    pub fn kept(&self) -> impl Iterator<Item = &str> {
        let answers = self.response.keep.keys().chain(self.refresh.response.keep.keys());
        let lookups = self.after_connect.iter().flat_map(|step| step.keep.keys());
        self.callback.keep.iter().chain(answers).chain(lookups).map(String::as_str)
    }
}

/// Who answers for the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It came with the binary or lies in the operator's folder.
    Catalogue,
    /// A tenant defined it for itself: it may be on loopback (which the egress guard judges), and says less about itself.
    Tenant,
}

/// How well the file's facts are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Read in the provider's own documentation.
    Docs,
    /// Several libraries agree.
    Libraries,
    OneLibrary,
}

impl Known {
    pub fn as_str(self) -> &'static str {
        match self {
            Known::Docs => "docs",
            Known::Libraries => "libraries",
            Known::OneLibrary => "one_library",
        }
    }
}

/// A provider whose file passed the rules.
#[derive(Debug, Clone)]
pub struct Provider {
    spec: ProviderSpec,
    /// Values of the params that the operator's process supplies.
    deployment: BTreeMap<String, String>,
}

impl Provider {
    /// The one constructor: every rule that is broken is named.
    pub fn checked(spec: ProviderSpec) -> Result<Self, Vec<rules::Fault>> {
        let faults = rules::faults(&spec);
        if faults.is_empty() { Ok(Self { spec, deployment: BTreeMap::new() }) } else { Err(faults) }
    }

    /// With the values that the deployment supplies; `None` when one that it needs is missing.
    pub fn deployed(mut self, values: &BTreeMap<String, String>) -> Result<Option<Self>, Refusal> {
        for param in self.spec.params.values().filter(|param| param.needed_by == NeededBy::Deployment) {
            let Some(value) = values.get(&param.name).or(param.default.as_ref()) else { return Ok(None) };
            param.check(value)?;
            let value = if param.kind == ParamKind::Origin { value.trim_end_matches('/') } else { value };
            self.deployment.insert(param.name.clone(), value.to_owned());
        }
        Ok(Some(self))
    }

    pub fn id(&self) -> &ProviderId {
        &self.spec.id
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    pub fn spec(&self) -> &ProviderSpec {
        &self.spec
    }

    pub fn grant(&self) -> GrantType {
        self.spec.grant
    }

    /// Whether the end user consents on another device, with a code that this server shows.
    pub fn by_device_code(&self) -> bool {
        self.spec.grant == GrantType::DeviceCode
    }

    /// A flow uses PKCE unless this is [`PkceUse::Off`].
    pub fn pkce(&self) -> PkceUse {
        self.spec.authorize.pkce
    }

    /// Whether the authorize request carries a `nonce`.
    pub fn wants_nonce(&self) -> bool {
        self.spec.authorize.nonce
    }

    pub fn refresh(&self) -> &RefreshSpec {
        &self.spec.refresh
    }

    pub fn scopes(&self) -> &ScopeSpec {
        &self.spec.authorize.scopes
    }

    pub fn redirects(&self) -> &RedirectRules {
        &self.spec.redirects
    }

    /// Whether an integration must, may or cannot have a client secret.
    pub fn client_secret(&self) -> request::ClientSecret {
        self.spec.client_secret
    }

    /// Whether the redirect back arrives as a POST from another site (`response_mode=form_post`).
    pub fn posts_back(&self) -> bool {
        self.spec.callback.form_post
    }

    pub(crate) fn deployment_value(&self, name: &str) -> Option<&str> {
        self.deployment.get(name).map(String::as_str)
    }

    /// The provider's own settings as a tenant gave them, checked, with defaults: for `Integration`
    /// those of the integration (a link's are welcome too), for `Link` those of the link, where
    /// `known` are the integration's. The first map is public, the second secret.
    pub fn settle_params(
        &self,
        given: &BTreeMap<String, String>,
        by: NeededBy,
        known: &BTreeMap<String, String>,
    ) -> Result<SettledParams, Refusal> {
        let declared = |name: &String| self.spec.params.get(name).is_some_and(|param| param.may_come_from(by));
        if let Some(unknown) = given.keys().find(|name| !declared(name)) {
            return Err(Refusal::field(unknown, format!("is not a setting of {}", self.spec.name)));
        }
        // With a host its secrets would go elsewhere.
        let moved = |(name, value): &(&String, &String)| known.get(*name).is_some_and(|fixed| fixed != *value);
        if let Some((name, _)) = given.iter().find(moved) {
            return Err(Refusal::field(name, "is fixed by the integration, for all links"));
        }
        let mut settled = SettledParams::default();
        for param in self.spec.params.values().filter(|param| param.may_come_from(by)) {
            let open = param.needed_by == by && !known.contains_key(&param.name);
            let value = given.get(&param.name).or_else(|| param.default.as_ref().filter(|_| open));
            match value {
                Some(value) => settled.add(param, value)?,
                None if open && !param.optional => {
                    return Err(Refusal::field(&param.name, format!("is needed: {}", param.title)));
                }
                None => {}
            }
        }
        Ok(settled)
    }
}

/// Params of an integration or a link, checked.
#[derive(Debug, Clone, Default)]
pub struct SettledParams {
    pub public: BTreeMap<String, String>,
    pub secret: BTreeMap<String, super::secret::SecretString>,
}

impl SettledParams {
    fn add(&mut self, param: &ParamSpec, value: &str) -> Result<(), Refusal> {
        param.check(value)?;
        if param.secret {
            self.secret.insert(param.name.clone(), value.into());
        } else {
            self.public.insert(param.name.clone(), value.to_owned());
        }
        Ok(())
    }
}
