//! What every request goes through: a request id, security headers, one line in the log. Observers
//! only: nothing here lets anybody in.

use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CROSS_ORIGIN_OPENER_POLICY, CROSS_ORIGIN_RESOURCE_POLICY, HOST, HeaderMap,
    HeaderName, HeaderValue, PERMISSIONS_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

use super::State;
use super::endpoint::CalledBy;
use super::error::problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Clone)]
struct RequestId(Arc<str>);

/// The id under which the log knows this request.
pub fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map_or_else(String::new, |id| id.0.to_string())
}

/// Outermost: names the request, answers it, sets the headers, writes its line.
pub async fn observe(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let started = state.services.monotonic();
    let id = RequestId(state.services.request_id().into());
    request.extensions_mut().insert(id.clone());
    let mut response = if host_is_ours(&state, &request) {
        next.call(request).await?.map_into_boxed_body()
    } else {
        let detail = "This server does not answer under this host name; use the one in `server.public_url`.";
        request.into_response(problem(Refusal::new(ErrorCode::InvalidRequest, detail), &id.0))
    };
    set_headers(response.headers_mut(), &id);
    let taken = state.services.monotonic().saturating_sub(started);
    write_line(&response, &id, taken.as_micros());
    Ok(response)
}

/// Where the state says so (`dev`), a foreign `Host` is refused: it is how a page elsewhere reaches
/// a server on loopback (DNS rebinding).
fn host_is_ours(state: &State, request: &ServiceRequest) -> bool {
    let Some(hosts) = &state.hosts else { return true };
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// Headers of every answer; a page that needs a wider policy has set its own.
fn set_headers(headers: &mut HeaderMap, id: &RequestId) {
    let defaults = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=()"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ];
    for (name, value) in defaults {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
}

/// The route's pattern, never the path or the query: those can hold one-time secrets.
fn write_line(response: &ServiceResponse<BoxBody>, id: &RequestId, micros: u128) {
    // Finding the pattern costs more than all else here.
    if !tracing::enabled!(target: "claviger::http", tracing::Level::INFO) {
        return;
    }
    let request = response.request();
    let route = request.match_pattern().unwrap_or_else(|| "(none)".to_owned());
    let extensions = request.extensions();
    let tenant = extensions.get::<CalledBy>().map_or("-", |by| by.0.as_str());
    let status = response.status().as_u16();
    tracing::info!(target: "claviger::http", request_id = %id.0, method = %request.method(), route, status, micros, tenant, "request");
}
