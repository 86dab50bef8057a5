//! What a provider answered is never in memory alone: the journal takes it before anybody looks, and gives it
//! back when the store could not take it, lost it, or is another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use claviger::adapters::journal::BlockJournal;
use claviger::adapters::memory::MemoryKv;
use claviger::ports::journal::{EntryId, Journal, JournalError, JournalState, Listed, Reservation};
use claviger::ports::kv::{AttemptId, Batch, Commit, Key, Kv, Partition, Versioned, Write};
use serde_json::{Value, json};

use crate::clock::TestClock;
use crate::fake_provider::{Act, FakeProvider, Gate, REVOKE, TOKEN};
use crate::provider_file;
use crate::unruly_kv::UnrulyKv;
use crate::world::{Browser, Setup, Tenant, TestApp, text};

/// A journal that breaks when it is told to.
struct Brittle {
    inner: BlockJournal,
    broken: AtomicBool,
}

impl Brittle {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: BlockJournal::in_memory(4 << 20).unwrap(), broken: AtomicBool::new(false) })
    }

    fn breaks(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.broken.load(Ordering::SeqCst) { Err(JournalError::Broken("as the test says".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Journal for Brittle {
    fn reserve(&self, size: usize) -> Result<Reservation, JournalError> {
        self.check()?;
        self.inner.reserve(size)
    }

    async fn append(&self, reservation: Reservation, entry: Bytes) -> Result<(), JournalError> {
        self.check()?;
        self.inner.append(reservation, entry).await
    }

    fn settle(&self, id: EntryId) {
        self.inner.settle(id);
    }

    async fn list(&self) -> Result<Vec<Listed>, JournalError> {
        self.inner.list().await
    }

    async fn read(&self, id: EntryId) -> Result<Option<Bytes>, JournalError> {
        self.inner.read(id).await
    }

    fn state(&self) -> JournalState {
        let broken = self.check().err().map(|error| error.to_string());
        JournalState { broken, ..self.inner.state() }
    }
}

struct Scene {
    clock: Arc<TestClock>,
    store: Arc<MemoryKv>,
    kv: Arc<UnrulyKv>,
    journal: Arc<Brittle>,
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
    files: Vec<(&'static str, String)>,
    master: String,
}

impl Scene {
    /// Connected with a token of an hour, on a store that `kv` makes of the one in memory.
    async fn connected(class: &str, kv: impl FnOnce(Arc<MemoryKv>) -> Arc<UnrulyKv>) -> Self {
        let (clock, provider, journal) = (TestClock::new(), FakeProvider::start().await, Brittle::new());
        let store = Arc::new(MemoryKv::new(clock.clone()));
        let kv = kv(store.clone());
        let files = vec![("fake", provider_file::of_class("Fake", &provider.url(""), class))];
        let app = TestApp::with(setup(&clock, &kv, &journal, &files, Vec::new())).await;
        let master = std::fs::read_to_string(app.master_key_file()).unwrap().trim().to_owned();
        let tenant = app.connected().await;
        Self { clock, store, kv, journal, app, tenant, provider, files, master }
    }

    /// Another node on the same store, with a journal of its own.
    async fn second_node(&self) -> (TestApp, Tenant) {
        let settings = vec![("keys.master", self.master.clone()), ("keys.master_file", String::new())];
        let kv = UnrulyKv::over(self.store.clone());
        let app = TestApp::with(setup(&self.clock, &kv, &Brittle::new(), &self.files, settings)).await;
        let tenant = self.tenant.at(&app);
        (app, tenant)
    }

    /// The provider answers, and the store is away when it does.
    async fn refreshed_without_a_store(&self) {
        let gate = Gate::new();
        let tokens = json!({ "access_token": "at-new", "refresh_token": "rt-new", "token_type": "Bearer", "expires_in": 3600 });
        self.provider.next(TOKEN, Act::json(200, &tokens).held(&gate));
        let call = forced(&self.tenant);
        gate.reached_by(1).await;
        self.kv.set_down(true);
        gate.open();
        assert_eq!(call.await.unwrap()["access_token"], "at-new");
        assert_eq!(self.journal.state().pending, 1);
    }

    /// Another process in the place of one that ended while the store was away.
    async fn after_a_restart(
        self,
        pending: u64,
        meanwhile: impl AsyncFnOnce(&TestApp, &Tenant),
    ) -> (TestApp, Tenant, FakeProvider, Arc<Brittle>) {
        let (second, other) = self.second_node().await;
        let stopping = tokio::spawn(self.app.stopped());
        while !stopping.is_finished() {
            self.clock.advance(Duration::from_millis(100));
            // Time must not run away from a node that is slow to stop.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let left = stopping.await.unwrap();
        assert_eq!(self.journal.state().pending, pending, "what was answered waits for the next start");
        self.kv.set_down(false);
        meanwhile(&second, &other).await;
        let app = left.started_again(setup(&self.clock, &self.kv, &self.journal, &self.files, Vec::new())).await;
        let tenant = self.tenant.at(&app);
        (app, tenant, self.provider, self.journal)
    }
}

fn setup(
    clock: &Arc<TestClock>,
    kv: &Arc<UnrulyKv>,
    journal: &Arc<Brittle>,
    files: &[(&'static str, String)],
    settings: Vec<(&'static str, String)>,
) -> Setup {
    let (kv, journal) = (Some(kv.clone() as _), Some(journal.clone() as _));
    Setup { kv, journal, clock: Some(clock.clone()), providers: files.to_vec(), settings, ..Setup::default() }
}

fn forced(tenant: &Tenant) -> tokio::task::JoinHandle<Value> {
    let tenant = tenant.clone();
    let body = json!({ "provider": "fake", "end_user_id": "alice", "force_refresh": true });
    tokio::spawn(async move { tenant.post("/get-access-token", body).await.1 })
}

/// The record of alice's grant and what stands beside it, as the store has them.
async fn records(store: &MemoryKv) -> Vec<(Key, Versioned)> {
    let mut found = Vec::new();
    for partition in (0..=u8::MAX).map(|n| Partition::new(format!("c.{n:02x}")).unwrap()) {
        for prefix in ["f/", "g/"] {
            let page = store.list(&partition, prefix.as_bytes(), None, 100).await.unwrap();
            let key = |name| Key { partition: partition.clone(), name };
            found.extend(page.entries.into_iter().map(|e| (key(e.name), Versioned { version: e.version, value: e.value })));
        }
    }
    found
}

/// As a failover to a replica that lagged behind: the old records are there again.
async fn put_back(store: &MemoryKv, records: Vec<(Key, Versioned)>, attempt: u8) {
    let writes = records.into_iter().map(|(key, old)| Write::Put { key, version: old.version, value: old.value, ttl: None });
    let batch = Batch { attempt: AttemptId([attempt; 16]), preconditions: Vec::new(), writes: writes.collect() };
    assert_eq!(store.commit(batch).await, Ok(Commit::Applied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_store_did_not_take_is_committed_at_the_next_start() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over).await;
    scene.refreshed_without_a_store().await;
    let before = async |_: &TestApp, other: &Tenant| {
        assert_eq!(other.token("fake", "alice").await["generation"], 1, "no other node knows");
    };
    let (_app, tenant, provider, journal) = scene.after_a_restart(1, before).await;
    let answer = tenant.token("fake", "alice").await;
    assert_eq!((answer["access_token"].as_str(), answer["generation"].as_u64()), (Some("at-new"), Some(2)));
    assert_eq!((provider.refreshes(), journal.list().await.unwrap().len(), journal.state().pending), (1, 1, 0));
}

/// A process ended with a request in flight whose answer never came, and nobody asks for that token any more. What
/// became of it is found out all the same, and soon: a provider may forgive a second use for a while only. A strict
/// family is not asked, but its connection says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_left_in_the_midst_is_looked_after_though_nobody_asks() {
    for (class, sent, status) in [("nonrotating", 2, "active"), ("rotate_plain", 2, "active"), ("rotate_strict", 1, "in_doubt")] {
        let scene = Scene::connected(class, UnrulyKv::over).await;
        let (gate, clock) = (Gate::new(), scene.clock.clone());
        scene.provider.next(TOKEN, Act::Close.held(&gate));
        let call = forced(&scene.tenant);
        gate.reached_by(1).await;
        scene.kv.set_down(true);
        gate.open();
        call.await.unwrap();
        let (_app, tenant, provider, _journal) = scene.after_a_restart(0, async |_, _| {}).await;
        let listed = async || tenant.get("/connections").await.1["connections"][0]["status"].clone();
        assert_eq!(provider.refreshes(), 1, "{class}: nobody has looked yet");
        let (mut waited, give_up) = (0, Instant::now() + Duration::from_secs(30));
        while provider.refreshes() != sent || listed().await != status {
            assert!(Instant::now() < give_up, "{class}: {} requests, {}", provider.refreshes(), listed().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
            if waited < 25 {
                waited += 1;
                clock.advance(Duration::from_secs(1));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn late_tokens_of_a_deleted_connection_are_ended_at_the_replay() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over).await;
    scene.refreshed_without_a_store().await;
    let deleted = async |_: &TestApp, other: &Tenant| {
        other.ok("/revoke-connection", json!({ "provider": "fake", "end_user_id": "alice" })).await;
    };
    let (_app, tenant, provider, journal) = scene.after_a_restart(1, deleted).await;
    assert_eq!(tenant.try_token("fake", "alice").await.0, 404);
    let ended: Vec<_> = provider.seen(REVOKE).iter().filter_map(|seen| seen.field("token")).collect();
    assert_eq!(ended.last().map(String::as_str), Some("rt-new"), "{ended:?}");
    assert_eq!((ended.len(), journal.state().pending), (2, 0));
}

/// A token that works is served, and nothing is sent for one that does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_sent_with_a_broken_journal() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over).await;
    scene.journal.breaks();
    let (status, said) = scene.tenant.get("/readyz").await;
    assert!(status == 503 && text(&said["status"]).contains("journal"), "{said}");
    let said = forced(&scene.tenant).await.unwrap();
    assert_eq!((said["warning"].as_str(), said["generation"].as_u64()), (Some("refresh_failing"), Some(1)), "{said}");
    scene.clock.advance(Duration::from_secs(3600));
    let (status, said) = scene.tenant.try_token("fake", "alice").await;
    assert_eq!((status, said["code"].as_str()), (503, Some("store_unavailable")), "{said}");
    assert_eq!(scene.provider.refreshes(), 0);
}

/// A journal that breaks under an answer: the store takes it all the same, and nothing more is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_that_the_journal_does_not_take_goes_to_the_store() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over).await;
    let gate = Gate::new();
    let tokens = json!({ "access_token": "at-new", "refresh_token": "rt-new", "token_type": "Bearer", "expires_in": 3600 });
    scene.provider.next(TOKEN, Act::json(200, &tokens).held(&gate));
    let call = forced(&scene.tenant);
    gate.reached_by(1).await;
    scene.journal.breaks();
    gate.open();
    assert_eq!(call.await.unwrap()["access_token"], "at-new");
    let (_second, other) = scene.second_node().await;
    assert_eq!(other.token("fake", "alice").await["generation"], 2);
    scene.clock.advance(Duration::from_secs(3600));
    assert_eq!((scene.tenant.try_token("fake", "alice").await.0, scene.provider.refreshes()), (503, 1));
}

/// The store lost what it had acknowledged; this node's journal has it, and leads the store forward before
/// anything is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_fell_back_is_led_forward_before_anything_is_sent() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over).await;
    let before = records(&scene.store).await;
    assert_eq!(forced(&scene.tenant).await.unwrap()["generation"], 2);
    put_back(&scene.store, before, 1).await;
    let (_second, other) = scene.second_node().await;
    assert_eq!(other.token("fake", "alice").await["generation"], 1, "the store has fallen back");

    scene.kv.becomes_another();
    let mut waited = 0;
    while other.token("fake", "alice").await["generation"] != 2 {
        scene.clock.advance(Duration::from_millis(1100));
        waited += 1;
        assert!(waited < 1000, "the journal was not replayed");
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.provider.refreshes(), 1);
    scene.clock.advance(Duration::from_secs(3600));
    // What looks after the store may not be done yet: who asks meanwhile is told to come again.
    let mut said = scene.tenant.try_token("fake", "alice").await;
    for _ in 0..1000 {
        if said.0 == 200 {
            break;
        }
        assert_eq!((said.0, said.1["code"].as_str()), (503, Some("store_unavailable")), "{said:?}");
        scene.clock.advance(Duration::from_millis(250));
        tokio::task::yield_now().await;
        said = scene.tenant.try_token("fake", "alice").await;
    }
    assert_eq!((said.0, said.1["generation"].as_u64()), (200, Some(3)));
}

/// What was read of the store before may be old, and is better than nothing while the new one cannot be asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_stands_in_for_another_store_that_goes_away_at_once() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over_shared).await;
    let done = Browser::default().connect_at_once(&scene.tenant.link("fake", "bob").await).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let known = scene.tenant.token("fake", "bob").await["access_token"].clone();
    // The barrier of its start must not be taken for that of the other store.
    scene.clock.advance(Duration::from_secs(5));
    assert_eq!(scene.tenant.token("fake", "bob").await["access_token"], known);
    scene.kv.becomes_another();
    let give_up = Instant::now() + Duration::from_secs(30);
    scene.clock.advance(Duration::from_millis(250));
    while forced(&scene.tenant).await.unwrap()["warning"] != "refresh_failing" {
        assert!(Instant::now() < give_up, "another store is not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.kv.set_down(true);
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 200);
    let (status, said) = scene.tenant.try_token("fake", "bob").await;
    assert_eq!((status, &said["access_token"]), (200, &known), "{said}");
}

/// Other nodes may have answers in their journals: nobody announces before all could replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_announced_right_after_the_first_contact_with_another_store() {
    let scene = Scene::connected("rotate_strict", UnrulyKv::over_shared).await;
    scene.clock.advance(Duration::from_secs(3600));
    scene.kv.becomes_another();
    // What looks after the store looks again within this.
    scene.clock.advance(Duration::from_millis(250));
    let (status, said) = scene.tenant.try_token("fake", "alice").await;
    assert_eq!((status, said["code"].as_str(), scene.provider.refreshes()), (503, Some("store_unavailable"), 0), "{said}");
    let mut answered = 503;
    for _ in 0..100 {
        scene.clock.advance(Duration::from_millis(500));
        answered = scene.tenant.try_token("fake", "alice").await.0;
        if answered == 200 {
            break;
        }
    }
    assert_eq!((answered, scene.provider.refreshes()), (200, 1));
}
