//! A provider that a tenant defines: the same keys as a file, less to say about itself, and its URLs may come
//! from its issuer's metadata.

use toml::{Table, Value};

use super::locate::{friendly, line_at};
use super::{FILE_MAX, FileError, Owner, ProviderFile, Shelf, Source, inherited, understood};
use crate::domain::ids::ProviderId;
use crate::domain::provider::discovery::Discovered;

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
    let text = toml::to_string(&table).map_err(|cause| vec![fault(None, cause.to_string())])?;
    let source = Source { file: "definition".to_owned(), text };
    let mut with = shelf.clone();
    with.insert(id.clone(), source.clone());
    let table = inherited(&id, &with).map_err(|error| vec![in_own_words(error)])?;
    let understood = understood(&id, Owner::Tenant, &source, table);
    understood.map_err(|faults| faults.into_iter().map(in_own_words).collect())
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

/// The lines are those of the text that was written anew, so they would mislead.
fn in_own_words(error: FileError) -> FileError {
    if error.file == "definition" { FileError { line: None, ..error } } else { error }
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
    put(table, "authorize", "url", text(&found.authorization_endpoint));
    put(table, "token", "url", text(&found.token_endpoint));
    if found.names_itself {
        put(table, "callback", "issuer", text(&found.issuer));
    }
    put(table, "authorize", "pkce", text(if found.s256 { "optional" } else { "off" }));
    put(table, "token", "client_auth", text(if found.basic { "basic" } else { "post" }));
    if let Some(revocation) = &found.revocation_endpoint {
        put(table, "revoke", "url", text(revocation));
    }
    put(table, "refresh", "class", text("unknown"));
}

fn put(table: &mut Table, block: &str, key: &str, value: Value) {
    let block = table.entry(block).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(block) = block {
        block.entry(key).or_insert(value);
    }
}
