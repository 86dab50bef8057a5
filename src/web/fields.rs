//! A request's fields: path, query (GET) or body (POST; form or JSON with the same names), as one map.

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

use super::body;

/// Largest body of an API request.
pub const BODY_MAX: usize = 64 * 1024;
/// Most fields of a form or query.
const FIELDS_MAX: usize = 200;

pub struct Fields(Map<String, Value>);

/// A body that is one of the fields, as it stands; the others are in the query then.
#[derive(Debug, Clone, Copy)]
pub struct TextBody {
    pub media_type: &'static str,
    pub field: &'static str,
}

impl Fields {
    /// `text` is what a body of this call may be besides a form or JSON.
    pub async fn of(request: &HttpRequest, payload: web::Payload, text: Option<TextBody>) -> Result<Self, Refusal> {
        let mut fields = if request.method() == Method::POST {
            let body = body::whole(request, payload, BODY_MAX).await?;
            decode(request, &body, text)?
        } else {
            pairs(request.query_string().as_bytes())?
        };
        for (name, value) in request.match_info().iter() {
            fields.insert(name.to_owned(), Value::String(percent_decoded(value)));
        }
        Ok(Self(fields))
    }

    /// The body's `username` and `password` (OAuthHandler's way), taken out so that no handler meets them.
    pub fn take_password_credential(&mut self) -> Option<(String, SecretString)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let username = self.0.get("username").and_then(text)?;
        let password = self.0.get("password").and_then(text)?;
        // `grant_type` comes with them from clients that take this for RFC 6749's password grant.
        for name in ["username", "password", "grant_type"] {
            self.0.remove(name);
        }
        Some((username, SecretString::from(password)))
    }

    pub fn read<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        serde_json::from_value(Value::Object(self.0)).map_err(|cause| invalid(&cause.to_string()))
    }
}

/// serde's messages name the field and the rule, in backquotes; they never quote a whole value except
/// of a wrong type, which is cut off here.
fn invalid(message: &str) -> Refusal {
    let message = match message.split_once(", expected") {
        Some((_, expected)) if message.starts_with("invalid type") || message.starts_with("invalid value") => {
            format!("a field has the wrong form: expected{expected}")
        }
        _ => message.to_owned(),
    };
    Refusal::new(ErrorCode::InvalidRequest, format!("The request is not valid: {message}."))
}

fn decode(request: &HttpRequest, body: &[u8], text: Option<TextBody>) -> Result<Map<String, Value>, Refusal> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if let Some(text) = text.filter(|text| text.media_type == media_type) {
        return beside(request, text.field, body);
    }
    if body.is_empty() {
        return Ok(Map::new());
    }
    match media_type.as_str() {
        "application/json" => match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(Refusal::new(ErrorCode::InvalidRequest, "The JSON body must be an object.")),
            Err(cause) => {
                let detail = format!("The body is not JSON: line {}, column {}.", cause.line(), cause.column());
                Err(Refusal::new(ErrorCode::InvalidRequest, detail))
            }
        },
        "application/x-www-form-urlencoded" => pairs(body),
        _ => {
            let or_text = text.map(|text| format!(", or here `{}`", text.media_type)).unwrap_or_default();
            let detail = format!("Send `Content-Type: application/json` or `application/x-www-form-urlencoded`{or_text}.");
            Err(Refusal::new(ErrorCode::UnsupportedMediaType, detail))
        }
    }
}

/// The query's fields, and the body as one more. A credential stands in no URL.
fn beside(request: &HttpRequest, field: &str, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let refused = |detail: &str| Err(Refusal::new(ErrorCode::InvalidRequest, detail));
    let mut fields = pairs(request.query_string().as_bytes())?;
    if ["username", "password"].iter().any(|name| fields.contains_key(*name)) {
        return refused("Send the credential in the header `Authorization`: a URL is no place for it.");
    }
    let Ok(text) = std::str::from_utf8(body) else { return refused("The body is not UTF-8.") };
    fields.insert(field.to_owned(), Value::String(text.to_owned()));
    Ok(fields)
}

/// Form or query pairs; a name that comes twice becomes a list.
fn pairs(text: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let mut fields = Map::new();
    for (count, (name, value)) in form_urlencoded::parse(text).enumerate() {
        if count >= FIELDS_MAX {
            return Err(Refusal::new(ErrorCode::InvalidRequest, format!("A request may have {FIELDS_MAX} fields.")));
        }
        let value = Value::String(value.into_owned());
        match fields.get_mut(name.as_ref()) {
            None => {
                fields.insert(name.into_owned(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(fields)
}

fn percent_decoded(text: &str) -> String {
    form_urlencoded::parse(format!("v={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
