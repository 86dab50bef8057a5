//! A made-up provider for unit tests, changed by a piece of TOML.

use toml::Table;

use super::{Definition, Shelf, Source, merge, parse, parse_own};
use crate::domain::ids::ProviderId;
use crate::domain::provider::Provider;

const ACME: &str = r#"
name = "Acme"
docs = "https://docs.acme.example/oauth"
checked = 2026-01-02
known = "docs"
categories = ["testing"]
credentials = "Ask Acme."

[authorize]
url = "https://acme.example/authorize"
pkce = "optional"

[token]
url = "https://acme.example/token"

[refresh]
class = "rotate_plain"

[[test]]
step = "authorize"
url = "https://acme.example/authorize"
[[test]]
step = "exchange"
request = { url = "https://acme.example/token" }
answer = "{}"
expect = { failure = "in_doubt" }
[[test]]
step = "refresh"
request = { url = "https://acme.example/token" }
answer = "{}"
[[test]]
step = "device"
request = { url = "https://acme.example/device" }
answer = "{}"
[[test]]
step = "install"
callback = ""
[[test]]
step = "extend"
request = { url = "https://acme.example/extend" }
answer = "{}"
[[test]]
step = "introspect"
request = { url = "https://acme.example/introspect" }
answer = "{}"
[[test]]
step = "revoke"
request = { url = "https://acme.example/revoke" }
"#;

/// Acme with these changes; tables are merged, everything else is replaced.
pub(crate) fn acme(changes: &str) -> Provider {
    try_acme(changes).unwrap_or_else(|faults| panic!("{}", faults.join("\n")))
}

/// A provider of this text and nothing else.
pub(crate) fn alone(text: &str) -> Provider {
    let id = ProviderId::parse("alone").unwrap();
    let shelf: Shelf = [(id.clone(), Source { file: "alone.toml".to_owned(), text: text.to_owned() })].into();
    parse(&id, &shelf).unwrap_or_else(|faults| panic!("{faults:?}")).provider
}

/// A provider as a tenant defines it: without what a file tells people, and without vectors.
pub(crate) fn try_defined(text: &str) -> Result<Provider, String> {
    let id = ProviderId::parse("acme").unwrap();
    let definition = Definition { id: &id, text, today: "2026-11-22", discovered: None };
    let read = parse_own(&definition, &Shelf::new()).map(|file| file.provider);
    read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

pub(crate) fn try_acme(changes: &str) -> Result<Provider, Vec<String>> {
    let mut table: Table = changes.parse().map_err(|error: toml::de::Error| vec![error.to_string()])?;
    merge(&mut table, ACME.parse().unwrap());
    let id = ProviderId::parse("acme").unwrap();
    let shelf: Shelf = [(id.clone(), Source { file: "acme.toml".to_owned(), text: table.to_string() })].into();
    match parse(&id, &shelf) {
        Ok(file) => Ok(file.provider),
        Err(faults) => Err(faults.iter().map(|fault| format!("{}: {}", fault.at, fault.message)).collect()),
    }
}
