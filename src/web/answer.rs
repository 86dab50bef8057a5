//! What an API handler answers: JSON with a status of success.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

/// JSON, already written. It can hold a token, so it has no `Debug`.
pub struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    keep: Keep,
}

/// Whether a client may keep the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Never,
    /// Asking each time whether it still holds, by its `ETag` (RFC 9110 8.8.3).
    Revalidated,
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

    /// What is the same for a while and holds no secret: it has an `ETag`, and who sends that back gets a 304.
    pub fn revalidated(body: &impl Serialize) -> Result<Self, Refusal> {
        Ok(Self { keep: Keep::Revalidated, ..Self::ok(body)? })
    }

    fn with(status: StatusCode, body: &impl Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(body)
            .map_err(|cause| Refusal::new(ErrorCode::Internal, "The answer could not be written.").with_cause(cause))?;
        Ok(Self { status, body, keep: Keep::Never })
    }

    /// The answer to a request with these headers.
    pub fn into_response(self, request: &HeaderMap) -> HttpResponse {
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.keep == Keep::Never {
            return HttpResponseBuilder::new(self.status).insert_header(json).body(self.body);
        }
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&self.body)[..16]));
        let kept = (CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if names(request, &tag) {
            return HttpResponseBuilder::new(StatusCode::NOT_MODIFIED).insert_header(kept).insert_header((ETAG, tag)).finish();
        }
        HttpResponseBuilder::new(self.status).insert_header(json).insert_header(kept).insert_header((ETAG, tag)).body(self.body)
    }
}

/// `If-None-Match` (RFC 9110 13.1.2) compares weakly, so that a proxy that compressed the answer does no harm.
fn names(request: &HeaderMap, tag: &str) -> bool {
    let sent = request.get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    sent.map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
