//! API keys: making, listing, revoking, and telling who calls.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::domain::api_key::ApiKey;
use crate::domain::caller::Caller;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TenantId;
use crate::domain::refusal::Refusal;
use crate::domain::scope::{Scope, Scopes};
use crate::ports::entropy::random;
use crate::store::{Change, StoreError, Stored, keys};

use super::Core;

const PREFIX: &str = "clv_";
const ID_LEN: usize = 16;
const SECRET_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const NAME_MAX: usize = 100;
const KEYS_MAX: usize = 100;
const LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
const PURPOSE: &str = "api-key";

/// How long what was read may be trusted, and how long it may stand in for a store out of reach.
#[derive(Debug, Clone, Copy)]
pub struct Trust {
    pub trust: Duration,
    pub cut_off: Duration,
}

pub struct ApiKeys {
    core: Core,
    trust: Trust,
    cache: Cache<String, Known>,
}

/// A key as last read.
#[derive(Clone)]
struct Known {
    key: Arc<ApiKey>,
    read_at: Duration,
}

/// What a tenant asks for.
#[derive(Debug)]
pub struct NewApiKey {
    pub name: String,
    pub scopes: Scopes,
    pub expires_in: Option<Duration>,
}

impl ApiKeys {
    /// `cached`: how many keys are kept at hand; 0 asks the store each time.
    pub fn new(core: Core, trust: Trust, cached: u64) -> Self {
        Self { core, trust, cache: Cache::new(cached) }
    }

    /// Makes a key; its text is shown once and never again.
    pub async fn create(&self, caller: &Caller, new: NewApiKey) -> Result<(ApiKey, SecretString), Refusal> {
        let tenant = caller.require(Scope::Admin)?;
        if self.list(caller).await?.len() >= KEYS_MAX {
            let detail = format!("An account may have {KEYS_MAX} API keys; revoke one first.");
            return Err(Refusal::new(ErrorCode::LimitReached, detail));
        }
        self.issue(tenant, new).await
    }

    /// As [`ApiKeys::create`], without a caller: for the command line.
    ///
    /// Two partitions: first the listing, then the lookup. Cut short in between, the key is listed
    /// and does not work, which harms nobody.
    pub async fn issue(&self, tenant: &TenantId, new: NewApiKey) -> Result<(ApiKey, SecretString), Refusal> {
        check_new(&new)?;
        let id = hex::encode(random::<8>(self.core.entropy.as_ref()).map_err(StoreError::from)?);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>(self.core.entropy.as_ref()).map_err(StoreError::from)?);
        let body = format!("{PREFIX}{id}_{secret}");
        let text = SecretString::from(format!("{body}{}", checksum(&body)));
        let now = self.core.clock.now();
        let expires_at = new.expires_in.map(|life| now.checked_add(life)).transpose();
        let key = ApiKey {
            hash: hex::encode(self.core.store.lookup_hash(PURPOSE, text.expose_secret().as_bytes())),
            id,
            tenant: tenant.clone(),
            name: new.name,
            scopes: new.scopes,
            created_at: now,
            expires_at: expires_at.map_err(|_| Refusal::field("expires_in", "is too long"))?,
        };
        self.save(&key).await?;
        Ok((key, text))
    }

    pub async fn list(&self, caller: &Caller) -> Result<Vec<ApiKey>, Refusal> {
        let tenant = caller.require(Scope::Admin)?;
        let (found, _) = self.core.store.list(&keys::api_keys(tenant), None, 1000).await?;
        Ok(found.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// First what lets it in, then the listing: cut short in between, it is listed and dead.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<(), Refusal> {
        let tenant = caller.require(Scope::Admin)?;
        let unknown =
            || Refusal::new(ErrorCode::ApiKeyNotFound, "There is no API key with this id; `GET /api-keys` lists yours.");
        if id.len() != ID_LEN || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let listed = keys::api_key(tenant, id);
        if self.core.store.read(&listed).await?.is_none() {
            return Err(unknown());
        }
        let mut change = Change::new();
        change.discard(&keys::api_key_lookup(id));
        self.core.store.commit(change).await?;
        self.cache.invalidate(id).await;
        let mut change = Change::new();
        change.discard(&listed);
        self.core.store.commit(change).await?;
        Ok(())
    }

    /// Who calls with this key. One answer for every kind of wrong key.
    pub async fn authenticate(&self, text: &SecretString) -> Result<Caller, Refusal> {
        let id = well_formed(text.expose_secret()).ok_or_else(refused)?;
        let key = self.known(id).await?.ok_or_else(refused)?;
        let hash = hex::encode(self.core.store.lookup_hash(PURPOSE, text.expose_secret().as_bytes()));
        let matches = bool::from(hash.as_bytes().ct_eq(key.hash.as_bytes()));
        if !matches || has_ended(&key, self.core.clock.now()) {
            return Err(refused());
        }
        Ok(Caller::authenticated(key.tenant.clone(), key.scopes.clone()))
    }

    async fn save(&self, key: &ApiKey) -> Result<(), StoreError> {
        let mut change = Change::new();
        change.create(&keys::api_key(&key.tenant, &key.id), key, None)?;
        self.core.store.commit(change).await?;
        let mut change = Change::new();
        change.create(&keys::api_key_lookup(&key.id), key, None)?;
        self.core.store.commit(change).await
    }

    /// The key as the store has it, or as it had it within `trust`; within `cut_off` while the store
    /// is out of reach.
    async fn known(&self, id: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let known = self.cache.get(id).await;
        let now = self.core.clock.monotonic();
        let age = known.as_ref().map(|known| now.saturating_sub(known.read_at));
        if let (Some(known), Some(age)) = (&known, age)
            && age < self.trust.trust
        {
            return Ok(Some(known.key.clone()));
        }
        let stands_in = age.is_some_and(|age| age < self.trust.cut_off);
        let key = keys::api_key_lookup(id);
        let read = self.core.store.read(&key);
        match if stands_in { self.core.soon(read).await } else { read.await } {
            Ok(Some(Stored { value: key, .. })) => {
                let key = Arc::new(key);
                self.cache.insert(id.to_owned(), Known { key: key.clone(), read_at: now }).await;
                Ok(Some(key))
            }
            Ok(None) => {
                self.cache.invalidate(id).await;
                Ok(None)
            }
            Err(StoreError::Unavailable(_)) if stands_in => Ok(known.map(|known| known.key)),
            Err(error) => Err(error),
        }
    }
}

fn check_new(new: &NewApiKey) -> Result<(), Refusal> {
    if new.name.is_empty() || new.name.len() > NAME_MAX || new.name.chars().any(char::is_control) {
        return Err(Refusal::field("name", format!("must have 1 to {NAME_MAX} bytes and no control characters")));
    }
    match new.expires_in {
        Some(life) if life.is_zero() || life > LIFE_MAX => {
            Err(Refusal::field("expires_in", "must be 1 second to 10 years, in seconds"))
        }
        _ => Ok(()),
    }
}

fn has_ended(key: &ApiKey, now: Timestamp) -> bool {
    key.expires_at.is_some_and(|end| end <= now)
}

fn refused() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "This API key is unknown, revoked or expired; make one with `POST /create-api-key`.")
}

/// The id within a key of the right form and checksum; what is not of that form never reaches the store.
fn well_formed(text: &str) -> Option<&str> {
    let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM_LEN)?)?;
    let (id, secret) = body.strip_prefix(PREFIX)?.split_once('_')?;
    let lengths = id.len() == ID_LEN && secret.len() == SECRET_LEN;
    (lengths && id.bytes().all(|b| b.is_ascii_hexdigit()) && checksum(body) == sum).then_some(id)
}

/// No secret and no protection: it tells a typo from a key.
fn checksum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..CHECKSUM_LEN / 2])
}
