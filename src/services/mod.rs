//! Use cases: one method each, told from the top down. They hold capabilities (store, clock,
//! entropy, outbound) and know nothing of HTTP statuses, cookies or HTML.

pub mod accounts;
pub mod api_keys;
pub mod catalogue;

use std::sync::Arc;

use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random};
use crate::store::Store;

/// What nearly every use case needs.
#[derive(Clone)]
pub struct Core {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Where people and providers reach this server, without a slash at the end. Every URL that is
    /// handed out is built from it, never from a request.
    pub public_url: Arc<str>,
}

/// All use cases, as the web layer holds them.
pub struct Services {
    core: Core,
    pub accounts: accounts::Accounts,
    pub api_keys: api_keys::ApiKeys,
}

impl Services {
    pub fn new(core: Core, accounts: accounts::Accounts, api_keys: api_keys::ApiKeys) -> Self {
        Self { core, accounts, api_keys }
    }

    /// Time since the process began, for measuring.
    pub fn monotonic(&self) -> std::time::Duration {
        self.core.clock.monotonic()
    }

    /// A name for a request in the log; not a secret.
    pub fn request_id(&self) -> String {
        random::<8>(self.core.entropy.as_ref()).map(hex::encode).unwrap_or_else(|_| "none".to_owned())
    }

    /// What keeps the server from its work, if anything.
    pub async fn readiness(&self) -> Result<(), &'static str> {
        self.core.store.ping().await.map_err(|error| {
            tracing::warn!(%error, "not ready");
            "the store cannot be reached"
        })
    }
}
