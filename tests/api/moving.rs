//! A provider that says only in its callback which of its hosts gives the tokens, and calls the code otherwise: from then
//! on all goes there, if the host is one of those that its file lists, and otherwise nothing goes anywhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::domain::call::{HttpAnswer, HttpCall};
use claviger::ports::outbound::{CallError, Outbound};
use serde_json::json;
use url::Url;

use crate::provider_file;
use crate::world::{Browser, Page, Setup, Tenant, TestApp};

const BACK: &str = "https://app.example/back";

const MOVING: &str = r#"
[authorize]
url = "https://accounts.moving.example/authorize"
pkce = "off"
[authorize.scopes]
default = ["read"]

[callback]
code = "auth_code"
keep = ["server"]
hosts = { server = ["moving.example", "moving-eu.example"] }

[token]
url = "https://{callback.server}/token"

[refresh]
class = "nonrotating"

[revoke]
url = "https://{callback.server}/revoke"

[[test]]
step = "authorize"
url = "https://accounts.moving.example/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=read"
[[test]]
step = "exchange"
callback = "auth_code=CODE&server=moving.example"
request.url = "https://moving.example/token"
answer = '{"access_token":"a1"}'
expect = { access_token = "a1" }
[[test]]
step = "refresh"
metadata = { server = "moving.example" }
request.url = "https://moving.example/token"
answer = '{"access_token":"a2"}'
expect = { access_token = "a2" }
[[test]]
step = "revoke"
metadata = { server = "moving.example" }
request.url = "https://moving.example/revoke"
[[test]]
step = "exchange"
name = "dead"
status = 400
answer = '{"error":"invalid_grant"}'
expect = { failure = "dead_grant" }
"#;

/// Every host there is: remembers what it is sent and gives tokens.
#[derive(Default)]
struct Everywhere(Mutex<Vec<HttpCall>>);

#[async_trait]
impl Outbound for Everywhere {
    async fn call(&self, call: HttpCall, _deadline: Duration) -> Result<HttpAnswer, CallError> {
        let mut calls = self.0.lock().unwrap();
        calls.push(call);
        let body = json!({ "access_token": format!("at-{}", calls.len()), "refresh_token": "rt-1", "expires_in": 3600 });
        Ok(HttpAnswer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() })
    }
}

impl Everywhere {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Where the last call went, and its fields.
    fn last(&self) -> (String, Vec<(String, String)>) {
        let calls = self.0.lock().unwrap();
        let call = calls.last().unwrap();
        (call.url.to_string(), form_urlencoded::parse(&call.body).into_owned().collect())
    }
}

async fn world() -> (TestApp, Arc<Everywhere>, Tenant) {
    let everywhere = Arc::new(Everywhere::default());
    let providers = vec![("moving", provider_file::file("Moving Cloud", MOVING))];
    let app = TestApp::with(Setup { providers, outbound: Some(everywhere.clone()), ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    let body = json!({ "provider": "moving", "client_id": "c", "client_secret": "s3cret", "user_redirect_url": BACK });
    tenant.ok("/enable-provider", body).await;
    (app, everywhere, tenant)
}

/// From the link to the provider and back with this query; the state is added.
async fn back_with(tenant: &Tenant, end_user: &str, query: &str) -> Page {
    let browser = Browser::default();
    let authorize = Url::parse(&browser.press_connect(&tenant.link("moving", end_user).await).await).unwrap();
    assert_eq!(authorize.host_str(), Some("accounts.moving.example"));
    let param = |name: &str| authorize.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
    browser.get(&format!("{}?{query}&state={}", param("redirect_uri"), param("state"))).await
}

fn has(fields: &[(String, String)], name: &str, value: &str) -> bool {
    fields.iter().any(|(known, sent)| known == name && sent == value)
}

/// Exchange, refresh and revocation; each end user's own host, and none of another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_calls_go_to_the_host_that_the_callback_named() {
    let (app, everywhere, tenant) = world().await;
    let hosts = [
        ("eu", "https%3A%2F%2Faccounts.moving-eu.example", "https://accounts.moving-eu.example"),
        ("us", "moving.example", "https://moving.example"),
    ];
    for (end_user, named, origin) in hosts {
        let landed = back_with(&tenant, end_user, &format!("auth_code=c-{end_user}&server={named}")).await;
        assert!(landed.location().starts_with(&format!("{BACK}?status=success")), "{}", landed.location());
        let (url, fields) = everywhere.last();
        assert_eq!(url, format!("{origin}/token"));
        assert!(has(&fields, "code", &format!("c-{end_user}")) && has(&fields, "client_secret", "s3cret"), "{fields:?}");
    }
    assert_eq!(everywhere.count(), 2);

    app.clock.advance(Duration::from_secs(7_200));
    for (at, (end_user, _, origin)) in hosts.into_iter().enumerate() {
        tenant.token("moving", end_user).await;
        let (url, fields) = everywhere.last();
        assert_eq!(url, format!("{origin}/token"));
        assert!(has(&fields, "refresh_token", "rt-1"), "{fields:?}");
        tenant.ok("/revoke-connection", json!({ "provider": "moving", "end_user_id": end_user })).await;
        let (url, fields) = everywhere.last();
        assert_eq!(url, format!("{origin}/revoke"));
        assert!(has(&fields, "token", "rt-1"), "{fields:?}");
        assert_eq!(everywhere.count(), 4 + 2 * at);
    }
}

/// Neither a host that is not listed, nor one that only looks like it, is sent a code or a secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_that_is_not_listed_ends_the_flow_and_nothing_is_sent() {
    let (_app, everywhere, tenant) = world().await;
    for server in [
        "server=evil.example",
        "server=https%3A%2F%2Fmoving.example.evil.example",
        "server=evilmoving.example",
        "server=moving.example%40evil.example",
        "server=evil.example%2F.moving.example",
        "server=http%3A%2F%2Fmoving.example",
        "server=moving.example%3A8443",
        "server=127.0.0.1",
        "server=",
        "server=moving.example&server=evil.example",
        "x=1",
    ] {
        let landed = back_with(&tenant, "alice", &format!("auth_code=c&{server}")).await.location();
        assert!(landed.starts_with(&format!("{BACK}?status=error")), "{server}: {landed}");
    }
    assert_eq!(everywhere.count(), 0);
    assert_eq!(tenant.get("/connections").await.1["connections"], json!([]));
}

/// The code stands where the file says, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_of_another_name_is_taken_by_that_name_alone() {
    let (_app, everywhere, tenant) = world().await;
    for query in ["code=c", "code=c&auth_code=", "auth_code=a&auth_code=b", "authcode=c"] {
        let landed = back_with(&tenant, "alice", &format!("{query}&server=moving.example")).await.location();
        assert!(landed.ends_with("&code=invalid_request"), "{query}: {landed}");
    }
    assert_eq!(everywhere.count(), 0);
    let landed = back_with(&tenant, "alice", "code=other&auth_code=mine&server=moving.example").await.location();
    assert!(landed.starts_with(&format!("{BACK}?status=success")), "{landed}");
    let (_, fields) = everywhere.last();
    assert!(has(&fields, "code", "mine") && !has(&fields, "code", "other"), "{fields:?}");
}
