//! A store, a ledger, nodes, and a tenant who asks them: what every program here stands on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ledger::{Class, GrantNo, Issued, Ledger};
use crate::node::{Node, variable};
use crate::redis::RedisServer;

const EMAIL: &str = "dev@acme.example";
/// A call that takes longer hangs.
pub const HANG: Duration = Duration::from_secs(60);

pub struct World {
    pub ledger: Arc<Ledger>,
    pub redis: Option<RedisServer>,
    folder: TempDir,
    settings: BTreeMap<String, String>,
    /// More lines for `[refresh]` of the provider files.
    refresh: String,
    key: Option<String>,
}

impl World {
    pub fn on_sqlite() -> Self {
        Self::new(None)
    }

    pub fn on_redis() -> Self {
        Self::new(Some(RedisServer::start()))
    }

    fn new(redis: Option<RedisServer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store =
            redis.as_ref().map_or_else(|| format!("sqlite:{}", folder.path().join("claviger.db").display()), RedisServer::url);
        let mut world = Self {
            ledger: Arc::new(Ledger::start_tls()),
            redis,
            folder,
            settings: BTreeMap::new(),
            refresh: String::new(),
            key: None,
        };
        let settings = [
            ("store.url", store.as_str()),
            ("server.public_url", "https://auth.example.com"),
            ("server.listen", "127.0.0.1:0"),
            ("server.workers", "2"),
            ("refresh.force_interval", "0s"),
            ("refresh.confirm_after", "1s"),
            ("refresh.backoff_cap", "2s"),
            ("telemetry.log", "info,claviger::http=warn,actix_server=warn"),
        ];
        settings.into_iter().for_each(|(setting, value)| world.set(setting, value));
        let key = Node::new("key", world.path().to_owned(), BTreeMap::new()).command(&["key", "generate"]).output().unwrap();
        std::fs::write(world.path().join("master.key"), key.stdout).unwrap();
        let key = world.path().join("master.key").display().to_string();
        world.set("keys.master_file", &key);
        world.settings.insert("SSL_CERT_FILE".to_owned(), world.ledger.roots().display().to_string());
        world
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn set(&mut self, setting: &str, value: &str) {
        self.settings.insert(variable(setting), value.to_owned());
    }

    /// A node with a folder of its own, not started yet. It reaches the ledger by a door of its own.
    pub fn node(&self, name: &str) -> Node {
        let folder: PathBuf = self.path().join(name);
        let providers = folder.join("providers");
        std::fs::create_dir_all(&providers).unwrap();
        let door = self.ledger.open_door();
        self.ledger.write_provider_files(&providers, door, &self.refresh);
        let mut node = Node::new(name, folder.clone(), self.settings.clone());
        node.set("node.data", &folder.join("node").display().to_string());
        node.set("node.id", name);
        node.set("providers.dir", &providers.display().to_string());
        node.set("egress.allow", &self.ledger.authority(door));
        node
    }

    /// The tenant, made through a node that runs, with every class enabled.
    pub async fn tenant(&mut self, node: &Node) -> Tenant {
        let made = node.command(&["tenant", "create", EMAIL, "--generate"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let told = String::from_utf8(made.stdout).unwrap();
        let password = told.lines().nth(1).expect("a password").to_owned();
        let mut tenant = Tenant::new(node, String::new());
        let account = json!({ "username": EMAIL, "password": password, "name": "reliability" });
        let made = tenant.ok("/create-api-key", account).await;
        made["key"].as_str().unwrap().clone_into(&mut tenant.key);
        self.key = Some(tenant.key.clone());
        for class in Class::ALL {
            let fields = json!({ "provider": class.name(), "client_id": "client", "client_secret": "s3cret", "scopes": "read" });
            tenant.ok("/enable-provider", fields).await;
        }
        tenant
    }

    /// As many connections as are asked for, the classes in turn.
    pub async fn connections(&self, tenant: &Tenant, classes: &[Class], count: usize, ends: Ends) -> Vec<Connection> {
        let each = (0..count).map(|n| {
            let class = classes[n % classes.len()];
            Connection::of(&self.ledger.grant(class), class)
        });
        let connections: Vec<_> = each.collect();
        let (tenant, ledger) = (tenant.clone(), self.ledger.clone());
        let import = move |connection: Connection| {
            let (tenant, ledger) = (tenant.clone(), ledger.clone());
            async move { tenant.import(&connection, &ledger, ends).await }
        };
        crowd(connections.clone(), 64, import).await;
        connections
    }
}

/// When imported access tokens end.
#[derive(Clone, Copy)]
pub enum Ends {
    /// As the ledger says.
    Truly,
    /// Long ago.
    Over,
}

/// An end user and the grant they gave last.
#[derive(Debug, Clone)]
pub struct Connection {
    pub class: Class,
    pub grant: GrantNo,
    pub end_user: String,
    issued: Issued,
}

impl Connection {
    pub fn of(issued: &Issued, class: Class) -> Self {
        Self { class, grant: issued.grant, end_user: format!("user-{}", issued.grant), issued: issued.clone() }
    }

    /// The same end user, who consents again.
    pub fn anew(&self, ledger: &Ledger) -> Self {
        let issued = ledger.grant(self.class);
        Self { grant: issued.grant, issued, ..self.clone() }
    }
}

/// A SaaS backend, at one node.
#[derive(Clone)]
pub struct Tenant {
    http: reqwest::Client,
    url: Arc<Mutex<String>>,
    key: String,
}

/// What get-access-token said.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// 0 where no whole answer came.
    pub status: u16,
    pub access: String,
    pub generation: u64,
    pub warning: String,
    pub code: String,
    /// Why there is no new token, for who reads of a failure.
    #[allow(dead_code, reason = "printed")]
    pub reason: String,
}

impl Said {
    /// A token that nothing is wrong with.
    pub fn is_good(&self) -> bool {
        self.status == 200 && self.warning.is_empty()
    }

    /// The end user must consent again.
    pub fn is_over(&self) -> bool {
        self.code == "reauthorization_required" || self.warning == "reauthorization_required"
    }
}

impl Tenant {
    fn new(node: &Node, key: String) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test calls the program")]
        let http = reqwest::Client::builder().no_proxy().timeout(HANG).build().unwrap();
        Self { http, url: node.url(), key }
    }

    /// The same tenant, asking another node.
    pub fn at(&self, node: &Node) -> Self {
        Self { url: node.url(), ..self.clone() }
    }

    pub async fn post(&self, path: &str, body: Value) -> Option<(u16, Value)> {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = self.http.post(format!("{url}{path}")).header("content-type", "application/json").body(body.to_string());
        answer(self.authorized(request)).await
    }

    pub async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answer(self.authorized(self.http.get(format!("{url}{path}")))).await
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.key.is_empty() { request } else { request.bearer_auth(&self.key) }
    }

    pub async fn ok(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.post(path, body).await.unwrap_or_else(|| panic!("{path}: no answer"));
        assert!((200..300).contains(&status), "{path}: {status} {said}");
        said
    }

    /// Brings a connection, in the place of an older one.
    pub async fn import(&self, connection: &Connection, ledger: &Ledger, ends: Ends) {
        let Connection { class, end_user, issued, .. } = connection;
        let mut fields = json!({ "provider": class.name(), "end_user_id": end_user, "replace": true });
        fields["access_token"] = json!(issued.access);
        fields["refresh_token"] = json!(issued.refresh);
        match ends {
            Ends::Truly => {
                let left = ledger.access(&issued.access).unwrap().ends.saturating_sub(ledger.now());
                fields["expires_in"] = json!(left.as_secs());
            }
            Ends::Over => fields["expires_at"] = json!("2020-01-01T00:00:00Z"),
        }
        self.ok("/import-connection", fields).await;
    }

    pub async fn token(&self, connection: &Connection, force: bool) -> Said {
        let Connection { class, end_user, .. } = connection;
        let fields = json!({ "provider": class.name(), "end_user_id": end_user, "force_refresh": force });
        let Some((status, said)) = self.post("/get-access-token", fields).await else { return Said::default() };
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let generation = said["generation"].as_u64().unwrap_or_default();
        Said {
            status,
            access: text("access_token"),
            generation,
            warning: text("warning"),
            code: text("code"),
            reason: text("reason"),
        }
    }

    pub async fn story(&self, connection: &Connection) -> Story {
        let list = format!("/connections?provider={}&end_user_id={}", connection.class.name(), connection.end_user);
        let (_, list) = self.get(&list).await.expect("an answer");
        let id = list["connections"][0]["id"].as_str().unwrap_or_else(|| panic!("{}: {list}", connection.end_user)).to_owned();
        let (_, shown) = self.get(&format!("/connections/{id}")).await.expect("an answer");
        let word = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let events = shown["history"].as_array().expect("a history").iter();
        let events = events.map(|event| (word(&event["kind"]), word(&event["at"]).parse().expect("a moment")));
        let mut events: Vec<_> = events.take_while(|(kind, _)| kind != "connection.imported").collect();
        events.reverse();
        Story(events)
    }
}

/// What a tenant reads of a connection: each event since its import, oldest first.
#[derive(Debug)]
pub struct Story(Vec<(String, Timestamp)>);

impl Story {
    /// The place of the last event of this kind.
    pub fn last(&self, kind: &str) -> Option<usize> {
        self.0.iter().rposition(|(of, _)| of == kind)
    }

    /// When that was.
    pub fn last_at(&self, kind: &str) -> Option<Timestamp> {
        self.last(kind).map(|place| self.0[place].1)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
}

/// Does the same with many, so many at a time, and answers in the order of the many.
pub async fn crowd<T, R, F>(items: Vec<T>, at_once: usize, act: impl Fn(T) -> F) -> Vec<R>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let room = Arc::new(tokio::sync::Semaphore::new(at_once));
    let mut tasks = Vec::with_capacity(items.len());
    for item in items {
        let place = room.clone().acquire_owned().await.expect("it is open");
        let work = act(item);
        tasks.push(tokio::spawn(async move {
            let _place = place;
            work.await
        }));
    }
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.expect("no panic"));
    }
    done
}

/// Asks for each connection again and again until it gets what is wanted; panics with those who did not
/// within [`HANG`] from their first question, or were told that their grant is over.
pub async fn everybody(
    tenants: &[Tenant],
    connections: &[Connection],
    force: bool,
    at_once: usize,
    wanted: impl Fn(&Said) -> bool + Clone + Send + 'static,
) {
    let ask = |(n, connection): (usize, Connection)| {
        let (tenant, wanted) = (tenants[n % tenants.len()].clone(), wanted.clone());
        async move {
            let until = Instant::now() + HANG;
            loop {
                let asked = Instant::now();
                let said = tenant.token(&connection, force).await;
                if wanted(&said) {
                    return None;
                }
                if said.is_over() || Instant::now() > until {
                    return Some((connection, said, asked.elapsed()));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let left = crowd(connections.iter().cloned().enumerate().collect(), at_once, ask).await;
    let left: Vec<_> = left.into_iter().flatten().collect();
    assert!(left.is_empty(), "{} of {} did not come to it, such as {:#?}", left.len(), connections.len(), left[0]);
}

/// Asks again and again until the answer is there; after [`HANG`] it panics with what came instead.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(ask: impl Fn() -> F) -> T {
    let until = Instant::now() + HANG;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < until, "after {HANG:?} still: {instead}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
