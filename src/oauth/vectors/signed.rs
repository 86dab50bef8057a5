//! Compares what was signed with what a file's author expects. Most signatures are made with chance, so that they are
//! verified, and the word `JWT` stands for the whole.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::domain::call::HttpCall;

use super::super::jwt::{self, SigningKey};
use super::super::provider_file::{JwtVector, RequestVector};
use super::Outcome;
use super::compare::differ;

/// The call with the word `JWT` in the place of each JWT that the author names.
pub(super) fn unsigned(expected: &RequestVector, call: &HttpCall, signers: &[SigningKey]) -> Result<HttpCall, String> {
    let mut call = call.clone();
    for (place, wanted) in &expected.jwt {
        let replaced = replace_in(&mut call, place, &|text| checked(text, wanted, signers))?;
        if !replaced {
            return Err(format!("jwt {place}: there is no such param and no such header"));
        }
    }
    Ok(call)
}

type Check<'a> = &'a dyn Fn(&str) -> Result<String, String>;

fn replace_in(call: &mut HttpCall, place: &str, check: Check<'_>) -> Result<bool, String> {
    let told = |error: String| format!("jwt {place}: {error}");
    if let Some((_, value)) = call.headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(place)) {
        *value = check(value).map_err(told)?;
        return Ok(true);
    }
    if let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&call.body) {
        let Some(text) = object.get(place).and_then(Value::as_str) else { return Ok(false) };
        let checked = check(text).map_err(told)?;
        object.insert(place.to_owned(), checked.into());
        call.body = Value::from(object).to_string().into_bytes();
        return Ok(true);
    }
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
    let Some((_, value)) = pairs.iter_mut().find(|(name, _)| name == place) else { return Ok(false) };
    *value = check(value).map_err(told)?;
    call.body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes();
    Ok(true)
}

/// A text whose last word is a JWT as it should be, with `JWT` for it.
fn checked(text: &str, wanted: &JwtVector, signers: &[SigningKey]) -> Result<String, String> {
    let (before, token) = text.rsplit_once(' ').map_or(("", text), |(before, token)| (before, token));
    let opened = signers.iter().find_map(|key| jwt::opened(key, token));
    let (header, mut claims) = opened.ok_or("is not signed with a key of the client")?;
    if let Some(id) = claims.get_mut("jti").filter(|id| id.as_str().is_some_and(|id| id.len() == 32)) {
        *id = "JTI".into();
    }
    same("header", &wanted.header, header)?;
    same("claims", &wanted.claims, claims)?;
    Ok(if before.is_empty() { "JWT".to_owned() } else { format!("{before} JWT") })
}

fn same(what: &str, wanted: &std::collections::BTreeMap<String, toml::Value>, found: Map<String, Value>) -> Outcome {
    let wanted = serde_json::to_value(wanted).map_err(|error| error.to_string())?;
    differ(what, Some(wanted), Some(Value::from(found)))
}
