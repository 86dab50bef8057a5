//! An app that is installed: an install link, a callback that names the installation, and tokens that are minted for
//! it with the app's own credentials. The name in the callback is worth nothing by itself.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Page, Setup, Tenant, TestApp, text};

const FILE: &str = r#"
[authorize]
url = "{here}/install"
pkce = "off"
scopes = "none"
drop = ["response_type", "client_id", "redirect_uri"]

[callback]
keep = ["installation_id"]

[token]
url = "{here}/token"

[[after_connect]]
name = "installation"
first = true
url = "{here}/user/installations/{callback.installation_id}/repositories"
keep = { repositories = "/total_count" }

[extend]
url = "{here}/app/installations/{callback.installation_id}/access_tokens"
client_auth = "basic"

[refresh]
with = "client"
url = "{here}/app/installations/{callback.installation_id}/access_tokens"
client_auth = "basic"

[refresh.response]
access_token = "/token"

[errors]
dead_grant = [{ status = 404 }]

[[test]]
step = "authorize"
url = "http://127.0.0.1:1/install?state=STATE"

[[test]]
step = "exchange"
request.url = "http://127.0.0.1:1/token"
request.form = { grant_type = "authorization_code", code = "CODE", redirect_uri = "https://broker.example/cb", client_id = "CLIENT", client_secret = "SECRET" }
answer = '{"access_token":"u","refresh_token":"r"}'
expect = { access_token = "u", no_refresh_token = true }

[[test]]
step = "extend"
metadata = { installation_id = "7" }
request.url = "http://127.0.0.1:1/app/installations/7/access_tokens"
request.headers = { authorization = "Basic Q0xJRU5UOlNFQ1JFVA==" }
answer = '{"token":"i","expires_in":3600}'
expect = { access_token = "i", expires_in = 3600 }

[[test]]
step = "refresh"
metadata = { installation_id = "7" }
request.url = "http://127.0.0.1:1/app/installations/7/access_tokens"
request.headers = { authorization = "Basic Q0xJRU5UOlNFQ1JFVA==" }
answer = '{"token":"j","expires_in":3600}'
expect = { access_token = "j" }

[[test]]
step = "refresh"
name = "the app was uninstalled"
metadata = { installation_id = "7" }
status = 404
answer = '{"message":"Not Found"}'
expect = { failure = "dead_grant" }
"#;

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    callback: String,
}

/// Installation 7 is the end user's; 8 exists, and is somebody else's.
async fn scene() -> Scene {
    let provider = FakeProvider::start().await;
    provider.always("/user/installations/7/repositories", Act::json(200, &json!({ "total_count": 3 })));
    provider.always("/user/installations/8/repositories", Act::json(404, &json!({ "message": "Not Found" })));
    for (installation, n) in [(7, 1), (7, 2), (8, 1)] {
        let token = json!({ "token": format!("installation-{installation}-{n}"), "expires_in": 3_600 });
        provider.next(&minting(installation), Act::json(201, &token));
    }
    let file = provider_file::on_loopback("Installed", &provider.url(""), FILE);
    let app = TestApp::with(Setup { providers: vec![("fake", file)], ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    let callback = text(&tenant.enable("fake", "").await["redirect_uri"]);
    Scene { app, tenant, provider, callback }
}

fn minting(installation: u32) -> String {
    format!("/app/installations/{installation}/access_tokens")
}

impl Scene {
    /// The end user presses Connect, and comes back with this.
    async fn comes_back(&self, with: &str) -> Page {
        let browser = Browser::default();
        let link = self.tenant.link("fake", "ada").await;
        let install = Url::parse(&browser.press_connect(&link).await).unwrap();
        assert_eq!(install.query_pairs().count(), 1, "{install}");
        browser.get(&format!("{}?code=c&{with}&{}", self.callback, install.query().unwrap())).await
    }

    async fn connections(&self) -> Vec<Value> {
        let (_, listed) = self.tenant.get("/connections").await;
        listed["connections"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_installation_has_tokens_of_the_apps_own() {
    let scene = scene().await;
    let page = scene.comes_back("installation_id=7&setup_action=install").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let served = scene.tenant.token("fake", "ada").await;
    assert_eq!((text(&served["access_token"]), &served["metadata"]["installation_id"]), ("installation-7-1".into(), &json!("7")));
    let looked = scene.provider.seen("/user/installations/7/repositories");
    assert_eq!((looked.len(), looked[0].header("authorization")), (1, Some("Bearer at-1")), "with the user's token");

    scene.app.clock.advance(Duration::from_secs(3_600));
    assert_eq!(text(&scene.tenant.token("fake", "ada").await["access_token"]), "installation-7-2");
    for minted in scene.provider.seen(&minting(7)) {
        assert!(
            minted.header("authorization").is_some_and(|proof| proof.starts_with("Basic ")) && minted.body.is_empty(),
            "{minted:?}"
        );
    }
    assert_eq!(scene.provider.count(TOKEN), 1, "the user's own tokens are not used again");
    // 7 was uninstalled, which is said twice before it is believed.
    scene.provider.always(&minting(7), Act::json(404, &json!({ "message": "Not Found" })));
    for status in ["in_doubt", "needs_reauth"] {
        scene.app.clock.advance(Duration::from_secs(3_600));
        scene.tenant.try_token("fake", "ada").await;
        assert_eq!(scene.connections().await[0]["status"], status);
    }
}

/// Whoever has a link of their own can come back to it with any name in the query.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_forged_installation_is_refused_before_anything_is_minted() {
    let scene = scene().await;
    for forged in
        ["installation_id=8", "installation_id=7%2F..%2F8", "installation_id=..%2F8", "installation_id=", "setup_action=install"]
    {
        let page = scene.comes_back(forged).await;
        assert!(page.status >= 400, "{forged}: {} {}", page.status, page.body);
        assert_eq!((scene.provider.count(&minting(8)), scene.provider.count(&minting(7))), (0, 0), "{forged}");
        assert_eq!(scene.connections().await, Vec::<Value>::new(), "{forged}");
    }
    assert_eq!(scene.provider.count("/user/installations/8/repositories"), 1, "a name cannot leave its place in a path");
}
