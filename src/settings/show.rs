//! The settings as they hold, for people: where each came from, no secret among them.

use url::Url;

use super::Problems;
use super::source::{Found, Layers, Values};

/// One setting, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub name: String,
    pub value: String,
    pub origin: String,
}

/// Every setting that holds.
pub fn effective(layers: &Layers) -> Result<Vec<Shown>, Problems> {
    let (values, _) = layers.values()?;
    Ok(values.iter().map(|(name, found)| shown(name, found, &values)).collect())
}

fn shown(name: &str, found: &Found, all: &Values) -> Shown {
    let text = found.value.join(", ");
    let value = match text.is_empty() {
        true => "(not set)".to_owned(),
        false if is_secret(name, all) => without_secret(name, &text),
        false => text,
    };
    Shown { name: name.to_owned(), value, origin: found.origin.clone() }
}

/// A secret is what may also be given as a file.
fn is_secret(name: &str, all: &Values) -> bool {
    all.contains_key(&format!("{name}_file"))
}

/// Of a URL the place is shown; whatever could be a password is not.
fn without_secret(name: &str, text: &str) -> String {
    let hidden = || "(set, not shown)".to_owned();
    if !name.ends_with(".url") {
        return hidden();
    }
    let Ok(mut url) = Url::parse(text) else { return hidden() };
    let named = !url.username().is_empty() || url.password().is_some();
    if named && (url.set_username("hidden").is_err() || url.set_password(Some("hidden")).is_err()) {
        return hidden();
    }
    url.set_query(None);
    url.to_string()
}
