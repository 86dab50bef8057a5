//! The hierarchy of keys: master keys wrap data keys, data keys seal records. A fresh store is
//! founded with a deployment id and a system data key; an existing one must open with a master key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ports::entropy::{Entropy, EntropyError, random};
use crate::ports::kv::{AttemptId, Batch, Commit, Kv, Precondition, Versioned, Write};

use super::entities::keys;
use super::error::{OpenError, StoreError};
use super::seal::{Context, KEY_ID_LEN, KEY_LEN, SealError, SealKey, key_id};

pub(super) const DATA_KEY_KIND: &str = "data_key";
const MASTER_PREFIX: &str = "clvmaster_";
/// Keeps the key of the journal apart from every other use of a master key.
const JOURNAL_PURPOSE: &[u8] = b"claviger journal 1";
/// Fewer distinct bytes than this in 32 random ones is no accident (chance below 2^-60).
const DISTINCT_MIN: usize = 12;

/// One master key: `clvmaster_<16 hex: id>_<43 base64url: key>`, as `claviger key generate` prints it.
pub struct MasterKey {
    key: SealKey,
    /// Derived for the journal, which is sealed without asking the store for a data key.
    journal: SealKey,
}

/// Why a text is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    #[error("it is not of the form clvmaster_<id>_<key>; make one with `claviger key generate`")]
    Malformed,
    #[error("it is not random; make one with `claviger key generate`")]
    Weak,
}

impl MasterKey {
    pub fn parse(text: &SecretString) -> Result<Self, MasterKeyError> {
        let rest = text.expose_secret().trim().strip_prefix(MASTER_PREFIX).ok_or(MasterKeyError::Malformed)?;
        let (id, key) = rest.split_once('_').ok_or(MasterKeyError::Malformed)?;
        let mut id_bytes = [0; KEY_ID_LEN];
        hex::decode_to_slice(id, &mut id_bytes).map_err(|_| MasterKeyError::Malformed)?;
        let key = Zeroizing::new(URL_SAFE_NO_PAD.decode(key).map_err(|_| MasterKeyError::Malformed)?);
        let key: &[u8; KEY_LEN] = key.as_slice().try_into().map_err(|_| MasterKeyError::Malformed)?;
        let mut seen = [false; 256];
        key.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        if seen.iter().filter(|seen| **seen).count() < DISTINCT_MIN {
            return Err(MasterKeyError::Weak);
        }
        Ok(Self { key: SealKey::new(id_bytes, key), journal: journal_key(id_bytes, key) })
    }

    /// A new master key, as text to keep.
    pub fn generate(entropy: &dyn Entropy) -> Result<SecretString, EntropyError> {
        let id: [u8; KEY_ID_LEN] = random(entropy)?;
        let key = Zeroizing::new(random::<KEY_LEN>(entropy)?);
        Ok(format!("{MASTER_PREFIX}{}_{}", hex::encode(id), URL_SAFE_NO_PAD.encode(key.as_slice())).into())
    }
}

/// HKDF (RFC 5869) with SHA-256; it goes by the id of the master key it comes from.
fn journal_key(id: [u8; KEY_ID_LEN], master: &[u8; KEY_LEN]) -> SealKey {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let derived = Hkdf::<Sha256>::new(None, master).expand(JOURNAL_PURPOSE, key.as_mut_slice());
    debug_assert!(derived.is_ok(), "32 bytes are within HKDF's limit");
    SealKey::new(id, &key)
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", hex::encode(self.key.id()))
    }
}

/// The master keys: the first seals, all of them open.
#[derive(Debug)]
pub struct Keyring {
    newest: MasterKey,
    older: Vec<MasterKey>,
}

impl Keyring {
    pub fn new(newest: MasterKey, older: Vec<MasterKey>) -> Self {
        Self { newest, older }
    }

    pub(super) fn wrap(&self, key: &DataKey, context: &Context<'_>, entropy: &dyn Entropy) -> Result<Vec<u8>, StoreError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(KEY_ID_LEN + KEY_LEN));
        plain.extend_from_slice(&key.seal.id());
        plain.extend_from_slice(key.bytes.as_slice());
        Ok(self.newest.key.seal(random(entropy)?, context, &plain)?)
    }

    pub(super) fn seal_for_journal(
        &self,
        context: &Context<'_>,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, StoreError> {
        Ok(self.newest.journal.seal(random(entropy)?, context, plain)?)
    }

    pub(super) fn open_from_journal(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.master(key_id(sealed)?).ok_or(SealError::UnknownKey)?.journal.open(context, sealed)
    }

    /// Whether the key of this id is among them.
    pub(super) fn has(&self, id: [u8; KEY_ID_LEN]) -> bool {
        self.master(id).is_some()
    }

    fn master(&self, id: [u8; KEY_ID_LEN]) -> Option<&MasterKey> {
        std::iter::once(&self.newest).chain(&self.older).find(|master| master.key.id() == id)
    }

    pub(super) fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, SealError> {
        let master = self.master(key_id(wrapped)?).ok_or(SealError::UnknownKey)?;
        let plain = master.key.open(context, wrapped)?;
        let (id, key) = plain.split_first_chunk::<KEY_ID_LEN>().ok_or(SealError::NotAuthentic)?;
        let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| SealError::NotAuthentic)?;
        Ok(DataKey::new(*id, key))
    }
}

/// A key that seals records: a tenant's, or the system's.
pub(super) struct DataKey {
    seal: SealKey,
    bytes: Zeroizing<[u8; KEY_LEN]>,
    /// The keys of keyed hashes, by purpose, each derived once: deriving costs more than hashing.
    hashers: RwLock<BTreeMap<String, Hmac<Sha256>>>,
}

impl DataKey {
    fn new(id: [u8; KEY_ID_LEN], key: &[u8; KEY_LEN]) -> Self {
        Self { seal: SealKey::new(id, key), bytes: Zeroizing::new(*key), hashers: RwLock::default() }
    }

    pub(super) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self::new(random(entropy)?, &Zeroizing::new(random::<KEY_LEN>(entropy)?)))
    }

    pub(super) fn seal(&self, nonce: [u8; 24], context: &Context<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal.seal(nonce, context, plain)
    }

    pub(super) fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if key_id(sealed)? != self.seal.id() {
            return Err(SealError::UnknownKey);
        }
        self.seal.open(context, sealed)
    }

    /// HMAC-SHA-256 under a key derived for the purpose (HKDF, RFC 5869). Purposes are few and fixed.
    pub(super) fn keyed_hash(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let known = self.hashers.read().unwrap_or_else(PoisonError::into_inner).get(purpose).cloned();
        let mut mac = known.unwrap_or_else(|| {
            let derived = self.derive_hasher(purpose);
            self.hashers.write().unwrap_or_else(PoisonError::into_inner).insert(purpose.to_owned(), derived.clone());
            derived
        });
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    fn derive_hasher(&self, purpose: &str) -> Hmac<Sha256> {
        let mut key = Zeroizing::new([0; 64]);
        let derived = Hkdf::<Sha256>::new(None, self.bytes.as_slice()).expand(purpose.as_bytes(), key.as_mut_slice());
        debug_assert!(derived.is_ok(), "64 bytes are within HKDF's limit");
        Hmac::<Sha256>::new(&(*key).into())
    }
}

pub(super) struct Foundation {
    pub deployment: [u8; 16],
    pub system: DataKey,
}

/// Reads deployment id and system key, or founds the store when both are absent. Two nodes that
/// start at once on an empty store agree: one founds, the other reads.
pub(super) async fn found_or_open(kv: &dyn Kv, entropy: &dyn Entropy, keyring: &Keyring) -> Result<Foundation, OpenError> {
    if let Some(found) = read_foundation(kv, keyring).await? {
        return Ok(found);
    }
    let deployment: [u8; 16] = random(entropy).map_err(StoreError::from)?;
    let system = DataKey::random(entropy).map_err(StoreError::from)?;
    let (id_key, system_key) = (keys::deployment(), keys::system_key());
    let context = Context {
        deployment: &deployment,
        partition: system_key.partition.as_str(),
        kind: DATA_KEY_KIND,
        key: &system_key.name,
        version: 1,
    };
    let wrapped = keyring.wrap(&system, &context, entropy)?;
    let batch = Batch {
        attempt: AttemptId(random(entropy).map_err(StoreError::from)?),
        preconditions: vec![Precondition::Absent(id_key.clone()), Precondition::Absent(system_key.clone())],
        writes: vec![
            Write::Put { key: id_key, version: 1, value: Bytes::copy_from_slice(&deployment), ttl: None },
            Write::Put { key: system_key, version: 1, value: Bytes::from(wrapped), ttl: None },
        ],
    };
    match kv.commit(batch).await.map_err(StoreError::from)? {
        Commit::Applied => Ok(Foundation { deployment, system }),
        Commit::Conflict | Commit::Unknown => {
            let found = read_foundation(kv, keyring).await?;
            found.ok_or_else(|| StoreError::Unavailable("the store could not be founded".into()).into())
        }
    }
}

async fn read_foundation(kv: &dyn Kv, keyring: &Keyring) -> Result<Option<Foundation>, OpenError> {
    let (id_key, system_key) = (keys::deployment(), keys::system_key());
    let id = kv.get(&id_key).await.map_err(StoreError::from)?;
    let wrapped = kv.get(&system_key).await.map_err(StoreError::from)?;
    let (Some(Versioned { value: id, .. }), Some(wrapped)) = (id, wrapped) else {
        return Ok(None);
    };
    let deployment: [u8; 16] =
        id.as_ref().try_into().map_err(|_| StoreError::Broken("the deployment id has a wrong length".into()))?;
    let context = Context {
        deployment: &deployment,
        partition: system_key.partition.as_str(),
        kind: DATA_KEY_KIND,
        key: &system_key.name,
        version: wrapped.version,
    };
    let system = keyring.unwrap(&context, &wrapped.value).map_err(|_| OpenError::WrongMasterKey)?;
    Ok(Some(Foundation { deployment, system }))
}
