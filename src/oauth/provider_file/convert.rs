//! From a file's shape to a provider's specification: defaults, and what must be there. Every fault
//! is collected, so that an author sees them all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use regex_lite::Regex;

use crate::domain::ids::{ProviderId, TokenSetName};
use crate::domain::provider::param::PARAM_MAX;
use crate::domain::provider::request::{ClientSecret, RevokedToken};
use crate::domain::provider::response::{ErrorRules, ExpirySpec, ExpiryUnit, Pointer, Predicate, Test, TokenFields, ValueTest};
use crate::domain::provider::rules::Fault;
use crate::domain::provider::template::{Template, TemplateError};
use crate::domain::provider::{
    AfterConnectSpec, AuthorizeSpec, CallbackSpec, Known, Loopback, NeededBy, ParamKind, ParamSpec, PkceUse, ProviderSpec,
    RedirectRules, RefreshClass, RefreshSpec, ResponseSpec, RevokeSpec, ScopeSpec, SetSpec, UseSpec,
};
use crate::domain::tokens::FailureClass;

use super::shape::{
    ClassShape, ClientAuthShape, ClientSecretShape, FileShape, KindShape, KnownShape, LookupShape, LoopbackShape, NeededByShape,
    OptionsShape, ParamShape, PkceShape, Pointers, PredicateShape, ResponseShape, RevokeShape, RevokedShape, Scalar, UnitShape,
};

pub(super) fn provider(id: ProviderId, file: &FileShape) -> Result<ProviderSpec, Vec<Fault>> {
    let mut convert = Convert::default();
    let spec = convert.spec(id, file);
    convert.tests(file);
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

    fn spec(&mut self, id: ProviderId, file: &FileShape) -> Option<ProviderSpec> {
        let name = self.needed("name", file.name.clone());
        let docs = self.needed("docs", file.docs.clone());
        let checked = self.needed("checked", file.checked).and_then(|checked| self.date(checked));
        let known = self.needed("known", file.known).map(known);
        let categories = self.needed("categories", file.categories.clone());
        let credentials = self.needed("credentials", file.credentials.clone());
        let params = file.params.iter().filter_map(|(name, param)| Some((name.clone(), self.param(name, param)?))).collect();
        let authorize = self.authorize(file);
        let token = self.request("token", &file.token.request(), None);
        let response = self.response("response", &file.response, None);
        let refresh = token.as_ref().zip(response.as_ref()).and_then(|(token, response)| self.refresh(file, token, response));
        let revoke = token.as_ref().zip(file.revoke.as_ref()).and_then(|(token, revoke)| self.revoke(revoke, token));
        let after_connect = file.after_connect.iter().enumerate().filter_map(|(at, step)| self.lookup(at, step)).collect();
        let errors = self.errors(file);
        let client_secret = match (&file.token.client_secret, file.token.client_auth) {
            (Some(ClientSecretShape::Optional), _) => ClientSecret::Optional,
            (Some(ClientSecretShape::Required), _) | (None, None | Some(ClientAuthShape::Post | ClientAuthShape::Basic)) => {
                ClientSecret::Required
            }
            (None, Some(ClientAuthShape::None | ClientAuthShape::Off)) => ClientSecret::Unused,
        };
        Some(ProviderSpec {
            id,
            name: name?,
            docs: docs?,
            checked: checked?,
            known: known?,
            categories: categories?,
            credentials: credentials?,
            warnings: file.warnings.clone().unwrap_or_default(),
            params,
            authorize: authorize?,
            callback: callback(file),
            token: token?,
            client_secret,
            response: response?,
            refresh: refresh?,
            revoke,
            after_connect,
            errors,
            usage: usage(file),
            redirects: redirects(file),
        })
    }

    fn date(&mut self, checked: toml::value::Datetime) -> Option<String> {
        let date = checked.date.filter(|_| checked.time.is_none());
        if date.is_none() {
            self.fault("checked", "must be a date such as 2026-11-21, without quotes");
        }
        date.map(|date| date.to_string())
    }

    fn param(&mut self, name: &str, shape: &ParamShape) -> Option<ParamSpec> {
        let at = format!("params.{name}");
        let title = self.needed(&format!("{at}.title"), shape.title.clone());
        let kind = self.needed(&format!("{at}.kind"), shape.kind);
        let needed_by = self.needed(&format!("{at}.needed_by"), shape.needed_by);
        let pattern = match &shape.pattern {
            // The whole value must match, whatever the author's anchors say.
            Some(pattern) => Some(self.read(&format!("{at}.pattern"), Regex::new(&format!("^(?:{pattern})$")))?),
            None => None,
        };
        Some(ParamSpec {
            name: name.to_owned(),
            title: title?,
            kind: param_kind(kind?, shape.options.clone()),
            needed_by: match needed_by? {
                NeededByShape::Deployment => NeededBy::Deployment,
                NeededByShape::Integration => NeededBy::Integration,
                NeededByShape::Link => NeededBy::Link,
            },
            secret: shape.secret,
            optional: shape.optional,
            pattern,
            max_length: shape.max_length.unwrap_or(PARAM_MAX).min(10 * PARAM_MAX),
            example: shape.example.clone(),
            default: shape.default.clone(),
        })
    }

    fn authorize(&mut self, file: &FileShape) -> Option<AuthorizeSpec> {
        let shape = &file.authorize;
        let url = self.url("authorize.url", shape.url.as_deref())?;
        let params = shape
            .params
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), self.template(&format!("authorize.params.{name}"), text)?)));
        let params = params.collect();
        let pkce = self.needed("authorize.pkce", shape.pkce);
        let scopes = &shape.scopes;
        Some(AuthorizeSpec {
            url,
            params,
            rename: shape.rename.clone(),
            drop: shape.drop.clone(),
            scopes: ScopeSpec {
                none: scopes.none,
                separator: scopes.separator.clone().unwrap_or_else(|| " ".to_owned()),
                default: scopes.default.clone(),
                always: scopes.always.clone(),
                lists: scopes.lists.clone(),
                examples: scopes.examples.clone(),
            },
            pkce: match pkce? {
                PkceShape::Required => PkceUse::Required,
                PkceShape::Optional => PkceUse::Optional,
                PkceShape::Plain => PkceUse::Plain,
                PkceShape::Off => PkceUse::Off,
            },
            nonce: shape.nonce,
        })
    }

    pub(super) fn template(&mut self, at: &str, text: &str) -> Option<Template> {
        self.read(at, Template::parse(text).map_err(|error: TemplateError| error.to_string()))
    }

    fn refresh(
        &mut self,
        file: &FileShape,
        token: &crate::domain::provider::RequestSpec,
        response: &ResponseSpec,
    ) -> Option<RefreshSpec> {
        let shape = &file.refresh;
        let class = self.needed("refresh.class", shape.class);
        let grace = self.duration("refresh.grace", shape.grace.as_deref());
        let spec = RefreshSpec {
            class: self.class(class?, grace)?,
            kills_access: shape.kills_access,
            max_age: self.duration("refresh.max_age", shape.max_age.as_deref()),
            idle_max: self.duration("refresh.idle_max", shape.idle_max.as_deref()),
            min_interval: self.duration("refresh.min_interval", shape.min_interval.as_deref()),
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

    fn revoke(&mut self, shape: &RevokeShape, token: &crate::domain::provider::RequestSpec) -> Option<RevokeSpec> {
        let mut request = shape.request();
        // A revocation inherits the client's proof and nothing else of the exchange.
        request.headers.get_or_insert_default();
        request.params.get_or_insert_default();
        request.rename.get_or_insert_default();
        request.drop.get_or_insert_default();
        self.url("revoke.url", request.url.as_deref())?;
        Some(RevokeSpec {
            request: self.request("revoke", &request, Some(token))?,
            token: match shape.token.unwrap_or(RevokedShape::RefreshToken) {
                RevokedShape::RefreshToken => RevokedToken::Refresh,
                RevokedShape::AccessToken => RevokedToken::Access,
            },
            param: shape.param.clone().unwrap_or_else(|| "token".to_owned()),
            hint: shape.hint,
        })
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
        Some(AfterConnectSpec { name: name?, request: request?, token_set, keep, subject, optional: shape.optional })
    }

    pub(super) fn response(&mut self, at: &str, shape: &ResponseShape, under: Option<&ResponseSpec>) -> Option<ResponseSpec> {
        let sets = self.sets(at, shape, under)?;
        let mut place =
            |name: &str, given: &Option<Pointers>, under: Option<&Vec<Pointer>>, default: &[&str]| match (given, under) {
                (None, Some(under)) => under.clone(),
                (given, _) => self.pointers(&format!("{at}.{name}"), given.as_ref(), default),
            };
        let old = under.map(|under| &under.fields);
        let fields = TokenFields {
            access_token: place("access_token", &shape.access_token, old.map(|old| &old.access_token), &["/access_token"]),
            refresh_token: place("refresh_token", &shape.refresh_token, old.map(|old| &old.refresh_token), &["/refresh_token"]),
            token_type: place("token_type", &shape.token_type, old.map(|old| &old.token_type), &["/token_type"]),
            expires_in: place("expires_in", &shape.expires_in, old.map(|old| &old.expires_in), &["/expires_in"]),
            expires_at: place("expires_at", &shape.expires_at, old.map(|old| &old.expires_at), &["/expires_at"]),
            refresh_expires_in: place(
                "refresh_expires_in",
                &shape.refresh_expires_in,
                old.map(|old| &old.refresh_expires_in),
                &["/refresh_token_expires_in", "/refresh_expires_in"],
            ),
            refresh_expires_at: place(
                "refresh_expires_at",
                &shape.refresh_expires_at,
                old.map(|old| &old.refresh_expires_at),
                &["/refresh_token_expires_at"],
            ),
            scope: place("scope", &shape.scope, old.map(|old| &old.scope), &["/scope"]),
        };
        let subject = place("subject", &shape.subject, under.map(|under| &under.subject), &["id_token:/sub"]);
        let keep = match (&shape.keep, under) {
            (None, Some(under)) => under.keep.clone(),
            (keep, _) => self.keep(&format!("{at}.keep"), keep.as_ref().unwrap_or(&BTreeMap::new())),
        };
        let expiry = self.expiry(at, shape, under.map(|under| under.expiry));
        Some(ResponseSpec { sets, fields, expiry, keep, subject })
    }

    fn expiry(&mut self, at: &str, shape: &ResponseShape, under: Option<ExpirySpec>) -> ExpirySpec {
        let under = under.unwrap_or(ExpirySpec { unit: ExpiryUnit::Seconds, default: None, zero_means_never: false });
        ExpirySpec {
            unit: match shape.expires_unit {
                None => under.unit,
                Some(UnitShape::Seconds) => ExpiryUnit::Seconds,
                Some(UnitShape::Milliseconds) => ExpiryUnit::Milliseconds,
            },
            default: self.duration(&format!("{at}.expires_default"), shape.expires_default.as_deref()).or(under.default),
            zero_means_never: shape.zero_means_never.unwrap_or(under.zero_means_never),
        }
    }

    /// `sets` names several; else there is one, `default`, at `at`.
    fn sets(&mut self, at: &str, shape: &ResponseShape, under: Option<&ResponseSpec>) -> Option<Vec<SetSpec>> {
        if shape.at.is_some() && shape.sets.is_some() {
            self.fault(format!("{at}.at"), "says where the one set is; with `sets` each says it for itself");
        }
        let mut sets: Vec<SetSpec> = match (&shape.at, &shape.sets, under) {
            (None, _, Some(under)) => under.sets.clone(),
            (_, Some(_), None) => Vec::new(),
            (place, _, _) => {
                let at = self.pointers(&format!("{at}.at"), place.as_ref(), &[""]);
                vec![SetSpec { name: TokenSetName::default_set(), at }]
            }
        };
        for (name, places) in shape.sets.iter().flatten() {
            let at = format!("{at}.sets.{name}");
            let set = SetSpec { name: self.set_name(&at, name)?, at: self.pointers(&at, Some(places), &[]) };
            if under.is_some() && !sets.iter().any(|known| known.name == set.name) {
                self.fault(&at, "is not a token set of `[response.sets]`");
            }
            sets.retain(|known| known.name != set.name);
            sets.push(set);
        }
        Some(sets)
    }

    fn set_name(&mut self, at: &str, name: &str) -> Option<TokenSetName> {
        self.read(at, TokenSetName::parse(name).map_err(|refusal| refusal.detail))
    }

    fn keep(&mut self, at: &str, keep: &BTreeMap<String, String>) -> BTreeMap<String, Pointer> {
        keep.iter().filter_map(|(name, text)| Some((name.clone(), self.pointer(&format!("{at}.{name}"), text)?))).collect()
    }

    fn pointers(&mut self, at: &str, given: Option<&Pointers>, default: &[&str]) -> Vec<Pointer> {
        let texts: Vec<&str> = match given {
            None => default.to_vec(),
            Some(Pointers::One(text)) => vec![text],
            Some(Pointers::Many(texts)) => texts.iter().map(String::as_str).collect(),
        };
        texts.into_iter().filter_map(|text| self.pointer(at, text)).collect()
    }

    fn pointer(&mut self, at: &str, text: &str) -> Option<Pointer> {
        self.read(at, Pointer::parse(text))
    }

    fn errors(&mut self, file: &FileShape) -> ErrorRules {
        let shape = &file.errors;
        let code = self.pointers("errors.code", shape.code.as_ref(), &["/error"]);
        let when = self.predicates("errors.when", &shape.when);
        let classes = [
            (FailureClass::DeadGrant, "dead_grant", &shape.dead_grant),
            (FailureClass::IntegrationBroken, "integration_broken", &shape.integration_broken),
            (FailureClass::Throttled, "throttled", &shape.throttled),
            (FailureClass::Misconfigured, "misconfigured", &shape.misconfigured),
            (FailureClass::InDoubt, "in_doubt", &shape.in_doubt),
        ];
        let classes = classes.map(|(class, name, list)| (class, self.predicates(&format!("errors.{name}"), list)));
        ErrorRules { when, code, classes: classes.into() }
    }

    fn predicates(&mut self, at: &str, shapes: &[PredicateShape]) -> Vec<Predicate> {
        shapes.iter().enumerate().filter_map(|(n, shape)| self.predicate(&format!("{at}.{n}"), shape)).collect()
    }

    fn predicate(&mut self, at: &str, shape: &PredicateShape) -> Option<Predicate> {
        let test = match (&shape.equals, &shape.contains) {
            (Some(_), Some(_)) => {
                self.fault(at, "has both `equals` and `contains`");
                return None;
            }
            (Some(Scalar::Text(text)), None) => Test::Equals(text.clone().into()),
            (Some(Scalar::Integer(number)), None) => Test::Equals((*number).into()),
            (Some(Scalar::Bool(flag)), None) => Test::Equals((*flag).into()),
            (None, Some(part)) => Test::Contains(part.clone()),
            (None, None) => Test::Exists,
        };
        let value = match &shape.pointer {
            Some(pointer) => Some(ValueTest { at: self.pointer(at, pointer)?, test }),
            None if test != Test::Exists => {
                self.fault(at, "compares a value but has no `pointer`");
                return None;
            }
            None => None,
        };
        if shape.status.is_none() && shape.error.is_none() && value.is_none() {
            self.fault(at, "is empty: give `status`, `error` or `pointer`");
            return None;
        }
        Some(Predicate { status: shape.status, error: shape.error.clone(), value })
    }

    /// A whole number and a unit: `30s`, `10m`, `8h`, `90d`.
    fn duration(&mut self, at: &str, text: Option<&str>) -> Option<Duration> {
        let text = text?;
        let read = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            // Three thousand years are enough for everybody.
            number
                .parse::<u64>()
                .ok()
                .filter(|number| (1..=1_000_000).contains(number))
                .map(|number| Duration::from_secs(number * unit))
        };
        let duration = read();
        if duration.is_none() {
            self.fault(at, "must be a whole number and one of s, m, h, d, such as \"90d\"");
        }
        duration
    }
}

fn known(shape: KnownShape) -> Known {
    match shape {
        KnownShape::Docs => Known::Docs,
        KnownShape::Libraries => Known::Libraries,
        KnownShape::OneLibrary => Known::OneLibrary,
    }
}

fn param_kind(kind: KindShape, options: Option<OptionsShape>) -> ParamKind {
    match kind {
        KindShape::Host => ParamKind::Host,
        KindShape::Subdomain => ParamKind::Subdomain,
        KindShape::Origin => ParamKind::Origin,
        KindShape::Guid => ParamKind::Guid,
        KindShape::Text => ParamKind::Text,
        KindShape::Enum => ParamKind::Enum(match options {
            None => BTreeMap::new(),
            Some(OptionsShape::Plain(names)) => names.into_iter().map(|name| (name.clone(), name)).collect(),
            Some(OptionsShape::Mapped(options)) => options,
        }),
    }
}

fn callback(file: &FileShape) -> CallbackSpec {
    let shape = &file.callback;
    CallbackSpec {
        code_param: shape.code.clone().unwrap_or_else(|| "code".to_owned()),
        keep: shape.keep.clone(),
        issuer: shape.issuer.clone(),
        form_post: shape.form_post,
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
