//! `GET /authorize-{provider}?link=…` and the decision that its page posts.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, ORIGIN};
use actix_web::{HttpRequest, HttpResponse, web};
use url::Url;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::services::connect::{Decided, Decision, Departure, Invitation, Opened};
use crate::web::State;
use crate::web::endpoint::Shared;
use crate::web::pages::{self, ConnectPage, Forms, shown};

use super::{body_pairs, cookies, header, landing, query_pairs, see_other, single};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Opens a link. Link previews come here, too, so it takes nothing and sets nothing.
pub async fn open(state: Shared, request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    let pairs = query_pairs(&request);
    let provider = request.match_info().query("provider");
    let Some(link) = single(&pairs, "link") else {
        return landing::refused(&request, &no_link());
    };
    match state.connect.open_link(provider, link).await {
        Ok(Opened::Page(invitation)) => connect_page(&state, &invitation, provider, link),
        Ok(Opened::Provider(departure)) => depart(&state, &departure),
        Err(refusal) => landing::refused(&request, &refusal),
    }
}

/// A HEAD says only that somebody answers here.
pub async fn peek(_state: Shared, _request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").finish()
}

/// The page's button. Another site must not be able to press it.
pub async fn decide(state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if !is_same_origin(&state, &request) {
        let detail = "This was sent from another site; open the link and press the button there.";
        return landing::refused(&request, &Refusal::new(ErrorCode::InvalidRequest, detail));
    }
    let pairs = match body_pairs(&request, payload).await {
        Ok(pairs) => pairs,
        Err(refusal) => return landing::refused(&request, &refusal),
    };
    let decision = match single(&pairs, "decision") {
        Some("connect") => Decision::Connect,
        Some("cancel") => Decision::Cancel,
        _ => return landing::refused(&request, &Refusal::field("decision", "must be `connect` or `cancel`")),
    };
    let Some(link) = single(&pairs, "link") else {
        return landing::refused(&request, &no_link());
    };
    match state.connect.decide(request.match_info().query("provider"), link, decision).await {
        Ok(Decided::Departs(departure)) => depart(&state, &departure),
        Ok(Decided::Ends(ended)) => landing::land(&state, &request, *ended),
        Err(refusal) => landing::refused(&request, &refusal),
    }
}

fn depart(state: &State, departure: &Departure) -> HttpResponse {
    let mut response = see_other(departure.url.as_str());
    if let Some(half) = &departure.cookie
        && let Err(cause) = response.add_cookie(&cookies::of_flow(state, half))
    {
        tracing::error!(%cause, "a cookie could not be set");
    }
    response
}

fn connect_page(state: &State, invitation: &Invitation, provider: &str, link: &str) -> HttpResponse {
    let base = Url::parse(state.public_url()).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    let page = ConnectPage {
        tenant: &shown(&invitation.names.tenant),
        provider: &shown(&invitation.names.provider),
        end_user: &shown(&invitation.end_user),
        action: &format!("{base}/authorize-{provider}/decision"),
        link,
        by_device: invitation.provider.is_none(),
    };
    pages::answer(StatusCode::OK, &page, &Forms::OursThen(sources(invitation)))
}

/// Each place by its origin. Chromium holds a form's whole chain of redirects to `form-action`, and
/// providers pass a browser between hosts of theirs that no file could list (sign-in, regional and
/// workspace hosts), so with a provider on https any further https is allowed as well.
fn sources(invitation: &Invitation) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    let origins = invitation.provider.iter().chain(&invitation.back).map(source_of);
    let any_https = invitation.provider.as_ref().filter(|provider| provider.scheme() == "https").map(|_| "https:".to_owned());
    for source in origins.chain(any_https) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources
}

/// An IPv6 address has no form as a source (CSP 3, 2.3.1), so its scheme must do.
fn source_of(place: &Url) -> String {
    match place.host() {
        Some(url::Host::Ipv6(_)) => format!("{}:", place.scheme()),
        _ => place.origin().ascii_serialization(),
    }
}

/// Browsers say where a request comes from, in `Sec-Fetch-Site` and, with a POST, in `Origin`; other
/// sites cannot change either. What sends neither is no browser, and has no end user to trick.
fn is_same_origin(state: &State, request: &HttpRequest) -> bool {
    let ours = Url::parse(state.public_url()).map(|url| url.origin().ascii_serialization());
    match (header(request, &SEC_FETCH_SITE), header(request, &ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => ours.is_ok_and(|ours| ours == origin),
        (None, None) => true,
    }
}

fn no_link() -> Refusal {
    Refusal::new(ErrorCode::LinkExpired, "This address is not complete; open the link as you got it.")
}
