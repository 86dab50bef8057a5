//! What a tenant may make a server in production call: nothing but the public internet, however a
//! tenant writes an address, and wherever in a definition of its own.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::adapters::outbound::{EgressPolicy, Loopback, ReqwestOutbound};
use claviger::domain::call::{HttpAnswer, HttpCall};
use claviger::ports::outbound::{CallError, Outbound};
use serde_json::{Value, json};

use crate::fake_provider::{Act, FakeProvider, TOKEN};
use crate::forbidden::{Canary, spellings};
use crate::world::{Browser, Setup, Tenant, TestApp, text};

const HOUR: Duration = Duration::from_secs(3600);
/// Stands for a server on the public internet: its calls are answered by the test's provider.
const PUBLIC: &str = "https://git.acme.example";

/// As `serve` calls, with the canary's port open besides, so that it is the address that is refused.
/// Only the test's own provider is let through.
struct AsServed {
    served: ReqwestOutbound,
    let_through: ReqwestOutbound,
    provider: url::Origin,
    /// The paths of the calls that were left to the guard, all of them refused.
    refused: Mutex<Vec<String>>,
}

#[async_trait]
impl Outbound for AsServed {
    async fn call(&self, mut call: HttpCall, deadline: Duration) -> Result<HttpAnswer, CallError> {
        if let Some(path) = call.url.as_str().strip_prefix(PUBLIC) {
            call.url = format!("{}{path}", self.provider.ascii_serialization()).parse().unwrap();
        }
        if call.url.origin() == self.provider {
            return self.let_through.call(call, deadline).await;
        }
        let path = call.url.path().to_owned();
        let answer = self.served.call(call, deadline).await;
        assert!(matches!(&answer, Err(CallError::NotSent(why)) if why.contains("may be called")), "{path}: {answer:?}");
        self.refused.lock().unwrap().push(path);
        answer
    }
}

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    outbound: Arc<AsServed>,
    canary: Canary,
}

impl Scene {
    async fn start() -> Self {
        let (canary, provider) = (Canary::start(), FakeProvider::start().await);
        let allow = vec![format!("*:{}", canary.port).parse().unwrap()];
        let calls = |loopback, allow| ReqwestOutbound::new(EgressPolicy { loopback, allow }, None).unwrap();
        let outbound = Arc::new(AsServed {
            served: calls(Loopback::Refused, allow),
            let_through: calls(Loopback::Allowed, Vec::new()),
            provider: provider.url("/").parse::<url::Url>().unwrap().origin(),
            refused: Mutex::default(),
        });
        let app = TestApp::with(Setup { outbound: Some(outbound.clone()), ..Setup::default() }).await;
        let tenant = app.tenant("dev@acme.example").await;
        Self { app, tenant, provider, outbound, canary }
    }

    /// Some of the spellings, evenly spread, as the beginning of a URL; none that a resolver outside
    /// this machine would be asked for.
    fn origins(&self, every: usize) -> Vec<String> {
        let names = ["localhost", "LOCALHOST"].map(str::to_owned);
        let addresses = spellings().into_iter().filter(|spelling| spelling.means.is_some()).step_by(every);
        names
            .into_iter()
            .chain(addresses.map(|spelling| spelling.host))
            .map(|host| format!("https://{host}:{}", self.canary.port))
            .collect()
    }

    async fn define(&self, definition: Value) -> (u16, Value) {
        self.tenant.post("/define-provider", json!({ "provider": "probe", "definition": definition })).await
    }

    fn definition(&self, more: Value) -> Value {
        let mut whole = json!({
            "name": "Probe", "authorize": { "url": self.provider.url("/authorize"), "pkce": "off" },
            "token": { "url": self.provider.url(TOKEN) }, "refresh": { "class": "rotate_plain" },
        });
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        whole
    }

    /// Enables a provider whose instance the tenant itself names; answers the status.
    async fn enable_instance(&self, origin: &str) -> u16 {
        let body = json!({ "provider": "probe", "client_id": "c", "client_secret": "s", "instance": origin });
        self.tenant.post("/enable-provider", body).await.0
    }

    /// An end user goes the whole way; says whether it led to a connection.
    async fn connects(&self) -> bool {
        let goes = async {
            let browser = Browser::default();
            browser.connect_at_once(&self.tenant.link("probe", "alice").await).await
        };
        tokio::pin!(goes);
        loop {
            // Look-ups are tried again after a while, which passes here.
            tokio::select! {
                page = &mut goes => return page.status == 200,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if self.app.clock.sleepers() > 0 {
                self.app.clock.advance(Duration::from_secs(1));
            }
        }
    }

    /// How often the guard was asked for this path, and nobody was called.
    fn guarded(&self, path: &str) -> usize {
        assert_eq!(self.canary.dialled(), Vec::<IpAddr>::new());
        self.outbound.refused.lock().unwrap().iter().filter(|seen| seen.as_str() == path).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_issuer_that_a_tenant_names_is_called_inside() {
    let scene = Scene::start().await;
    let origins = scene.origins(3);
    assert!(origins.len() >= 300);
    for origin in &origins {
        let (status, said) = scene.define(json!({ "name": "Probe", "issuer": format!("{origin}/t") })).await;
        assert_eq!(status, 400, "{origin}: {said}");
        let told = text(&said["detail"]);
        assert!(told.contains("issuer: its metadata could not be fetched") || told.contains("must be an https URL"), "{told}");
    }
    let (asked, listed) = (scene.guarded("/t/.well-known/openid-configuration"), scene.tenant.get("/defined-providers").await.1);
    assert!(asked > origins.len() / 2, "the guard saw only {asked}");
    assert_eq!(listed["defined_providers"], json!([]));
}

/// The token endpoint comes from an issuer that answers, and leads inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_endpoint_that_a_tenant_leads_to_is_called_inside() {
    let scene = Scene::start().await;
    let issuer = scene.provider.url("/t");
    for origin in scene.origins(23) {
        let metadata = json!({
            "issuer": issuer, "authorization_endpoint": scene.provider.url("/authorize"), "token_endpoint": format!("{origin}/found"),
        });
        scene.provider.always("/t/.well-known/openid-configuration", Act::json(200, &metadata));
        if scene.define(json!({ "name": "Probe", "issuer": issuer })).await.0 == 200 {
            scene.tenant.enable("probe", "read").await;
            assert!(!scene.connects().await, "{origin}");
        }
    }
    let asked = scene.guarded("/found");
    assert!(asked >= 20, "the guard saw only {asked}");
    assert_eq!(scene.provider.count(TOKEN), 0);
}

/// A provider that everybody runs for himself: the tenant names the instance when it enables it.
fn instances(scene: &Scene) -> Value {
    let instance =
        json!({ "title": "Instance", "kind": "origin", "needed_by": "integration", "example": "https://git.example.com" });
    scene.definition(json!({
        "params": { "instance": instance }, "token": { "url": "{instance}/set" }, "revoke": { "url": "{instance}/revoke" },
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_instance_that_a_tenant_names_is_called_inside() {
    let scene = Scene::start().await;
    assert_eq!(scene.define(instances(&scene)).await.0, 200);
    let mut enabled = 0;
    for origin in scene.origins(23) {
        // A spelling that no URL keeps as it is, is refused at once.
        if scene.enable_instance(&origin).await == 200 {
            assert!(!scene.connects().await, "{origin}");
            enabled += 1;
        }
    }
    assert!(enabled >= 5, "only {enabled}");
    assert_eq!(scene.guarded("/set"), enabled);
    assert_eq!(scene.provider.count("/set"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_public_instance_that_a_tenant_names_is_called() {
    let scene = Scene::start().await;
    assert_eq!(scene.define(instances(&scene)).await.0, 200);
    for refused in ["http://git.acme.example", "https://git.acme.example/path", "git.acme.example", "https://u@git.acme.example"]
    {
        assert_eq!(scene.enable_instance(refused).await, 400, "{refused}");
    }
    assert_eq!(scene.enable_instance(PUBLIC).await, 200);
    let tokens = json!({ "access_token": "at-of-the-instance", "refresh_token": "rt", "expires_in": 3600 });
    scene.provider.always("/set", Act::json(200, &tokens));
    assert!(scene.connects().await);
    assert_eq!(scene.tenant.token("probe", "alice").await["access_token"], json!("at-of-the-instance"));
    scene.app.clock.advance(HOUR);
    scene.tenant.token("probe", "alice").await;
    scene.tenant.ok("/revoke-connection", json!({ "provider": "probe", "end_user_id": "alice" })).await;
    assert_eq!((scene.provider.count("/set"), scene.provider.count("/revoke")), (2, 1));
    assert_eq!(scene.guarded("/set"), 0);
}

/// What is called once a grant stands: a look-up, a refresh, a revocation.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_later_call_of_a_tenants_provider_goes_inside() {
    let scene = Scene::start().await;
    let mut connected = 0;
    for origin in scene.origins(29) {
        let definition = scene.definition(json!({
            "refresh": { "class": "rotate_plain", "url": format!("{origin}/refresh") },
            "revoke": { "url": format!("{origin}/revoke") },
            "after_connect": [{ "name": "who", "url": format!("{origin}/who"), "subject": "/id", "optional": true }],
        }));
        if scene.define(definition).await.0 != 200 {
            continue;
        }
        scene.tenant.enable("probe", "read").await;
        assert!(scene.connects().await, "{origin}");
        connected += 1;
        scene.app.clock.advance(HOUR);
        let (status, said) = scene.tenant.try_token("probe", "alice").await;
        assert_eq!((status, said["code"].as_str()), (503, Some("provider_unavailable")), "{origin}: {said}");
        scene.tenant.post("/revoke-connection", json!({ "provider": "probe", "end_user_id": "alice" })).await;
        // Where its secrets go may change once nothing has any.
        scene.tenant.ok("/disable-provider", json!({ "provider": "probe" })).await;
    }
    assert!(connected >= 20, "only {connected}");
    for path in ["/who", "/refresh", "/revoke"] {
        let asked = scene.guarded(path);
        assert!(asked >= connected, "the guard saw {path} only {asked} times");
    }
}
