//! A delete meets a refresh, ten thousand times, each time a little earlier or later: nothing comes back,
//! and the provider keeps no living token of what was deleted. Two nodes share a store; one refreshes,
//! the other deletes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::{SystemClock, SystemEntropy};
use claviger::app::Application;
use claviger::domain::caller::Caller;
use claviger::domain::error_code::ErrorCode;
use claviger::domain::ids::{Account, EndUserId, IntegrationName, ProviderId, TokenSetName};
use claviger::domain::page::Limit;
use claviger::domain::scope::{Scope, Scopes};
use claviger::ports::clock::Clock;
use claviger::services::accounts::Verification;
use claviger::services::api_keys::NewApiKey;
use claviger::services::connections::{Expiry, Filter, Import, Replace, Which};
use claviger::services::integrations::EnableProvider;
use claviger::services::vault::{Refresh, TokenQuery};
use claviger::store::MasterKey;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::figures::tell;
use crate::ledger::{Class, Dice, Ended, Fault, GrantNo, Issued, Ledger, Wait};
use crate::world::{Outbox, PASSWORD, Setup, build};

const RACES: usize = 10_000;
/// Under way at one time.
const AT_ONCE: usize = 64;
/// The late token is revoked by the flight, behind everybody's back.
const PATIENCE: Duration = Duration::from_secs(30);

/// From when on the delete counts its steps.
#[derive(Clone, Copy)]
enum Start {
    /// As the refresh does.
    Together,
    /// The provider has the request, and does not answer yet.
    Asked,
    /// The refresh has come to its end.
    Answered,
}

/// How one race goes: so many steps before the refresh, the delete, and before the provider goes on.
struct Course {
    start: Start,
    refresh: u64,
    delete: u64,
    provider: u64,
    /// It waits with its books written.
    written: bool,
}

impl Course {
    fn draw(dice: &mut Dice) -> Self {
        let start = [Start::Together, Start::Asked, Start::Answered][usize::try_from(dice.below(3)).unwrap()];
        let (refresh, delete, provider) = (dice.below(40), dice.below(80), dice.below(80));
        Self { start, refresh, delete, provider, written: dice.per_mille(500) }
    }
}

/// A request that is expected: who is told that it is there, and what becomes of it.
struct Expected {
    asked: watch::Sender<bool>,
    fault: Fault,
}

/// Two nodes on one store, and the ledger for a provider.
struct Nodes {
    ledger: Arc<Ledger>,
    expected: Arc<Mutex<HashMap<GrantNo, Expected>>>,
    refreshes: Application,
    deletes: Application,
    caller: Caller,
    _folders: [TempDir; 2],
}

impl Nodes {
    async fn start() -> Self {
        let ledger = Arc::new(Ledger::start());
        let expected: Arc<Mutex<HashMap<GrantNo, Expected>>> = Arc::default();
        let coming = expected.clone();
        ledger.always(move |grant| {
            let Expected { asked, fault } = coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&grant).expect("once");
            asked.send_replace(true);
            fault
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let kv = Arc::new(MemoryKv::new(clock.clone()));
        let master = MasterKey::generate(&SystemEntropy).unwrap().expose_secret().to_owned();
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let node = |folder: &TempDir| {
            let settings = vec![("keys.master", master.clone()), ("keys.master_file", String::new())];
            let providers = vec![(Class::Strict.name(), ledger.provider_file(Class::Strict, 0))];
            let setup = Setup { kv: Some(kv.clone()), outbound: Some(ledger.clone()), providers, settings, ..Setup::default() };
            let (path, clock) = (folder.path().to_owned(), clock.clone());
            async move { build(setup, &path, clock, Arc::new(Outbox::default())).await }
        };
        let (refreshes, deletes) = (node(&folders[0]).await, node(&folders[1]).await);
        let caller = Self::tenant(&refreshes).await;
        Self { ledger, expected, refreshes, deletes, caller, _folders: folders }
    }

    async fn tenant(node: &Application) -> Caller {
        let services = node.services();
        let made = services.accounts.create_tenant("dev@acme.example", PASSWORD.into(), Verification::Vouched).await.unwrap();
        let key = NewApiKey { name: "races".to_owned(), scopes: Scopes::admin(), expires_in: None };
        let (_, key) = services.api_keys.issue(&made.id, key).await.unwrap();
        let caller = services.api_keys.authenticate(&key).await.unwrap();
        let enabled = EnableProvider {
            provider: Class::Strict.name().to_owned(),
            client_id: Some("client".to_owned()),
            client_secret: Some("s3cret".into()),
            ..EnableProvider::default()
        };
        services.integrations.enable(&caller, enabled).await.unwrap();
        // Who may make no links is not sent one with each refusal.
        let few = NewApiKey {
            name: "races".to_owned(),
            scopes: Scopes::of([Scope::TokensRead, Scope::ConnectionsRead, Scope::ConnectionsWrite]),
            expires_in: None,
        };
        let (_, key) = services.api_keys.issue(&made.id, few).await.unwrap();
        services.api_keys.authenticate(&key).await.unwrap()
    }

    async fn import(&self, which: &Which, issued: &Issued) {
        let import = Import {
            which: which.clone(),
            token_set: TokenSetName::default_set(),
            access_token: issued.access.clone().into(),
            refresh_token: Some(issued.refresh.clone().into()),
            token_secret: None,
            token_type: None,
            expiry: Some(Expiry::Within(jiff::SignedDuration::from_secs(3600))),
            scopes: None,
            metadata: BTreeMap::new(),
            params: BTreeMap::new(),
            replace: Replace::Refused,
        };
        self.refreshes.services().connections.import(&self.caller, import).await.unwrap();
    }

    /// What the provider is to do with the request for this grant; with who hears of it, and who lets it go on.
    fn expect(&self, grant: GrantNo, written: bool) -> (watch::Receiver<bool>, watch::Sender<bool>) {
        let ((asked, heard), (goes_on, wait)) = (watch::channel(false), watch::channel(false));
        let (fault, wait) = (Fault::default(), Wait::Until(wait));
        let fault = if written { fault.after(wait) } else { fault.before(wait) };
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(grant, Expected { asked, fault });
        (heard, goes_on)
    }

    async fn race(&self, number: usize, course: Course) -> Issued {
        let (issued, which) = (self.ledger.grant(Class::Strict), which(number));
        self.import(&which, &issued).await;
        let (asked, goes_on) = self.expect(issued.grant, course.written);
        let (ends, ended) = watch::channel(false);
        let refresh = async {
            pause(course.refresh).await;
            self.refreshes.services().vault.token(&self.caller, query(&which, Refresh::Forced)).await.ok();
            ends.send_replace(true);
        };
        // A refresh may find nothing left, and never ask.
        let asked = || async {
            tokio::select! { () = told(asked.clone()) => {} () = told(ended.clone()) => {} }
        };
        let provider = async {
            asked().await;
            pause(if matches!(course.start, Start::Asked) { course.provider } else { 0 }).await;
            goes_on.send_replace(true);
        };
        let delete = async {
            match course.start {
                Start::Together => {}
                Start::Asked => asked().await,
                Start::Answered => told(ended.clone()).await,
            }
            pause(course.delete).await;
            self.deletes.services().connections.revoke(&self.caller, which.clone()).await.unwrap();
            // It is acknowledged: from here on this node answers nobody with it.
            let after = self.deletes.services().vault.token(&self.caller, query(&which, Refresh::WhenDue)).await;
            assert_eq!(after.err().map(|refusal| refusal.code), Some(ErrorCode::ConnectionNotFound), "race {number}");
        };
        tokio::join!(refresh, provider, delete);
        issued
    }
}

/// Returns once it was said, or will not be any more.
async fn told(mut of: watch::Receiver<bool>) {
    of.wait_for(|told| *told).await.ok();
}

fn which(number: usize) -> Which {
    let provider = ProviderId::parse(Class::Strict.name()).unwrap();
    let integration = IntegrationName::parse(Class::Strict.name()).unwrap();
    let end_user = EndUserId::parse(&format!("user-{number}")).unwrap();
    Which { provider, integration, end_user, account: Account::default_account() }
}

fn query(which: &Which, refresh: Refresh) -> TokenQuery {
    let Which { provider, integration, end_user, account } = which.clone();
    TokenQuery { provider, integration, end_user, account, token_set: None, min_ttl: None, refresh }
}

async fn pause(steps: u64) {
    for _ in 0..steps {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_wins_every_race_with_a_refresh() {
    let nodes = Arc::new(Nodes::start().await);
    let (mut dice, mut races, mut issued) = (Dice(4), tokio::task::JoinSet::new(), Vec::new());
    for number in 0..RACES {
        if races.len() == AT_ONCE {
            issued.push(races.join_next().await.unwrap().unwrap());
        }
        let (nodes, course) = (nodes.clone(), Course::draw(&mut dice));
        races.spawn(async move { nodes.race(number, course).await });
    }
    issued.extend(races.join_all().await);
    let late = settled(&nodes, &issued).await;
    let (list, ledger) = (&nodes.deletes.services().connections, &nodes.ledger);
    let filter = Filter { provider: None, end_user: None, status: None };
    let left = list.list(&nodes.caller, &filter, Limit::parse(None).unwrap(), None).await.unwrap();
    assert!(left.items.is_empty(), "{} came back", left.items.len());
    let first = |one: &&Issued| ledger.ended(one.grant) == Some(Ended::Asked(one.refresh.clone()));
    let (before, after) = (issued.iter().filter(first).count(), issued.len() - issued.iter().filter(first).count() - late);
    let figures = format!("races {RACES}, delete_first {before}, refresh_first {after}, crossed_and_revoked_late {late}");
    tell("deletes", &figures);
    assert!(before > 0 && after > 0 && late > 0, "they were no races");
    assert!(ledger.crimes().repeated.is_empty(), "{:?}", ledger.crimes());
}

/// Returns when the provider has no living token of any of them; says how many were revoked late.
async fn settled(nodes: &Nodes, issued: &[Issued]) -> usize {
    let until = Instant::now() + PATIENCE;
    loop {
        let alive: Vec<_> = issued.iter().flat_map(|one| nodes.ledger.alive(one.grant)).collect();
        if alive.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{} live on at the provider, such as {}", alive.len(), alive[0]);
        tokio::task::yield_now().await;
    }
    // Shown the old token, which was over by then, and the late one after that.
    let shown: std::collections::BTreeSet<_> = nodes.ledger.revocations().into_iter().collect();
    let late = |one: &&Issued| matches!(nodes.ledger.ended(one.grant), Some(Ended::Asked(token)) if token != one.refresh && shown.contains(&one.refresh));
    issued.iter().filter(late).count()
}
