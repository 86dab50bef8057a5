//! A store that is not what it was: what is valid is served, and no refresh token is sent, since it may
//! have been rotated out since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::adapters::memory::MemoryKv;
use claviger::app::admin::{Ask, Told, ask};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::TestClock;
use crate::fake_provider::FakeProvider;
use crate::provider_file;
use crate::swapped_kv::SwappedKv;
use crate::world::{Setup, Tenant, TestApp, text};

const HOUR: Duration = Duration::from_secs(3600);
const BEAT: Duration = Duration::from_secs(5);

/// Alice, by consent, with a token of an hour; bob, by import, with one of a day.
async fn connected(app: &TestApp) -> Tenant {
    let tenant = app.connected().await;
    let bob =
        json!({ "provider": "fake", "end_user_id": "bob", "access_token": "bobs", "refresh_token": "r", "expires_in": 86_400 });
    assert_eq!(tenant.post("/import-connection", bob).await.0, 201);
    tenant
}

/// Nothing is sent for alice, whose token has expired, and bob is served.
async fn is_held(tenant: &Tenant, provider: &FakeProvider, bobs: &str) {
    let before = provider.refreshes();
    let (status, said) = tenant.try_token("fake", "alice").await;
    assert_eq!((status, said["code"].as_str()), (503, Some("restore_mode")), "{said}");
    assert!(text(&said["detail"]).contains("claviger resume"), "{said}");
    assert_eq!(tenant.token("fake", "bob").await["access_token"], bobs);
    let forced = json!({ "provider": "fake", "end_user_id": "bob", "force_refresh": true });
    let (status, said) = tenant.post("/get-access-token", forced).await;
    assert_eq!((status, said["warning"].as_str()), (200, Some("refresh_failing")), "{said}");
    assert_eq!(provider.refreshes(), before, "a refresh token was sent");
}

/// What the server says of itself, once it says this.
async fn ready_saying(tenant: &Tenant, what: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, said) = tenant.get("/readyz").await;
        if said.to_string().contains(what) {
            assert_eq!((status, said["status"].as_str()), (200, Some("ok")));
            return said;
        }
        assert!(Instant::now() < until, "{what} was never said: {said}");
        tokio::task::yield_now().await;
    }
}

struct OnDisk {
    provider: FakeProvider,
    /// Outside the node's folder, as a backup of it is.
    disk: tempfile::TempDir,
}

impl OnDisk {
    async fn new() -> Self {
        Self { provider: FakeProvider::start().await, disk: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.disk.path().join("claviger.db")
    }

    fn copy(&self) -> PathBuf {
        self.disk.path().join("copy")
    }

    fn setup(&self) -> Setup {
        Setup {
            store_url: Some(format!("sqlite:{}", self.file().display())),
            providers: vec![("fake", provider_file::of_class("Fake", &self.provider.url(""), "rotate_strict"))],
            ..Setup::default()
        }
    }

    fn put_back(&self) {
        std::fs::copy(self.copy(), self.file()).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_put_back_in_its_place_is_noticed_and_stays_noticed() {
    let world = OnDisk::new().await;
    let app = TestApp::with(world.setup()).await;
    let tenant = connected(&app).await;
    let app = app.stopped().await;
    copy(&world.file(), &world.copy());

    let app = app.started_again(world.setup()).await;
    app.clock.advance(HOUR);
    assert_eq!(tenant.at(&app).token("fake", "alice").await["generation"], 2);
    // Long enough that no failover could have lost alice's refresh and kept bob's.
    app.clock.advance(HOUR);
    let forced = json!({ "provider": "fake", "end_user_id": "bob", "force_refresh": true });
    tenant.at(&app).ok("/get-access-token", forced).await;
    let bobs = text(&tenant.at(&app).token("fake", "bob").await["access_token"]);
    let app = app.stopped().await;
    world.put_back();

    let mut app = app.started_again(world.setup()).await;
    for _ in 0..2 {
        let tenant = tenant.at(&app);
        let said = ready_saying(&tenant, "restore mode since").await;
        assert!(text(&said["notes"][0]).contains("fell back"), "{said}");
        // Past `refresh.force_interval`.
        app.clock.advance(Duration::from_secs(11));
        is_held(&tenant, &world.provider, &bobs).await;
        app = app.stopped().await.started_again(world.setup()).await;
    }
    assert_eq!(world.provider.refreshes(), 2);

    // The journal went over the snapshot, however old its entries: what is sent is the newest there is.
    assert!(matches!(resumed(&app).await, Told::Resumed { tried } if tried.len() == 1 && tried[0].refused.is_none()));
    assert_eq!(tenant.at(&app).token("fake", "alice").await["generation"], 3);
    let (status, said) = tenant.at(&app).get("/readyz").await;
    assert_eq!((status, said), (200, json!({ "status": "ok", "notes": [] })));
}

/// `claviger resume`, while time passes: ten times as fast as it does, so that no call to the provider is late.
async fn resumed(app: &TestApp) -> Told {
    let socket = app.folder.path().join("node/admin.sock");
    let (progress, _) = mpsc::channel(1);
    let asked = tokio::spawn(async move { ask(&socket, &Ask::Resume { force: false }, &progress).await });
    while !asked.is_finished() {
        app.clock.advance(Duration::from_millis(20));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    asked.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_was_left_alone_is_its_own_after_a_restart() {
    let world = OnDisk::new().await;
    let app = TestApp::with(world.setup()).await;
    let tenant = connected(&app).await;
    for generation in 2..5 {
        app.clock.advance(HOUR);
        assert_eq!(tenant.at(&app).token("fake", "alice").await["generation"], generation);
    }
    let app = app.stopped().await.started_again(world.setup()).await;
    app.clock.advance(HOUR);
    assert_eq!(tenant.at(&app).token("fake", "alice").await["generation"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_emptied_under_a_running_node_stops_its_refreshes() {
    let (clock, provider) = (TestClock::new(), FakeProvider::start().await);
    let full = Arc::new(MemoryKv::new(clock.clone()));
    let kv = SwappedKv::over(full.clone());
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_strict"))];
    let setup = Setup { kv: Some(kv.clone()), clock: Some(clock.clone()), providers, ..Setup::default() };
    let app = TestApp::with(setup).await;
    let tenant = connected(&app).await;

    kv.swap(Arc::new(MemoryKv::new(clock.clone())));
    clock.advance(BEAT);
    ready_saying(&tenant, "the store was emptied").await;
    // It comes back from wherever its operator keeps copies: whether it is whole, nobody knows.
    kv.swap(full);
    clock.advance(HOUR);
    ready_saying(&tenant, "restore mode").await;
    is_held(&tenant, &provider, "bobs").await;
    assert_eq!(provider.refreshes(), 0);
}

/// One node notices; another, which has never worked with the store before, holds back all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restoration_holds_every_node() {
    let (clock, provider) = (TestClock::new(), FakeProvider::start().await);
    let kv = Arc::new(MemoryKv::new(clock.clone()));
    let setup = |restored, master: Option<String>| Setup {
        kv: Some(kv.clone()),
        clock: Some(clock.clone()),
        providers: vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_strict"))],
        settings: master.map(|file| ("keys.master_file", file)).into_iter().collect(),
        restored,
        ..Setup::default()
    };
    let first = TestApp::with(setup(false, None)).await;
    let tenant = connected(&first).await;
    clock.advance(HOUR);
    let told = TestApp::with(setup(true, Some(first.master_key_file()))).await;
    is_held(&tenant.at(&told), &provider, "bobs").await;
    clock.advance(BEAT);
    ready_saying(&tenant, "restore mode").await;
    is_held(&tenant, &provider, "bobs").await;
    let third = TestApp::with(setup(false, Some(first.master_key_file()))).await;
    is_held(&tenant.at(&third), &provider, "bobs").await;
}
