//! A provider that a tenant defines: the same keys as a file, less to say about itself, and its URLs may come
//! from its issuer's metadata.

use toml::{Table, Value};

use super::locate::{friendly, line_at, line_of, path_at};
use super::{FILE_MAX, FileError, Owner, ProviderFile, Shelf, Source, inherited, understood};
use crate::domain::ids::ProviderId;
use crate::domain::provider::Provider;
use crate::domain::provider::discovery::Discovered;
use crate::domain::provider::jwt::Audience;

/// What a tenant sent, and what is known besides.
#[derive(Debug, Clone, Copy)]
pub struct Definition<'a> {
    pub id: &'a ProviderId,
    /// TOML, or a JSON object with the same keys.
    pub text: &'a str,
    /// `YYYY-MM-DD`: stands in for `checked`.
    pub today: &'a str,
    pub discovered: Option<&'a Discovered>,
}

/// Reads a definition; it may extend a file of `shelf`.
pub fn parse_own(definition: &Definition<'_>, shelf: &Shelf) -> Result<ProviderFile, Vec<FileError>> {
    let mut table = table_of(definition.text).map_err(|error| vec![error])?;
    complete(&mut table, definition);
    let id = definition.id.clone();
    // Written anew, so that what a family merges is TOML whatever the tenant wrote.
    let written = toml::to_string(&table).map_err(|cause| vec![fault(None, cause.to_string())])?;
    let source = Source { file: "definition".to_owned(), text: written.clone() };
    let table = inherited(&id, &source, shelf).map_err(|error| vec![in_own_words(error, &written, definition.text)])?;
    let understood = understood(&id, Owner::Tenant, &source, table);
    let file = understood
        .map_err(|faults| faults.into_iter().map(|fault| in_own_words(fault, &written, definition.text)).collect::<Vec<_>>())?;
    let strange: Vec<_> = strange_audience(&file.provider, definition.discovered).into_iter().collect();
    if strange.is_empty() { Ok(file) } else { Err(strange) }
}

/// An assertion for one server must not be sent to another, which could use it there. In the catalogue people answer
/// for that; here the audience is of the host that the assertion goes to, unless the issuer itself names the endpoint.
fn strange_audience(provider: &Provider, discovered: Option<&Discovered>) -> Option<FileError> {
    let Audience::Issuer(issuer) = &provider.spec().client_assertion.as_ref()?.audience else { return None };
    let vouched = |url: &str| {
        discovered.is_some_and(|found| {
            issuer.as_str() == found.issuer && (url == found.token_endpoint || found.revocation_endpoint.as_deref() == Some(url))
        })
    };
    let mut sent = provider.spec().requests().filter(|(_, request)| request.client_auth.signs().is_some());
    let (at, _) = sent.find(|(_, request)| !(request.url.shares_host(issuer) || vouched(request.url.as_str())))?;
    let rule = format!(
        "is of another host than `{at}.url`, which could use the assertion there: it must be the issuer that this endpoint belongs to"
    );
    Some(FileError { at: "client_assertion.audience".to_owned(), ..fault(None, rule) })
}

/// The issuer whose metadata is to stand in for URLs.
pub fn issuer_of(text: &str) -> Result<Option<String>, FileError> {
    match table_of(text)?.get("issuer") {
        None => Ok(None),
        Some(Value::String(issuer)) => Ok(Some(issuer.clone())),
        Some(_) => Err(fault(None, "issuer: must be a URL in quotes".to_owned())),
    }
}

fn table_of(text: &str) -> Result<Table, FileError> {
    if text.len() > FILE_MAX {
        return Err(fault(None, format!("is longer than {FILE_MAX} bytes")));
    }
    if text.trim_start().starts_with('{') {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|cause| fault(Some(cause.line()), "is not JSON".to_owned()))?;
        return Table::try_from(without_nulls(value)).map_err(|cause| fault(None, friendly(&cause.to_string())));
    }
    text.parse()
        .map_err(|cause: toml::de::Error| fault(cause.span().map(|span| line_at(text, span.start)), friendly(cause.message())))
}

/// TOML has no null: what is null is left out.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Object};
    match value {
        Object(fields) => Object(
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, without_nulls(value))).collect(),
        ),
        Array(values) => Array(values.into_iter().filter(|value| !value.is_null()).map(without_nulls).collect()),
        value => value,
    }
}

fn fault(line: Option<usize>, message: String) -> FileError {
    FileError { file: "definition".to_owned(), line, at: String::new(), message }
}

/// The line is that of the text that was written anew, and would mislead: where the tenant wrote TOML it is looked for there,
/// and where it wrote JSON the path of the key has to do.
fn in_own_words(error: FileError, written: &str, own: &str) -> FileError {
    if error.file != "definition" {
        return error;
    }
    let is_json = own.trim_start().starts_with('{');
    let path = if error.at.is_empty() { error.line.and_then(|line| path_at(written, line)) } else { Some(error.at.clone()) };
    let path = path.unwrap_or_default();
    if is_json { FileError { line: None, at: path, ..error } } else { FileError { line: line_of(own, &path), ..error } }
}

/// What a tenant need not say, and what its issuer says for it. Its own words come first.
fn complete(table: &mut Table, definition: &Definition<'_>) {
    let checked = definition.today.parse().map(Value::Datetime);
    let text = |text: &str| Value::String(text.to_owned());
    let papers = [
        ("docs", text("")),
        ("known", text("docs")),
        ("categories", Value::Array(vec![text("own")])),
        ("credentials", text("As its operator gave them to you.")),
    ];
    for (key, value) in papers.into_iter().chain(checked.ok().map(|date| ("checked", date))) {
        table.entry(key).or_insert(value);
    }
    let Some(found) = definition.discovered else { return };
    put(table, "token", "url", text(&found.token_endpoint));
    // Who proves itself by what it signs says for whom: for the issuer, as its own metadata has it.
    if table.contains_key("client_assertion") || names_assertion(table) {
        put(table, "client_assertion", "audience", text(&found.issuer));
    }
    put(table, "token", "client_auth", text(if found.basic { "basic" } else { "post" }));
    if let Some(revocation) = &found.revocation_endpoint {
        put(table, "revoke", "url", text(revocation));
    }
    let minted = ["client_credentials", "jwt_bearer"].map(text);
    if table.get("grant").is_some_and(|grant| minted.contains(grant)) {
        return;
    }
    put(table, "authorize", "url", text(&found.authorization_endpoint));
    put(table, "authorize", "pkce", text(if found.s256 { "optional" } else { "off" }));
    if found.names_itself {
        put(table, "callback", "issuer", text(&found.issuer));
    }
    put(table, "refresh", "class", text("unknown"));
}

fn names_assertion(table: &Table) -> bool {
    let auth = table.get("token").and_then(|token| token.get("client_auth")).and_then(Value::as_str);
    matches!(auth, Some("private_key_jwt" | "client_secret_jwt"))
}

fn put(table: &mut Table, block: &str, key: &str, value: Value) {
    let block = table.entry(block).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(block) = block {
        block.entry(key).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provider::destinations::moved;

    fn read(text: &str, discovered: Option<&Discovered>) -> Result<ProviderFile, Vec<FileError>> {
        let id = ProviderId::parse("own").unwrap();
        parse_own(&Definition { id: &id, text, today: "2026-11-22", discovered }, &Shelf::new())
    }

    fn definition(token: &str, more: &str) -> String {
        format!(
            "name = \"Own\"\nauthorize = {{ url = \"https://evil.example/a\", pkce = \"required\" }}\n\
            token = {{ url = \"{token}\", client_auth = \"private_key_jwt\" }}\nrefresh.class = \"unknown\"\n\
            params.private_key = {{ title = \"K\", kind = \"private_key\", needed_by = \"integration\" }}\n{more}"
        )
    }

    /// One server calls another's endpoint its own, so that it is sent what is good there.
    #[test]
    fn no_server_is_sent_what_is_good_at_another() {
        let audience = |audience: &str| format!("client_assertion.audience = \"{audience}\"\n");
        let at_evil = |more: &str| definition("https://evil.example/token", more);
        for refused in [
            at_evil(&audience("https://honest.example")),
            at_evil(&audience("https://honest.example/token")),
            at_evil(&audience("https://evil.example.honest.example")),
            // The honest server's token endpoint, and a revocation at home.
            definition(
                "https://honest.example/token",
                &format!("{}revoke.url = \"https://evil.example/revoke\"\n", audience("https://honest.example")),
            ),
            at_evil(&format!("{}refresh.url = \"https://other.example/token\"\n", audience("https://evil.example"))),
        ] {
            let faults = read(&refused, None).expect_err(&refused);
            assert!(faults[0].to_string().contains("client_assertion.audience: is of another host"), "{faults:?}");
        }
        read(&at_evil(&audience("https://evil.example")), None).unwrap();
        read(&at_evil("client_assertion.audience = \"endpoint\"\n"), None).unwrap();
    }

    /// Every way to have secrets sent elsewhere, or shown, is a move; what does neither is none.
    #[test]
    fn a_move_is_seen_wherever_it_is_made() {
        let base = "name = \"Own\"\nauthorize.url = \"https://id.example/a\"\nrefresh.class = \"rotate_plain\"\n\
            token.url = \"https://{pod}.id.example/{area}/token\"\nrevoke.url = \"https://{callback.home}/revoke\"\n\
            authorize.pkce = \"required\"\nresponse.keep = { seen = \"/seen\" }\n\
            params.pod = { title = \"P\", kind = \"enum\", needed_by = \"link\", options = { eu = \"eu1\", us = \"us1\" }, default = \"eu\" }\n\
            params.area = { title = \"A\", kind = \"text\", needed_by = \"integration\", example = \"x\", pattern = \"^[a-z]$\" }\n\
            callback.keep = [\"home\"]\ncallback.hosts.home = [\"id.example\"]\n\
            after_connect = [{ name = \"me\", url = \"https://id.example/me\", keep = { id = \"/id\" } }]\n";
        let spec = |text: &str| read(text, None).unwrap_or_else(|faults| panic!("{text}: {faults:?}")).provider.spec().clone();
        let moved = |(old, new): (&str, &str)| {
            assert!(base.contains(old), "{old}");
            moved(&spec(base), &spec(&base.replacen(old, new, 1)))
        };
        for (change, told) in [
            (("/token", "/token2"), "token.url"),
            (("/{area}/", "/"), "token.url"),
            (("eu1", "eu2"), "token.url"),
            (("default = \"eu\"", "default = \"us\""), "token.url"),
            (("\"integration\"", "\"link\""), "token.url"),
            (("^[a-z]$", "^[a-y]$"), "token.url"),
            (("hosts.home = [\"id.example\"]", "hosts.home = [\"id.example\", \"evil.example\"]"), "revoke.url"),
            (("refresh.class", "refresh.url = \"https://evil.example/\"\nrefresh.class"), "refresh.url"),
            (("example/me", "example/you"), "after_connect.0.url"),
            (("response.keep", "response.access_token = \"/refresh_token\"\nresponse.keep"), "response"),
        ] {
            assert_eq!(moved(change).as_deref(), Some(told), "{change:?}");
        }
        for change in [
            ("\"Own\"", "\"Another\""),
            ("/a\"", "/b\""),
            ("title = \"P\"", "title = \"Q\""),
            ("/seen", "/saw"),
            ("revoke.url", "#"),
            ("keep = { id = \"/id\" }", "keep = { id = \"/uid\" }"),
        ] {
            assert_eq!(moved(change), None, "{change:?}");
        }
    }

    /// What an issuer says of itself is believed of itself alone, and only where the definition does not go elsewhere.
    #[test]
    fn an_issuer_vouches_for_its_own_endpoints_alone() {
        let found = Discovered {
            issuer: "https://id.example".to_owned(),
            authorization_endpoint: "https://login.example/a".to_owned(),
            token_endpoint: "https://api.example/token".to_owned(),
            revocation_endpoint: Some("https://api.example/revoke".to_owned()),
            s256: true,
            names_itself: false,
            basic: true,
        };
        let text = |token: &str| {
            format!(
                "name = \"Own\"\nissuer = \"https://id.example\"\ntoken = {{ {token}client_auth = \"private_key_jwt\" }}\n\
                params.private_key = {{ title = \"K\", kind = \"private_key\", needed_by = \"integration\" }}\n"
            )
        };
        let file = read(&text(""), Some(&found)).unwrap();
        let assertion = file.provider.spec().client_assertion.clone().unwrap();
        let Audience::Issuer(audience) = assertion.audience else { panic!("the issuer") };
        assert_eq!(audience.as_str(), "https://id.example");
        let faults = read(&text("url = \"https://evil.example/token\", "), Some(&found)).unwrap_err();
        assert!(faults[0].to_string().contains("is of another host"), "{faults:?}");
    }
}
