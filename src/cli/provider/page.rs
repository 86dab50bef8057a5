//! One provider as a page of documentation: what to do, in order, and what to expect. Markdown, made from
//! the file alone, so that it cannot say anything else.

use std::fmt::Write as _;

use crate::services::catalogue::card::{ParamCard, ProviderCard};

use super::card::{is_minted, life, refresh, revoking, scopes, spoken};

/// How well a file's facts are known, for people.
pub(super) fn known(card: &ProviderCard) -> &'static str {
    match card.known {
        "docs" => "read in the provider's documentation",
        "libraries" => "several open libraries agree",
        _ => "one open library says so",
    }
}

/// The whole page.
pub(super) fn page(card: &ProviderCard) -> String {
    let mut out = format!("# {}\n\n", card.name);
    say(&mut out, "Made from the provider's file by `claviger provider docs`; change the file, not this page.\n");
    say(&mut out, "| | |\n|---|---|");
    row(&mut out, "id", &format!("`{}`", card.id));
    row(&mut out, "categories", &card.categories.join(", "));
    row(&mut out, "documentation", &format!("<{}>", card.docs));
    row(&mut out, "how well it is known", &format!("{} (looked at on {})", known(card), card.checked));
    steps(&mut out, card);
    installs(&mut out, card);
    tokens(&mut out, card);
    usage(&mut out, card);
    list(&mut out, "Good to know", &card.warnings);
    out
}

fn say(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn row(out: &mut String, what: &str, said: &str) {
    if !said.is_empty() {
        // Writing to a string cannot fail.
        _ = writeln!(out, "| {what} | {} |", said.replace('|', "\\|"));
    }
}

fn list(out: &mut String, title: &str, entries: &[String]) {
    if !entries.is_empty() {
        say(out, &format!("\n## {title}\n"));
        for entry in entries {
            say(out, &format!("- {entry}"));
        }
    }
}

/// Where a flow may begin at the provider.
fn installs(out: &mut String, card: &ProviderCard) {
    if card.installs {
        say(out, "\n## Installs\n");
        say(
            out,
            "An install that begins at the provider connects nobody by itself. Give a page of yours as `install_url` when you enable it, and end users are sent there to be made a link.",
        );
    }
}

/// From nothing to a token.
fn steps(out: &mut String, card: &ProviderCard) {
    say(out, "\n## Connect\n");
    say(out, &format!("1. {}", card.credentials));
    if is_minted(card) {
        return steps_at_once(out, card);
    }
    if card.grant == "device_code" {
        say(out, "2. There is no redirect URI: the link shows end users a code, which they enter at the provider.");
    } else {
        let named = format!("2. Register the redirect URI that `GET /providers/{}` names (with your API key).", card.id);
        say(out, &format!("{named}{}", redirects(card)));
    }
    say(out, "3. Enable the provider:\n");
    say(out, &command("enable-provider", &enable_fields(card)));
    settings(out, card, "integration");
    say(out, "4. Make a link for an end user, and send their browser there:\n");
    say(out, &command(&format!("authorize-{}", card.id), &link_fields(card)));
    settings(out, card, "link");
    say(out, "5. From then on, whenever you need a token:\n");
    say(out, &command("get-access-token", &[field("provider", &card.id), field("end_user_id", "user-1")]));
}

/// The same where no end user is asked.
fn steps_at_once(out: &mut String, card: &ProviderCard) {
    say(out, "2. Enable the provider:\n");
    say(out, &command("enable-provider", &enable_fields(card)));
    settings(out, card, "integration");
    say(out, "3. Connect, at once and without a browser; `end_user_id` is your own name for whom the token is used:\n");
    say(out, &command(&format!("authorize-{}", card.id), &link_fields(card)));
    settings(out, card, "link");
    say(out, "4. From then on, whenever you need a token:\n");
    say(out, &command("get-access-token", &[field("provider", &card.id), field("end_user_id", "user-1")]));
}

fn redirects(card: &ProviderCard) -> &'static str {
    match (card.redirect.loopback, card.redirect.https_only) {
        ("refused", true) => " It must be https; loopback addresses are refused, so use a tunnel while you develop.",
        ("localhost", true) => " It must be https, or `http://localhost` while you develop (not `127.0.0.1`).",
        ("address", true) => " It must be https, or `http://127.0.0.1` while you develop (not `localhost`).",
        (_, true) => " It must be https; while you develop, loopback may be http.",
        _ => "",
    }
}

fn field(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

fn enable_fields(card: &ProviderCard) -> Vec<String> {
    let mut fields = vec![field("provider", &card.id), field("client_id", "YOUR_CLIENT_ID")];
    if card.client_secret != "unused" {
        fields.push(field("client_secret", "YOUR_CLIENT_SECRET"));
    }
    let scopes = if card.scopes.default.is_empty() { &card.scopes.examples } else { &card.scopes.default };
    if !card.scopes.none && !scopes.is_empty() {
        fields.push(field("scopes", &scopes.join(" ")));
    }
    fields.extend(wanted(card, "integration"));
    fields
}

fn link_fields(card: &ProviderCard) -> Vec<String> {
    [field("end_user_id", "user-1")].into_iter().chain(wanted(card, "link")).collect()
}

fn wanted<'a>(card: &'a ProviderCard, by: &'a str) -> impl Iterator<Item = String> + 'a {
    let asked = card.params.iter().filter(move |param| param.needed_by == by && param.required);
    asked.map(|param| field(&param.name, param.example.as_deref().unwrap_or("…")))
}

/// A command that can be pasted once the two variables are set.
fn command(verb: &str, fields: &[String]) -> String {
    let mut lines = vec![format!("   curl \"$CLAVIGER_URL/{verb}\" -H \"Authorization: Bearer $CLAVIGER_API_KEY\"")];
    lines.extend(fields.iter().map(|field| format!("     --data-urlencode '{}'", field.replace('\'', "'\\''"))));
    format!("   ```sh\n{}\n   ```\n", lines.join(" \\\n"))
}

fn settings(out: &mut String, card: &ProviderCard, by: &str) {
    let mine: Vec<&ParamCard> = card.params.iter().filter(|param| param.needed_by == by).collect();
    for param in &mine {
        say(out, &format!("   - `{}`: {}{}", param.name, param.title, details(param)));
    }
    if !mine.is_empty() {
        out.push('\n');
    }
}

fn details(param: &ParamCard) -> String {
    let mut parts = vec![param.kind.to_owned()];
    if let Some(options) = &param.options {
        parts.push(format!("one of {}", options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ")));
    }
    parts.extend(param.default.as_ref().map(|default| format!("`{default}` unless given")));
    parts.extend(param.example.as_ref().map(|example| format!("such as `{example}`")));
    parts.extend((!param.required && param.default.is_none()).then(|| "may be left out".to_owned()));
    parts.extend(param.secret.then(|| "stored sealed, never shown".to_owned()));
    format!(" ({})", parts.join("; "))
}

fn tokens(out: &mut String, card: &ProviderCard) {
    say(out, "\n## Tokens\n\n| | |\n|---|---|");
    row(out, "scopes", &scopes(card));
    if card.grant == "authorization_code" {
        row(out, "PKCE", card.pkce);
    }
    row(out, "access token", &life(card));
    row(out, "refresh", &refreshing(card));
    row(out, "in the provider's file", &refresh(card));
    row(out, "revoking a connection", &revoking(card));
    if card.token_sets.len() > 1 {
        row(out, "token sets", &format!("{}: say which with `token_set`", card.token_sets.join(", ")));
    }
    row(out, "metadata that may come", &card.metadata.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
}

/// What the class means to a tenant.
fn refreshing(card: &ProviderCard) -> String {
    match card.refresh.with {
        Some("client") => return "none is needed: each token is minted anew with your own credentials".to_owned(),
        Some("access_token") => {
            let early = card.refresh.min_age_seconds.map(|seconds| format!("; not while it is younger than {}", spoken(seconds)));
            let early = early.unwrap_or_default();
            return format!(
                "the access token itself is exchanged for the next, which is done in time; one that has ended cannot be{early}"
            );
        }
        _ => {}
    }
    let meaning = match card.refresh.class {
        "none" => return "none: the token is served until it ends; where it does not end, for good".to_owned(),
        "nonrotating" => "the same refresh token again and again",
        "rotate_grace" => "each use brings a new refresh token; the old one is good for a little longer",
        "rotate_plain" => "each use brings a new refresh token; the old one is refused from then on",
        "rotate_strict" => "each use brings a new refresh token; using an old one ends the grant",
        _ => "a refresh token comes; what its use does to it is not documented, so it is treated with care",
    };
    let mut parts = vec![meaning.to_owned()];
    parts.extend(card.refresh.idle_max_seconds.map(|seconds| format!("it dies when unused for {}", spoken(seconds))));
    parts.extend(card.refresh.max_age_seconds.map(|seconds| format!("the user consents anew after {}", spoken(seconds))));
    parts.join("; ")
}

fn usage(out: &mut String, card: &ProviderCard) {
    match &card.usage.signature {
        Some(signature) => {
            // An RSA signature is made with the key alone (RFC 5849 3.4.3).
            let with = if card.client_secret == "unused" {
                "the consumer key is your client id, the token is `access_token` of the answer, and the signature is your private key's"
            } else {
                "the consumer key and secret are your client id and secret, the token and its secret are `access_token` and \
                 `token_secret` of the answer"
            };
            let (method, place) = (signature.method, signature.params_in);
            let signed =
                format!("Sign each call as OAuth 1.0a (RFC 5849) has it, with {method}, the params in the {place}: {with}.");
            say(out, &format!("\n## Use\n\n{signed}"));
        }
        None => {
            let scheme = [card.usage.scheme.as_str(), "TOKEN"].join(" ");
            say(out, &format!("\n## Use\n\nSend `{}: {}`.", card.usage.header, scheme.trim()));
        }
    }
    if let Some(base) = &card.usage.base_url {
        say(out, &format!("The API is at `{base}`."));
    }
    for (name, value) in &card.usage.headers {
        say(out, &format!("Also send `{name}: {value}`."));
    }
}
