//! Use cases: one method each, told from the top down. They hold capabilities (store, clock,
//! entropy, outbound) and know nothing of HTTP statuses, cookies or HTML.

pub mod accounts;
pub mod api_keys;
pub mod cached;
pub mod catalogue;
pub mod connect;
pub mod connections;
pub mod defined;
pub mod fetched;
pub mod integrations;
pub mod nodes;
pub mod refresh;
pub mod resume;
pub mod sandbox;
pub mod signing;
pub mod standing;
pub mod sweep;
pub mod vault;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::domain::connection::Connection;
use crate::domain::event::{Event, EventKind};
use crate::oauth::client::Moment;
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, random};
use crate::store::{Change, SealedJournal, Store, StoreError, keys};

use standing::{Hold, Mode};

/// What nearly every use case needs.
#[derive(Clone)]
pub struct Core {
    pub store: Arc<Store>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Where people and providers reach this server, without a slash at the end. Every URL that is
    /// handed out is built from it, never from a request.
    pub public_url: Arc<str>,
    /// Whether this node may send refresh tokens: ask it before each send.
    pub standing: Arc<standing::Standing>,
}

/// A store that takes longer to answer is as good as away, to whoever knows an answer that can stand in.
const SOON: Duration = Duration::from_millis(500);
/// How long a connection's history is kept.
const HISTORY: Duration = Duration::from_secs(90 * 86_400);

impl Core {
    /// A version 7 UUID (RFC 9562) of this moment: names sort by time.
    pub fn new_uuid(&self) -> Result<Uuid, StoreError> {
        let millis = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let random = random::<10>(self.entropy.as_ref())?;
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// What the store answers, if it does so soon; else it is out of reach. For reads alone: nobody learns
    /// what becomes of what is dropped here.
    pub async fn soon<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            answer = read => answer,
            () = self.clock.sleep(SOON) => Err(StoreError::Unavailable(format!("no answer within {SOON:?}"))),
        }
    }

    /// Now, and what makes a call unlike any other.
    pub fn moment(&self) -> Result<Moment, StoreError> {
        Ok(Moment { now: self.clock.now(), random: random(self.entropy.as_ref())? })
    }

    /// Puts what happened to a connection into the change that makes it happen.
    pub fn put_event(
        &self,
        change: &mut Change,
        connection: &Connection,
        kind: EventKind,
        detail: Option<String>,
    ) -> Result<(), StoreError> {
        let event = Event {
            id: self.new_uuid()?.simple().to_string(),
            at: self.clock.now(),
            kind,
            connection: connection.id.clone(),
            provider: connection.provider.clone(),
            end_user_id: connection.end_user.clone(),
            detail,
        };
        change.create(&keys::event(&connection.tenant, &event), &event, Some(HISTORY))?;
        Ok(())
    }
}

/// All use cases, as the web layer holds them. `app.rs` puts them together.
pub struct Services {
    pub core: Core,
    pub catalogue: Arc<catalogue::Catalogue>,
    pub defined: Arc<defined::Defined>,
    pub accounts: accounts::Accounts,
    pub api_keys: api_keys::ApiKeys,
    pub integrations: Arc<integrations::Integrations>,
    pub connect: connect::Connect,
    pub vault: vault::Vault,
    pub connections: connections::Connections,
    pub refresher: Arc<refresh::Refresher>,
    pub journal: Arc<SealedJournal>,
    pub nodes: Arc<nodes::Nodes>,
    pub sweeper: sweep::Sweeper,
    /// Set when the server begins to stop.
    pub stopping: AtomicBool,
}

impl Services {
    /// What a server does although nobody asks, until it is dropped.
    pub async fn aside(&self) {
        futures::join!(self.nodes.run(), self.vault.note_fetches(), self.sweeper.run(), self.sweeper.look_after_left());
    }

    /// No new work begins; returns when what is in flight has landed.
    pub async fn drain(&self) {
        self.connect.drain().await;
        self.refresher.drain().await;
    }

    /// Where people and providers reach this server.
    pub fn public_url(&self) -> &str {
        &self.core.public_url
    }

    /// Time since the process began, for measuring.
    pub fn monotonic(&self) -> std::time::Duration {
        self.core.clock.monotonic()
    }

    /// A name for a request in the log; not a secret.
    pub fn request_id(&self) -> String {
        random::<8>(self.core.entropy.as_ref()).map(hex::encode).unwrap_or_else(|_| "none".to_owned())
    }

    /// What the operator should know of a server that works: what is held back, what its store can lose.
    pub fn notes(&self) -> Vec<String> {
        let held = self.core.standing.held();
        let of_provider = |(provider, code)| format!("{provider}: {}", Hold::Provider { code }.advice());
        let standing = self.core.standing.hold_all().map(|hold| hold.advice());
        let journal = match self.journal.state().pending {
            0 => None,
            1 => Some("1 refresh waits in the journal for the store".to_owned()),
            many => Some(format!("{many} refreshes wait in the journal for the store")),
        };
        let held = standing.into_iter().chain(held.into_iter().map(of_provider));
        held.chain(journal).chain(self.core.store.notes()).collect()
    }

    /// What keeps the server from its work, if anything.
    pub async fn readiness(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("the server is stopping");
        }
        if self.core.standing.mode() == Mode::Twin {
            return Err("another process works under this node's name; the log says what to do");
        }
        self.core.store.ping().await.map_err(|error| {
            tracing::warn!(%error, "not ready");
            "the store cannot be reached"
        })?;
        let journal = self.journal.state();
        match journal.broken {
            Some(_) => Err("the journal is broken, so that nothing is refreshed; look after the disk of `node.data` and restart"),
            None if journal.is_nearly_full() => Err("the journal is nearly full, so that nothing is refreshed"),
            None => Ok(()),
        }
    }
}
