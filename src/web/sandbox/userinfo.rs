//! Whom an access token speaks for (RFC 6750).

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::answer::{json, log_broken, plain, private};
use crate::domain::secret::SecretString;
use crate::services::sandbox::{AccessError, Sandbox};

/// `GET /userinfo`
pub(super) async fn userinfo(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let Some(token) = bearer(&request) else {
        // RFC 6750 3.1: who sends no credential is told no error.
        return private(StatusCode::UNAUTHORIZED).insert_header((WWW_AUTHENTICATE, "Bearer realm=\"sandbox\"")).finish();
    };
    match sandbox.userinfo(&token).await {
        Ok(user) => {
            let body = json!({ "sub": user.account.as_str(), "name": user.account.full_name(), "scope": user.scope });
            json(StatusCode::OK, &body)
        }
        Err(AccessError::InvalidToken) => {
            let challenge = "Bearer realm=\"sandbox\", error=\"invalid_token\"";
            private(StatusCode::UNAUTHORIZED).insert_header((WWW_AUTHENTICATE, challenge)).finish()
        }
        Err(AccessError::Broken(error)) => {
            log_broken(&error);
            plain(StatusCode::SERVICE_UNAVAILABLE, "The sandbox cannot reach its store.")
        }
    }
}

fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
}
