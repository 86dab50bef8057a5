//! An endpoint as data: method, path, who may call, and how. The constructors are the only way to
//! make one, so that a route without authentication has to say `public` or `browser` in the table.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, Route, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use crate::domain::caller::Caller;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TenantId;
use crate::domain::refusal::Refusal;

use super::State;
use super::answer::Answer;
use super::error::problem;
use super::fields::{Fields, TextBody};
use super::middleware::request_id;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A tenant with a credential.
    Tenant,
    /// Anybody; a tenant's credential, when sent, must be right and adds to the answer.
    Optional,
    /// Anybody: the request itself carries what it needs (a mailed code, a signup).
    Public,
    /// An end user's browser, with a one-time link, state or token.
    Browser,
}

pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    route: Box<dyn Fn() -> Route>,
}

impl Endpoint {
    pub fn route(&self) -> Route {
        (self.route)().method(self.method.clone())
    }
}

/// Who made a request, for the line in the log.
#[derive(Clone)]
pub struct CalledBy(pub TenantId);

pub type Shared = web::Data<State>;

/// For tenants: the credential is checked before the fields are read.
pub fn tenant<T, F, Fut>(method: Method, path: &'static str, handler: F) -> Endpoint
where
    T: DeserializeOwned + 'static,
    F: Fn(Shared, Caller, T) -> Fut + Copy + 'static,
    Fut: Future<Output = Result<Answer, Refusal>> + 'static,
{
    tenant_or_text(method, path, None, handler)
}

/// The same, where the body may also be one of the fields as it stands.
pub fn tenant_or_text<T, F, Fut>(method: Method, path: &'static str, text: impl Into<Option<TextBody>>, handler: F) -> Endpoint
where
    T: DeserializeOwned + 'static,
    F: Fn(Shared, Caller, T) -> Fut + Copy + 'static,
    Fut: Future<Output = Result<Answer, Refusal>> + 'static,
{
    let text = text.into();
    let run = move |services: Shared, request: HttpRequest, mut fields: Fields| async move {
        let caller = authenticate(&services, &request, &mut fields).await?.ok_or_else(no_credential)?;
        request.extensions_mut().insert(CalledBy(caller.tenant().clone()));
        handler(services, caller, fields.read()?).await
    };
    Endpoint { method, path, access: Access::Tenant, route: Box::new(move || api_route(run, text)) }
}

/// For anybody; a credential, when there is one, is checked and handed on.
pub fn optional<T, F, Fut>(method: Method, path: &'static str, handler: F) -> Endpoint
where
    T: DeserializeOwned + 'static,
    F: Fn(Shared, Option<Caller>, T) -> Fut + Copy + 'static,
    Fut: Future<Output = Result<Answer, Refusal>> + 'static,
{
    let run = move |services: Shared, request: HttpRequest, mut fields: Fields| async move {
        let caller = authenticate(&services, &request, &mut fields).await?;
        handler(services, caller, fields.read()?).await
    };
    Endpoint { method, path, access: Access::Optional, route: Box::new(move || api_route(run, None)) }
}

/// For anybody.
pub fn public<T, F, Fut>(method: Method, path: &'static str, handler: F) -> Endpoint
where
    T: DeserializeOwned + 'static,
    F: Fn(Shared, Origin, T) -> Fut + Copy + 'static,
    Fut: Future<Output = Result<Answer, Refusal>> + 'static,
{
    let run = move |services: Shared, request: HttpRequest, fields: Fields| async move {
        let origin = Origin::of(&services, &request);
        handler(services, origin, fields.read()?).await
    };
    Endpoint { method, path, access: Access::Public, route: Box::new(move || api_route(run, None)) }
}

/// For an end user's browser: the handler answers pages and redirects itself.
pub fn browser<F, Fut>(method: Method, path: &'static str, handler: F) -> Endpoint
where
    F: Fn(Shared, HttpRequest, web::Payload) -> Fut + Copy + 'static,
    Fut: Future<Output = HttpResponse> + 'static,
{
    let run = move |services: Shared, request: HttpRequest, payload: web::Payload| handler(services, request, payload);
    Endpoint { method, path, access: Access::Browser, route: Box::new(move || web::route().to(run)) }
}

/// The address a request came from, for rate limits.
#[derive(Debug, Clone, Copy)]
pub struct Origin(pub Option<IpAddr>);

impl Origin {
    /// The peer's address; behind a trusted proxy, the last address in `X-Forwarded-For` that is not
    /// itself a trusted proxy. What anybody else puts into that header is not believed: what stands
    /// before an entry that cannot be read may be forged, so the search ends there.
    pub fn of(services: &State, request: &HttpRequest) -> Self {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return Self(None) };
        let trusted = |ip: &IpAddr| services.trusted_proxies.iter().any(|proxy| proxy.to_canonical() == *ip);
        if !trusted(&peer) {
            return Self(Some(peer));
        }
        let lines = request.headers().get_all("x-forwarded-for").map(|line| line.as_bytes());
        let entries: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
        let mut nearest = peer;
        for entry in entries.into_iter().rev() {
            match forwarded(entry) {
                Some(ip) if trusted(&ip) => nearest = ip,
                Some(ip) => return Self(Some(ip)),
                None => break,
            }
        }
        Self(Some(nearest))
    }
}

/// An entry of `X-Forwarded-For`: an address, which some proxies write with the port.
fn forwarded(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let with_port = || text.parse().map(|socket: SocketAddr| socket.ip());
    text.parse().or_else(|_| with_port()).ok().map(|ip: IpAddr| ip.to_canonical())
}

fn api_route<F, Fut>(run: F, text: Option<TextBody>) -> Route
where
    F: Fn(Shared, HttpRequest, Fields) -> Fut + Copy + 'static,
    Fut: Future<Output = Result<Answer, Refusal>> + 'static,
{
    let run = Rc::new(run);
    web::route().to(move |services: Shared, request: HttpRequest, payload: web::Payload| {
        let run = run.clone();
        async move {
            let answer = match Fields::of(&request, payload, text).await {
                Ok(fields) => run(services, request.clone(), fields).await,
                Err(refusal) => Err(refusal),
            };
            match answer {
                Ok(answer) => answer.into_response(request.headers()),
                Err(refusal) => problem(refusal, &request_id(&request)),
            }
        }
    })
}

/// Who calls, by header or, in a POST, by the fields `username` and `password`. `None` without any.
async fn authenticate(services: &State, request: &HttpRequest, fields: &mut Fields) -> Result<Option<Caller>, Refusal> {
    let in_body = if request.method() == Method::POST { fields.take_password_credential() } else { None };
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return match in_body {
            None => Ok(None),
            Some((username, password)) => {
                services.accounts.authenticate(Origin::of(services, request).0, &username, password).await.map(Some)
            }
        };
    };
    let header = header.to_str().map_err(|_| no_credential())?;
    let (scheme, value) = header.split_once(' ').ok_or_else(no_credential)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return services.api_keys.authenticate(&SecretString::from(value.trim())).await.map(Some);
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let (username, password) = basic(value).ok_or_else(no_credential)?;
        return services.accounts.authenticate(Origin::of(services, request).0, &username, password).await.map(Some);
    }
    Err(no_credential())
}

fn basic(value: &str) -> Option<(String, SecretString)> {
    let decoded = zeroize::Zeroizing::new(STANDARD.decode(value.trim()).ok()?);
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((username.to_owned(), SecretString::from(password)))
}

fn no_credential() -> Refusal {
    let detail = "Send `Authorization: Bearer <API key>`, or HTTP Basic with your email and password.";
    Refusal::new(ErrorCode::Unauthenticated, detail)
}
