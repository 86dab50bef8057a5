//! A server on a free port with two tenants, over a store in memory that can be switched off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, middleware::from_fn, web};
use claviger::adapters::journal::{BYTES, BlockJournal};
use claviger::adapters::mail::LogMail;
use claviger::adapters::system::SystemEntropy;
use claviger::domain::caller::Caller;
use claviger::domain::connection::Connection;
use claviger::domain::event::Event;
use claviger::domain::ids::{ConnectionId, TenantId};
use claviger::domain::integration::Confirm;
use claviger::domain::scope::Scopes;
use claviger::domain::tenant::{Email, Tenant};
use claviger::ports::node_memory::Forgetful;
use claviger::services::accounts::{AccountSettings, Accounts, Signup};
use claviger::services::api_keys::{self, ApiKeys, NewApiKey};
use claviger::services::cached::{Cached, Trust};
use claviger::services::catalogue::Catalogue;
use claviger::services::connect::{Connect, ConnectPolicy};
use claviger::services::connections::{Connections, Filter};
use claviger::services::defined::{Defined, Definitions};
use claviger::services::integrations::{EnableProvider, Integrations, RedirectStyle};
use claviger::services::nodes::{NodePolicy, Nodes};
use claviger::services::refresh::{Means, RefreshPolicy, Refresher};
use claviger::services::standing::Standing;
use claviger::services::sweep::{self, SweepPolicy, Sweeper};
use claviger::services::vault::Vault;
use claviger::services::{Core, Services};
use claviger::store::{Change, Keyring, MasterKey, Store, keys};
use claviger::web::{State, configure, middleware::observe};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::browser::{Browser, client, param};
use crate::clock::TestClock;
use crate::provider::{FakeProvider, files};
use crate::switched_kv::SwitchedKv;

pub const LINK_TTL: Duration = Duration::from_secs(1800);
pub const STATE_TTL: Duration = Duration::from_secs(600);
pub const BACK: &str = "https://app.example/back?from=claviger";
pub const OTHER_BACK: &str = "http://localhost:3000/done";

/// What a tenant holds.
pub struct TenantSide {
    pub id: TenantId,
    pub key: String,
}

pub struct World {
    pub base: String,
    pub clock: Arc<TestClock>,
    pub provider: Arc<FakeProvider>,
    pub store: Arc<Store>,
    pub switch: Arc<SwitchedKv>,
    pub acme: TenantSide,
    pub rival: TenantSide,
    pub services: Arc<State>,
    _folder: tempfile::TempDir,
}

/// How a world differs from the usual one.
#[derive(Clone)]
pub struct Setting {
    pub confirm: Confirm,
    pub redirect: RedirectStyle,
    pub user_redirect_url: Option<&'static str>,
    pub https: bool,
    pub tenant_name: &'static str,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            confirm: Confirm::Page,
            redirect: RedirectStyle::PerIntegration,
            user_redirect_url: Some(BACK),
            https: false,
            tenant_name: "Acme Analytics",
        }
    }
}

impl World {
    pub async fn usual() -> Self {
        Self::with(Setting::default()).await
    }

    pub async fn confirmed_by_tenant() -> Self {
        Self::with(Setting { confirm: Confirm::Tenant, ..Setting::default() }).await
    }

    pub async fn with(setting: Setting) -> Self {
        let clock = TestClock::new();
        let switch = Arc::new(SwitchedKv::new(clock.clone()));
        let master = MasterKey::parse(&MasterKey::generate(&SystemEntropy).unwrap()).unwrap();
        let store = Store::open(switch.clone(), Arc::new(SystemEntropy), Keyring::new(master, Vec::new())).await.unwrap();
        let store = Arc::new(store);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let public_url = if setting.https { "https://claviger.example".to_owned() } else { base.clone() };
        let core = Core {
            store: store.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            public_url: public_url.into(),
            standing: Arc::new(Standing::normal()),
        };
        let provider = Arc::new(FakeProvider::default());
        let folder = tempfile::tempdir().unwrap();
        let services = services(&core, &provider, folder.path(), setting.redirect).await;
        let acme = tenant(&core, &services, setting.tenant_name).await;
        let rival = tenant(&core, &services, "Rival Ltd").await;
        for side in [&acme, &rival] {
            for name in ["honest", "posting", "gadget", "store", "open"] {
                enable(&services, side, name, &setting).await;
            }
        }
        let state = web::Data::new(State { services, trusted_proxies: Vec::new(), hosts: None });
        serve(listener, state.clone());
        Self { base, clock, provider, store, switch, acme, rival, services: state.into_inner(), _folder: folder }
    }

    pub async fn call(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        let request = client().post(format!("{}{path}", self.base)).header("content-type", "application/json");
        let answer = request.bearer_auth(key).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// A link of Acme's for this end user.
    pub async fn link_for(&self, end_user: &str) -> String {
        self.link(json!({ "end_user_id": end_user })).await
    }

    pub async fn link(&self, body: Value) -> String {
        let (status, made) = self.call(&self.acme.key, "/authorize-honest", body).await;
        assert_eq!(status, 200, "{made}");
        self.reachable(made["authorize_url"].as_str().unwrap())
    }

    /// The same address, on the port where this server really listens.
    pub fn reachable(&self, url: &str) -> String {
        url.replacen("https://claviger.example", &self.base, 1)
    }

    /// Presses a button of a link's page.
    pub async fn press(&self, browser: &Browser, link: &str, decision: &str) -> crate::browser::Seen {
        let token = link.split_once("link=").unwrap().1;
        let (page, _) = link.split_once('?').unwrap();
        browser.post(&format!("{page}/decision"), &[("link", token), ("decision", decision)]).await
    }

    /// From link to the provider; answers the authorize URL.
    pub async fn begin(&self, browser: &Browser, end_user: &str) -> url::Url {
        let link = self.link_for(end_user).await;
        assert_eq!(browser.get(&link).await.status, 200);
        self.press(browser, &link, "connect").await.location()
    }

    /// What the honest provider redirects to.
    pub fn callback(&self, authorize: &url::Url, code: &str) -> String {
        let (back, state) = (param(authorize, "redirect_uri").unwrap(), param(authorize, "state").unwrap());
        format!("{}?code={code}&state={state}&iss=https%3A%2F%2Fhonest.example", self.reachable(&back))
    }

    pub async fn connections(&self, side: &TenantSide) -> Vec<Connection> {
        self.store.connections(&side.id, &Filter::default(), None, 100).await.unwrap().connections
    }

    pub async fn events(&self, side: &TenantSide, connection: &ConnectionId) -> Vec<Event> {
        let (found, _) = self.store.list(&keys::events(&side.id, connection), None, 100).await.unwrap();
        found.into_iter().map(|(_, stored)| stored.value).collect()
    }
}

async fn services(core: &Core, provider: &Arc<FakeProvider>, folder: &std::path::Path, redirect: RedirectStyle) -> Services {
    for (id, file) in files() {
        std::fs::write(folder.join(format!("{id}.toml")), file).unwrap();
    }
    let catalogue = Arc::new(Catalogue::load(Some(folder), &BTreeMap::new()).unwrap());
    let trust = Trust { trust: Duration::from_secs(1), cut_off: Duration::from_secs(30), entries: 100 };
    let runtime = Handle::current();
    let key_trust = api_keys::Trust { trust: Duration::from_secs(1), cut_off: Duration::from_secs(30) };
    let accounts = AccountSettings { signup: Signup::Closed, trust: key_trust, proofs: 0, hashes_at_once: 1 };
    let mail = Arc::new(LogMail);
    let limits = (Definitions::Refused, Duration::from_secs(10));
    let defined = Arc::new(Defined::new(core.clone(), catalogue.clone(), provider.clone(), limits, trust));
    let integrations = Arc::new(Integrations::new(core.clone(), catalogue.clone(), defined.clone(), redirect, trust));
    let cache = Arc::new(Cached::new(core.clone(), trust));
    let node = "test".to_owned();
    let connections =
        Connections::new(core.clone(), integrations.clone(), cache.clone(), provider.clone(), runtime.clone(), node.clone());
    let policy = ConnectPolicy {
        link_ttl: LINK_TTL,
        state_ttl: STATE_TTL,
        redirect,
        call_deadline: Duration::from_secs(10),
        keep_trying: Duration::from_secs(60),
        node: node.clone(),
    };
    let connect =
        Connect::new(core.clone(), integrations.clone(), connections.clone(), provider.clone(), (policy, runtime.clone()));
    let beat = Duration::from_secs(5);
    let nodes = Arc::new(Nodes::new(core.clone(), Arc::new(Forgetful), NodePolicy { beat, tolerance: 0 }, node).unwrap());
    let journal = Arc::new(BlockJournal::in_memory(*BYTES.start()).unwrap());
    let journal = Arc::new(core.store.journal(journal).await.unwrap());
    let means = Means {
        core: core.clone(),
        connections: cache.clone(),
        integrations: integrations.clone(),
        journal: journal.clone(),
        outbound: provider.clone(),
        nodes: nodes.clone(),
        runtime: runtime.clone(),
    };
    let refresher = Arc::new(Refresher::new(means, RefreshPolicy::default()));
    let swept = sweep::Means {
        core: core.clone(),
        connections: cache.clone(),
        integrations: integrations.clone(),
        refresher: refresher.clone(),
        nodes: nodes.clone(),
    };
    let sweeper = Sweeper::new(swept, SweepPolicy { proactive: false, recently: Duration::ZERO });
    Services {
        sweeper,
        stopping: std::sync::atomic::AtomicBool::new(false),
        core: core.clone(),
        catalogue,
        defined,
        accounts: Accounts::new(core.clone(), mail, accounts, runtime),
        api_keys: ApiKeys::new(core.clone(), key_trust, 100),
        vault: Vault::new(core.clone(), integrations.clone(), cache, refresher.clone(), connect.clone()),
        integrations,
        connect,
        connections,
        refresher,
        nodes,
        journal,
    }
}

async fn tenant(core: &Core, services: &Services, name: &str) -> TenantSide {
    let id = TenantId::from_uuid(core.new_uuid().unwrap());
    core.store.ensure_data_key(&id).await.unwrap();
    let now = core.clock.now();
    let tenant = Tenant {
        id: id.clone(),
        email: Email::parse("dev@acme.example").unwrap(),
        display_name: name.to_owned(),
        password_hash: String::new(),
        verified_at: Some(now),
        created_at: now,
    };
    let mut change = Change::new();
    change.create(&keys::account(&id), &tenant, None).unwrap();
    core.store.commit(change).await.unwrap();
    let new = NewApiKey { name: "test".to_owned(), scopes: Scopes::admin(), expires_in: None };
    let (_, key) = services.api_keys.issue(&id, new).await.unwrap();
    TenantSide { id, key: key.expose_secret().to_owned() }
}

async fn enable(services: &Services, side: &TenantSide, provider: &str, setting: &Setting) {
    let caller = Caller::authenticated(side.id.clone(), Scopes::admin());
    let asked = EnableProvider {
        provider: provider.to_owned(),
        client_id: Some("client-1".to_owned()),
        client_secret: Some(SecretString::from("secret-1")),
        user_redirect_url: setting.user_redirect_url.map(str::to_owned),
        return_urls: Some(vec![OTHER_BACK.to_owned()]),
        confirm: Some(setting.confirm),
        ..EnableProvider::default()
    };
    services.integrations.enable(&caller, asked).await.unwrap();
}

fn serve(listener: std::net::TcpListener, state: web::Data<State>) {
    std::thread::spawn(move || {
        let app = move || App::new().app_data(state.clone()).wrap(from_fn(observe)).configure(configure);
        let server = HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap().run();
        actix_web::rt::System::new().block_on(server).unwrap();
    });
}
