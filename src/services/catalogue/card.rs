//! What anybody may know of a provider: what it needs, how its tokens live, how they are used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::provider::request::{ClientSecret, RevocationEnds};
use crate::domain::provider::{NeededBy, Owner, ParamKind, ParamSpec, Provider, RefreshClass, RefreshWith};

/// A provider in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderSummary {
    pub id: String,
    pub name: String,
    pub categories: Vec<String>,
    /// How well the facts are known: `docs`, `libraries` or `one_library`.
    pub known: &'static str,
}

/// A provider by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderCard {
    pub id: String,
    pub name: String,
    pub categories: Vec<String>,
    /// The provider's own documentation.
    pub docs: String,
    /// When the file was last compared with it: `YYYY-MM-DD`.
    pub checked: String,
    /// How well the facts are known: `docs`, `libraries` or `one_library`; `own` of a provider that you defined yourself.
    pub known: &'static str,
    /// How it connects: `authorization_code` (an end user consents in a browser, by a link), `device_code` (the link
    /// shows a code, which the end user enters at the provider), `client_credentials` or `jwt_bearer` (at once, with your own
    /// credentials).
    pub grant: &'static str,
    /// How to get client credentials.
    pub credentials: String,
    pub warnings: Vec<String>,
    /// Whether an install may begin at the provider (`install_url`).
    pub installs: bool,
    /// `required`, `optional` or `unused`.
    pub client_secret: &'static str,
    /// Settings beside the client's credentials.
    pub params: Vec<ParamCard>,
    pub scopes: ScopesCard,
    /// `required`, `optional`, `plain` or `off`.
    pub pkce: &'static str,
    pub access_token: AccessTokenCard,
    pub refresh: RefreshCard,
    /// Whether revoking a connection also revokes it at the provider.
    pub revokes_at_provider: bool,
    /// What that does there; left out where the provider has no call for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke: Option<RevokeCard>,
    /// The names under which one grant's tokens come; most have `default` alone.
    pub token_sets: Vec<String>,
    /// What `metadata` may hold.
    pub metadata: Vec<String>,
    #[serde(rename = "use")]
    pub usage: UseCard,
    pub redirect: RedirectCard,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ParamCard {
    pub name: String,
    pub title: String,
    /// `host`, `subdomain`, `origin`, `guid`, `enum`, `text` or `private_key` (PEM).
    pub kind: &'static str,
    /// `integration` (given when enabling) or `link` (given when making a link).
    pub needed_by: &'static str,
    pub required: bool,
    pub secret: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    pub max_length: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScopesCard {
    /// The provider has none.
    pub none: bool,
    pub default: Vec<String>,
    /// Asked for in any case.
    pub always: Vec<String>,
    pub examples: Vec<String>,
    /// Scopes that begin with this go into a param of their own.
    pub prefixes: Vec<String>,
}

/// How long an access token lives whose answer does not say: with each token, `expires_at` is what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccessTokenCard {
    /// Taken for its life; left out where it is taken not to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_seconds: Option<u64>,
    /// The provider is asked when the end user connects; the default stands in where it does not tell.
    pub introspected: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RevokeCard {
    /// The token that is sent, `refresh_token` or `access_token`; the other one where a grant has no such token.
    pub token: &'static str,
    /// `grant` (nothing is refreshed any more) or `access_token` (the end user's consent stays); left out where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<&'static str>,
}

/// At most so many refreshes in any span so long, over all connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RateCard {
    pub count: u32,
    pub per_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RefreshCard {
    /// `none`, `nonrotating`, `rotate_grace`, `rotate_plain`, `rotate_strict` or `unknown`.
    pub class: &'static str,
    /// `refresh_token`, `access_token` (the token is extended while it lives) or `client` (minted anew with your own
    /// credentials); left out where there is no refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
    /// A refresh ends the access token that clients may still hold.
    pub kills_access: bool,
    /// A token that is younger is not refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age_seconds: Option<u64>,
    /// The end user must consent again so long after the last consent (`grant_ends_at` of a connection).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// It dies when unused for so long, and is used in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_max_seconds: Option<u64>,
    /// Left out where the provider names none; the server's own setting holds then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateCard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How the token is used; `{name}` stands for a param or a value of `metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UseCard {
    pub header: String,
    pub scheme: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// OAuth 1.0a: how each call is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureCard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SignatureCard {
    /// `HMAC-SHA1`, `HMAC-SHA256`, `RSA-SHA1`, `RSA-SHA256` or `PLAINTEXT`.
    pub method: &'static str,
    /// Where the protocol's params stand: `header`, `query` or `body`.
    pub params_in: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RedirectCard {
    pub https_only: bool,
    /// `any`, `localhost`, `address` or `refused`.
    pub loopback: &'static str,
}

impl From<&Provider> for ProviderSummary {
    fn from(provider: &Provider) -> Self {
        let spec = provider.spec();
        Self { id: spec.id.to_string(), name: spec.name.clone(), categories: spec.categories.clone(), known: spec.known.as_str() }
    }
}

impl From<&Provider> for ProviderCard {
    fn from(provider: &Provider) -> Self {
        let spec = provider.spec();
        let params = spec.params.values().filter(|param| param.needed_by != NeededBy::Deployment);
        let kept = spec
            .response
            .keep
            .keys()
            .chain(&spec.callback.keep)
            .chain(spec.after_connect.iter().flat_map(|step| step.keep.keys()));
        let mut metadata: Vec<String> = kept.cloned().collect();
        metadata.sort();
        metadata.dedup();
        Self {
            id: spec.id.to_string(),
            name: spec.name.clone(),
            categories: spec.categories.clone(),
            docs: spec.docs.clone(),
            checked: spec.checked.clone(),
            known: match spec.owner {
                Owner::Catalogue => spec.known.as_str(),
                Owner::Tenant => "own",
            },
            grant: spec.grant.as_str(),
            credentials: spec.credentials.clone(),
            warnings: spec.warnings.clone(),
            installs: spec.install.is_some(),
            client_secret: match provider.client_secret() {
                ClientSecret::Required => "required",
                ClientSecret::Optional => "optional",
                ClientSecret::Unused => "unused",
            },
            params: params.map(ParamCard::from).collect(),
            scopes: scopes(provider),
            pkce: provider.pkce().as_str(),
            access_token: AccessTokenCard {
                default_seconds: spec.response.expiry.default.as_ref().map(Duration::as_secs),
                introspected: spec.introspect.is_some(),
            },
            refresh: refresh(provider),
            revokes_at_provider: spec.revoke.is_some(),
            revoke: spec
                .revoke
                .as_ref()
                .map(|revoke| RevokeCard { token: revoke.token.as_str(), ends: revoke.ends.map(RevocationEnds::as_str) }),
            token_sets: spec.response.sets.iter().map(|set| set.name.to_string()).collect(),
            metadata,
            usage: UseCard {
                header: spec.usage.header.clone(),
                scheme: spec.usage.scheme.clone(),
                base_url: spec.usage.base_url.clone(),
                headers: spec.usage.headers.clone(),
                signature: spec
                    .oauth1
                    .as_ref()
                    .map(|oauth1| SignatureCard { method: oauth1.signature.as_str(), params_in: oauth1.params_in.as_str() }),
            },
            redirect: RedirectCard { https_only: spec.redirects.https_only, loopback: spec.redirects.loopback.as_str() },
        }
    }
}

impl From<&ParamSpec> for ParamCard {
    fn from(param: &ParamSpec) -> Self {
        let options = match &param.kind {
            ParamKind::Enum(options) => Some(options.keys().cloned().collect()),
            _ => None,
        };
        Self {
            name: param.name.clone(),
            title: param.title.clone(),
            kind: param.kind.as_str(),
            needed_by: param.needed_by.as_str(),
            required: !param.optional && param.default.is_none(),
            secret: param.secret,
            default: param.default.clone(),
            example: param.example.clone(),
            pattern: param.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
            options,
            max_length: param.max_length,
        }
    }
}

fn scopes(provider: &Provider) -> ScopesCard {
    let scopes = provider.scopes();
    ScopesCard {
        none: scopes.none,
        default: scopes.default.clone(),
        always: scopes.always.clone(),
        examples: scopes.examples.clone(),
        prefixes: scopes.lists.values().cloned().collect(),
    }
}

fn refresh(provider: &Provider) -> RefreshCard {
    let refresh = provider.refresh();
    let grace = match refresh.class() {
        RefreshClass::RotateGrace(grace) => Some(grace),
        _ => None,
    };
    RefreshCard {
        class: refresh.class().as_str(),
        with: refresh.renewal().map(RefreshWith::as_str),
        grace_seconds: grace.as_ref().map(Duration::as_secs),
        kills_access: refresh.kills_access(),
        min_age_seconds: refresh.min_age().as_ref().map(Duration::as_secs),
        max_age_seconds: refresh.max_age().as_ref().map(Duration::as_secs),
        idle_max_seconds: refresh.idle_max().as_ref().map(Duration::as_secs),
        rate: refresh.rate().map(|rate| RateCard { count: rate.count, per_seconds: rate.per.as_secs() }),
        note: refresh.note().map(str::to_owned),
    }
}
