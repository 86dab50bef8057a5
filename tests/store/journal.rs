//! The journal's entries are sealed to their place: another store, another number or another key does not
//! open them, and what they hold comes back as it was.

use std::sync::Arc;

use bytes::Bytes;
use claviger::adapters::journal::BlockJournal;
use claviger::adapters::memory::MemoryKv;
use claviger::adapters::system::SystemEntropy;
use claviger::domain::call::HttpAnswer;
use claviger::domain::ids::{
    Account, ConnectionId, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId, TokenSetName,
};
use claviger::ports::journal::{EntryId, Journal, Standing};
use claviger::ports::outbound::ANSWER_MAX;
use claviger::store::{JournalOpenError, Keyring, MasterKey, SealedJournal, Sent, Store, StoreError, waiting};
use jiff::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

use crate::clock::TestClock;

const CANARY: &str = "canary-refresh-token";

struct World {
    kv: Arc<MemoryKv>,
    journal: Arc<BlockJournal>,
    key: SecretString,
}

impl World {
    fn new() -> Self {
        let kv = Arc::new(MemoryKv::new(TestClock::new()));
        let journal = Arc::new(BlockJournal::in_memory(4 << 20).unwrap());
        Self { kv, journal, key: MasterKey::generate(&SystemEntropy).unwrap() }
    }

    async fn opened(&self, keys: &[&SecretString]) -> Result<SealedJournal, JournalOpenError> {
        let store = Store::open(self.kv.clone(), Arc::new(SystemEntropy), keyring(keys)).await.unwrap();
        store.journal(self.journal.clone()).await
    }

    async fn usual(&self) -> SealedJournal {
        self.opened(&[&self.key]).await.unwrap()
    }
}

fn keyring(keys: &[&SecretString]) -> Keyring {
    let mut keys = keys.iter().map(|key| MasterKey::parse(key).unwrap());
    Keyring::new(keys.next().unwrap(), keys.collect())
}

fn sent() -> Sent {
    let tenant = TenantId::from_uuid(Uuid::from_u128(1));
    let provider = ProviderId::parse("some").unwrap();
    let integration = IntegrationName::parse("some").unwrap();
    let id = IntegrationId::derive(&tenant, &provider, &integration);
    let (end_user, account) = (EndUserId::parse("alice").unwrap(), Account::parse("default").unwrap());
    Sent {
        connection: ConnectionId::derive(&tenant, &end_user, &id, &account),
        set: TokenSetName::parse("default").unwrap(),
        grant: GrantId::from_random([7; 16]),
        from_generation: 3,
        attempt: "attempt".into(),
        params: [("shop".to_owned(), "a\"\u{1}b".to_owned())].into(),
        started_at: Timestamp::UNIX_EPOCH,
        tenant,
        provider,
        integration,
    }
}

fn answer(body: Vec<u8>) -> HttpAnswer {
    let headers = [("retry-after", "7"), ("set-cookie", CANARY), ("content-type", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    HttpAnswer { status: 200, headers, body }
}

async fn keep(journal: &SealedJournal, body: Vec<u8>) -> EntryId {
    let room = journal.reserve(&sent()).unwrap();
    journal.append(room, &sent(), &answer(body)).await.unwrap()
}

#[tokio::test]
async fn an_answer_comes_back_as_it_came() {
    let world = World::new();
    let journal = world.usual().await;
    for size in [0, 1, 1000, ANSWER_MAX - 1, ANSWER_MAX] {
        let body: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let id = keep(&journal, body.clone()).await;
        let found = journal.read(id).await.unwrap().unwrap();
        assert_eq!((found.sent, found.answer.status, found.answer.body), (sent(), 200, body));
        assert_eq!(
            found.answer.headers,
            [("retry-after".to_owned(), "7".to_owned()), ("content-type".to_owned(), "application/json".to_owned())]
        );
        journal.settle(id);
    }
}

/// A reservation is for the worst that can come: the longest params and headers, all of it escaped.
#[tokio::test]
async fn the_largest_answer_fits_its_reservation() {
    let world = World::new();
    let journal = world.usual().await;
    let mut sent = sent();
    sent.params = (0..30).map(|n| (format!("param{n}"), "\u{1}".repeat(500))).collect();
    let room = journal.reserve(&sent).unwrap();
    let headers = ["retry-after", "date", "content-type", "date"].map(|name| (name.to_owned(), "\"".repeat(256))).into();
    sent.started_at = Timestamp::MAX;
    journal.append(room, &sent, &HttpAnswer { status: 200, headers, body: vec![b'"'; ANSWER_MAX] }).await.unwrap();
}

#[tokio::test]
async fn what_lies_on_the_disk_says_nothing_of_the_answer() {
    let world = World::new();
    let journal = world.usual().await;
    let id = keep(&journal, CANARY.into()).await;
    let bytes = world.journal.read(id).await.unwrap().unwrap();
    for word in [CANARY, "alice", "some", "attempt", "con_"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}

async fn put(journal: &BlockJournal, entry: Bytes) -> EntryId {
    let room = journal.reserve(entry.len()).unwrap();
    let id = room.id;
    journal.append(room, entry).await.unwrap();
    id
}

#[tokio::test]
async fn an_entry_opens_under_its_own_number_and_in_its_own_store_alone() {
    let world = World::new();
    let journal = world.usual().await;
    let id = keep(&journal, CANARY.into()).await;
    let entry = world.journal.read(id).await.unwrap().unwrap();
    let copy = put(&world.journal, entry.clone()).await;
    assert!(matches!(journal.read(copy).await, Err(StoreError::Broken(_))));
    for bit in (0..entry.len() * 8).step_by(37) {
        let mut changed = entry.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        // Under the number that it was sealed for.
        let other = BlockJournal::in_memory(4 << 20).unwrap();
        assert_eq!(put(&other, changed.into()).await, id);
        let read = waiting(&other, &keyring(&[&world.key]), 0, 10).await.unwrap();
        assert!(read[0].sent.is_err(), "bit {bit}");
    }
}

#[tokio::test]
async fn another_stores_entries_stop_the_start() {
    let world = World::new();
    let id = keep(&world.usual().await, CANARY.into()).await;
    let elsewhere =
        World { kv: Arc::new(MemoryKv::new(TestClock::new())), journal: world.journal.clone(), key: world.key.clone() };
    assert!(matches!(elsewhere.opened(&[&world.key]).await.err(), Some(JournalOpenError::OtherStore(1))));
    world.journal.settle(id);
    let journal = elsewhere.usual().await;
    assert!(matches!(journal.read(id).await, Err(StoreError::Broken(_))), "a settled entry is no reason, and is not read");
}

/// The newest key seals; an older one opens while it is configured; without it the start is refused,
/// and the key is named.
#[tokio::test]
async fn a_master_key_is_needed_while_an_entry_waits() {
    let world = World::new();
    let newer = MasterKey::generate(&SystemEntropy).unwrap();
    let old = keep(&world.usual().await, b"old".to_vec()).await;
    // A store that knows both: its own data key is wrapped by the older one.
    let both = world.opened(&[&newer, &world.key]).await.unwrap();
    let new = keep(&both, b"new".to_vec()).await;
    for id in [old, new] {
        assert!(both.read(id).await.unwrap().is_some());
    }
    let refused = world.opened(&[&world.key]).await.err().unwrap().to_string();
    let id_of = |key: &SecretString| secrecy::ExposeSecret::expose_secret(key).split('_').nth(1).unwrap().to_owned();
    assert!(refused.contains(&id_of(&newer)) && refused.contains("(1)") && !refused.contains(&id_of(&world.key)), "{refused}");
    both.settle(new);
    world.usual().await;
}

#[tokio::test]
async fn what_waits_is_listed_page_by_page_without_secrets() {
    let world = World::new();
    let journal = world.usual().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(keep(&journal, format!("{CANARY}{n}").into_bytes()).await);
    }
    journal.settle(ids[1]);
    let damaged = put(&world.journal, Bytes::from_static(b"not sealed")).await;
    let (first, rest) = (journal.waiting(0, 3).await.unwrap(), journal.waiting(ids[3].0, 10).await.unwrap());
    let numbers: Vec<u64> = first.iter().chain(&rest).map(|waiting| waiting.entry).collect();
    assert_eq!(numbers, [ids[0].0, ids[2].0, ids[3].0, ids[4].0, damaged.0]);
    assert_eq!(first[0].sent.as_ref().unwrap().connection, sent().connection);
    assert!(rest[1].sent.is_err(), "one that cannot be read is told of, and hides no other");
    let shown = serde_json::to_string(&first).unwrap();
    assert!(!shown.contains(CANARY) && !shown.contains("shop"), "{shown}");
    let standing: Vec<Standing> = journal.list().await.unwrap().iter().map(|listed| listed.standing).collect();
    assert_eq!(standing.iter().filter(|standing| **standing == Standing::Settled).count(), 1);
}
