//! Providers for tests: their files, and one that answers calls as it is told and remembers them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use claviger::domain::call::{HttpAnswer, HttpCall};
use claviger::ports::outbound::{CallError, Outbound};
use tokio::sync::Semaphore;

use crate::provider_file;

/// Names itself in callbacks, insists on PKCE, says who connected.
const HONEST: &str = r#"
[authorize]
url = "https://honest.example/authorize"
pkce = "required"
[authorize.scopes]
default = ["read"]

[callback]
issuer = "https://honest.example"

[token]
url = "https://honest.example/token"
client_auth = "post"

[response]
keep = { workspace = "/workspace" }
subject = ["/sub"]

[refresh]
class = "nonrotating"

[[test]]
step = "authorize"
url = "https://honest.example/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=read&code_challenge=CHALLENGE&code_challenge_method=S256"
[[test]]
step = "exchange"
request.url = "https://honest.example/token"
answer = '{"access_token":"a1","sub":"u"}'
expect = { access_token = "a1", subject = "u" }
[[test]]
step = "refresh"
request.url = "https://honest.example/token"
answer = '{"access_token":"a2"}'
expect = { access_token = "a2" }
"#;

/// Posts its answer from its own site, and has a host per shop.
const POSTING: &str = r#"
[params.shop]
title = "The shop"
kind = "subdomain"
needed_by = "link"
example = "corner"

[authorize]
url = "https://{shop}.shops.example/authorize"
pkce = "optional"
scopes = "none"

[callback]
form_post = true
keep = ["region"]

[token]
url = "https://{shop}.shops.example/token"
client_auth = "basic"

[refresh]
class = "none"

[[after_connect]]
name = "me"
url = "https://{shop}.shops.example/me"
keep = { account = "/name" }
subject = "/id"
optional = true

[[test]]
step = "authorize"
params = { shop = "corner" }
url = "https://corner.shops.example/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&code_challenge=CHALLENGE&code_challenge_method=S256"
[[test]]
step = "exchange"
params = { shop = "corner" }
request.url = "https://corner.shops.example/token"
answer = '{"access_token":"a1"}'
expect = { access_token = "a1" }
"#;

/// Its end users consent on another device.
const GADGET: &str = r#"
grant = "device_code"

[device]
url = "https://gadget.example/device"

[token]
url = "https://gadget.example/token"
client_auth = "none"

[authorize.scopes]
default = ["read"]

[refresh]
class = "rotate_plain"

[[after_connect]]
name = "me"
url = "https://gadget.example/me"
subject = "/id"
optional = true

[[test]]
step = "device"
scopes = ["read", "write"]
request.url = "https://gadget.example/device"
request.form = { client_id = "CLIENT", scope = "read write" }
answer = '{"device_code":"d1","user_code":"ABCD-EFGH","verification_uri":"https://gadget.example/go","expires_in":900}'
expect = { code = "d1", user_code = "ABCD-EFGH", verification_uri = "https://gadget.example/go", expires_in = 900, interval = 5 }
[[test]]
step = "exchange"
request.url = "https://gadget.example/token"
request.form = { grant_type = "urn:ietf:params:oauth:grant-type:device_code", device_code = "CODE", client_id = "CLIENT" }
answer = '{"access_token":"a1"}'
expect = { access_token = "a1" }
[[test]]
step = "exchange"
name = "not yet"
status = 400
answer = '{"error":"authorization_pending"}'
expect = { failure = "pending" }
[[test]]
step = "refresh"
request.url = "https://gadget.example/token"
request.form = { grant_type = "refresh_token", refresh_token = "REFRESH", client_id = "CLIENT" }
answer = '{"access_token":"a2"}'
expect = { access_token = "a2" }
"#;

/// Has a store of apps, in which an install may begin, and signs what it says.
const STORE: &str = r#"
[params.shop]
title = "Shop"
kind = "subdomain"
needed_by = "link"
example = "corner"

[authorize]
url = "https://{shop}.stores.example/authorize"
pkce = "off"
scopes = "none"

[callback]
signature = "hmac"

[install]
params.shop = { suffix = ".stores.example" }

[token]
url = "https://{shop}.stores.example/token"

[refresh]
class = "none"

[[test]]
step = "authorize"
url = "https://corner.stores.example/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE"
[[test]]
step = "install"
callback = "shop=corner.stores.example&hmac=00"
expect = { failure = "bad_signature" }
[[test]]
step = "exchange"
request.url = "https://corner.stores.example/token"
answer = '{"access_token":"a1"}'
expect = { access_token = "a1" }
"#;

/// Is told a nonce, and says who connected in an ID token.
const OPEN: &str = r#"
[authorize]
url = "https://open.example/authorize"
pkce = "off"
nonce = true
[authorize.scopes]
default = ["openid"]

[token]
url = "https://open.example/token"

[refresh]
class = "none"

[[test]]
step = "authorize"
url = "https://open.example/authorize?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=openid&nonce=NONCE"
[[test]]
step = "exchange"
request.url = "https://open.example/token"
answer = '{"access_token":"a1","id_token":"e30.eyJzdWIiOiJ1In0.s"}'
expect = { access_token = "a1", subject = "u" }
"#;

/// What each of them says of a grant that is over.
const DEAD: &str = r#"
[[test]]
step = "exchange"
name = "dead"
status = 400
answer = '{"error":"invalid_grant"}'
expect = { failure = "dead_grant" }
"#;

/// Their files, by id.
pub fn files() -> [(&'static str, String); 5] {
    let whole = |(id, name, blocks): (&'static str, &str, &str)| (id, provider_file::file(name, &format!("{blocks}{DEAD}")));
    [
        ("honest", "Honest Files", HONEST),
        ("posting", "Posting Shops", POSTING),
        ("gadget", "Gadget Cloud", GADGET),
        ("store", "Corner Store", STORE),
        ("open", "Open Doors", OPEN),
    ]
    .map(whole)
}

/// What the next calls are answered with; when nothing is left, a good set of tokens.
#[derive(Default)]
pub struct FakeProvider {
    calls: Mutex<Vec<HttpCall>>,
    answers: Mutex<VecDeque<Result<HttpAnswer, CallError>>>,
    /// While it is closed, calls wait.
    gate: Mutex<Option<std::sync::Arc<Semaphore>>>,
}

impl FakeProvider {
    pub fn will_answer(&self, status: u16, body: &str) {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let answer = HttpAnswer { status, headers, body: body.as_bytes().to_vec() };
        self.answers.lock().unwrap().push_back(Ok(answer));
    }

    pub fn will_fail(&self, error: CallError) {
        self.answers.lock().unwrap().push_back(Err(error));
    }

    /// Calls wait from now on, until the returned gate gets permits.
    pub fn hold(&self) -> std::sync::Arc<Semaphore> {
        let gate = std::sync::Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub fn calls(&self) -> Vec<HttpCall> {
        self.calls.lock().unwrap().clone()
    }

    /// The fields of each call to a token endpoint.
    pub fn exchanges(&self) -> Vec<Vec<(String, String)>> {
        let calls = self.calls();
        let exchanges = calls.iter().filter(|call| call.url.path() == "/token");
        exchanges.map(|call| form_urlencoded::parse(&call.body).into_owned().collect()).collect()
    }
}

pub const TOKENS: &str = r#"{"access_token":"at-1","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-1","scope":"read","sub":"u1","workspace":"w1"}"#;

#[async_trait]
impl Outbound for FakeProvider {
    async fn call(&self, call: HttpCall, _deadline: Duration) -> Result<HttpAnswer, CallError> {
        self.calls.lock().unwrap().push(call);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("the gate stays").forget();
        }
        let told = self.answers.lock().unwrap().pop_front();
        told.unwrap_or_else(|| Ok(HttpAnswer { status: 200, headers: Vec::new(), body: TOKENS.as_bytes().to_vec() }))
    }
}
