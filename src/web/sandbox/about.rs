//! What the sandbox says about itself: a page for people, RFC 8414 metadata for programs, its health.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpResponse, Responder};
use askama::Template;
use serde_json::{Map, Value, json};

use super::answer::{Forms, STYLE, json, log_broken, page, plain, refusal};
use crate::services::sandbox::scopes::SandboxScope;
use crate::services::sandbox::{ACCOUNTS, Sandbox};

#[derive(Template)]
#[template(path = "sandbox/about.html")]
struct About<'a> {
    style: &'static str,
    issuer: &'a str,
    scopes: &'static [SandboxScope],
    accounts: &'static [(&'static str, &'static str)],
}

/// `GET /`
pub(super) async fn index(sandbox: Data<Sandbox>) -> HttpResponse {
    let about = About { style: STYLE, issuer: sandbox.issuer(), scopes: SandboxScope::ALL, accounts: ACCOUNTS };
    page(StatusCode::OK, Forms::None, &about)
}

/// `GET /.well-known/oauth-authorization-server`
pub(super) async fn metadata(sandbox: Data<Sandbox>) -> HttpResponse {
    let at = |path: &str| format!("{}{path}", sandbox.issuer());
    let client_auth = ["client_secret_basic", "client_secret_post"];
    let scopes: Vec<_> = SandboxScope::ALL.iter().map(|scope| scope.as_str()).collect();
    // Beside the RFC's fields: what each scope does.
    let described: Map<String, Value> =
        SandboxScope::ALL.iter().map(|scope| (scope.as_str().to_owned(), scope.description().into())).collect();
    let document = json!({
        "issuer": sandbox.issuer(),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "userinfo_endpoint": at("/userinfo"),
        "service_documentation": at("/"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": client_auth,
        "revocation_endpoint_auth_methods_supported": client_auth,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "scopes_supported": scopes,
        "scope_descriptions": described,
    });
    json(StatusCode::OK, &document)
}

/// `GET /healthz`
pub(super) async fn healthz(sandbox: Data<Sandbox>) -> impl Responder {
    match sandbox.ping().await {
        Ok(()) => plain(StatusCode::OK, "ok\n"),
        Err(error) => {
            log_broken(&error);
            plain(StatusCode::SERVICE_UNAVAILABLE, "The sandbox cannot reach its store.\n")
        }
    }
}

pub(super) async fn nothing_here() -> HttpResponse {
    refusal(StatusCode::NOT_FOUND, "Nothing here", "The sandbox has no page at this address; its first page lists what it has.")
}
