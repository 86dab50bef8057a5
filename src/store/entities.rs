//! The whole key layout on one page.
//!
//! | partition | name | record | sealed with |
//! |---|---|---|---|
//! | `t.TENANT` | `data-key` | the tenant's data key | master key |
//! | | `account` | `Tenant` | tenant |
//! | | `key/ID` | `ApiKey`, for listing | tenant |
//! | | `integration/ID` | `Integration` | tenant |
//! | | `provider/ID` | `DefinedProvider` | tenant |
//! | `c.NN` | `g/TENANT/CONNECTION` | `Connection` (the grant) | tenant |
//! | | `f/TENANT/CONNECTION/SET` | `Flight` | plain |
//! | | `e/TENANT/CONNECTION/EVENT` | `Event` | tenant |
//! | | `i/TENANT/p/PROVIDER/CONNECTION`, `…/s/STATUS/…`, `…/u/HASH/…` | index entries | plain, empty |
//! | | `d/TIME/TENANT/CONNECTION/SET` | index entries: what is due when | plain, empty |
//! | | `l/TIME/TENANT/CONNECTION/SET/NODE` | index entries: whose intent should be gone when | plain, empty |
//! | `s.NN` | `email/HASH` | `EmailClaim`: whose address it is | system |
//! | | `key/ID` | `ApiKey`, for authentication | system |
//! | | `link/HASH`, `state/HASH`, `ticket/HASH` | one-time things of a connect flow | system |
//! | | `device/HASH` | `DeviceFlow`, by the cookie of the browser that shows its code | system |
//! | | `install/INTEGRATION` | `InstallAddress`: whose integration it is | system |
//! | | `open-link/CONNECTION` | `ReusableLink`: an unused link, for error answers | system |
//! | | `verify/HASH`, `reset/HASH` | `OneTimeCode`, by address | system |
//! | `s.00` | `deployment`, `system-key` | what the store was founded with | plain; master key |
//! | `nodes` | `node/ID` | `NodeRecord`, a node's beat | plain |
//! | | `restoration` | `Restoration`: the last time the store was found to be another | plain |

use serde::{Deserialize, Serialize};

use crate::domain::api_key::ApiKey;
use crate::domain::connection::Connection;
use crate::domain::defined_provider::DefinedProvider;
use crate::domain::event::Event;
use crate::domain::flight::Flight;
use crate::domain::ids::TenantId;
use crate::domain::integration::Integration;
use crate::domain::link::{DeviceFlow, HeldAuthorization, InstallAddress, Link, PendingAuthorization};
use crate::domain::node::{NodeRecord, Restoration};
use crate::domain::secret::{SecretString, sealed_text};
use crate::domain::tenant::Tenant;

use super::record::Record;

/// Whose address it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmailClaim {
    pub tenant: TenantId,
}

/// A mailed code: its hash, and how often one was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OneTimeCode {
    /// `None`: nobody was mailed this one. It stands there so that an address without an account
    /// behaves as one with.
    pub tenant: Option<TenantId>,
    /// The password chosen in the signup that this code is for, hashed.
    #[serde(default)]
    pub password_hash: Option<String>,
    pub code_hash: String,
    /// The hash of the mailed link's token, which does the same.
    pub token_hash: String,
    pub tries: u32,
    pub expires_at: jiff::Timestamp,
}

/// An unused link of one connection, so that polling makes no new ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReusableLink {
    #[serde(with = "sealed_text")]
    pub token: SecretString,
    pub expires_at: jiff::Timestamp,
}

macro_rules! records {
    ($($type:ty = $kind:literal;)*) => {
        $(impl Record for $type { const KIND: &'static str = $kind; })*
    };
}

records! {
    Tenant = "account";
    ApiKey = "api_key";
    Integration = "integration";
    DefinedProvider = "provider";
    Connection = "grant";
    Flight = "flight";
    Event = "event";
    EmailClaim = "email";
    Link = "link";
    ReusableLink = "open_link";
    PendingAuthorization = "state";
    HeldAuthorization = "ticket";
    DeviceFlow = "device";
    InstallAddress = "install";
    OneTimeCode = "one_time_code";
    NodeRecord = "node";
    Restoration = "restoration";
}

pub mod keys {
    //! Every key there is.

    use std::marker::PhantomData;

    use crate::domain::api_key::ApiKey;
    use crate::domain::connection::Connection;
    use crate::domain::defined_provider::DefinedProvider;
    use crate::domain::event::Event;
    use crate::domain::flight::Flight;
    use crate::domain::ids::{ConnectionId, EndUserId, IntegrationId, ProviderId, TenantId, TokenSetName, digest_of};
    use crate::domain::integration::Integration;
    use crate::domain::link::{DeviceFlow, HeldAuthorization, InstallAddress, Link, PendingAuthorization};
    use crate::domain::node::{NodeRecord, Restoration};
    use crate::domain::tenant::Tenant;
    use crate::ports::kv::{Key, Partition};
    use crate::store::record::{Protection, RecordKey, RecordRange};

    use super::{EmailClaim, OneTimeCode, ReusableLink};

    pub(in crate::store) fn deployment() -> Key {
        Key { partition: lookup_partition(0), name: b"deployment".to_vec() }
    }

    pub(in crate::store) fn system_key() -> Key {
        Key { partition: lookup_partition(0), name: b"system-key".to_vec() }
    }

    pub(in crate::store) fn data_key(tenant: &TenantId) -> Key {
        Key { partition: tenant_partition(tenant), name: b"data-key".to_vec() }
    }

    pub fn account(tenant: &TenantId) -> RecordKey<Tenant> {
        of_tenant(tenant, "account".to_owned())
    }

    pub fn api_key(tenant: &TenantId, id: &str) -> RecordKey<ApiKey> {
        of_tenant(tenant, format!("key/{id}"))
    }

    pub fn api_keys(tenant: &TenantId) -> RecordRange<ApiKey> {
        tenant_range(tenant, "key/")
    }

    pub fn integration(tenant: &TenantId, id: &IntegrationId) -> RecordKey<Integration> {
        of_tenant(tenant, format!("integration/{id}"))
    }

    pub fn integrations(tenant: &TenantId) -> RecordRange<Integration> {
        tenant_range(tenant, "integration/")
    }

    pub fn defined_provider(tenant: &TenantId, id: &ProviderId) -> RecordKey<DefinedProvider> {
        of_tenant(tenant, format!("provider/{id}"))
    }

    pub fn defined_providers(tenant: &TenantId) -> RecordRange<DefinedProvider> {
        tenant_range(tenant, "provider/")
    }

    pub fn connection(tenant: &TenantId, id: &ConnectionId) -> RecordKey<Connection> {
        let key = connection_key(id.partition(), format!("g/{tenant}/{id}"));
        record(key, Protection::Tenant(tenant.clone()))
    }

    pub fn connections(tenant: &TenantId, partition: u8) -> RecordRange<Connection> {
        connection_range(tenant, partition, format!("g/{tenant}/"))
    }

    pub fn flight(tenant: &TenantId, id: &ConnectionId, set: &TokenSetName) -> RecordKey<Flight> {
        record(connection_key(id.partition(), format!("f/{tenant}/{id}/{set}")), Protection::Plain)
    }

    pub fn event(tenant: &TenantId, event: &Event) -> RecordKey<Event> {
        let id = &event.connection;
        let key = connection_key(id.partition(), format!("e/{tenant}/{id}/{}", event.id));
        record(key, Protection::Tenant(tenant.clone()))
    }

    pub fn events(tenant: &TenantId, id: &ConnectionId) -> RecordRange<Event> {
        connection_range(tenant, id.partition(), format!("e/{tenant}/{id}/"))
    }

    pub fn by_provider(tenant: &TenantId, provider: &ProviderId, id: &ConnectionId) -> Key {
        connection_key(id.partition(), format!("{}{id}", provider_prefix(tenant, provider)))
    }

    pub fn by_status(tenant: &TenantId, status: &str, id: &ConnectionId) -> Key {
        connection_key(id.partition(), format!("{}{id}", status_prefix(tenant, status)))
    }

    pub fn by_end_user(tenant: &TenantId, end_user: &EndUserId, id: &ConnectionId) -> Key {
        connection_key(id.partition(), format!("{}{id}", end_user_prefix(tenant, end_user)))
    }

    /// What is due, in the order of time: seconds since the epoch, written so that they sort.
    pub fn due(tenant: &TenantId, at: jiff::Timestamp, id: &ConnectionId, set: &TokenSetName) -> Key {
        let second = u64::try_from(at.as_second()).unwrap_or(0);
        connection_key(id.partition(), format!("{DUE}{second:012}/{tenant}/{id}/{set}"))
    }

    /// What a node may leave behind, in the order of the time by which the request is over.
    pub fn left(tenant: &TenantId, at: jiff::Timestamp, id: &ConnectionId, set: &TokenSetName, node: &str) -> Key {
        let second = u64::try_from(at.as_second()).unwrap_or(0);
        connection_key(id.partition(), format!("{LEFT}{second:012}/{tenant}/{id}/{set}/{node}"))
    }

    pub(in crate::store) const LEFT: &str = "l/";

    pub(in crate::store) const DUE: &str = "d/";

    pub(in crate::store) fn provider_prefix(tenant: &TenantId, provider: &ProviderId) -> String {
        format!("i/{tenant}/p/{provider}/")
    }

    pub(in crate::store) fn status_prefix(tenant: &TenantId, status: &str) -> String {
        format!("i/{tenant}/s/{status}/")
    }

    /// An end user's name may hold any character, so its hash stands in the key.
    pub(in crate::store) fn end_user_prefix(tenant: &TenantId, end_user: &EndUserId) -> String {
        let digest = digest_of("end_user_index", &[tenant.as_str(), end_user.as_str()]);
        format!("i/{tenant}/u/{}/", hex::encode(&digest[..16]))
    }

    pub fn email(hash: &[u8; 32]) -> RecordKey<EmailClaim> {
        looked_up("email", hash)
    }

    /// API key ids are random hex, so that they spread by themselves.
    pub fn api_key_lookup(id: &str) -> RecordKey<ApiKey> {
        looked_up_by_name("key", id)
    }

    pub fn link(hash: &[u8; 32]) -> RecordKey<Link> {
        looked_up("link", hash)
    }

    pub fn open_link(id: &ConnectionId) -> RecordKey<ReusableLink> {
        looked_up_by_name("open-link", id.as_str())
    }

    pub fn state(hash: &[u8; 32]) -> RecordKey<PendingAuthorization> {
        looked_up("state", hash)
    }

    pub fn ticket(hash: &[u8; 32]) -> RecordKey<HeldAuthorization> {
        looked_up("ticket", hash)
    }

    pub fn device(hash: &[u8; 32]) -> RecordKey<DeviceFlow> {
        looked_up("device", hash)
    }

    pub fn install(integration: &IntegrationId) -> RecordKey<InstallAddress> {
        looked_up_by_name("install", integration.as_str())
    }

    /// The code that verifies an address.
    pub fn verification(email_hash: &[u8; 32]) -> RecordKey<OneTimeCode> {
        looked_up("verify", email_hash)
    }

    /// The code that resets a password.
    pub fn password_reset(email_hash: &[u8; 32]) -> RecordKey<OneTimeCode> {
        looked_up("reset", email_hash)
    }

    pub fn node(id: &str) -> RecordKey<NodeRecord> {
        record(Key { partition: nodes_partition(), name: format!("node/{id}").into_bytes() }, Protection::Plain)
    }

    /// There are few nodes, and each looks at all of them with every beat: they stand together.
    pub fn nodes() -> RecordRange<NodeRecord> {
        let prefix = b"node/".to_vec();
        RecordRange { partition: nodes_partition(), prefix, protection: Protection::Plain, record: PhantomData }
    }

    pub fn restoration() -> RecordKey<Restoration> {
        record(Key { partition: nodes_partition(), name: b"restoration".to_vec() }, Protection::Plain)
    }

    fn of_tenant<R>(tenant: &TenantId, name: String) -> RecordKey<R> {
        let key = Key { partition: tenant_partition(tenant), name: name.into_bytes() };
        record(key, Protection::Tenant(tenant.clone()))
    }

    fn tenant_range<R>(tenant: &TenantId, prefix: &str) -> RecordRange<R> {
        let protection = Protection::Tenant(tenant.clone());
        RecordRange { partition: tenant_partition(tenant), prefix: prefix.as_bytes().to_vec(), protection, record: PhantomData }
    }

    fn connection_range<R>(tenant: &TenantId, partition: u8, prefix: String) -> RecordRange<R> {
        let protection = Protection::Tenant(tenant.clone());
        RecordRange { partition: connection_partition(partition), prefix: prefix.into_bytes(), protection, record: PhantomData }
    }

    fn looked_up<R>(kind: &str, hash: &[u8; 32]) -> RecordKey<R> {
        let key = Key { partition: lookup_partition(hash[0]), name: format!("{kind}/{}", hex::encode(hash)).into_bytes() };
        record(key, Protection::System)
    }

    fn looked_up_by_name<R>(kind: &str, name: &str) -> RecordKey<R> {
        let spread = digest_of("lookup", &[kind, name])[0];
        let key = Key { partition: lookup_partition(spread), name: format!("{kind}/{name}").into_bytes() };
        record(key, Protection::System)
    }

    fn record<R>(key: Key, protection: Protection) -> RecordKey<R> {
        RecordKey { key, protection, record: PhantomData }
    }

    fn connection_key(partition: u8, name: String) -> Key {
        Key { partition: connection_partition(partition), name: name.into_bytes() }
    }

    fn tenant_partition(tenant: &TenantId) -> Partition {
        Partition::of("t.", tenant.as_str())
    }

    pub(in crate::store) fn connection_partition(partition: u8) -> Partition {
        Partition::of("c.", &format!("{partition:02x}"))
    }

    fn nodes_partition() -> Partition {
        Partition::of("nodes", "")
    }

    fn lookup_partition(partition: u8) -> Partition {
        Partition::of("s.", &format!("{partition:02x}"))
    }
}
