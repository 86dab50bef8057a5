//! Accounts in the store: found by address, made, changed. An address's claim and the account stand
//! in two partitions; each step here may be repeated.

use uuid::Uuid;

use crate::domain::ids::TenantId;
use crate::domain::tenant::{Email, Tenant};
use crate::ports::entropy::random;
use crate::services::Core;
use crate::store::{Change, EmailClaim, StoreError, Stored, keys};

use super::limits::AccountKey;

/// So often a change is judged anew when somebody else wrote first.
const ATTEMPTS: usize = 8;

pub fn key_of(core: &Core, email: &Email) -> AccountKey {
    core.store.lookup_hash("email", email.folded().as_bytes())
}

/// The account with this address. Asks the store as often when there is none.
pub async fn find(core: &Core, address: &AccountKey) -> Result<Option<Tenant>, StoreError> {
    let claim = core.store.read(&keys::email(address)).await?;
    let tenant = claim.map_or_else(|| TenantId::from_uuid(Uuid::nil()), |claim| claim.value.tenant);
    get(core, &tenant).await
}

pub async fn get(core: &Core, tenant: &TenantId) -> Result<Option<Tenant>, StoreError> {
    Ok(core.store.read(&keys::account(tenant)).await?.map(|stored| stored.value))
}

/// The account as it is, or made of `new` where there is none. First the claim, then the data key,
/// then the account: cut short, the address has a tenant without an account, which cannot sign in,
/// and the next one who asks goes on from there. `true` with an account that was there before.
pub async fn ensure(core: &Core, address: &AccountKey, new: Tenant) -> Result<(Tenant, bool), StoreError> {
    let id = claim(core, address, &new.id).await?;
    core.store.ensure_data_key(&id).await?;
    let key = keys::account(&id);
    for _ in 0..ATTEMPTS {
        if let Some(found) = core.store.read(&key).await? {
            return Ok((found.value, true));
        }
        let account = Tenant { id: id.clone(), ..new.clone() };
        let mut change = Change::new();
        change.create(&key, &account, None)?;
        match core.store.commit(change).await {
            Err(StoreError::Conflict) => {}
            done => return done.map(|()| (account, false)),
        }
    }
    Err(StoreError::Conflict)
}

/// Changes an account; `None` when there is none.
pub async fn update(core: &Core, tenant: &TenantId, change_it: impl Fn(&mut Tenant)) -> Result<Option<Tenant>, StoreError> {
    let key = keys::account(tenant);
    for _ in 0..ATTEMPTS {
        let Some(Stored { mut value, version }) = core.store.read(&key).await? else { return Ok(None) };
        change_it(&mut value);
        let mut change = Change::new();
        change.replace(&key, &value, version, None)?;
        match core.store.commit(change).await {
            Err(StoreError::Conflict) => {}
            done => return done.map(|()| Some(value)),
        }
    }
    Err(StoreError::Conflict)
}

/// An account that nobody has verified yet.
pub fn unverified(core: &Core, email: Email, password_hash: String) -> Result<Tenant, StoreError> {
    let now = core.clock.now();
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random(core.entropy.as_ref())?).into_uuid();
    Ok(Tenant {
        id: TenantId::from_uuid(id),
        display_name: email.domain().to_owned(),
        email,
        password_hash,
        verified_at: None,
        created_at: now,
    })
}

/// Whose address it is: this tenant's from now on, unless it was somebody's before.
async fn claim(core: &Core, address: &AccountKey, tenant: &TenantId) -> Result<TenantId, StoreError> {
    let key = keys::email(address);
    for _ in 0..ATTEMPTS {
        if let Some(found) = core.store.read(&key).await? {
            return Ok(found.value.tenant);
        }
        let mut change = Change::new();
        change.create(&key, &EmailClaim { tenant: tenant.clone() }, None)?;
        match core.store.commit(change).await {
            Err(StoreError::Conflict) => {}
            done => return done.map(|()| tenant.clone()),
        }
    }
    Err(StoreError::Conflict)
}
