//! Field types that read alike from a form and from JSON: numbers and booleans as text, lists as
//! text with spaces or commas. An empty text is an absent value.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `#[serde(default, deserialize_with = "lenient::number")]`
pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| D::Error::custom("a number must be written in digits")),
        Value::Number(number) => {
            number.as_u64().map(Some).ok_or_else(|| D::Error::custom("a number must be whole and not negative"))
        }
        _ => Err(D::Error::custom("a number was expected")),
    }
}

/// `true`, `1`, `yes`, `on` and their opposites.
pub fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "" | "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(D::Error::custom("a flag must be true or false")),
        },
        _ => Err(D::Error::custom("a flag must be true or false")),
    }
}

/// A list, or text with spaces, commas or line ends between.
pub fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let split = |text: &str| {
        text.split([' ', ',', '\n', '\r', '\t']).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(split(&text))),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().ok_or_else(|| D::Error::custom("a list must hold text")));
            Ok(Some(texts.collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(split).collect()))
        }
        _ => Err(D::Error::custom("a list was expected")),
    }
}

/// Text; an empty one is absent.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

/// A nested object in JSON, or text that holds JSON in a form.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => {
            serde_json::from_str(&text).map(Some).map_err(|_| D::Error::custom("an object must be written as JSON"))
        }
        value => serde_json::from_value(value).map(Some).map_err(|_| D::Error::custom("an object has the wrong form")),
    }
}
