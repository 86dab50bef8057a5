//! The only place with HTTP statuses of errors: RFC 9457 problems from refusals.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

/// The body of every error: `application/problem+json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A stable code; programs may branch on it.
    pub code: &'static str,
    /// One line that is the same for each error of this code.
    pub title: &'static str,
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// The field of the request at fault, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where the end user can connect (again), where that would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// A plain code of what lies behind it (the provider's, where it gave one), where that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Also in the header `x-request-id` and in the log.
    pub request_id: String,
}

pub fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidRequest | ErrorCode::CodeInvalid | ErrorCode::TicketInvalid | ErrorCode::StateInvalid => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::EmailNotVerified
        | ErrorCode::InsufficientScope
        | ErrorCode::SignupClosed
        | ErrorCode::EndUserMismatch
        | ErrorCode::AccessDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound
        | ErrorCode::ProviderNotFound
        | ErrorCode::IntegrationNotFound
        | ErrorCode::ConnectionNotFound
        | ErrorCode::ApiKeyNotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::ReauthorizationRequired | ErrorCode::AccountMismatch | ErrorCode::Conflict | ErrorCode::LimitReached => {
            StatusCode::CONFLICT
        }
        ErrorCode::LinkExpired => StatusCode::GONE,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::IntegrationBroken => StatusCode::FAILED_DEPENDENCY,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::ExchangeFailed => StatusCode::BAD_GATEWAY,
        ErrorCode::ProviderUnavailable | ErrorCode::StoreUnavailable | ErrorCode::RestoreMode | ErrorCode::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The refusal as an answer. Its cause goes to the log, with the request id, and nowhere else.
pub fn problem(refusal: Refusal, request_id: &str) -> HttpResponse {
    let status = status_of(refusal.code);
    log(&refusal, status, request_id);
    let mut answer = HttpResponseBuilder::new(status);
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some(after) = refusal.retry_after {
        answer.insert_header((RETRY_AFTER, after.as_secs().max(1).to_string()));
    }
    let (reason, since) = refusal.reason.map(|reason| (reason.code, reason.since)).unzip();
    let problem = Problem {
        code: refusal.code.as_str(),
        title: refusal.code.title(),
        status: status.as_u16(),
        detail: refusal.detail,
        field: refusal.field,
        authorize_url: refusal.authorize_url,
        reason,
        since: since.flatten(),
        request_id: request_id.to_owned(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    answer.insert_header((CONTENT_TYPE, "application/problem+json")).body(body)
}

/// The cause, for whoever reads the log.
pub fn log(refusal: &Refusal, status: StatusCode, request_id: &str) {
    let code = refusal.code.as_str();
    match &refusal.cause {
        Some(cause) if status.is_server_error() => tracing::error!(request_id, code, %cause, "refused"),
        Some(cause) => tracing::info!(request_id, code, %cause, "refused"),
        None => {}
    }
}
