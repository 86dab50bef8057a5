//! The token and revocation endpoints (RFC 6749 3.2, RFC 7009).

use std::io;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures::StreamExt;
use futures::stream;
use serde::Serialize;
use serde_json::json;

use super::answer::{json, log_broken, private};
use super::client_auth::{presented, repeated};
use super::params::{Params, is_form};
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::services::sandbox::{CodeExchange, Issued, RefreshRequest, Sandbox, TokenError, TokenReply};

/// The lengths that RFC 7636 4.1 allows a verifier.
const VERIFIER: std::ops::RangeInclusive<usize> = 43..=128;

/// RFC 6749 5.1.
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: String,
}

/// `POST /token`
pub(super) async fn token(sandbox: Data<Sandbox>, request: HttpRequest, body: Result<Bytes, actix_web::Error>) -> HttpResponse {
    match issue(&sandbox, &request, body).await {
        Ok(TokenReply::Whole(issued)) => json(StatusCode::OK, &token_body(&issued)),
        Ok(TokenReply::CutShort(issued)) => cut_short(&token_body(&issued)),
        Err(error) => refused(&error),
    }
}

/// `POST /revoke`
pub(super) async fn revoke(sandbox: Data<Sandbox>, request: HttpRequest, body: Result<Bytes, actix_web::Error>) -> HttpResponse {
    match revoke_token(&sandbox, &request, body).await {
        Ok(()) => private(StatusCode::OK).finish(),
        Err(error) => refused(&error),
    }
}

async fn issue(
    sandbox: &Sandbox,
    request: &HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> Result<TokenReply, TokenError> {
    let params = form(request, body)?;
    match params.one("grant_type").map_err(repeated)? {
        None => Err(TokenError::InvalidRequest("grant_type is missing")),
        Some("authorization_code") => {
            let client = presented(request, &params)?;
            sandbox.exchange(&client, &code_exchange(&params)?).await
        }
        Some("refresh_token") => {
            let client = presented(request, &params)?;
            let refresh_token = required(&params, "refresh_token", "refresh_token is missing")?.into();
            let scope = params.one_owned("scope").map_err(repeated)?;
            sandbox.refresh(&client, &RefreshRequest { refresh_token, scope }).await
        }
        Some(_) => Err(TokenError::UnsupportedGrantType),
    }
}

async fn revoke_token(sandbox: &Sandbox, request: &HttpRequest, body: Result<Bytes, actix_web::Error>) -> Result<(), TokenError> {
    let params = form(request, body)?;
    let client = presented(request, &params)?;
    // `token_type_hint` is a hint; ours are found without.
    let token: SecretString = required(&params, "token", "token is missing")?.into();
    sandbox.revoke(&client, &token).await
}

fn form(request: &HttpRequest, body: Result<Bytes, actix_web::Error>) -> Result<Params, TokenError> {
    if !is_form(request) {
        return Err(TokenError::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    let body = body.map_err(|_| TokenError::InvalidRequest("the body is larger than 16 KiB or did not arrive whole"))?;
    Ok(Params::parse(&body))
}

fn code_exchange(params: &Params) -> Result<CodeExchange, TokenError> {
    let verifier = required(params, "code_verifier", "code_verifier is missing")?;
    if !VERIFIER.contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return Err(TokenError::InvalidRequest(
            "code_verifier must be 43 to 128 letters, digits, dots, dashes, underscores or tildes",
        ));
    }
    Ok(CodeExchange {
        code: required(params, "code", "code is missing")?.into(),
        redirect_uri: required(params, "redirect_uri", "redirect_uri is missing")?,
        verifier: verifier.into(),
    })
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn required(params: &Params, name: &str, missing: &'static str) -> Result<String, TokenError> {
    params.one_owned(name).map_err(repeated)?.ok_or(TokenError::InvalidRequest(missing))
}

fn token_body(issued: &Issued) -> TokenBody<'_> {
    TokenBody {
        access_token: issued.access_token.expose_secret(),
        token_type: "Bearer",
        expires_in: issued.expires_in.map(|life| life.as_secs()),
        refresh_token: issued.refresh_token.as_ref().map(ExposeSecret::expose_secret),
        scope: issued.scopes.to_string(),
    }
}

/// Half of the answer, then the connection is closed.
fn cut_short(body: &TokenBody<'_>) -> HttpResponse {
    let whole = Bytes::from(json!(body).to_string());
    let half = whole.slice(..whole.len() / 2);
    // The pause lets the first half be written before the error closes the connection.
    let rest = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("cut short on purpose: the grant has the scope lose-answer"))
    });
    let stream = stream::iter([Ok(half)]).chain(rest);
    private(StatusCode::OK)
        .insert_header((PRAGMA, "no-cache"))
        .content_type(ContentType::json())
        .body(SizedStream::new(whole.len() as u64, stream))
}

/// RFC 6749 5.2.
fn refused(error: &TokenError) -> HttpResponse {
    let (status, code) = match error {
        TokenError::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        TokenError::InvalidClient(_) => (StatusCode::UNAUTHORIZED, "invalid_client"),
        TokenError::InvalidGrant(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        TokenError::UnauthorizedClient(_) => (StatusCode::BAD_REQUEST, "unauthorized_client"),
        TokenError::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
        TokenError::InvalidScope(_) => (StatusCode::BAD_REQUEST, "invalid_scope"),
        TokenError::Unavailable | TokenError::Broken(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
    };
    let description = match error {
        TokenError::Broken(cause) => {
            log_broken(cause);
            "the sandbox cannot reach its store".to_owned()
        }
        told => told.to_string(),
    };
    let mut answer = json(status, &json!({ "error": code, "error_description": description }));
    let extra = match status {
        StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Basic realm=\"sandbox\"")),
        StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
        _ => None,
    };
    if let Some((name, value)) = extra {
        answer.headers_mut().insert(name, actix_web::http::header::HeaderValue::from_static(value));
    }
    answer
}
