//! The journal's entries as types: a provider's answer as it came, with what is needed to judge it when
//! nobody is left who asked for it. Sealed before it leaves this file, under a key that comes from the
//! master key alone, so that a journal can be read while the store is away.
//!
//! `deployment 16 bytes | sealed (length u32 | head, JSON | body)`. The seal binds the deployment and the
//! entry's number: a copy in another place does not open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::call::HttpAnswer;
use crate::domain::ids::{ConnectionId, GrantId, IntegrationName, ProviderId, TenantId, TokenSetName};
use crate::ports::entropy::Entropy;
use crate::ports::journal::{EntryId, Journal, JournalError, JournalState, Listed, Reservation, Standing};
use crate::ports::outbound::ANSWER_MAX;

use super::StoreError;
use super::keyring::Keyring;
use super::seal::{self, Context, SealError};

const KIND: &str = "arrival";
const PARTITION: &str = "journal";
const DEPLOYMENT_LEN: usize = 16;
const LENGTH_LEN: usize = 4;
/// What is kept of an answer's head, besides its status: what judging looks at, and what explains a fault.
const HEADERS: [&str; 3] = ["content-type", "date", "retry-after"];
const HEADER_MAX: usize = 256;
/// Room for those headers, escaped, and for what a moment's text may grow by.
const HEAD_SLACK: usize = 2048;

/// What was sent, and for whom. Written beside the answer; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub set: TokenSetName,
    pub grant: GrantId,
    pub from_generation: u64,
    pub attempt: String,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    /// The values of the provider's params with which it was sent.
    pub params: BTreeMap<String, String>,
    pub started_at: Timestamp,
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub sent: Sent,
    pub answer: HttpAnswer,
}

#[derive(Serialize, Deserialize)]
struct Head {
    sent: Sent,
    status: u16,
    headers: Vec<(String, String)>,
}

/// An entry outside its journal, as it was sealed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    pub id: EntryId,
    pub sealed: Bytes,
}

/// One entry, as an operator may see it: without the params.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub entry: u64,
    /// In bytes, sealed.
    pub size: usize,
    /// `Err` says why it cannot be read.
    pub sent: Result<Sent, String>,
}

/// Why this node must not start on its journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalOpenError {
    #[error(
        "entries of the journal in `node.data` wait for the store ({entries}) and need the master key {keys}, which is not in `keys.master`; add it there, behind the newest, until they are committed"
    )]
    MissingKey { keys: String, entries: usize },
    #[error(
        "entries of the journal in `node.data` wait for another store than `store.url` names ({0}); give the right store, or move the file `journal` away to lose them"
    )]
    OtherStore(usize),
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] JournalError),
}

/// A journal whose entries are sealed.
pub struct SealedJournal {
    journal: Arc<dyn Journal>,
    keyring: Arc<Keyring>,
    entropy: Arc<dyn Entropy>,
    deployment: [u8; DEPLOYMENT_LEN],
}

impl SealedJournal {
    /// Refuses a journal with pending entries that cannot be read with these keys, or are another store's.
    pub(super) async fn open(
        journal: Arc<dyn Journal>,
        keyring: Arc<Keyring>,
        entropy: Arc<dyn Entropy>,
        deployment: [u8; DEPLOYMENT_LEN],
    ) -> Result<Self, JournalOpenError> {
        let (mut foreign, mut keyless, mut missing) = (0, 0, BTreeSet::new());
        for listed in of_standing(&journal.list().await?, Standing::Pending) {
            // One that is damaged is told of at the replay, which goes on without it.
            let Ok(Some(entry)) = journal.read(listed.id).await else { continue };
            let Some((home, sealed)) = entry.split_first_chunk::<DEPLOYMENT_LEN>() else { continue };
            foreign += usize::from(*home != deployment);
            if let Some(id) = seal::key_id(sealed).ok().filter(|id| !keyring.has(*id)) {
                keyless += 1;
                missing.insert(hex::encode(id));
            }
        }
        match (foreign, keyless) {
            (0, 0) => Ok(Self { journal, keyring, entropy, deployment }),
            (0, entries) => {
                let keys = missing.into_iter().collect::<Vec<_>>().join(" and ");
                Err(JournalOpenError::MissingKey { keys, entries })
            }
            (foreign, _) => Err(JournalOpenError::OtherStore(foreign)),
        }
    }

    /// Room for the answer to this, however large it comes.
    pub fn reserve(&self, sent: &Sent) -> Result<Reservation, JournalError> {
        let head = serde_json::to_vec(sent).map_or(0, |head| head.len());
        let plain = LENGTH_LEN + head + HEAD_SLACK + ANSWER_MAX;
        self.journal.reserve(DEPLOYMENT_LEN + seal::sealed_len(plain))
    }

    /// Returns when the answer is durable here.
    pub async fn append(&self, room: Reservation, sent: &Sent, answer: &HttpAnswer) -> Result<EntryId, JournalError> {
        let id = room.id;
        let unsealed = |why: String| JournalError::Corrupt(why);
        let plain = encode(sent, answer).map_err(|why| unsealed(why.to_string()))?;
        let context = context(&self.deployment, id);
        let sealed = self.keyring.seal_for_journal(&context, &plain, self.entropy.as_ref());
        let sealed = sealed.map_err(|why| unsealed(why.to_string()))?;
        self.journal.append(room, Bytes::from([self.deployment.as_slice(), &sealed].concat())).await?;
        Ok(id)
    }

    /// The store has what the entry holds.
    pub fn settle(&self, id: EntryId) {
        self.journal.settle(id);
    }

    pub async fn list(&self) -> Result<Vec<Listed>, JournalError> {
        self.journal.list().await
    }

    /// `None` for a settled entry whose place has been given away.
    pub async fn read(&self, id: EntryId) -> Result<Option<Arrival>, StoreError> {
        let Some(entry) = self.journal.read(id).await? else { return Ok(None) };
        match entry.split_first_chunk::<DEPLOYMENT_LEN>() {
            Some((home, _)) if *home != self.deployment => Err(StoreError::Broken("an entry of another store".into())),
            _ => opened(&self.keyring, id, &entry).map(Some),
        }
    }

    /// A copy of these entries as they stand there, sealed. One whose place was given away meanwhile, or
    /// that is damaged, is left out.
    pub async fn ship(&self, entries: &[EntryId]) -> Vec<Shipped> {
        let mut shipped = Vec::with_capacity(entries.len());
        for id in entries {
            match self.journal.read(*id).await {
                Ok(found) => shipped.extend(found.map(|sealed| Shipped { id: *id, sealed })),
                Err(error) => tracing::error!(%error, entry = id.0, "an entry of the journal cannot be copied"),
            }
        }
        shipped
    }

    /// Takes an entry of another journal of this deployment in, to wait here for the store. It is sealed
    /// anew, since it gets a number of this journal.
    pub async fn take_in(&self, shipped: &Shipped) -> Result<(), StoreError> {
        match shipped.sealed.split_first_chunk::<DEPLOYMENT_LEN>() {
            Some((home, _)) if *home != self.deployment => return Err(StoreError::Broken("an entry of another store".into())),
            _ => {}
        }
        let Arrival { sent, answer } = opened(&self.keyring, shipped.id, &shipped.sealed)?;
        let room = self.reserve(&sent)?;
        self.append(room, &sent, &answer).await?;
        Ok(())
    }

    pub fn state(&self) -> JournalState {
        self.journal.state()
    }

    /// Up to `limit` pending entries after `after`, oldest first.
    pub async fn waiting(&self, after: u64, limit: usize) -> Result<Vec<Waiting>, JournalError> {
        waiting(self.journal.as_ref(), &self.keyring, after, limit).await
    }
}

/// Up to `limit` pending entries after `after`, oldest first: for whoever has the journal and the keys and
/// no store.
pub async fn waiting(journal: &dyn Journal, keyring: &Keyring, after: u64, limit: usize) -> Result<Vec<Waiting>, JournalError> {
    let mut found = Vec::new();
    let listed = journal.list().await?;
    for listed in of_standing(&listed, Standing::Pending).filter(|listed| listed.id.0 > after).take(limit) {
        let entry = journal.read(listed.id).await?.unwrap_or_default();
        let sent = opened(keyring, listed.id, &entry).map(|arrival| Sent { params: BTreeMap::new(), ..arrival.sent });
        let sent = sent.map_err(|why| why.to_string());
        found.push(Waiting { entry: listed.id.0, size: listed.size, sent });
    }
    Ok(found)
}

fn of_standing(listed: &[Listed], standing: Standing) -> impl Iterator<Item = &Listed> {
    listed.iter().filter(move |listed| listed.standing == standing)
}

fn opened(keyring: &Keyring, id: EntryId, entry: &[u8]) -> Result<Arrival, StoreError> {
    let (home, sealed) = entry.split_first_chunk::<DEPLOYMENT_LEN>().ok_or(SealError::UnknownFormat)?;
    let plain = keyring.open_from_journal(&context(home, id), sealed)?;
    decode(&plain).ok_or_else(|| StoreError::Broken("an entry of the journal cannot be read by this version".into()))
}

fn context(deployment: &[u8; DEPLOYMENT_LEN], id: EntryId) -> Context<'_> {
    Context { deployment, partition: PARTITION, kind: KIND, key: &[], version: id.0 }
}

fn encode(sent: &Sent, answer: &HttpAnswer) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let kept = answer.headers.iter().filter(|(name, value)| HEADERS.contains(&name.as_str()) && value.len() <= HEADER_MAX);
    let headers = kept.take(HEADERS.len()).cloned().collect();
    let head = serde_json::to_vec(&Head { sent: sent.clone(), status: answer.status, headers })?;
    let mut plain = Zeroizing::new(Vec::with_capacity(LENGTH_LEN + head.len() + answer.body.len()));
    plain.extend_from_slice(&u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
    plain.extend_from_slice(&head);
    plain.extend_from_slice(&answer.body);
    Ok(plain)
}

fn decode(plain: &[u8]) -> Option<Arrival> {
    let (length, rest) = plain.split_first_chunk::<LENGTH_LEN>()?;
    let (head, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let Head { sent, status, headers } = serde_json::from_slice(head).ok()?;
    Some(Arrival { sent, answer: HttpAnswer { status, headers, body: body.to_vec() } })
}
