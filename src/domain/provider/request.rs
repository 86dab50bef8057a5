//! What is sent to a provider, as its file draws it: the authorize redirect, and one shape for every
//! call to an endpoint (exchange, refresh, revoke, look-ups once connected).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::call::Method;
use crate::domain::ids::TokenSetName;

use super::hosts::HostRule;
use super::response::Pointer;
use super::template::{Template, UrlTemplate};

/// The `[authorize]` block.
#[derive(Debug, Clone)]
pub struct AuthorizeSpec {
    /// `None` where no end user is asked, and where none is sent to the provider by us.
    pub url: Option<UrlTemplate>,
    pub params: BTreeMap<String, Template>,
    pub rename: BTreeMap<String, String>,
    pub drop: Vec<String>,
    pub scopes: ScopeSpec,
    pub pkce: PkceUse,
    pub nonce: bool,
    /// What stands behind the `#`.
    pub fragment: Option<String>,
    /// The params stand there too, behind a `?`, for a page that routes by its fragment.
    pub params_in_fragment: bool,
}

/// Whether and how a flow proves that the same party began and ends it (RFC 7636).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PkceUse {
    /// S256, and the provider insists.
    Required,
    /// S256; the provider would do without.
    Optional,
    /// The provider knows only the method `plain`.
    Plain,
    /// The provider breaks on the extra params.
    Off,
}

impl PkceUse {
    pub fn as_str(self) -> &'static str {
        match self {
            PkceUse::Required => "required",
            PkceUse::Optional => "optional",
            PkceUse::Plain => "plain",
            PkceUse::Off => "off",
        }
    }
}

/// How scopes are asked for.
#[derive(Debug, Clone)]
pub struct ScopeSpec {
    /// The provider has no scopes: none are sent.
    pub none: bool,
    pub separator: String,
    /// Asked for when the integration names none.
    pub default: Vec<String>,
    /// Asked for besides what the integration names.
    pub always: Vec<String>,
    /// Further scope params: param name → the prefix by which a scope is put into it.
    pub lists: BTreeMap<String, String>,
    pub examples: Vec<String>,
}

impl ScopeSpec {
    /// Whether a text is several scopes in one: it holds the separator, or one of the two that nearly all providers
    /// use, which no scope of theirs holds.
    pub fn joins(&self, text: &str) -> bool {
        text.contains(&self.separator) || text.contains([' ', ','])
    }

    /// What to ask for when the tenant names these.
    pub fn asked(&self, named: &[String]) -> Vec<String> {
        let named = if named.is_empty() { &self.default } else { named };
        let mut asked: Vec<String> = Vec::new();
        for scope in named.iter().chain(&self.always).filter(|_| !self.none) {
            if !asked.contains(scope) {
                asked.push(scope.clone());
            }
        }
        asked
    }
}

/// The `[callback]` block.
#[derive(Debug, Clone)]
pub struct CallbackSpec {
    pub code_param: String,
    /// Params of the callback that are kept with the connection.
    pub keep: Vec<String>,
    /// What `iss` must be (RFC 9207), where the provider names itself.
    pub issuer: Option<String>,
    pub form_post: bool,
    /// Params by whose value the provider says that the end user declined; empty stands for any value.
    pub denied: BTreeMap<String, String>,
    /// The param that holds the hex HMAC-SHA256 of all others, keyed with the client secret.
    pub signature: Option<String>,
    /// Kept params that may stand in the host of a URL, and what they may be.
    pub hosts: BTreeMap<String, HostRule>,
}

/// One call to an endpoint.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    pub method: Method,
    pub url: UrlTemplate,
    pub client_auth: ClientAuth,
    pub basic: BasicEncoding,
    /// What stands in a Basic header in the place of the id.
    pub basic_user: Option<Template>,
    /// … and in the place of the secret.
    pub basic_pass: Option<Template>,
    /// Sends `client_id` in the body beside Basic.
    pub client_id_in_body: bool,
    pub body: BodyKind,
    pub headers: BTreeMap<String, Template>,
    pub params: BTreeMap<String, ParamValue>,
    pub rename: BTreeMap<String, String>,
    pub drop: Vec<String>,
}

impl RequestSpec {
    /// Whatever is filled in when it is sent, the URL apart.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let params = self.params.values().filter_map(|value| match value {
            ParamValue::Text(template) => Some(template),
            ParamValue::Integer(_) | ParamValue::Bool(_) => None,
        });
        self.headers.values().chain(params).chain(&self.basic_user).chain(&self.basic_pass)
    }

    /// The names of the JWTs that are sent with it.
    pub fn jwts(&self) -> BTreeSet<&str> {
        self.templates().flat_map(Template::names).filter_map(|name| name.strip_prefix("jwt.")).collect()
    }
}

/// A param's value as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamValue {
    Text(Template),
    Integer(i64),
    Bool(bool),
}

/// How the client proves itself. Without a secret, `Post`, `Basic` and `ClientSecretJwt` are as `Public`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    Post,
    Basic,
    /// An assertion that the client signs with its private key (RFC 7523 2.2).
    PrivateKeyJwt,
    /// … with its secret.
    ClientSecretJwt,
    /// A public client: its id alone.
    Public,
    /// Nothing of the client is sent.
    Off,
}

impl ClientAuth {
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuth::Post => "post",
            ClientAuth::Basic => "basic",
            ClientAuth::PrivateKeyJwt => "private_key_jwt",
            ClientAuth::ClientSecretJwt => "client_secret_jwt",
            ClientAuth::Public => "none",
            ClientAuth::Off => "off",
        }
    }
}

/// How id and secret are put into a Basic header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BasicEncoding {
    /// RFC 6749 2.3.1: form-encoded first.
    Form,
    /// As they are, as most providers read them.
    Raw,
}

/// Where the params of a call stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Form,
    Json,
    Query,
}

impl BodyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            BodyKind::Form => "form",
            BodyKind::Json => "json",
            BodyKind::Query => "query",
        }
    }
}

/// Whether an integration must have a client secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSecret {
    Required,
    /// A public client does without.
    Optional,
    Unused,
}

/// The `[revoke]` block.
#[derive(Debug, Clone)]
pub struct RevokeSpec {
    pub request: RequestSpec,
    pub token: RevokedToken,
    /// What the token's param is called.
    pub param: String,
    /// Sends `token_type_hint` (RFC 7009 2.1).
    pub hint: bool,
    /// What is over then; `None` where nobody said.
    pub ends: Option<RevocationEnds>,
}

/// What a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationEnds {
    /// The end user's consent: nothing is refreshed any more.
    Grant,
    /// The access token alone.
    AccessToken,
}

impl RevocationEnds {
    pub fn as_str(self) -> &'static str {
        match self {
            RevocationEnds::Grant => "grant",
            RevocationEnds::AccessToken => "access_token",
        }
    }
}

/// Which token is revoked; the other is used where the grant has no such one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedToken {
    Refresh,
    Access,
}

impl RevokedToken {
    pub fn as_str(self) -> &'static str {
        match self {
            RevokedToken::Refresh => "refresh_token",
            RevokedToken::Access => "access_token",
        }
    }
}

/// The `[introspect]` block: a question about an access token (RFC 7662).
#[derive(Debug, Clone)]
pub struct IntrospectSpec {
    pub request: RequestSpec,
    /// What the token's param is called.
    pub param: String,
    /// Sends `token_type_hint`.
    pub hint: bool,
    pub active: Vec<Pointer>,
    /// When it ends, in seconds of the epoch.
    pub expires_at: Vec<Pointer>,
    /// When it was issued: the two together are the provider's own clock's.
    pub issued_at: Vec<Pointer>,
    /// How many seconds it still has.
    pub expires_in: Vec<Pointer>,
}

/// One `[[after_connect]]` step: a look-up with the new token.
#[derive(Debug, Clone)]
pub struct AfterConnectSpec {
    pub name: String,
    pub request: RequestSpec,
    /// Whose access token is used; the first set that came where it names none.
    pub token_set: Option<TokenSetName>,
    pub keep: BTreeMap<String, Pointer>,
    pub subject: Vec<Pointer>,
    /// A failure does not stop the connection.
    pub optional: bool,
    /// Made with the token of the exchange, before `[extend]`: whether what the callback brought belongs to who came back.
    pub first: bool,
}

/// The `[use]` block: how a tenant uses the token. Templates are shown as they stand.
#[derive(Debug, Clone)]
pub struct UseSpec {
    pub header: String,
    pub scheme: String,
    pub base_url: Option<String>,
    pub headers: BTreeMap<String, String>,
}
