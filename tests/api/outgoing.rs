//! How every call to a provider introduces itself, whatever it is for.

use std::collections::BTreeSet;
use std::time::Duration;

use claviger::oauth::vectors::keys;
use serde_json::{Value, json};
use url::Url;

use crate::clock::until;
use crate::fake_provider::{AUTHORIZE, Act, Answer, FakeProvider};
use crate::world::{Browser, Page, Setup, Tenant, TestApp};

const PUBLIC: &str = "https://auth.example.com";
const OURS: &str = concat!("claviger/", env!("CARGO_PKG_VERSION"), " (+https://auth.example.com)");

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
}

impl Scene {
    async fn new() -> Self {
        let (provider, settings) = (FakeProvider::start().await, vec![("server.public_url", PUBLIC.to_owned())]);
        let app = TestApp::with(Setup { settings, ..Setup::default() }).await;
        let tenant = app.tenant("dev@acme.example").await;
        Self { app, tenant, provider }
    }

    /// Defines and enables a provider.
    async fn has(&self, id: &str, definition: Value, client: Value) {
        self.tenant.ok("/define-provider", json!({ "provider": id, "definition": definition })).await;
        let mut body = json!({ "provider": id, "client_id": "c" });
        body.as_object_mut().unwrap().extend(client.as_object().unwrap().clone());
        self.tenant.ok("/enable-provider", body).await;
    }

    fn answers(&self, path: &str, body: Value) -> String {
        self.provider.always(path, Act::json(200, &body));
        self.provider.url(path)
    }

    fn tokens(&self, path: &str) -> String {
        self.answers(path, json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r" }))
    }

    /// The end user presses Connect; answers where the browser is sent.
    async fn pressed(&self, browser: &Browser, id: &str) -> String {
        browser.press_connect(&self.here(&self.tenant.link(id, "ada").await)).await
    }

    async fn comes_back(&self, browser: &Browser, to: &str) -> Page {
        let page = browser.get(&self.here(to)).await;
        assert_eq!(page.status, 200, "{}", page.body);
        page
    }

    /// The public address, on the port where this server really listens.
    fn here(&self, url: &str) -> String {
        url.replacen(PUBLIC, &self.app.url, 1)
    }

    async fn revokes(&self, id: &str) {
        self.tenant.ok("/revoke-connection", json!({ "provider": id, "end_user_id": "ada" })).await;
    }

    /// Exchange, extension, look-up, refresh, revocation.
    async fn by_code(&self) {
        let definition = json!({
            "name": "Web", "authorize": { "url": self.provider.url(AUTHORIZE), "pkce": "off" },
            "token": { "url": self.tokens("/web/token") },
            "extend": { "url": self.tokens("/web/extend") },
            "refresh": { "class": "rotate_plain", "url": self.tokens("/web/refresh") },
            "revoke": { "url": self.answers("/web/revoke", json!({})) },
            "after_connect": [{ "name": "me", "url": self.answers("/web/me", json!({ "id": "7" })), "subject": "/id" }],
        });
        self.has("web", definition, json!({ "client_secret": "s" })).await;
        let browser = Browser::default();
        let authorize = self.pressed(&browser, "web").await;
        let back = browser.get(&authorize).await.location();
        self.comes_back(&browser, &back).await;
        self.app.clock.advance(Duration::from_secs(7_200));
        self.tenant.token("web", "ada").await;
        self.revokes("web").await;
    }

    async fn by_signed_calls(&self) {
        self.provider.always("/one/temporary", form("oauth_token=t&oauth_token_secret=s&oauth_callback_confirmed=true"));
        self.provider.always("/one/token", form("oauth_token=u&oauth_token_secret=v"));
        let definition = json!({
            "name": "One", "grant": "oauth1", "oauth1": { "params_in": "body" },
            "request_token": { "url": self.provider.url("/one/temporary") },
            "authorize": { "url": self.provider.url(AUTHORIZE) }, "token": { "url": self.provider.url("/one/token") },
            "after_connect": [{ "name": "me", "url": self.answers("/one/me", json!({ "id": "7" })), "subject": "/id" }],
        });
        self.has("one", definition, json!({ "client_secret": "s" })).await;
        let browser = Browser::default();
        self.pressed(&browser, "one").await;
        let callback = self.provider.seen("/one/temporary")[0].field("oauth_callback").unwrap();
        let mut back = Url::parse(&callback).unwrap();
        back.query_pairs_mut().append_pair("oauth_token", "t").append_pair("oauth_verifier", "w");
        self.comes_back(&browser, back.as_str()).await;
    }

    async fn on_a_device(&self) {
        let code = json!({ "device_code": "d", "user_code": "WDJB-MJHT", "verification_uri": "https://gadget.example/go", "expires_in": 900 });
        let definition = json!({
            "name": "Gadget", "grant": "device_code", "device": { "url": self.answers("/gadget/device", code) },
            "token": { "url": self.tokens("/gadget/token"), "client_auth": "none" }, "refresh": { "class": "rotate_plain" },
        });
        self.has("gadget", definition, json!({})).await;
        let waiting = self.app.clock.sleepers();
        self.pressed(&Browser::default(), "gadget").await;
        until("a wait begins", || self.app.clock.sleepers() > waiting).await;
        self.app.clock.advance(Duration::from_secs(5));
        self.provider.wait_for("/gadget/token", 1).await;
    }

    /// With the client's secret, and with what its key signs.
    async fn without_an_end_user(&self) {
        let machine =
            json!({ "name": "Machine", "grant": "client_credentials", "token": { "url": self.tokens("/machine/token") } });
        self.has("machine", machine, json!({ "client_secret": "s" })).await;
        let signed = json!({
            "name": "Signed", "grant": "jwt_bearer", "jwt": { "grant": { "claims": { "iss": "{client_id}" } } },
            "params": { "private_key": { "title": "Key", "kind": "private_key", "needed_by": "integration", "secret": true } },
            "token": { "url": self.tokens("/signed/token"), "client_auth": "off", "params": { "assertion": "{jwt.grant}" } },
        });
        self.has("signed", signed, json!({ "private_key": keys::P256 })).await;
        for id in ["machine", "signed"] {
            self.tenant.ok(&format!("/authorize-{id}"), json!({ "end_user_id": "ada" })).await;
        }
    }

    /// Nothing is there, which is found out by asking.
    async fn by_metadata(&self) {
        let definition = json!({ "name": "Found", "issuer": self.provider.url("/id"), "refresh": { "class": "rotate_plain" } });
        let (status, said) = self.tenant.post("/define-provider", json!({ "provider": "found", "definition": definition })).await;
        assert_eq!(status, 400, "{said}");
    }
}

fn form(body: &str) -> Answer {
    Answer::new(200, "application/x-www-form-urlencoded", body)
}

/// Some providers answer 403 to whoever does not say who calls (GitHub's REST API does), and several want a contact.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_says_who_calls_and_what_it_reads() {
    let scene = Scene::new().await;
    scene.by_code().await;
    scene.by_signed_calls().await;
    scene.on_a_device().await;
    scene.without_an_end_user().await;
    scene.by_metadata().await;

    let mut called = BTreeSet::new();
    for seen in scene.provider.all_seen().into_iter().filter(|seen| seen.path != AUTHORIZE) {
        assert_eq!(seen.header("user-agent"), Some(OURS), "{}", seen.path);
        assert_eq!(seen.header("accept"), Some("application/json"), "{}", seen.path);
        called.insert(seen.path);
    }
    let all = "/.well-known/oauth-authorization-server/id /gadget/device /gadget/token /id/.well-known/openid-configuration \
        /machine/token /one/me /one/temporary /one/token /signed/token /web/extend /web/me /web/refresh /web/revoke /web/token";
    assert_eq!(called, all.split(' ').map(str::to_owned).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_names_the_caller_itself_is_left_its_name() {
    let scene = Scene::new().await;
    let token = json!({ "url": scene.tokens("/machine/token"), "headers": { "User-Agent": "acme-sync/1.0" } });
    let machine = json!({ "name": "Machine", "grant": "client_credentials", "token": token });
    scene.has("machine", machine, json!({ "client_secret": "s" })).await;
    scene.tenant.ok("/authorize-machine", json!({ "end_user_id": "ada" })).await;
    assert_eq!(scene.provider.seen("/machine/token")[0].header("user-agent"), Some("acme-sync/1.0"));
}
