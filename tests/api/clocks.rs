//! A node whose clock jumps, and one that is apart from the others: no token that has expired is served
//! as good, and nobody refreshes in circles. The provider keeps the true time.

use std::sync::Arc;
use std::time::Duration;

use claviger::adapters::memory::MemoryKv;
use claviger::ports::clock::Clock as _;
use jiff::SignedDuration;
use serde_json::json;

use crate::clock::TestClock;
use crate::figures::tell;
use crate::ledger::{Class, Dice, Ledger};
use crate::world::{Setup, Tenant, TestApp, text};

const LIFE: Duration = Duration::from_secs(3600);
const HOUR: u64 = 3600;
const STEPS: usize = 100;

struct Scene {
    clock: Arc<TestClock>,
    /// The node whose clock goes wrong, and its tenant.
    _app: TestApp,
    tenant: Tenant,
    /// A node whose clock is right.
    _other: TestApp,
    other: Tenant,
    true_clock: Arc<TestClock>,
    ledger: Arc<Ledger>,
}

impl Scene {
    async fn connected() -> Self {
        let (clock, true_clock) = (TestClock::new(), TestClock::new());
        let truth = true_clock.clone();
        let ledger = Arc::new(Ledger::on_time(Arc::new(move || truth.monotonic())));
        ledger.set_life(LIFE);
        let kv = Arc::new(MemoryKv::new(true_clock.clone()));
        let setup = |clock: &Arc<TestClock>, settings| Setup {
            kv: Some(kv.clone()),
            clock: Some(clock.clone()),
            outbound: Some(ledger.clone()),
            providers: vec![(Class::Strict.name(), ledger.provider_file(Class::Strict, 0))],
            settings,
            ..Setup::default()
        };
        let app = TestApp::with(setup(&clock, Vec::new())).await;
        let other = TestApp::with(setup(&true_clock, vec![("keys.master_file", app.master_key_file())])).await;
        let tenant = app.tenant("dev@acme.example").await;
        tenant.enable(Class::Strict.name(), "read").await;
        let issued = ledger.grant(Class::Strict);
        let mut import = json!({ "provider": Class::Strict.name(), "end_user_id": "alice", "expires_in": LIFE.as_secs() });
        import["access_token"] = json!(issued.access);
        import["refresh_token"] = json!(issued.refresh);
        tenant.ok("/import-connection", import).await;
        let there = tenant.at(&other);
        Self { clock, _app: app, tenant, _other: other, other: there, true_clock, ledger }
    }

    /// Time passes for everybody, and first where tokens end: a node that is woken by its clock may ask there at once.
    fn wait(&self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        self.true_clock.advance(span);
        self.clock.advance(span);
    }

    fn jump(&self, seconds: i64) {
        self.clock.set_wall(self.clock.now() + SignedDuration::from_secs(seconds));
    }

    /// Whoever asks is served, and what is served as good is good.
    async fn ask(&self, tenant: &Tenant, why: &str) {
        // With so much asked for nothing is refreshed behind the caller's back, while time flies.
        let fields = json!({ "provider": Class::Strict.name(), "end_user_id": "alice", "min_ttl": 400 });
        let said = tenant.ok("/get-access-token", fields).await;
        let good = said.get("warning").is_none();
        let access = text(&said["access_token"]);
        let truth =
            || format!("{:?} at {:?}, {:?}", self.ledger.access(&access), self.ledger.now(), self.ledger.presented().last());
        assert!(!good || self.ledger.admits(&access), "{why}: {access} has expired and was served as good: {said}; {}", truth());
    }
}

/// Days back and forth, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_clock_that_jumps_serves_nothing_stale_and_refreshes_no_more_than_is_due() {
    for seed in 0..2 {
        let (scene, mut dice) = (Scene::connected().await, Dice(seed));
        let (mut passed, mut jumps) = (0, 0);
        for step in 0..STEPS {
            let wait = dice.below(HOUR / 2);
            scene.wait(wait);
            passed += wait;
            if dice.per_mille(200) {
                let far = i64::try_from(dice.below(48 * HOUR)).unwrap();
                scene.jump(if dice.per_mille(500) { far } else { -far });
                jumps += 1;
            }
            scene.ask(&scene.tenant, &format!("seed {seed}, step {step}, after {jumps} jumps")).await;
        }
        let (refreshes, due) = (scene.ledger.count(), usize::try_from(passed / (HOUR / 2)).unwrap() + 2 * jumps + 1);
        tell("clock jumps", &format!("seed {seed}, asked {STEPS}, jumps {jumps}, refreshes {refreshes}, at most {due}"));
        assert!(refreshes <= due, "{refreshes} refreshes where {due} are due");
        assert!(scene.ledger.crimes().is_none(), "{:?}", scene.ledger.crimes());
    }
}

/// Two nodes, one of them always so far ahead or behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_are_apart_serve_nothing_stale_and_refresh_no_more_than_is_due() {
    for apart in [-45, 45] {
        let (scene, mut dice, mut passed) = (Scene::connected().await, Dice(7), 0);
        scene.jump(apart);
        for step in 0..STEPS {
            let wait = dice.below(HOUR / 2);
            scene.wait(wait);
            passed += wait;
            let tenant = if dice.per_mille(500) { &scene.tenant } else { &scene.other };
            scene.ask(tenant, &format!("{apart} s apart, step {step}")).await;
        }
        let (refreshes, due) = (scene.ledger.count(), usize::try_from(passed / (HOUR / 2)).unwrap() + 1);
        tell("clock skew", &format!("apart_s {apart}, asked {STEPS}, refreshes {refreshes}, at most {due}"));
        assert!(refreshes <= due, "{refreshes} refreshes where {due} are due");
        assert!(scene.ledger.crimes().is_none(), "{:?}", scene.ledger.crimes());
    }
}
