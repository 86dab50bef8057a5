//! What an API handler answers: JSON with a status of success.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

/// JSON, already written. It can hold a token, so it has no `Debug`.
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    pub fn ok(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::OK, body)
    }

    pub fn created(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::CREATED, body)
    }

    pub fn accepted(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::ACCEPTED, body)
    }

    /// For readiness alone: a body with what is wrong.
    pub fn unavailable(body: &impl Serialize) -> Result<Self, Refusal> {
        Self::with(StatusCode::SERVICE_UNAVAILABLE, body)
    }

    fn with(status: StatusCode, body: &impl Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(body)
            .map_err(|cause| Refusal::new(ErrorCode::Internal, "The answer could not be written.").with_cause(cause))?;
        Ok(Self { status, body })
    }

    pub fn into_response(self) -> HttpResponse {
        let json = HeaderValue::from_static("application/json");
        HttpResponseBuilder::new(self.status).insert_header((CONTENT_TYPE, json)).body(self.body)
    }
}
