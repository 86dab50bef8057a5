//! What a provider file says and no call shows: how its refresh tokens live, how a token is used, what is asked for
//! unless a tenant says, what its settings may be. A `facts` vector states it all, so that none of it changes unseen.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::{Table, Value};

use super::Outcome;
use crate::domain::provider::param::PARAM_MAX;
use crate::domain::provider::request::{BasicEncoding, ClientAuth, ClientSecret, RevokedToken};
use crate::domain::provider::{NeededBy, ParamKind, ParamSpec, Provider, RefreshClass, RefreshWith};

/// Whether these are the provider's facts, all of them. Without any, they are told as they would have to be written.
pub(super) fn hold(provider: &Provider, expected: Option<&Table>) -> Outcome {
    let found = facts(provider);
    let line = |name: &str, value: &Value| format!("      facts.{name} = {value}");
    let Some(expected) = expected else {
        let lines: Vec<String> = found.iter().map(|(name, value)| line(name, value)).collect();
        return Err(format!("has no `facts`; if these are true, they are:\n{}", lines.join("\n")));
    };
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    let differing = names.into_iter().filter(|name| expected.get(*name) != found.get(*name));
    let told: Vec<String> = differing
        .map(|name| format!("facts.{name}: expected {}, found {}", shown(expected.get(name)), shown(found.get(name))))
        .collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("\n      ")) }
}

/// What is as it is unless a file says otherwise is left out, where that is one word of several.
fn facts(provider: &Provider) -> Table {
    let spec = provider.spec();
    let scopes = provider.scopes();
    let asked = if scopes.none { Some(text("none")) } else { listed(scopes.default.iter().cloned()) };
    let secret = match provider.client_secret() {
        ClientSecret::Required => "required",
        ClientSecret::Optional => "optional",
        ClientSecret::Unused => "unused",
    };
    let revokes = spec.revoke.as_ref().map_or("nothing", |revoke| match revoke.token {
        RevokedToken::Refresh => "refresh_token",
        RevokedToken::Access => "access_token",
    });
    let raw =
        spec.requests().filter(|(_, request)| request.client_auth == ClientAuth::Basic && request.basic == BasicEncoding::Raw);
    let may_fail = spec.after_connect.iter().filter(|step| step.optional).map(|step| step.name.clone());
    let kept: BTreeSet<String> = spec.kept().map(str::to_owned).collect();
    let params = spec.params.values().filter(|param| param.needed_by != NeededBy::Deployment);
    let params: Table = params.map(|param| (param.name.clone(), Value::Table(setting(param)))).collect();
    let redirect = table([
        ("https_only", Some(Value::Boolean(spec.redirects.https_only))),
        ("loopback", Some(text(spec.redirects.loopback.as_str()))),
    ]);
    table([
        ("client_secret", Some(text(secret))),
        ("raw_basic", listed(raw.map(|(at, _)| at))),
        ("scopes", asked),
        ("refresh", Some(Value::Table(refresh(provider)))),
        ("revokes", Some(text(revokes))),
        ("revocation_ends", spec.revoke.as_ref().and_then(|revoke| revoke.ends).map(|ends| text(ends.as_str()))),
        ("use", Some(Value::Table(usage(provider)))),
        ("metadata", listed(kept)),
        ("optional", listed(may_fail)),
        ("redirect", Some(Value::Table(redirect))),
        ("params", Some(Value::Table(params)).filter(|params| params.as_table().is_some_and(|params| !params.is_empty()))),
    ])
}

fn refresh(provider: &Provider) -> Table {
    let refresh = provider.refresh();
    let grace = match refresh.class() {
        RefreshClass::RotateGrace(grace) => Some(grace),
        _ => None,
    };
    let with = refresh.renewal().filter(|with| *with != RefreshWith::RefreshToken);
    let rate = refresh.rate().map(|rate| text(&format!("{} in {}", rate.count, length(rate.per))));
    let span = |span: Option<Duration>| span.map(|span| text(&length(span)));
    table([
        ("class", Some(text(refresh.class().as_str()))),
        ("grace", span(grace)),
        ("with", with.map(|with| text(with.as_str()))),
        ("kills_access", refresh.kills_access().then_some(Value::Boolean(true))),
        ("max_age", span(refresh.max_age())),
        ("idle_max", span(refresh.idle_max())),
        ("min_age", span(refresh.min_age())),
        ("rate", rate),
    ])
}

fn usage(provider: &Provider) -> Table {
    let (spec, usage) = (provider.spec(), &provider.spec().usage);
    let token = match &spec.oauth1 {
        Some(oauth1) => format!("signed with {}", oauth1.signature.as_str()),
        None if usage.scheme.is_empty() => format!("{}: TOKEN", usage.header),
        None => format!("{}: {} TOKEN", usage.header, usage.scheme),
    };
    let headers: Table = usage.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    table([
        ("token", Some(text(&token))),
        ("base_url", usage.base_url.as_deref().map(text)),
        ("headers", (!headers.is_empty()).then_some(Value::Table(headers))),
    ])
}

fn setting(param: &ParamSpec) -> Table {
    let set = |on: bool| on.then_some(Value::Boolean(true));
    let limit = Some(param.max_length).filter(|most| param.kind != ParamKind::PrivateKey && *most != PARAM_MAX);
    let options = match &param.kind {
        ParamKind::Enum(options) => listed(options.keys().cloned()),
        _ => None,
    };
    table([
        ("kind", Some(text(param.kind.as_str()))),
        ("needed_by", Some(text(param.needed_by.as_str()))),
        ("default", param.default.as_deref().map(text)),
        ("pattern", param.pattern.as_ref().map(|pattern| text(as_written(pattern.as_str())))),
        ("max_length", limit.and_then(|most| i64::try_from(most).ok()).map(Value::Integer)),
        ("options", options),
        ("optional", set(param.optional)),
        ("secret", set(param.secret)),
    ])
}

/// A pattern is read as one of the whole value.
fn as_written(pattern: &str) -> &str {
    pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(pattern)
}

fn table<const N: usize>(entries: [(&str, Option<Value>); N]) -> Table {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn listed(entries: impl IntoIterator<Item = String>) -> Option<Value> {
    let entries: Vec<Value> = entries.into_iter().map(Value::String).collect();
    (!entries.is_empty()).then_some(Value::Array(entries))
}

/// In the largest unit of which it is a whole number.
fn length(span: Duration) -> String {
    let seconds = span.as_secs();
    let unit = [(86_400, "d"), (3_600, "h"), (60, "m")].into_iter().find(|(size, _)| seconds.is_multiple_of(*size));
    let (size, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / size)
}
