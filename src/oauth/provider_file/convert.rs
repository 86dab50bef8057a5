//! From a file's shape to a provider's specification: defaults, and what must be there. Every fault
//! is collected, so that an author sees them all at once.

use std::time::Duration;

use crate::domain::ids::ProviderId;
use crate::domain::provider::request::{ClientSecret, RevocationEnds, RevokedToken};
use crate::domain::provider::rules::Fault;
use crate::domain::provider::template::{Template, TemplateError};
use crate::domain::provider::{
    AfterConnectSpec, CallbackSpec, HostRule, IntrospectSpec, Known, Loopback, Owner, ProviderSpec, RedirectRules, RefreshClass,
    RefreshSpec, RequestSpec, ResponseSpec, RevokeSpec, UseSpec,
};

use super::convert_flow::install_spec;
use super::convert_grant::grant;
use super::convert_oauth1::with_defaults;
use super::shape::{FileShape, GrantShape, HostShape, HostWord, KnownShape, LoopbackShape, Pointers};
use super::shape_request::{
    BodyShape, ClassShape, ClientAuthShape, ClientSecretShape, EndsShape, IntrospectShape, LookupShape, MethodShape,
    RequestShape, RevokeShape, RevokedShape,
};

pub(super) fn provider(id: ProviderId, owner: Owner, file: &FileShape) -> Result<ProviderSpec, Vec<Fault>> {
    let mut convert = Convert::default();
    let oauth1 = (file.grant == Some(GrantShape::Oauth1)).then(|| with_defaults(file));
    let spec = convert.spec(id, owner, oauth1.as_ref().unwrap_or(file));
    if let Some(spec) = &spec {
        convert.scopes_of_tests(file, &spec.authorize.scopes);
    }
    if owner == Owner::Catalogue {
        convert.tests(file);
        if file.issuer.is_some() {
            convert.fault("issuer", "is for providers that a tenant defines; a file names its URLs");
        }
    }
    match spec {
        Some(spec) if convert.faults.is_empty() => Ok(spec),
        _ => Err(convert.faults),
    }
}

/// Collects faults; each method gives `None` where it added one that leaves nothing to go on with.
#[derive(Default)]
pub(super) struct Convert {
    faults: Vec<Fault>,
}

impl Convert {
    pub(super) fn fault(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault::new(at, message));
    }

    pub(super) fn needed<T>(&mut self, at: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(at, "is missing");
        }
        value
    }

    pub(super) fn read<T, E: ToString>(&mut self, at: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.fault(at, error.to_string())).ok()
    }

    fn spec(&mut self, id: ProviderId, owner: Owner, file: &FileShape) -> Option<ProviderSpec> {
        let name = self.needed("name", file.name.clone());
        let docs = self.needed("docs", file.docs.clone());
        let checked = self.needed("checked", file.checked).and_then(|checked| self.date(checked));
        let known = self.needed("known", file.known).map(known);
        let categories = self.needed("categories", file.categories.clone());
        let credentials = self.needed("credentials", file.credentials.clone());
        let patterns = file.params.values().filter(|param| param.pattern.is_some()).count();
        let params = file.params.iter().filter_map(|(name, param)| Some((name.clone(), self.param(name, param, patterns)?)));
        let params = params.collect();
        let (jwts, client_assertion) = (self.jwts(file), self.client_assertion(file));
        let authorize = self.authorize(file);
        let oauth1 = self.oauth1(file);
        let token = self.request("token", &file.token.request(), None);
        let response = self.response("response", &file.response, None);
        let refresh = token.as_ref().zip(response.as_ref()).and_then(|(token, response)| self.refresh(file, token, response));
        let revoke = token.as_ref().zip(file.revoke.as_ref()).and_then(|(token, revoke)| self.revoke(revoke, token));
        let introspect = token.as_ref().zip(file.introspect.as_ref()).and_then(|(token, asked)| self.introspect(asked, token));
        let device = self.device(file, token.as_ref());
        let extend = match (&file.extend, &token) {
            (Some(extend), Some(token)) => Some(self.beside("extend", extend.request(), token)?),
            _ => None,
        };
        let after_connect = file.after_connect.iter().enumerate().filter_map(|(at, step)| self.lookup(at, step)).collect();
        let errors = self.errors(file);
        Some(ProviderSpec {
            id,
            owner,
            name: name?,
            docs: docs?,
            checked: checked?,
            known: known?,
            categories: categories?,
            credentials: credentials?,
            warnings: file.warnings.clone().unwrap_or_default(),
            params,
            jwts,
            client_assertion,
            grant: grant(file.grant),
            oauth1,
            authorize: authorize?,
            device,
            install: file.install.as_ref().map(install_spec),
            callback: callback(file),
            token: token?,
            client_secret: client_secret(file),
            response: response?,
            refresh: refresh?,
            extend,
            introspect,
            revoke,
            after_connect,
            errors,
            usage: usage(file),
            redirects: redirects(file),
        })
    }

    pub(super) fn template(&mut self, at: &str, text: &str) -> Option<Template> {
        self.read(at, Template::parse(text).map_err(|error: TemplateError| error.to_string()))
    }

    fn refresh(&mut self, file: &FileShape, token: &RequestSpec, response: &ResponseSpec) -> Option<RefreshSpec> {
        let shape = &file.refresh;
        let (with, class) = self.renewal(file);
        let class = self.needed("refresh.class", class);
        let grace = self.duration("refresh.grace", shape.grace.as_deref());
        let spec = RefreshSpec {
            class: self.class(class?, grace)?,
            with,
            min_age: self.duration("refresh.min_age", shape.min_age.as_deref()),
            kills_access: shape.kills_access,
            max_age: self.duration("refresh.max_age", shape.max_age.as_deref()),
            idle_max: self.duration("refresh.idle_max", shape.idle_max.as_deref()),
            rate: self.rate("refresh.rate", shape.rate.as_deref()),
            note: shape.note.clone(),
            request: self.request("refresh", &shape.request(), Some(token))?,
            response: self.response("refresh.response", &shape.response, Some(response))?,
        };
        Some(spec)
    }

    fn class(&mut self, class: ClassShape, grace: Option<Duration>) -> Option<RefreshClass> {
        if grace.is_some() != (class == ClassShape::RotateGrace) {
            self.fault("refresh.grace", "must be there for the class `rotate_grace`, and for no other");
            return None;
        }
        Some(match class {
            ClassShape::None => RefreshClass::None,
            ClassShape::Nonrotating => RefreshClass::Nonrotating,
            ClassShape::RotateGrace => RefreshClass::RotateGrace(grace?),
            ClassShape::RotatePlain => RefreshClass::RotatePlain,
            ClassShape::RotateStrict => RefreshClass::RotateStrict,
            ClassShape::Unknown => RefreshClass::Unknown,
        })
    }

    fn revoke(&mut self, shape: &RevokeShape, token: &RequestSpec) -> Option<RevokeSpec> {
        // Without its refresh token a grant is over, whatever else the provider does about it (RFC 7009 2.1).
        let (revoked, usually) = match shape.token.unwrap_or(RevokedShape::RefreshToken) {
            RevokedShape::RefreshToken => (RevokedToken::Refresh, Some(RevocationEnds::Grant)),
            RevokedShape::AccessToken => (RevokedToken::Access, None),
        };
        let said = shape.ends.map(|ends| match ends {
            EndsShape::Grant => RevocationEnds::Grant,
            EndsShape::AccessToken => RevocationEnds::AccessToken,
        });
        Some(RevokeSpec {
            request: self.beside("revoke", shape.request(), token)?,
            token: revoked,
            ends: said.or(usually),
            param: shape.param.clone().unwrap_or_else(|| "token".to_owned()),
            hint: shape.hint,
        })
    }

    /// RFC 7662 2.1 and 2.2.
    fn introspect(&mut self, shape: &IntrospectShape, token: &RequestSpec) -> Option<IntrospectSpec> {
        let mut place = |key: &str, given: &Option<Pointers>, default: &str| {
            self.pointers(&format!("introspect.{key}"), given.as_ref(), &[default])
        };
        let active = place("active", &shape.active, "/active");
        let expires_at = place("expires_at", &shape.expires_at, "/exp");
        let issued_at = place("issued_at", &shape.issued_at, "/iat");
        let expires_in = place("expires_in", &shape.expires_in, "/expires_in");
        Some(IntrospectSpec {
            request: self.beside("introspect", shape.request(), token)?,
            param: shape.param.clone().unwrap_or_else(|| "token".to_owned()),
            hint: shape.hint.unwrap_or(true),
            active,
            expires_at,
            issued_at,
            expires_in,
        })
    }

    /// A request that inherits the client's proof and nothing else of the exchange. It is a POST of a form unless it says
    /// otherwise: where `[token]` is a GET, what a file left unsaid would put a token into a URL.
    pub(super) fn beside(&mut self, at: &str, mut request: RequestShape, token: &RequestSpec) -> Option<RequestSpec> {
        request.method.get_or_insert(MethodShape::Post);
        request.body.get_or_insert(BodyShape::Form);
        request.headers.get_or_insert_default();
        request.params.get_or_insert_default();
        request.rename.get_or_insert_default();
        request.drop.get_or_insert_default();
        self.needed(&format!("{at}.url"), request.url.as_deref())?;
        self.request(at, &request, Some(token))
    }

    fn lookup(&mut self, at: usize, shape: &LookupShape) -> Option<AfterConnectSpec> {
        let at = format!("after_connect.{at}");
        let name = self.needed(&format!("{at}.name"), shape.name.clone());
        let token_set = match &shape.token_set {
            Some(name) => Some(self.set_name(&format!("{at}.token_set"), name)?),
            None => None,
        };
        let request = self.lookup_request(&at, &shape.request());
        let keep = self.keep(&format!("{at}.keep"), &shape.keep);
        let subject = self.pointers(&format!("{at}.subject"), shape.subject.as_ref(), &[]);
        Some(AfterConnectSpec {
            name: name?,
            request: request?,
            token_set,
            keep,
            subject,
            optional: shape.optional,
            first: shape.first,
        })
    }
}

fn client_secret(file: &FileShape) -> ClientSecret {
    match (&file.token.client_secret, file.token.client_auth) {
        (Some(ClientSecretShape::Optional), _) => ClientSecret::Optional,
        (Some(ClientSecretShape::Required), _)
        | (None, None | Some(ClientAuthShape::Post | ClientAuthShape::Basic | ClientAuthShape::ClientSecretJwt)) => {
            ClientSecret::Required
        }
        (None, Some(ClientAuthShape::PrivateKeyJwt | ClientAuthShape::None | ClientAuthShape::Off)) => ClientSecret::Unused,
    }
}

fn known(shape: KnownShape) -> Known {
    match shape {
        KnownShape::Docs => Known::Docs,
        KnownShape::Libraries => Known::Libraries,
        KnownShape::OneLibrary => Known::OneLibrary,
    }
}

fn callback(file: &FileShape) -> CallbackSpec {
    let shape = &file.callback;
    CallbackSpec {
        code_param: shape.code.clone().unwrap_or_else(|| "code".to_owned()),
        keep: shape.keep.clone(),
        issuer: shape.issuer.clone(),
        form_post: shape.form_post,
        denied: shape.denied.clone(),
        signature: shape.signature.clone(),
        hosts: shape.hosts.iter().map(|(name, shape)| (name.clone(), host_rule(shape))).collect(),
    }
}

fn host_rule(shape: &HostShape) -> HostRule {
    match shape {
        HostShape::Word(HostWord::Label) => HostRule::Label,
        HostShape::Under(domains) => HostRule::Under(domains.clone()),
    }
}

fn usage(file: &FileShape) -> UseSpec {
    let shape = &file.usage;
    UseSpec {
        header: shape.header.clone().unwrap_or_else(|| "Authorization".to_owned()),
        scheme: shape.scheme.clone().unwrap_or_else(|| "Bearer".to_owned()),
        base_url: shape.base_url.clone(),
        headers: shape.headers.clone(),
    }
}

fn redirects(file: &FileShape) -> RedirectRules {
    let shape = &file.redirect;
    RedirectRules {
        https_only: shape.https_only.unwrap_or(true),
        loopback: match shape.loopback.unwrap_or(LoopbackShape::Any) {
            LoopbackShape::Any => Loopback::Any,
            LoopbackShape::Localhost => Loopback::Localhost,
            LoopbackShape::Address => Loopback::Address,
            LoopbackShape::Refused => Loopback::Refused,
        },
    }
}
