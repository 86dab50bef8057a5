//! Files of providers that tests make up: what each of them says alike.

#![allow(dead_code, reason = "shared by test binaries; each uses a part")]

/// A whole file of these blocks, which begin with what stands outside of any table.
pub fn file(name: &str, blocks: &str) -> String {
    format!(
        r#"name = "{name}"
docs = "https://docs.example/"
checked = 2026-11-22
known = "docs"
categories = ["testing"]
credentials = "None are needed."
{blocks}"#
    )
}

/// The same of a server on loopback, which its blocks call `{here}`, and its vectors `http://127.0.0.1:1`.
pub fn on_loopback(name: &str, origin: &str, blocks: &str) -> String {
    let here = format!(
        r#"
[params.here]
title = "Where it listens"
kind = "origin"
needed_by = "deployment"
example = "http://127.0.0.1:1"
default = "{origin}"
"#
    );
    file(name, &format!("{blocks}{here}"))
}

/// A server on loopback with the usual endpoints, whose tokens are refreshed in the given class.
pub fn of_class(name: &str, origin: &str, class: &str) -> String {
    with_refresh(name, origin, &format!("class = \"{class}\""))
}

/// The same, with these lines for `[refresh]`.
pub fn with_refresh(name: &str, origin: &str, refresh: &str) -> String {
    with_endpoints(name, origin, refresh, ("/authorize", "/token", "/revoke"))
}

/// The same, with its endpoints at these paths.
pub fn with_endpoints(name: &str, origin: &str, refresh: &str, (authorize, token, revoke): (&str, &str, &str)) -> String {
    let client = r#"client_id = "CLIENT", client_secret = "SECRET""#;
    let blocks = format!(
        r#"
[authorize]
url = "{{here}}{authorize}"
pkce = "required"

[authorize.scopes]
examples = ["read"]

[token]
url = "{{here}}{token}"
client_auth = "post"

[refresh]
{refresh}

[revoke]
url = "{{here}}{revoke}"
token = "refresh_token"

[redirect]
https_only = true
loopback = "any"

[[test]]
step = "authorize"
scopes = ["read"]
url = "http://127.0.0.1:1{authorize}?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=read&code_challenge=CHALLENGE&code_challenge_method=S256"

[[test]]
step = "exchange"
request.url = "http://127.0.0.1:1{token}"
request.form = {{ grant_type = "authorization_code", code = "CODE", redirect_uri = "https://broker.example/cb", code_verifier = "VERIFIER", {client} }}
answer = '{{"access_token":"a","expires_in":3600,"refresh_token":"r"}}'
expect = {{ access_token = "a", refresh_token = "r" }}

[[test]]
step = "refresh"
request.url = "http://127.0.0.1:1{token}"
request.form = {{ grant_type = "refresh_token", refresh_token = "REFRESH", {client} }}
answer = '{{"access_token":"b","expires_in":3600,"refresh_token":"s"}}'
expect = {{ access_token = "b", refresh_token = "s" }}

[[test]]
step = "refresh"
name = "dead grant"
status = 400
answer = '{{"error":"invalid_grant"}}'
expect = {{ failure = "dead_grant" }}

[[test]]
step = "revoke"
request.url = "http://127.0.0.1:1{revoke}"
request.form = {{ token = "REFRESH", {client} }}
"#
    );
    on_loopback(name, origin, &blocks)
}
