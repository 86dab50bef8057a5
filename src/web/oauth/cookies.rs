//! One cookie per flow, so that several flows of one browser do not disturb each other.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::COOKIE;
use secrecy::ExposeSecret;

use crate::services::connect::FlowCookie;
use crate::web::State;

/// A browser has at most so many flows under way that are looked at.
const FLOWS_MAX: usize = 50;
const FLOW_LEN: usize = 16;

/// The prefix is a promise of browsers: such a cookie came from this very host, over https.
fn prefix(state: &State) -> &'static str {
    if is_https(state) { "__Host-clv_" } else { "clv_" }
}

fn is_https(state: &State) -> bool {
    state.public_url().starts_with("https://")
}

pub fn of_flow(state: &State, half: &FlowCookie) -> Cookie<'static> {
    let life = i64::try_from(half.life.as_secs()).unwrap_or(i64::MAX);
    let mut cookie = base(state, &half.flow, half.value.expose_secret().to_owned());
    cookie.set_max_age(Duration::seconds(life));
    if half.cross_site {
        // The provider posts back from its own site. Browsers take `None` only with `Secure`, which they
        // grant loopback, too.
        cookie.set_same_site(SameSite::None);
        cookie.set_secure(true);
    }
    cookie
}

/// Ends a flow's cookie in the browser.
pub fn ended(state: &State, flow: &str) -> Cookie<'static> {
    let mut cookie = base(state, flow, String::new());
    cookie.make_removal();
    cookie
}

/// The browser's halves of its flows, by flow. Read by hand: a cookie of other bytes, which a site
/// beside ours can set, must not make all of them unreadable.
pub fn halves(state: &State, request: &HttpRequest) -> BTreeMap<String, String> {
    let prefix = prefix(state);
    let cookies = request.headers().get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let pairs = cookies.filter_map(|cookie| std::str::from_utf8(cookie).ok()?.trim().split_once('='));
    let ours = pairs.filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    let ours = ours.filter(|(flow, _)| flow.len() == FLOW_LEN && flow.bytes().all(|b| b.is_ascii_hexdigit()));
    ours.take(FLOWS_MAX).map(|(flow, value)| (flow.to_owned(), value.to_owned())).collect()
}

fn base(state: &State, flow: &str, value: String) -> Cookie<'static> {
    Cookie::build(format!("{}{flow}", prefix(state)), value)
        .path("/")
        .http_only(true)
        .secure(is_https(state))
        .same_site(SameSite::Lax)
        .finish()
}
