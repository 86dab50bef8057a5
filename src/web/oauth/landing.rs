//! Where a browser comes to rest: at the tenant's registered place with a status, else on a page.

use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::services::connect::{Arrived, Ended, Outcome, Place};
use crate::web::State;
use crate::web::error::{log, status_of};
use crate::web::middleware::request_id;
use crate::web::pages::{self, Forms, Message, Tone, explained, shown};

use super::{cookies, see_other};

pub fn land(state: &State, request: &HttpRequest, ended: Ended) -> HttpResponse {
    let id = request_id(request);
    if let Outcome::Refused(refusal) = &ended.outcome {
        log(refusal, status_of(refusal.code), &id);
    }
    let mut response = match ended.place.as_ref().and_then(|place| Some((place, place.return_url.as_deref()?))) {
        Some((place, url)) => see_other(&with_query(url, &said(place, &ended.outcome))),
        None => page(ended.place.as_ref(), &ended.outcome, &id),
    };
    if let Some(flow) = &ended.flow
        && let Err(cause) = response.add_removal_cookie(&cookies::ended(state, flow))
    {
        tracing::error!(%cause, "a cookie could not be ended");
    }
    response
}

/// On to the tenant's own place, which makes a link.
pub fn arrive(arrived: &Arrived) -> HttpResponse {
    see_other(&with_query(&arrived.url, &arrived.told))
}

/// A page for a browser whose flow is not known.
pub fn refused(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    let id = request_id(request);
    log(refusal, status_of(refusal.code), &id);
    refusal_page(refusal.code, &id)
}

/// What the tenant's place is told. Which connection it is, the tenant learns from its own calls
/// alone: a query can be forged by anybody.
fn said(place: &Place, outcome: &Outcome) -> Vec<(&'static str, String)> {
    match outcome {
        Outcome::Connected => vec![("status", "success".to_owned()), ("provider", place.provider.to_string())],
        Outcome::Held(ticket) => vec![("status", "pending".to_owned()), ("ticket", ticket.expose_secret().to_owned())],
        Outcome::Refused(refusal) => vec![
            ("status", "error".to_owned()),
            ("provider", place.provider.to_string()),
            ("code", refusal.code.as_str().to_owned()),
        ],
    }
}

/// Adds to a URL without touching a byte of what the tenant registered.
fn with_query<N: AsRef<str>>(url: &str, pairs: &[(N, String)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let (base, fragment) = url.split_once('#').map_or((url, String::new()), |(base, rest)| (base, format!("#{rest}")));
    let joint = match base.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{base}{joint}{query}{fragment}")
}

fn page(place: Option<&Place>, outcome: &Outcome, id: &str) -> HttpResponse {
    match (outcome, place) {
        (Outcome::Refused(refusal), _) => refusal_page(refusal.code, id),
        (Outcome::Connected, Some(place)) => connected_page(place),
        // A ticket is only ever made for a flow that has a place to return to.
        (Outcome::Connected | Outcome::Held(_), _) => refusal_page(ErrorCode::Internal, id),
    }
}

fn connected_page(place: &Place) -> HttpResponse {
    let (tenant, provider) = (shown(&place.names.tenant), shown(&place.names.provider));
    let text = format!("{tenant} can now use your {provider} account.");
    let page = Message {
        tone: Tone::Good,
        title: "Connected",
        text: &text,
        next: "You can close this window.",
        way_on: None,
        request_id: "",
    };
    pages::answer(actix_web::http::StatusCode::OK, &page, &Forms::Absent)
}

fn refusal_page(code: ErrorCode, id: &str) -> HttpResponse {
    let explained = explained(code);
    let page = Message {
        tone: if code == ErrorCode::AccessDenied { Tone::Calm } else { Tone::Bad },
        title: explained.title,
        text: explained.text,
        next: explained.next,
        way_on: None,
        request_id: id,
    };
    pages::answer(status_of(code), &page, &Forms::Absent)
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn a_status_is_added_and_every_registered_byte_stays() {
        let pairs = [("status", "error".to_owned()), ("code", "a&b=c".to_owned())];
        let added = "status=error&code=a%26b%3Dc";
        for (url, joint) in [
            ("https://a.example", "?"),
            ("https://a.example/p", "?"),
            ("https://a.example/p?", ""),
            ("https://a.example/p?x=%41", "&"),
            ("https://a.example/?x=1&", "&"),
        ] {
            assert_eq!(with_query(url, &pairs), format!("{url}{joint}{added}"));
        }
        assert_eq!(with_query("https://a.example/#top", &pairs), format!("https://a.example/?{added}#top"));
    }
}
