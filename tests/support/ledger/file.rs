//! The provider file that tells a broker about one of the ledger's classes.

use std::time::Duration;

use super::book::Class;

pub fn provider_file(class: Class, origin: &str, window: Option<Duration>, refresh: &str) -> String {
    let id = class.name();
    let rotation = match class {
        Class::Nonrotating => "class = \"nonrotating\"".to_owned(),
        Class::Grace | Class::Newest => {
            format!("class = \"rotate_grace\"\ngrace = \"{}s\"", window.unwrap_or_default().as_secs())
        }
        Class::Plain => "class = \"rotate_plain\"".to_owned(),
        Class::Strict => "class = \"rotate_strict\"".to_owned(),
    };
    let client = r#"client_id = "CLIENT", client_secret = "SECRET""#;
    let example = "http://127.0.0.1:1";
    format!(
        r#"name = "Ledger ({id})"
docs = "https://docs.example/"
checked = 2026-11-22
known = "docs"
categories = ["testing"]
credentials = "None are needed."

[params.here]
title = "Where it listens"
kind = "origin"
needed_by = "deployment"
example = "{example}"
default = "{origin}"

[authorize]
url = "{{here}}/{id}/authorize"
pkce = "required"

[authorize.scopes]
examples = ["read"]

[token]
url = "{{here}}/{id}/token"
client_auth = "post"

[refresh]
{rotation}
{refresh}

[revoke]
url = "{{here}}/{id}/revoke"
token = "refresh_token"

[redirect]
https_only = true
loopback = "any"

[[test]]
step = "authorize"
scopes = ["read"]
url = "{example}/{id}/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=read&code_challenge=CHALLENGE&code_challenge_method=S256"

[[test]]
step = "exchange"
request.url = "{example}/{id}/token"
request.form = {{ grant_type = "authorization_code", code = "CODE", redirect_uri = "https://broker.example/cb", code_verifier = "VERIFIER", {client} }}
answer = '{{"access_token":"a","expires_in":3600,"refresh_token":"r"}}'
expect = {{ access_token = "a", refresh_token = "r" }}

[[test]]
step = "refresh"
request.url = "{example}/{id}/token"
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
request.url = "{example}/{id}/revoke"
request.form = {{ token = "REFRESH", {client} }}
"#
    )
}
