//! How a client proves itself: `client_secret_basic` or `client_secret_post`, never both
//! (RFC 6749 2.3).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::params::{Params, Repeated};
use crate::services::sandbox::TokenError;
use crate::services::sandbox::clients::Presented;

pub(super) fn presented(request: &HttpRequest, params: &Params) -> Result<Presented, TokenError> {
    let id = params.one("client_id").map_err(repeated)?;
    let secret = params.one("client_secret").map_err(repeated)?;
    let (basic_id, basic_secret) = match (basic(request)?, secret) {
        (Some(_), Some(_)) => return Err(TokenError::InvalidRequest("the client sent its secret in two ways")),
        (Some(basic), None) => basic,
        (None, Some(secret)) => {
            let id = id.ok_or(TokenError::InvalidRequest("client_id is missing"))?;
            return Presented::parse(id, secret).ok_or_else(malformed);
        }
        (None, None) => return Err(TokenError::InvalidClient("the client must send its id and secret, by Basic or as fields")),
    };
    if id.is_some_and(|id| id != basic_id) {
        return Err(TokenError::InvalidRequest("client_id differs from the one in the Authorization header"));
    }
    Presented::parse(&basic_id, &basic_secret).ok_or_else(malformed)
}

/// Id and secret of a Basic header. Both are form-encoded before they are joined (RFC 6749 2.3.1).
fn basic(request: &HttpRequest) -> Result<Option<(String, String)>, TokenError> {
    let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let broken = || TokenError::InvalidClient("the Authorization header is not Basic with a client id and secret");
    let text = header.to_str().map_err(|_| broken())?;
    let (scheme, encoded) = text.split_once(' ').ok_or_else(broken)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(broken());
    }
    let joined = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(broken)?;
    let (id, secret) = joined.split_once(':').ok_or_else(broken)?;
    Ok(Some((form_decoded(id), form_decoded(secret))))
}

fn form_decoded(text: &str) -> String {
    // A pair of its own kind: what is read as the name of a parameter is decoded whole, unless it
    // holds the signs that end a name.
    let escaped = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

fn malformed() -> TokenError {
    TokenError::InvalidClient("a client id has 1 to 200 printable ASCII characters, a secret 1 to 512 bytes")
}

pub(super) fn repeated(_: Repeated) -> TokenError {
    TokenError::InvalidRequest("a parameter came more than once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_parts_are_form_decoded() {
        for (encoded, plain) in [("a%3Ab", "a:b"), ("a+b", "a b"), ("a=b&c", "a=b&c"), ("", ""), ("%25", "%")] {
            assert_eq!(form_decoded(encoded), plain);
        }
    }
}
