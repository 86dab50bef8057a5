//! One provider for people: what to supply, how its tokens live, how they are used.

use std::io::{self, Write};

use crate::services::catalogue::card::{ParamCard, ProviderCard};

pub(super) fn print(card: &ProviderCard, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({})\n", card.name, card.id)?;
    line(out, "docs", &card.docs)?;
    line(out, "checked", &format!("{}, known from {}", card.checked, card.known))?;
    line(out, "categories", &card.categories.join(", "))?;
    line(out, "credentials", &card.credentials)?;
    line(out, "grant", card.grant)?;
    line(out, "client secret", card.client_secret)?;
    for param in &card.params {
        line(out, "setting", &setting(param))?;
    }
    line(out, "scopes", &scopes(card))?;
    if !is_minted(card) {
        line(out, "PKCE", card.pkce)?;
    }
    line(out, "access token", &life(card))?;
    line(out, "refresh", &refresh(card))?;
    line(out, "revoking", &revoking(card))?;
    line(out, "token sets", &card.token_sets.join(", "))?;
    line(out, "metadata", &card.metadata.join(", "))?;
    let sent = match &card.usage.signature {
        Some(signature) => format!("each call is signed with {} (OAuth 1.0a)", signature.method),
        None => format!("{}: {} TOKEN", card.usage.header, card.usage.scheme),
    };
    line(out, "use", &sent)?;
    line(out, "base URL", card.usage.base_url.as_deref().unwrap_or_default())?;
    for (name, value) in &card.usage.headers {
        line(out, "header", &format!("{name}: {value}"))?;
    }
    if !is_minted(card) {
        line(out, "loopback", &format!("{} (redirect URIs on this machine)", card.redirect.loopback))?;
    }
    for warning in &card.warnings {
        line(out, "note", warning)?;
    }
    Ok(())
}

/// No end user is asked.
pub(super) fn is_minted(card: &ProviderCard) -> bool {
    matches!(card.grant, "client_credentials" | "jwt_bearer")
}

/// One fact; none where there is nothing to say.
fn line(out: &mut dyn Write, what: &str, said: &str) -> io::Result<()> {
    if said.is_empty() { Ok(()) } else { writeln!(out, "{what:>14}  {said}") }
}

fn setting(param: &ParamCard) -> String {
    let mut parts = vec![format!("{}: {} ({}, {}", param.name, param.title, param.kind, param.needed_by)];
    parts.extend(param.options.as_ref().map(|options| format!("one of {}", options.join(" "))));
    parts.extend(param.default.as_ref().map(|default| format!("default {default}")));
    parts.extend(param.example.as_ref().map(|example| format!("such as {example}")));
    parts.extend(param.secret.then(|| "secret".to_owned()));
    parts.join(", ") + ")"
}

pub(super) fn scopes(card: &ProviderCard) -> String {
    let scopes = &card.scopes;
    if scopes.none {
        return "none".to_owned();
    }
    let parts = [
        ("by default", &scopes.default),
        ("always", &scopes.always),
        ("such as", &scopes.examples),
        ("with prefix", &scopes.prefixes),
    ];
    let said: Vec<String> =
        parts.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| format!("{what} {}", list.join(" "))).collect();
    said.join("; ")
}

/// How long an access token lives.
pub(super) fn life(card: &ProviderCard) -> String {
    let assumed = card.access_token.default_seconds.map(|seconds| format!("{} are assumed", spoken(seconds)));
    let assumed = assumed.unwrap_or_else(|| "it is taken not to end".to_owned());
    let asked = if card.access_token.introspected { "the provider is asked when the connection is made, and else " } else { "" };
    format!("lives as long as its answer says; where that says nothing, {asked}{assumed}")
}

/// What ending a connection does at the provider.
pub(super) fn revoking(card: &ProviderCard) -> String {
    let Some(revoke) = &card.revoke else { return "forgets it here; the provider has no call for it".to_owned() };
    let token = if revoke.token == "refresh_token" && card.refresh.with == Some("refresh_token") { "refresh" } else { "access" };
    let ends = match revoke.ends {
        Some("grant") => ", which ends the whole grant there",
        Some(_) => ", and that alone: the end user's consent stays",
        None if is_minted(card) => "",
        None => "; whether the end user's consent ends with it is not known",
    };
    format!("also revokes the {token} token at the provider{ends}")
}

pub(super) fn refresh(card: &ProviderCard) -> String {
    let refresh = &card.refresh;
    let span = |what: &str, seconds: Option<u64>| seconds.map(|seconds| format!("{what} {}", spoken(seconds)));
    let mut parts = vec![refresh.class.to_owned()];
    parts.extend(refresh.with.filter(|with| *with != "refresh_token").map(|with| format!("with {with}")));
    parts.extend(span("grace", refresh.grace_seconds));
    parts.extend(span("not before", refresh.min_age_seconds));
    parts.extend(span("ends after", refresh.max_age_seconds));
    parts.extend(span("ends unused after", refresh.idle_max_seconds));
    parts.extend(refresh.rate.as_ref().map(|rate| format!("at most {} in {}", rate.count, spoken(rate.per_seconds))));
    parts.extend(refresh.kills_access.then(|| "ends the old access token".to_owned()));
    let note = refresh.note.as_ref().map(|note| format!(". {note}")).unwrap_or_default();
    format!("{}{note}", parts.join(", "))
}

pub(super) fn spoken(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    unit.map_or(format!("{seconds} s"), |(size, name)| format!("{} {name}", seconds / size))
}
