//! Passwords that were proved right a short while ago, so that callers who send theirs with each
//! request do not cost a hash each time. Only a keyed hash of the password is at hand, and what it
//! proves ends with the stored hash it was held against.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, OwnedMutexGuard};
use zeroize::Zeroizing;

use crate::domain::ids::TenantId;
use crate::domain::tenant::Tenant;
use crate::services::Core;
use crate::services::api_keys::Trust;
use crate::store::StoreError;

use super::limits::AccountKey;
use super::records;

/// After so long a password is hashed again whatever is remembered.
const LIFE: Duration = Duration::from_secs(3600);
const FLIGHTS_MAX: u64 = 10_000;

pub struct Proofs {
    core: Core,
    trust: Trust,
    cache: Cache<AccountKey, Proof>,
    /// By the keyed hash of the password.
    flights: Cache<[u8; 32], Arc<Mutex<()>>>,
}

#[derive(Clone)]
struct Proof {
    password: [u8; 32],
    tenant: TenantId,
    /// The stored hash that the password was right for.
    stored_hash: String,
    proved_at: Duration,
    /// When the account was last seen to have that hash.
    read_at: Duration,
}

impl Proofs {
    pub fn new(core: Core, trust: Trust, at_most: u64) -> Self {
        Self { core, trust, cache: Cache::new(at_most), flights: Cache::new(FLIGHTS_MAX) }
    }

    /// Whose password it is, if that was proved before and still holds. The account is read again
    /// once `trust` is over; while the store is out of reach, `cut_off` is the end.
    pub async fn holds(&self, account: &AccountKey, password: &SecretString) -> Result<Option<TenantId>, StoreError> {
        let Some(proof) = self.cache.get(account).await else { return Ok(None) };
        let now = self.core.clock.monotonic();
        let is_same = bool::from(proof.password.ct_eq(&self.keyed(account, password)));
        if !is_same || now.saturating_sub(proof.proved_at) >= LIFE {
            return Ok(None);
        }
        let age = now.saturating_sub(proof.read_at);
        if age < self.trust.trust {
            return Ok(Some(proof.tenant));
        }
        let stands_in = age < self.trust.cut_off;
        let read = records::get(&self.core, &proof.tenant);
        match if stands_in { self.core.soon(read).await } else { read.await } {
            Ok(Some(tenant)) if tenant.password_hash == proof.stored_hash && tenant.verified_at.is_some() => {
                self.cache.insert(*account, Proof { read_at: now, ..proof }).await;
                Ok(Some(tenant.id))
            }
            Ok(_) => {
                self.forget(account).await;
                Ok(None)
            }
            Err(StoreError::Unavailable(_)) if stands_in => Ok(Some(proof.tenant)),
            Err(error) => Err(error),
        }
    }

    /// For proving: those who come with the same password for the same account at the same moment go
    /// one by one, so that the first one's proof serves the rest.
    pub async fn flight(&self, account: &AccountKey, password: &SecretString) -> OwnedMutexGuard<()> {
        let flight = self.flights.get_with(self.keyed(account, password), async { Arc::default() });
        flight.await.lock_owned().await
    }

    /// `read_at`: when `tenant` was read, on the monotonic clock.
    pub async fn remember(&self, account: &AccountKey, password: &SecretString, tenant: &Tenant, read_at: Duration) {
        let proof = Proof {
            password: self.keyed(account, password),
            tenant: tenant.id.clone(),
            stored_hash: tenant.password_hash.clone(),
            proved_at: self.core.clock.monotonic(),
            read_at,
        };
        self.cache.insert(*account, proof).await;
    }

    pub async fn forget(&self, account: &AccountKey) {
        self.cache.invalidate(account).await;
    }

    fn keyed(&self, account: &AccountKey, password: &SecretString) -> [u8; 32] {
        let bytes = Zeroizing::new([account.as_slice(), password.expose_secret().as_bytes()].concat());
        self.core.store.lookup_hash("password-proof", &bytes)
    }
}
