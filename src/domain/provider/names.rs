//! Names that the engine gives a value, per kind of request, and the headers that are not for a file to set.

pub(super) const AUTHORIZE: &[&str] = &["client_id", "redirect_uri", "scope", "state"];
pub(super) const EXCHANGE: &[&str] = &["client_id", "client_secret", "code", "redirect_uri", "code_verifier", "scope", "state"];
pub(super) const MINT: &[&str] = &["client_id", "client_secret", "scope"];
/// The device authorization request, and the token request that asks after its code.
pub(super) const DEVICE: &[&str] = &["client_id", "client_secret", "scope"];
pub(super) const POLL: &[&str] = &["client_id", "client_secret", "device_code", "scope"];
/// Of OAuth 1.0a, whose secrets sign and are not sent.
pub(super) const REQUEST_TOKEN: &[&str] = &["client_id", "scope"];
pub(super) const OAUTH1_EXCHANGE: &[&str] = &["client_id", "redirect_uri", "scope", "state"];
pub(super) const REFRESH: &[&str] = &["client_id", "client_secret", "refresh_token", "access_token", "scope", "redirect_uri"];
pub(super) const EXTEND: &[&str] = &["client_id", "client_secret", "access_token", "redirect_uri"];
pub(super) const INTROSPECT: &[&str] = &["client_id", "client_secret", "token", "access_token", "redirect_uri"];
pub(super) const REVOKE: &[&str] = &["client_id", "client_secret", "token", "refresh_token", "access_token", "redirect_uri"];
pub(super) const LOOKUP: &[&str] = &["client_id", "access_token", "token_type"];
/// Of the moment at which a call is made.
pub(super) const MOMENT: &[&str] = &["now", "now_ms", "uuid", "random"];
/// Never part of a URL.
pub(super) const SECRET: &[&str] =
    &["client_secret", "code", "device_code", "code_verifier", "refresh_token", "access_token", "token"];

/// Headers that a file may not set: they belong to the connection, not to the call.
pub(super) const FORBIDDEN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "content-type",
    "accept-encoding",
    "cookie",
    "expect",
    "te",
    "upgrade",
];
