//! The rules a provider must keep, beyond what its types already hold. Each broken one is named
//! with its place in the file.

mod flows;
mod oauth1;
mod requests;
mod signing;

use std::collections::BTreeSet;

use url::Url;

use super::hosts::HostRule;
use super::names::{AUTHORIZE, EXCHANGE, FORBIDDEN_HEADERS, LOOKUP, MOMENT, POLL, REFRESH, REVOKE, SECRET};
use super::param::{Choice, NeededBy, ParamKind, ParamSpec};
use super::request::{BodyKind, ClientAuth, ClientSecret, ParamValue, PkceUse, RequestSpec};
use super::response::{Pointer, Source};
use super::template::{Template, UrlTemplate};
use super::{Owner, ProviderSpec};
use crate::domain::call::Method;

/// Longest text for people, in bytes.
const TEXT_MAX: usize = 1_000;

/// A broken rule: where, as a path of keys, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub at: String,
    pub message: String,
}

impl Fault {
    pub fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into() }
    }
}

pub fn faults(spec: &ProviderSpec) -> Vec<Fault> {
    let mut check = Check { spec, faults: Vec::new() };
    check.papers();
    check.params();
    check.authorize();
    check.device();
    check.install();
    check.signing();
    check.requests();
    check.oauth1();
    check.lookups();
    check.responses();
    check.usage();
    check.faults
}

struct Check<'a> {
    spec: &'a ProviderSpec,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, at: impl Into<String>, message: impl Into<String>) {
        let fault = Fault::new(at, message);
        // What several requests share is told once.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn papers(&mut self) {
        let spec = self.spec;
        for (at, text) in [("name", &spec.name), ("credentials", &spec.credentials)] {
            if text.trim().is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
                self.fault(at, format!("must be 1 to {TEXT_MAX} bytes of text on one line"));
            }
        }
        let own = spec.owner == Owner::Tenant;
        if !(is_https(&spec.docs) || own && spec.docs.is_empty()) {
            self.fault("docs", "must be an https link to the provider's own documentation");
        }
        if spec.categories.is_empty() {
            self.fault("categories", "must name at least one category");
        }
        for (name, _) in spec.callback.denied.iter().filter(|(name, _)| **name == spec.callback.code_param) {
            self.fault(format!("callback.denied.{name}"), "is the code's own param");
        }
        for (name, rule) in &spec.callback.hosts {
            let unkept = (!spec.callback.keep.contains(name)).then_some("must be one of `callback.keep`");
            for rule in unkept.into_iter().chain(rule.fault()) {
                self.fault(format!("callback.hosts.{name}"), rule);
            }
        }
        if spec.callback.signature.is_some() && spec.client_secret != ClientSecret::Required {
            self.fault("callback.signature", "is keyed with the client secret, which here need not be");
        }
        for issuer in spec.callback.issuer.iter().filter(|issuer| !is_https(issuer)) {
            // An issuer on loopback is written as the param that holds it.
            if !(issuer.starts_with('{') || own && is_loopback(issuer)) {
                self.fault("callback.issuer", "must be an https URL");
            }
        }
    }

    fn params(&mut self) {
        for (name, param) in &self.spec.params {
            let at = format!("params.{name}");
            let mut taken = AUTHORIZE.iter().chain(EXCHANGE).chain(POLL).chain(REFRESH).chain(REVOKE).chain(LOOKUP).chain(MOMENT);
            if name.contains('.') || matches!(name.as_str(), "callback" | "metadata" | "jwt") || taken.any(|known| known == name)
            {
                self.fault(&at, "is a name that the engine uses itself");
            }
            if self.spec.owner == Owner::Tenant && param.needed_by == NeededBy::Deployment {
                self.fault(format!("{at}.needed_by"), "must be `integration` or `link`: the deployment is not yours");
            }
            for (key, value) in [("example", &param.example), ("default", &param.default)] {
                if let Some(rule) = value.as_deref().and_then(|value| param.fault(value)) {
                    self.fault(format!("{at}.{key}"), rule);
                }
            }
            if param.kind == ParamKind::PrivateKey {
                self.private_key(&at, param);
                continue;
            }
            if param.example.is_none() && !matches!(param.kind, ParamKind::Enum(_)) {
                self.fault(&at, "needs an `example`");
            }
            if param.secret && param.needed_by != NeededBy::Integration {
                self.fault(&at, "is secret, so it must be `needed_by = \"integration\"`");
            }
            self.options(&at, param);
        }
    }

    fn options(&mut self, at: &str, param: &ParamSpec) {
        let ParamKind::Enum(options) = &param.kind else { return };
        if options.is_empty() {
            self.fault(at, "needs `options`");
        }
        let names = |choice: &Choice| choice.names().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let first = options.values().next().map(names).unwrap_or_default();
        if options.values().any(|choice| names(choice) != first) {
            self.fault(format!("{at}.options"), "must each stand for values of the same names");
        }
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !options.values().flat_map(Choice::values).all(plain) {
            self.fault(format!("{at}.options"), "may stand for letters, digits, '-', '_' and '.' alone");
        }
    }

    fn authorize(&mut self) {
        let authorize = &self.spec.authorize;
        let nothing = Kept { callback: &BTreeSet::new(), metadata: &BTreeSet::new() };
        if let Some(url) = &authorize.url {
            self.url("authorize.url", url, AUTHORIZE, Place { kept: &nothing, secrets: false, signed: false });
        }
        for (name, template) in &authorize.params {
            self.template(
                &format!("authorize.params.{name}"),
                template,
                AUTHORIZE,
                Place { kept: &nothing, secrets: false, signed: false },
            );
        }
        if authorize.scopes.separator.is_empty() || authorize.scopes.separator.len() > 3 {
            self.fault("authorize.scopes.separator", "must have 1 to 3 characters");
        }
        let separator = authorize.scopes.separator.clone();
        let scopes = &authorize.scopes;
        let known: Vec<_> = scopes.default.iter().chain(&scopes.always).chain(&scopes.examples).collect();
        if let Some(scope) = known.iter().find(|scope| scope.is_empty() || scopes.joins(scope)) {
            self.fault(
                "authorize.scopes",
                format!("the scope {scope:?} is empty or joined of several, where the separator is {separator:?}: give each scope its own string"),
            );
        }
        if authorize.params_in_fragment && authorize.fragment.is_none() {
            self.fault("authorize.fragment", "is missing: say where in the fragment the params stand");
        }
        if authorize.fragment.as_deref().is_some_and(|text| text.len() > 200 || !text.bytes().all(is_fragment)) {
            self.fault("authorize.fragment", "must be at most 200 letters, digits and characters of a path, without '#'");
        }
        if authorize.pkce == PkceUse::Plain && authorize.drop.iter().any(|name| name == "code_challenge") {
            self.fault("authorize.drop", "drops the PKCE challenge; say `pkce = \"off\"`");
        }
        if authorize.drop.iter().any(|name| name == "state") {
            self.fault("authorize.drop", "drops `state`, without which no callback can be told from a forged one");
        }
    }

    fn lookups(&mut self) {
        let spec = self.spec;
        let callback: BTreeSet<&str> = spec.callback.keep.iter().map(String::as_str).collect();
        // Each may use what the answer and the look-ups before it brought.
        let mut known: BTreeSet<&str> = callback.iter().copied().chain(spec.response.keep.keys().map(String::as_str)).collect();
        for (at, step) in spec.after_connect.iter().enumerate() {
            let at = format!("after_connect.{at}");
            self.request(&at, &step.request, LOOKUP, &Kept { callback: &callback, metadata: &known });
            known.extend(step.keep.keys().map(String::as_str));
            if step.keep.is_empty() && step.subject.is_empty() {
                self.fault(&at, "looks something up and keeps nothing: give `keep` or `subject`");
            }
            if step.first && (step.optional || spec.extend.is_none()) {
                self.fault(format!("{at}.first"), "is for look-ups that `[extend]` must wait for, and none of those is optional");
            }
            if step.token_set.as_ref().is_some_and(|name| !self.spec.response.sets.iter().any(|set| set.name == *name)) {
                self.fault(format!("{at}.token_set"), "names no token set of `[response.sets]`");
            }
        }
    }

    fn request(&mut self, at: &str, request: &RequestSpec, names: &[&str], kept: &Kept<'_>) {
        let names = &[names, MOMENT].concat();
        let place = Place { kept, secrets: true, signed: true };
        self.url(&format!("{at}.url"), &request.url, names, place);
        if request.method == Method::Get && request.body != BodyKind::Query {
            self.fault(format!("{at}.body"), "must be \"query\" where the method is \"get\"");
        }
        self.signed(at, request, names, kept);
        for (key, template) in [("basic_user", &request.basic_user), ("basic_pass", &request.basic_pass)] {
            let at = format!("{at}.{key}");
            match template {
                Some(_) if request.client_auth != ClientAuth::Basic => self.fault(at, "is for `client_auth = \"basic\"` alone"),
                Some(template) => self.template(&at, template, names, place),
                None => {}
            }
        }
        for (name, value) in &request.params {
            if let ParamValue::Text(template) = value {
                self.template(&format!("{at}.params.{name}"), template, names, place);
            }
        }
        for (name, template) in &request.headers {
            let at = format!("{at}.headers.{name}");
            let token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            if name.is_empty() || !name.bytes().all(token) || FORBIDDEN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                self.fault(&at, "is not a header that a file may set");
            }
            self.template(&at, template, names, place);
        }
    }

    fn url(&mut self, at: &str, url: &UrlTemplate, names: &[&str], place: Place<'_>) {
        if url.is_loopback() && self.spec.owner == Owner::Catalogue {
            self.fault(at, "must begin with https:// and a host, or with a param of the kind `origin`");
        }
        for name in url.host_names() {
            let late = name.strip_prefix("callback.").filter(|name| place.kept.callback.contains(name));
            if let Some(rule) = late.and_then(|name| self.spec.callback.hosts.get(name)) {
                let in_front = *rule == HostRule::Label;
                if !url.host_is(name, in_front) {
                    let rule = if in_front { "stands in front of a domain" } else { "is a whole host" };
                    self.fault(at, format!("`{{{name}}}` {rule}: see `[callback.hosts]`"));
                }
                continue;
            }
            if !self.spec.param_of(name).is_some_and(|param| param.kind.fits_host() && !param.secret) {
                let rule = format!(
                    "`{{{name}}}` stands in the host, so it must be a declared param of the kind host, subdomain, guid or enum, or one of `[callback.hosts]`"
                );
                self.fault(at, rule);
            }
        }
        if let Some(name) = url.origin_name()
            && !self.spec.params.get(name).is_some_and(|param| param.kind == ParamKind::Origin)
        {
            self.fault(at, format!("`{{{name}}}` begins the URL, so it must be a declared param of the kind origin"));
        }
        let (told, open) = (url.path_told(), Place { secrets: false, signed: false, ..place });
        let public: Vec<&str> = names.iter().copied().filter(|name| !SECRET.contains(name)).collect();
        for name in url.path_names() {
            if place.signed && !told.contains(name) {
                self.untold(at, name, names, Place { signed: false, ..place });
            } else {
                self.name(at, name, &public, open);
            }
        }
    }

    fn template(&mut self, at: &str, template: &Template, names: &[&str], place: Place<'_>) {
        let told = template.told();
        for name in template.names() {
            if place.signed && !told.contains(name) {
                self.untold(at, name, names, place);
            } else {
                self.name(at, name, names, place);
            }
        }
    }

    /// A name in an HMAC of a request: there the client's secret may stand whatever the request is for.
    fn untold(&mut self, at: &str, name: &str, names: &[&str], place: Place<'_>) {
        self.name(at, name, &[names, &["client_secret"]].concat(), place);
    }

    fn name(&mut self, at: &str, name: &str, names: &[&str], place: Place<'_>) {
        let kept = name.strip_prefix("callback.").is_some_and(|name| place.kept.callback.contains(name))
            || name.strip_prefix("metadata.").is_some_and(|name| place.kept.metadata.contains(name))
            || name.strip_prefix("jwt.").is_some_and(|name| place.signed && self.spec.jwts.contains_key(name));
        let declared = self.spec.param_of(name).is_some_and(|param| place.secrets || !param.secret);
        if declared || names.contains(&name) || kept {
            return;
        }
        let params = self.spec.params.values().filter(|param| param.kind != ParamKind::PrivateKey);
        let jwts = self.spec.jwts.keys().filter(|_| place.signed).map(|name| format!("jwt.{name}"));
        let known: BTreeSet<String> =
            names.iter().map(|name| (*name).to_owned()).chain(params.map(|param| param.name.clone())).chain(jwts).collect();
        let known: Vec<_> = known.into_iter().collect();
        self.fault(at, format!("`{{{name}}}` is not declared for this place; known here: {}", known.join(", ")));
    }

    fn responses(&mut self) {
        for (at, response) in [("response", &self.spec.response), ("refresh.response", &self.spec.refresh.response)] {
            if response.sets.is_empty() {
                self.fault(at, "has no token set");
            }
            let tokens: Vec<String> = response
                .sets
                .iter()
                .flat_map(|set| &set.at)
                .flat_map(|base| {
                    response
                        .fields
                        .access_token
                        .iter()
                        .chain(&response.fields.refresh_token)
                        .chain(&response.fields.token_secret)
                        .map(|at| format!("{}{}", base.path, at.path))
                })
                .chain(["/id_token".to_owned(), "/access_token".to_owned(), "/refresh_token".to_owned()])
                .collect();
            for (name, pointer) in &response.keep {
                if keeps_a_secret(pointer, &tokens) {
                    self.fault(format!("{at}.keep.{name}"), "would keep a token as metadata, where it is shown to people");
                }
            }
        }
    }

    fn usage(&mut self) {
        let usage = self.spec.usage.clone();
        let base_url = usage.base_url.iter().map(|url| ("use.base_url".to_owned(), url));
        let headers = usage.headers.iter().map(|(name, value)| (format!("use.headers.{name}"), value));
        let kept = |name: &str| self.spec.kept().any(|kept| kept == name);
        let mut faults = Vec::new();
        for (at, text) in base_url.chain(headers) {
            match Template::parse(text) {
                Err(error) => faults.push(Fault::new(at, error.to_string())),
                Ok(template) => {
                    for name in template
                        .names()
                        .into_iter()
                        .filter(|name| !kept(name) && *name != "client_id" && self.spec.param_of(name).is_none())
                    {
                        faults.push(Fault::new(at.clone(), format!("`{{{name}}}` is neither a param nor a kept value")));
                    }
                }
            }
        }
        self.faults.extend(faults);
    }
}

/// What is known of a connection when a request is built.
#[derive(Clone, Copy)]
struct Kept<'a> {
    /// As `{callback.x}`.
    callback: &'a BTreeSet<&'a str>,
    /// As `{metadata.x}`.
    metadata: &'a BTreeSet<&'a str>,
}

/// What may stand at a place.
#[derive(Clone, Copy)]
struct Place<'a> {
    kept: &'a Kept<'a>,
    /// Secret params.
    secrets: bool,
    /// JWTs; it is of a request, so that the client's secret is at hand.
    signed: bool,
}

fn keeps_a_secret(pointer: &Pointer, tokens: &[String]) -> bool {
    let covers =
        |token: &String| *token == pointer.path || token.strip_prefix(&pointer.path).is_some_and(|rest| rest.starts_with('/'));
    pointer.source == Source::Body && tokens.iter().any(covers)
}

/// Of RFC 3986 3.5, what needs no encoding and begins no query.
fn is_fragment(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b)
}

fn is_loopback(text: &str) -> bool {
    UrlTemplate::parse(text).is_ok_and(|url| url.is_loopback())
}

fn is_https(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.host_str().is_some_and(|host| host.contains('.')))
}
