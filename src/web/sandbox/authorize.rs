//! The consent page and the decision (RFC 6749 4.1.1). No session: the form carries the request, and
//! the decision checks it again from the start.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::REQUEST_MAX;
use super::answer::{Forms, STYLE, log_broken, page, refusal, see_other};
use super::params::{Params, Repeated, is_form};
use crate::services::sandbox::scopes::SandboxScope;
use crate::services::sandbox::{ACCOUNTS, AccountName, AuthorizationRequest, AuthorizeError, AuthorizeFields, Sandbox};

#[derive(Template)]
#[template(path = "sandbox/consent.html")]
struct Consent<'a> {
    style: &'static str,
    client: &'a str,
    site: String,
    scopes: Vec<SandboxScope>,
    accounts: &'static [(&'static str, &'static str)],
    /// The request, to come back with the decision.
    hidden: Vec<(&'static str, String)>,
    problem: Option<&'static str>,
}

/// `GET /authorize`
pub(super) async fn show(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let query = request.query_string();
    if query.len() > REQUEST_MAX {
        return refusal(StatusCode::URI_TOO_LONG, "The request is too long", "Its query must have at most 16 KiB.");
    }
    match check(&sandbox, &Params::parse(query.as_bytes())) {
        Ok(request) => consent(&request, None),
        Err(answer) => *answer,
    }
}

/// `POST /authorize`
pub(super) async fn decide(sandbox: Data<Sandbox>, request: HttpRequest, body: Result<Bytes, actix_web::Error>) -> HttpResponse {
    let params = match own_form(&request, body) {
        Ok(params) => params,
        Err(answer) => return *answer,
    };
    let request = match check(&sandbox, &params) {
        Ok(request) => request,
        Err(answer) => return *answer,
    };
    match params.one("decision") {
        Ok(Some("deny")) => see_other(&sandbox.deny(&request)),
        Ok(Some("allow")) => allow(&sandbox, request, &params).await,
        _ => refusal(StatusCode::BAD_REQUEST, "No decision", "The field decision must be allow or deny, once."),
    }
}

async fn allow(sandbox: &Sandbox, request: AuthorizationRequest, params: &Params) -> HttpResponse {
    let Some(account) = chosen_account(params) else {
        let rule =
            "An account has 1 to 64 lower-case letters, digits, dots, dashes or underscores, and begins with a letter or digit.";
        return consent(&request, Some(rule));
    };
    match sandbox.allow(request, account).await {
        Ok(location) => see_other(&location),
        Err(error) => {
            log_broken(&error);
            refusal(StatusCode::SERVICE_UNAVAILABLE, "Not now", "The sandbox cannot keep the consent. Try again in a moment.")
        }
    }
}

/// A form that our own page sent: another site's page must not press Allow for its visitor. Clients
/// that are no browsers send no `Sec-Fetch-Site`.
fn own_form(request: &HttpRequest, body: Result<Bytes, actix_web::Error>) -> Result<Params, Box<HttpResponse>> {
    let refused = |status, title, detail| Err(Box::new(refusal(status, title, detail)));
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        let detail = "The decision came from a page of another site. Begin again at the client.";
        return refused(StatusCode::FORBIDDEN, "Not from here", detail);
    }
    if !is_form(request) {
        let detail = "The decision must be sent as application/x-www-form-urlencoded.";
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a form", detail);
    }
    match body {
        Ok(body) => Ok(Params::parse(&body)),
        Err(_) => refused(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large", "It must have at most 16 KiB."),
    }
}

fn check(sandbox: &Sandbox, params: &Params) -> Result<AuthorizationRequest, Box<HttpResponse>> {
    sandbox.check(fields(params)).map_err(|error| match error {
        AuthorizeError::Page(detail) => {
            Box::new(refusal(StatusCode::BAD_REQUEST, "This authorization request cannot be served", detail))
        }
        AuthorizeError::Return(location) => Box::new(see_other(&location)),
    })
}

fn fields(params: &Params) -> AuthorizeFields {
    let mut repeated = false;
    let mut once = |name: &str| match params.one_owned(name) {
        Ok(value) => value,
        Err(Repeated) => {
            repeated = true;
            None
        }
    };
    let mut fields = AuthorizeFields {
        response_type: once("response_type"),
        scope: once("scope"),
        state: once("state"),
        code_challenge: once("code_challenge"),
        code_challenge_method: once("code_challenge_method"),
        ..AuthorizeFields::default()
    };
    fields.repeated = repeated;
    // Given twice, these are as good as missing: nobody knows which to trust.
    fields.client_id = params.one_owned("client_id").unwrap_or_default();
    fields.redirect_uri = params.one_owned("redirect_uri").unwrap_or_default();
    fields
}

/// A typed name goes before a chosen one.
fn chosen_account(params: &Params) -> Option<AccountName> {
    let typed = params.one("typed").ok()?.map(str::trim).filter(|typed| !typed.is_empty());
    let chosen = params.one("account").ok()?;
    typed.or(chosen).and_then(AccountName::parse)
}

fn consent(request: &AuthorizationRequest, problem: Option<&'static str>) -> HttpResponse {
    let mut hidden = vec![
        ("response_type", "code".to_owned()),
        ("client_id", request.client().as_str().to_owned()),
        ("redirect_uri", request.redirect().as_str().to_owned()),
        ("scope", request.scopes().to_string()),
        ("code_challenge", request.challenge().to_owned()),
        ("code_challenge_method", "S256".to_owned()),
    ];
    hidden.extend(request.state().map(|state| ("state", state.to_owned())));
    let template = Consent {
        style: STYLE,
        client: request.client().as_str(),
        site: request.redirect().site(),
        scopes: request.scopes().iter().collect(),
        accounts: ACCOUNTS,
        hidden,
        problem,
    };
    let forms = if request.redirect().is_ipv6() { Forms::ToClientOverIpv6 } else { Forms::ToClient };
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page(status, forms, &template)
}
