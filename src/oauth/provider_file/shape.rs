//! A provider file as it is written: every key, nothing checked but its type. docs/provider-file.md
//! is the reference for people. All keys are optional here, since a family's member leaves out what
//! it inherits; `convert` knows what must be there in the end.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::value::Datetime;

use super::shape_jwt::{AssertionShape, JwtShape};
use super::shape_request::{IntrospectShape, LookupShape, RefreshShape, RequestShape, RevokeShape, TokenShape};
use super::vector::VectorShape;

/// A pointer, or several to try in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Pointers {
    One(String),
    Many(Vec<String>),
}

/// A param's value in a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Bool(bool),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileShape {
    pub name: Option<String>,
    pub docs: Option<String>,
    pub checked: Option<Datetime>,
    pub known: Option<KnownShape>,
    pub categories: Option<Vec<String>>,
    pub credentials: Option<String>,
    pub warnings: Option<Vec<String>>,
    pub extends: Option<String>,
    pub issuer: Option<String>,
    pub grant: Option<GrantShape>,
    #[serde(default)]
    pub oauth1: Oauth1Shape,
    pub request_token: Option<RequestShape>,
    #[serde(default)]
    pub params: BTreeMap<String, ParamShape>,
    #[serde(default)]
    pub jwt: BTreeMap<String, JwtShape>,
    pub client_assertion: Option<AssertionShape>,
    #[serde(default)]
    pub authorize: AuthorizeShape,
    #[serde(default)]
    pub callback: CallbackShape,
    #[serde(default)]
    pub token: TokenShape,
    pub device: Option<RequestShape>,
    pub install: Option<InstallShape>,
    #[serde(default)]
    pub response: ResponseShape,
    #[serde(default)]
    pub refresh: RefreshShape,
    pub extend: Option<RequestShape>,
    pub introspect: Option<IntrospectShape>,
    pub revoke: Option<RevokeShape>,
    #[serde(default)]
    pub after_connect: Vec<LookupShape>,
    #[serde(default)]
    pub errors: ErrorsShape,
    #[serde(default, rename = "use")]
    pub usage: UseShape,
    #[serde(default)]
    pub redirect: RedirectShape,
    #[serde(default)]
    pub test: Vec<VectorShape>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KnownShape {
    Docs,
    Libraries,
    OneLibrary,
}

/// Beside `[request_token]`: what only a provider of OAuth 1.0a has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oauth1Shape {
    pub signature_method: Option<SignatureShape>,
    pub params_in: Option<ParamsInShape>,
    pub realm: Option<String>,
    pub callback_confirmed: Option<bool>,
}

impl Oauth1Shape {
    pub fn is_there(&self) -> bool {
        let words = self.signature_method.is_some() || self.params_in.is_some();
        words || self.realm.is_some() || self.callback_confirmed.is_some()
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum SignatureShape {
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
    #[serde(rename = "RSA-SHA1")]
    RsaSha1,
    #[serde(rename = "RSA-SHA256")]
    RsaSha256,
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ParamsInShape {
    Header,
    Query,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GrantShape {
    AuthorizationCode,
    Oauth1,
    ClientCredentials,
    JwtBearer,
    DeviceCode,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParamShape {
    pub title: Option<String>,
    pub kind: Option<KindShape>,
    pub needed_by: Option<NeededByShape>,
    #[serde(default)]
    pub secret: bool,
    #[serde(default)]
    pub optional: bool,
    pub pattern: Option<String>,
    pub max_length: Option<usize>,
    pub options: Option<OptionsShape>,
    pub example: Option<String>,
    pub default: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindShape {
    Host,
    Subdomain,
    Origin,
    Guid,
    Enum,
    Text,
    PrivateKey,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NeededByShape {
    Deployment,
    Integration,
    Link,
}

/// Plain choices, or choices and what each stands for.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OptionsShape {
    Plain(Vec<String>),
    Mapped(BTreeMap<String, OptionShape>),
}

/// What an option stands for: one value, or several with names.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OptionShape {
    One(String),
    Several(BTreeMap<String, String>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorizeShape {
    pub url: Option<String>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    #[serde(default)]
    pub drop: Vec<String>,
    #[serde(default, deserialize_with = "scopes")]
    pub scopes: ScopesShape,
    pub pkce: Option<PkceShape>,
    #[serde(default)]
    pub nonce: bool,
    pub fragment: Option<String>,
    #[serde(default)]
    pub params_in_fragment: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PkceShape {
    Required,
    Optional,
    Plain,
    Off,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopesShape {
    #[serde(skip)]
    pub none: bool,
    pub separator: Option<String>,
    #[serde(default)]
    pub default: Vec<String>,
    #[serde(default)]
    pub always: Vec<String>,
    #[serde(default)]
    pub lists: BTreeMap<String, String>,
    #[serde(default)]
    pub examples: Vec<String>,
}

/// `scopes = "none"`, or a table.
fn scopes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ScopesShape, D::Error> {
    struct Either;
    impl<'de> serde::de::Visitor<'de> for Either {
        type Value = ScopesShape;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("\"none\" or a table")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ScopesShape, E> {
            match text {
                "none" => Ok(ScopesShape { none: true, ..ScopesShape::default() }),
                _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            }
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<ScopesShape, A::Error> {
            ScopesShape::deserialize(serde::de::value::MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_any(Either)
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallbackShape {
    pub code: Option<String>,
    #[serde(default)]
    pub keep: Vec<String>,
    pub issuer: Option<String>,
    #[serde(default)]
    pub form_post: bool,
    #[serde(default)]
    pub denied: BTreeMap<String, String>,
    pub signature: Option<String>,
    #[serde(default)]
    pub hosts: BTreeMap<String, HostShape>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallShape {
    #[serde(default)]
    pub params: BTreeMap<String, InstallParamShape>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallParamShape {
    pub from: Option<String>,
    pub suffix: Option<String>,
}

/// `"label"`, or the domains that a host may be of.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum HostShape {
    Word(HostWord),
    Under(Vec<String>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostWord {
    Label,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResponseShape {
    pub access_token: Option<Pointers>,
    pub refresh_token: Option<Pointers>,
    pub token_secret: Option<Pointers>,
    pub token_type: Option<Pointers>,
    pub expires_in: Option<Pointers>,
    pub expires_at: Option<Pointers>,
    pub refresh_expires_in: Option<Pointers>,
    pub refresh_expires_at: Option<Pointers>,
    pub scope: Option<Pointers>,
    pub expires_unit: Option<UnitShape>,
    pub expires_default: Option<String>,
    pub zero_means_never: Option<bool>,
    pub at: Option<Pointers>,
    pub sets: Option<BTreeMap<String, Pointers>>,
    pub keep: Option<BTreeMap<String, String>>,
    pub subject: Option<Pointers>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum UnitShape {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorsShape {
    pub code: Option<Pointers>,
    #[serde(default)]
    pub when: Vec<PredicateShape>,
    #[serde(default)]
    pub dead_grant: Vec<PredicateShape>,
    #[serde(default)]
    pub integration_broken: Vec<PredicateShape>,
    #[serde(default)]
    pub throttled: Vec<PredicateShape>,
    #[serde(default)]
    pub misconfigured: Vec<PredicateShape>,
    #[serde(default)]
    pub subject_refused: Vec<PredicateShape>,
    #[serde(default)]
    pub in_doubt: Vec<PredicateShape>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PredicateShape {
    pub status: Option<u16>,
    pub error: Option<String>,
    pub pointer: Option<String>,
    pub equals: Option<Scalar>,
    pub contains: Option<String>,
    #[serde(default, rename = "final")]
    pub is_final: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UseShape {
    pub header: Option<String>,
    pub scheme: Option<String>,
    pub base_url: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RedirectShape {
    pub https_only: Option<bool>,
    pub loopback: Option<LoopbackShape>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LoopbackShape {
    Any,
    Localhost,
    Address,
    Refused,
}
