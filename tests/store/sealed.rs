//! Records in the store are sealed to their place: what somebody who can write the store moves to
//! another key, kind or tenant does not open, and neither does what they change.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::SystemEntropy;
use claviger::domain::api_key::ApiKey;
use claviger::domain::event::{Event, EventKind};
use claviger::domain::ids::{Account, ConnectionId, EndUserId, IntegrationId, IntegrationName, ProviderId, TenantId};
use claviger::domain::scope::Scopes;
use claviger::domain::tenant::{Email, Tenant};
use claviger::ports::kv::{AttemptId, Batch, Commit, Key, Kv, Partition, Versioned, Write};
use claviger::store::{Change, EmailClaim, Keyring, MasterKey, OpenError, Record, RecordKey, Store, keys};
use jiff::Timestamp;
use uuid::Uuid;

use crate::clock::TestClock;

type Opens = Box<dyn Fn(Arc<Store>) -> Pin<Box<dyn Future<Output = bool>>>>;

/// A record that was written: where it lies, and whether it opens there.
struct Sample {
    name: String,
    key: Key,
    value: Versioned,
    opens: Opens,
}

struct World {
    kv: Arc<MemoryKv>,
    store: Arc<Store>,
    samples: Vec<Sample>,
    attempts: u32,
}

fn keyring() -> Keyring {
    Keyring::new(MasterKey::parse(&MasterKey::generate(&SystemEntropy).unwrap()).unwrap(), Vec::new())
}

impl World {
    async fn with_samples() -> Self {
        let kv = Arc::new(MemoryKv::new(TestClock::new()));
        let store = Arc::new(Store::open(kv.clone(), Arc::new(SystemEntropy), keyring()).await.unwrap());
        let mut world = Self { kv, store, samples: Vec::new(), attempts: 0 };
        for n in 1..=2 {
            world.tenants_records(TenantId::from_uuid(Uuid::from_u128(n))).await;
        }
        world
    }

    async fn tenants_records(&mut self, tenant: TenantId) {
        self.store.ensure_data_key(&tenant).await.unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let email = Email::parse("dev@acme.example").unwrap();
        let account = Tenant {
            id: tenant.clone(),
            email,
            display_name: "Acme".to_owned(),
            password_hash: String::new(),
            verified_at: None,
            created_at: now,
        };
        self.add("account", keys::account(&tenant), &account).await;
        for id in ["00000000000000aa", "00000000000000bb"] {
            let key = ApiKey {
                id: id.to_owned(),
                tenant: tenant.clone(),
                name: "k".to_owned(),
                scopes: Scopes::admin(),
                hash: "h".to_owned(),
                created_at: now,
                expires_at: None,
            };
            self.add("listed key", keys::api_key(&tenant, id), &key).await;
            self.add("key", keys::api_key_lookup(&format!("{id}{tenant}")), &key).await;
        }
        for user in ["alice", "bob"] {
            let event = event(&tenant, user);
            self.add("event", keys::event(&tenant, &event), &event).await;
            let hash = claviger::domain::ids::digest_of(user, &[tenant.as_str()]);
            self.add("address", keys::email(&hash), &EmailClaim { tenant: tenant.clone() }).await;
        }
    }

    async fn add<R: Record + Clone + 'static>(&mut self, name: &str, key: RecordKey<R>, record: &R) {
        let before = self.everything().await;
        let mut change = Change::new();
        change.create(&key, record, None).unwrap();
        self.store.commit(change).await.unwrap();
        let after = self.everything().await;
        let (raw, value) = after.into_iter().find(|(raw, _)| !before.contains_key(raw)).expect("a new record");
        let opens: Opens = Box::new(move |store| {
            let key = key.clone();
            Box::pin(async move { store.read(&key).await.is_ok_and(|found| found.is_some()) })
        });
        self.samples.push(Sample { name: format!("{name} #{}", self.samples.len()), key: raw, value, opens });
    }

    /// All that lies in the store, in every partition that these records use.
    async fn everything(&self) -> BTreeMap<Key, Versioned> {
        let tenants = (1..=2).map(|n| format!("t.{}", TenantId::from_uuid(Uuid::from_u128(n))));
        let spread = (0..=255).flat_map(|n| [format!("c.{n:02x}"), format!("s.{n:02x}")]);
        let mut all = BTreeMap::new();
        for partition in tenants.chain(spread).filter_map(Partition::new) {
            for entry in self.kv.list(&partition, b"", None, 1000).await.unwrap().entries {
                let key = Key { partition: partition.clone(), name: entry.name };
                all.insert(key, Versioned { version: entry.version, value: entry.value });
            }
        }
        all
    }

    /// What somebody with write access to the store can do.
    async fn overwrite(&mut self, key: &Key, with: &Versioned) {
        self.attempts += 1;
        let write = Write::Put { key: key.clone(), version: with.version, value: with.value.clone(), ttl: None };
        let mut attempt = [0; 16];
        attempt[..4].copy_from_slice(&self.attempts.to_be_bytes());
        let batch = Batch { attempt: AttemptId(attempt), preconditions: Vec::new(), writes: vec![write] };
        assert_eq!(self.kv.commit(batch).await.unwrap(), Commit::Applied);
    }

    async fn opens(&self, sample: usize) -> bool {
        (self.samples[sample].opens)(self.store.clone()).await
    }
}

fn event(tenant: &TenantId, user: &str) -> Event {
    let (provider, name) = (ProviderId::parse("fake").unwrap(), IntegrationName::parse("fake").unwrap());
    let end_user_id = EndUserId::parse(user).unwrap();
    let integration = IntegrationId::derive(tenant, &provider, &name);
    Event {
        id: "e".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        kind: EventKind::Created,
        connection: ConnectionId::derive(tenant, &end_user_id, &integration, &Account::default_account()),
        provider,
        end_user_id,
        detail: None,
    }
}

#[tokio::test]
async fn a_record_moved_to_any_other_place_does_not_open() {
    let mut world = World::with_samples().await;
    for from in 0..world.samples.len() {
        for to in 0..world.samples.len() {
            let (key, value) = (world.samples[to].key.clone(), world.samples[from].value.clone());
            world.overwrite(&key, &value).await;
            let names = (&world.samples[from].name, &world.samples[to].name);
            assert_eq!(world.opens(to).await, from == to, "{names:?}");
            let own = world.samples[to].value.clone();
            world.overwrite(&key, &own).await;
            assert!(world.opens(to).await);
        }
    }
}

#[tokio::test]
async fn a_record_under_another_version_does_not_open() {
    let mut world = World::with_samples().await;
    for sample in 0..world.samples.len() {
        let (key, own) = (world.samples[sample].key.clone(), world.samples[sample].value.clone());
        world.overwrite(&key, &Versioned { version: own.version + 1, ..own }).await;
        assert!(!world.opens(sample).await, "{}", world.samples[sample].name);
    }
}

#[tokio::test]
async fn nothing_sealed_lies_open_in_the_store() {
    let world = World::with_samples().await;
    for (key, found) in world.everything().await {
        for plain in ["acme.example", "alice", "admin", "connection.created"] {
            let bytes = plain.as_bytes();
            assert!(!found.value.windows(bytes.len()).any(|window| window == bytes), "{plain} in {key:?}");
        }
    }
}

#[tokio::test]
async fn another_master_key_does_not_open_the_store() {
    let world = World::with_samples().await;
    let opened = Store::open(world.kv.clone(), Arc::new(SystemEntropy), keyring()).await;
    assert!(matches!(opened.err(), Some(OpenError::WrongMasterKey)));
}
