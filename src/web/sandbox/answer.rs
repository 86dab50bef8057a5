//! Answers of the sandbox and their headers: nothing is stored, framed, sniffed or told to others.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, LOCATION, PRAGMA, REFERRER_POLICY};
use actix_web::http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::services::sandbox::SandboxError;

/// The one stylesheet, which every page carries inline.
pub(super) const STYLE: &str = include_str!("style.css");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));

/// What a page's forms may lead to, redirects included: Chromium applies `form-action` to each hop of
/// a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms {
    None,
    /// To the client's redirect URI, and on from there to wherever the client sends the browser next,
    /// which only the client knows: https, or http on this machine.
    ToClient,
    /// As [`Forms::ToClient`], where the redirect URI is an IPv6 address, which a source expression
    /// cannot name.
    ToClientOverIpv6,
}

impl Forms {
    fn sources(self) -> &'static str {
        match self {
            Forms::None => "'none'",
            Forms::ToClient => "'self' https: http://127.0.0.1:* http://localhost:*",
            Forms::ToClientOverIpv6 => "'self' https: http:",
        }
    }
}

#[derive(Template)]
#[template(path = "sandbox/refused.html")]
struct Refused<'a> {
    style: &'static str,
    title: &'a str,
    detail: &'a str,
}

pub(super) fn page(status: StatusCode, forms: Forms, template: &impl Template) -> HttpResponse {
    let Ok(html) = template.render() else { return plain(StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be shown.") };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_HASH,
        forms.sources()
    );
    private(status)
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .content_type(ContentType::html())
        .body(html)
}

/// A page that says why something cannot be done.
pub(super) fn refusal(status: StatusCode, title: &str, detail: &str) -> HttpResponse {
    page(status, Forms::None, &Refused { style: STYLE, title, detail })
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    // RFC 6749 5.1 names `Pragma` too.
    private(status).insert_header((PRAGMA, "no-cache")).json(body)
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    private(status).content_type(ContentType::plaintext()).body(text)
}

/// 303: whatever the method was, the browser gets the next address.
pub(super) fn see_other(location: &str) -> HttpResponse {
    private(StatusCode::SEE_OTHER).insert_header((LOCATION, location)).finish()
}

/// The cause goes to the log; the caller learns only that it was not their fault.
pub(super) fn log_broken(error: &SandboxError) {
    tracing::error!(%error, "the sandbox cannot serve a request");
}

pub(super) fn private(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
    answer
}
