//! HTTP: the only layer that knows actix-web. A handler extracts, calls one service method and maps
//! the answer; it decides nothing.

pub mod account_pages;
pub mod answer;
pub mod api;
pub mod body;
pub mod endpoint;
pub mod error;
pub mod fields;
pub mod lenient;
pub mod metrics;
pub mod middleware;
pub mod oauth;
pub mod openapi;
pub mod pages;
pub mod sandbox;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::services::Services;

use endpoint::Endpoint;

/// The public paths that `server.ops_listen` answers, too.
const OPS: [&str; 2] = ["/healthz", "/readyz"];

/// What handlers share.
pub struct State {
    pub services: Services,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The only `Host` names answered, where that is limited.
    pub hosts: Option<Vec<String>>,
}

impl Deref for State {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.services
    }
}

/// Every route there is, on one screen.
pub fn table() -> Vec<Endpoint> {
    use api::{accounts, api_keys, connections, defined, health, integrations, links, providers, tokens};
    use endpoint::{browser, optional, public, tenant, tenant_or_text};
    use oauth::{callback, connect, device};

    const GET: Method = Method::GET;
    const HEAD: Method = Method::HEAD;
    const POST: Method = Method::POST;
    vec![
        // Accounts
        public(POST, "/signup", accounts::sign_up),
        public(POST, "/verify-email", accounts::verify_email),
        browser(GET, "/verify-email", account_pages::verify_email),
        browser(POST, "/verify-email/page", account_pages::verify_email_post),
        public(POST, "/resend-verification", accounts::resend_verification),
        public(POST, "/forgot-password", accounts::forgot_password),
        public(POST, "/reset-password", accounts::reset_password),
        browser(GET, "/reset-password", account_pages::reset_password),
        browser(POST, "/reset-password/page", account_pages::reset_password_post),
        tenant(POST, "/create-api-key", api_keys::create),
        tenant(GET, "/api-keys", api_keys::list),
        tenant(POST, "/revoke-api-key", api_keys::revoke),
        // Catalogue and integrations
        optional(GET, "/providers", providers::list),
        optional(GET, "/providers/{id}", providers::show),
        tenant_or_text(POST, "/define-provider", defined::TOML, defined::define),
        tenant(GET, "/defined-providers", defined::list),
        tenant(POST, "/remove-provider", defined::remove),
        tenant(POST, "/enable-provider", integrations::enable),
        tenant(GET, "/enabled-providers", integrations::list),
        tenant(POST, "/disable-provider", integrations::disable),
        // Connecting
        tenant(POST, "/authorize-{provider}", links::create),
        browser(GET, "/authorize-{provider}", connect::open),
        browser(HEAD, "/authorize-{provider}", connect::peek),
        browser(POST, "/authorize-{provider}/decision", connect::decide),
        browser(GET, "/authorize-{provider}/device", device::watch),
        browser(GET, "/authorization-success/{integration_id}", callback::complete),
        browser(POST, "/authorization-success/{integration_id}", callback::complete),
        browser(GET, "/authorization-success", callback::complete),
        browser(POST, "/authorization-success", callback::complete),
        tenant(POST, "/finish-authorization", links::finish),
        // Tokens and connections
        tenant(POST, "/get-access-token", tokens::get),
        tenant(GET, "/connections", connections::list),
        tenant(GET, "/connections/{id}", connections::show),
        tenant(POST, "/revoke-connection", connections::revoke),
        tenant(POST, "/forget-end-user", connections::forget),
        tenant(POST, "/import-connection", connections::import),
        // The server itself
        public(GET, "/healthz", health::live),
        public(GET, "/readyz", health::ready),
        browser(GET, "/openapi.json", openapi::json),
        browser(GET, "/docs", openapi::reader_root),
        browser(GET, "/docs/{file:.*}", openapi::reader),
    ]
}

/// Registers the table.
pub fn configure(config: &mut web::ServiceConfig) {
    register(config, table());
}

/// What the operator's own listener answers besides; the public never reaches it.
pub fn ops_table() -> Vec<Endpoint> {
    vec![endpoint::browser(Method::GET, "/metrics", metrics::show)]
}

/// Registers what the operator's own listener answers.
pub fn configure_ops(config: &mut web::ServiceConfig) {
    register(config, table().into_iter().filter(|endpoint| OPS.contains(&endpoint.path)).chain(ops_table()));
}

/// One resource per path, which answers a wrong method by itself.
fn register(config: &mut web::ServiceConfig, endpoints: impl IntoIterator<Item = Endpoint>) {
    let mut by_path: BTreeMap<&'static str, Vec<Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        by_path.entry(endpoint.path).or_default().push(endpoint);
    }
    for (path, endpoints) in by_path {
        let mut resource = web::resource(path).default_service(web::route().to(wrong_method));
        for endpoint in endpoints {
            resource = resource.route(endpoint.route());
        }
        config.service(resource);
    }
    config.default_service(web::route().to(nothing_here));
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    let detail = format!("This path is not called with {}; see /docs.", request.method());
    error::problem(Refusal::new(ErrorCode::MethodNotAllowed, detail), &middleware::request_id(&request))
}

async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let refusal = Refusal::new(ErrorCode::NotFound, "There is nothing at this path; see /docs.");
    error::problem(refusal, &middleware::request_id(&request))
}
