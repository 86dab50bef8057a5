//! What end users' browsers meet: the authorize link and the provider's redirect. Here a flow's
//! strings become cookies, pages and redirects; what they mean is decided in `services::connect`.

pub mod callback;
pub mod connect;
mod cookies;
pub mod device;
mod landing;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::domain::refusal::Refusal;
use crate::web::body;

/// Largest query or body of a browser's request.
const FORM_MAX: usize = 64 * 1024;
/// Most pairs that are read of it; one more than a callback may have, so that too many are seen.
const PAIRS_MAX: usize = 101;

fn query_pairs(request: &HttpRequest) -> Vec<(String, String)> {
    pairs(request.query_string().as_bytes())
}

async fn body_pairs(request: &HttpRequest, payload: web::Payload) -> Result<Vec<(String, String)>, Refusal> {
    Ok(pairs(&body::whole(request, payload, FORM_MAX).await?))
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).take(PAIRS_MAX).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The value of a name that is there exactly once.
fn single<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    found.next().filter(|_| found.next().is_none())
}

fn see_other(to: &str) -> HttpResponse {
    match HeaderValue::from_str(to) {
        Ok(location) => HttpResponse::SeeOther().insert_header((LOCATION, location)).finish(),
        Err(_) => HttpResponse::build(StatusCode::INTERNAL_SERVER_ERROR).finish(),
    }
}

fn header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name).map(|value| value.to_str().unwrap_or_default())
}
