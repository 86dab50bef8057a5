//! Connections are listed each once, whatever the filter, the page size and what others write
//! meanwhile; and each index says what the records say after any sequence of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::SystemEntropy;
use claviger::domain::connection::{Connection, NewConnection};
use claviger::domain::ids::{Account, ConnectionId, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId};
use claviger::domain::provider::RefreshWith;
use claviger::domain::tokens::TokenAnswer;
use claviger::ports::kv::{Kv as _, Partition};
use claviger::store::{Change, ConnectionFilter, Keyring, MasterKey, Store, Stored, keys};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::clock::TestClock;

const STATUSES: [&str; 4] = ["active", "in_doubt", "needs_reauth", "revoked"];
const PROVIDERS: [&str; 2] = ["acme", "bolt"];
const USERS: u8 = 8;
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Which connection: end user, provider, account.
type Which = (u8, bool, bool);

#[derive(Debug, Clone)]
enum Step {
    /// A new consent or an import, in the place of whatever is there.
    Connect(Which),
    Doubt(Which),
    Over(Which),
    Bury(Which),
    List {
        user: Option<u8>,
        provider: Option<bool>,
        status: Option<usize>,
        limit: usize,
        /// Made between the pages.
        newcomers: Vec<Which>,
    },
}

fn which() -> impl Strategy<Value = Which> {
    (0..USERS, any::<bool>(), any::<bool>())
}

fn step() -> impl Strategy<Value = Step> {
    let list = (
        proptest::option::of(0..USERS),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0..STATUSES.len()),
        prop_oneof![1..4_usize, Just(200)],
        proptest::collection::vec(which(), 0..4),
    );
    prop_oneof![
        6 => which().prop_map(Step::Connect),
        1 => which().prop_map(Step::Doubt),
        1 => which().prop_map(Step::Over),
        2 => which().prop_map(Step::Bury),
        3 => list.prop_map(|(user, provider, status, limit, newcomers)| Step::List { user, provider, status, limit, newcomers }),
    ]
}

struct World {
    kv: Arc<MemoryKv>,
    store: Store,
    tenant: TenantId,
    /// Status, provider and end user of each that is there.
    model: BTreeMap<ConnectionId, (&'static str, ProviderId, EndUserId)>,
}

impl World {
    async fn new() -> Self {
        let master = MasterKey::parse(&MasterKey::generate(&SystemEntropy).unwrap()).unwrap();
        let kv = Arc::new(MemoryKv::new(TestClock::new()));
        let store = Store::open(kv.clone(), Arc::new(SystemEntropy), Keyring::new(master, Vec::new())).await.unwrap();
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        store.ensure_data_key(&tenant).await.unwrap();
        Self { kv, store, tenant, model: BTreeMap::new() }
    }

    fn consent(&self, (user, provider, account): Which) -> Connection {
        let provider = ProviderId::parse(PROVIDERS[usize::from(provider)]).unwrap();
        let integration = IntegrationName::of_provider(&provider);
        let new = NewConnection {
            tenant: self.tenant.clone(),
            end_user: end_user(user),
            integration_id: IntegrationId::derive(&self.tenant, &provider, &integration),
            provider,
            integration,
            account: Account::parse(if account { "work" } else { "default" }).unwrap(),
            grant_id: GrantId::from_random([0; 16]),
            confirmed: true,
            params: BTreeMap::new(),
            asked_scopes: Vec::new(),
            named_scopes: Vec::new(),
            renewal: Some(RefreshWith::RefreshToken),
            received_by: "n".to_owned(),
        };
        let answer = TokenAnswer { sets: BTreeMap::new(), metadata: BTreeMap::new(), subject: None };
        Connection::established(new, answer, None, NOW, NOW)
    }

    async fn stored(&self, id: &ConnectionId) -> Option<Stored<Connection>> {
        self.store.read(&keys::connection(&self.tenant, id)).await.unwrap()
    }

    async fn put(&mut self, connection: Connection, before: Option<&Stored<Connection>>) {
        let mut change = Change::new();
        Store::put_connection(&mut change, &connection, before).unwrap();
        self.store.commit(change).await.unwrap();
        let known = (connection.status.as_str(), connection.provider, connection.end_user);
        self.model.insert(connection.id, known);
    }

    async fn connect(&mut self, which: Which) {
        let connection = self.consent(which);
        let before = self.stored(&connection.id).await;
        self.put(connection, before.as_ref()).await;
    }

    /// Changes what is there, and nothing where nothing is.
    async fn change(&mut self, which: Which, change: impl FnOnce(Connection) -> Connection) {
        let id = self.consent(which).id;
        let before = self.stored(&id).await;
        let Some(before) = before.filter(|before| !before.value.is_gone()) else { return };
        self.put(change(before.value.clone()), Some(&before)).await;
    }

    async fn bury(&mut self, which: Which) {
        let id = self.consent(which).id;
        let before = self.stored(&id).await;
        let Some(before) = before.filter(|before| !before.value.is_gone()) else { return };
        let mut change = Change::new();
        Store::bury_connection(&mut change, &before.value.clone().buried(NOW), &before, Duration::from_secs(60)).unwrap();
        self.store.commit(change).await.unwrap();
        let tombstone = self.stored(&id).await.expect("versions go on over a tombstone");
        assert!(tombstone.value.is_gone() && tombstone.version == before.version + 1);
        self.model.remove(&id);
    }

    async fn index_entries(&self) -> usize {
        let mut count = 0;
        for partition in 0..=u8::MAX {
            let partition = Partition::of("c.", &format!("{partition:02x}"));
            let page = self.kv.list(&partition, b"i/", None, 1000).await.unwrap();
            assert!(page.next.is_none());
            count += page.entries.len();
        }
        count
    }

    fn expected(&self, filter: &ConnectionFilter) -> BTreeSet<ConnectionId> {
        let admitted = self.model.iter().filter(|(_, (status, provider, user))| {
            filter.status.as_ref().is_none_or(|wanted| wanted == status)
                && filter.provider.as_ref().is_none_or(|wanted| wanted == provider)
                && filter.end_user.as_ref().is_none_or(|wanted| wanted == user)
        });
        admitted.map(|(id, _)| id.clone()).collect()
    }

    /// Those that were there before are met once and in order, newcomers at most once, others never.
    async fn list(&mut self, filter: &ConnectionFilter, limit: usize, newcomers: Vec<Which>) {
        let before = self.expected(filter);
        let mut newcomers = newcomers.into_iter();
        let (mut met, mut after): (Vec<ConnectionId>, _) = (Vec::new(), None);
        loop {
            let page = self.store.connections(&self.tenant, filter, after.as_ref(), limit).await.unwrap();
            assert!(page.connections.len() <= limit);
            met.extend(page.connections.into_iter().map(|connection| connection.id));
            let Some(next) = page.next else { break };
            assert!(after.as_ref().is_none_or(|after| *after < next), "a listing goes on");
            after = Some(next);
            if let Some(newcomer) = newcomers.next().filter(|which| !self.model.contains_key(&self.consent(*which).id)) {
                self.connect(newcomer).await;
            }
        }
        assert!(met.is_sorted_by(|one, other| one < other), "in order, each once: {met:?}");
        let met: BTreeSet<_> = met.into_iter().collect();
        assert!(before.is_subset(&met), "lost: {:?}", before.difference(&met));
        assert!(met.is_subset(&self.expected(filter)), "too many: {met:?}");
    }
}

fn end_user(n: u8) -> EndUserId {
    EndUserId::parse(&format!("user-{n}")).unwrap()
}

async fn play(steps: Vec<Step>) {
    let mut world = World::new().await;
    for step in steps {
        match step {
            Step::Connect(which) => world.connect(which).await,
            Step::Doubt(which) => world.change(which, |connection| connection.in_doubt("x", NOW)).await,
            Step::Over(which) => world.change(which, |connection| connection.needs_reauth("x", NOW)).await,
            Step::Bury(which) => world.bury(which).await,
            Step::List { user, provider, status, limit, newcomers } => {
                let filter = ConnectionFilter {
                    end_user: user.map(end_user),
                    provider: provider.map(|provider| ProviderId::parse(PROVIDERS[usize::from(provider)]).unwrap()),
                    status: status.map(|status| STATUSES[status].to_owned()),
                };
                world.list(&filter, limit, newcomers).await;
            }
        }
    }
    for status in STATUSES {
        let filter = ConnectionFilter { status: Some(status.to_owned()), ..ConnectionFilter::default() };
        world.list(&filter, 7, Vec::new()).await;
    }
    world.list(&ConnectionFilter::default(), 7, Vec::new()).await;
    assert_eq!(world.index_entries().await, 3 * world.model.len(), "by status, provider and end user; none is left over");
}

#[test]
fn a_listing_meets_each_connection_once_after_any_sequence() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    runner
        .run(&proptest::collection::vec(step(), 1..120), |steps| {
            runtime.block_on(play(steps));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
