//! Whether this node may send refresh tokens at all. Whoever is about to send one asks [`Standing::hold`];
//! nothing else decides by the state of the deployment. It knows no store: `nodes` finds out and sets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;

use crate::domain::ids::{ConnectionId, ProviderId};
use crate::domain::node::Cause;

/// What is known of the store and of this node's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing yet: the node has not looked.
    Unknown,
    Normal,
    /// The store was restored, cloned or emptied: its refresh tokens may have been rotated since. What is
    /// valid is served, nothing is sent until `claviger resume`.
    Restored {
        since: Timestamp,
        cause: Cause,
    },
    /// Another process works under this node's name.
    Twin,
}

/// Why a refresh must not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    Unknown,
    Restored {
        since: Timestamp,
        cause: Cause,
    },
    /// After `claviger resume` this provider refused the token that was tried first.
    Provider {
        code: String,
    },
    Twin,
}

impl Hold {
    /// A plain code for callers and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Hold::Unknown => "starting",
            Hold::Restored { .. } => "restored",
            Hold::Provider { .. } => "provider_held",
            Hold::Twin => "name_in_use",
        }
    }

    /// To the operator: what holds and what to do.
    pub fn advice(&self) -> String {
        match self {
            Hold::Unknown => "this node has not looked at its record in the store yet".to_owned(),
            Hold::Restored { since, cause } => format!(
                "restore mode since {since}: {}; valid tokens are served and no refresh is sent until `claviger resume`",
                cause.as_str()
            ),
            Hold::Provider { code } => format!(
                "held back after a restore, because the provider refused the token tried first ({code}); see `claviger resume --help`"
            ),
            Hold::Twin => "another process works under this node's name (a copied data folder?), so this one sends nothing; \
                           stop one of the two, and give it a folder and a `node.id` of its own"
                .to_owned(),
        }
    }
}

/// Shared by everything in this node; cheap to ask.
pub struct Standing {
    state: RwLock<State>,
    fallbacks: AtomicU64,
    /// One more than the number of them at which the journal was last replayed; 0 before.
    replayed: AtomicU64,
    restored: AtomicBool,
}

struct State {
    mode: Mode,
    held: BTreeMap<ProviderId, String>,
    canaries: BTreeSet<ConnectionId>,
}

/// Lets one connection's refresh pass while everything else is held; ends when it is dropped.
pub struct Canary {
    standing: Arc<Standing>,
    connection: ConnectionId,
}

impl Standing {
    /// Holds everything until the node has looked at its record.
    pub fn unknown() -> Self {
        Self::of(Mode::Unknown)
    }

    /// For whoever has no nodes beside it.
    pub fn normal() -> Self {
        Self::of(Mode::Normal)
    }

    fn of(mode: Mode) -> Self {
        let state = State { mode, held: BTreeMap::new(), canaries: BTreeSet::new() };
        Self {
            state: RwLock::new(state),
            fallbacks: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            restored: AtomicBool::new(false),
        }
    }

    /// Why this connection's refresh token must not be sent now; `None`: it may be.
    pub fn hold(&self, provider: &ProviderId, connection: &ConnectionId) -> Option<Hold> {
        let state = self.read();
        match &state.mode {
            Mode::Normal | Mode::Restored { .. } if state.canaries.contains(connection) => None,
            mode => mode.hold().or_else(|| state.held.get(provider).map(|code| Hold::Provider { code: code.clone() })),
        }
    }

    /// Why nothing at all may be sent.
    pub fn hold_all(&self) -> Option<Hold> {
        self.read().mode.hold()
    }

    pub fn mode(&self) -> Mode {
        self.read().mode.clone()
    }

    /// Providers that are held back after a restore, and why.
    pub fn held(&self) -> BTreeMap<ProviderId, String> {
        self.read().held.clone()
    }

    /// Counts how often the store was found to lack what it had acknowledged to this node: after a
    /// failover, a restore. Add it to the store's epoch: when it has changed, everything that was journaled,
    /// settled or not, is replayed before anything is sent. Replaying sends nothing and is never held.
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks.load(Ordering::SeqCst)
    }

    /// The journal was replayed whole, begun when [`Standing::fallbacks`] said this.
    pub fn note_replayed(&self, fallbacks: u64) {
        self.replayed.fetch_max(fallbacks + 1, Ordering::SeqCst);
    }

    pub(super) fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::SeqCst) > self.fallbacks()
    }

    /// One connection may be tried while all others wait.
    pub fn canary(self: &Arc<Self>, connection: ConnectionId) -> Canary {
        self.write().canaries.insert(connection.clone());
        Canary { standing: self.clone(), connection }
    }

    /// In this process' life the store was found to be an earlier one, of whatever age: then all that the
    /// journal still has is replayed, and not only what a lagging replica may lack.
    pub fn was_restored(&self) -> bool {
        self.restored.load(Ordering::SeqCst)
    }

    pub(super) fn found_restored(&self) {
        self.restored.store(true, Ordering::SeqCst);
        self.fell_back();
    }

    pub(super) fn fell_back(&self) {
        self.fallbacks.fetch_add(1, Ordering::SeqCst);
    }

    /// Says so in the log, once per change.
    pub(super) fn enter(&self, mode: Mode, held: BTreeMap<ProviderId, String>) {
        let mut state = self.write();
        let changed = state.mode != mode;
        (state.mode, state.held) = (mode.clone(), held);
        drop(state);
        match mode.hold() {
            Some(hold) if changed => tracing::error!(advice = hold.advice(), "refreshes are held back"),
            None if changed => tracing::info!("refreshes go on"),
            _ => {}
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mode {
    fn hold(&self) -> Option<Hold> {
        match self {
            Mode::Normal => None,
            Mode::Unknown => Some(Hold::Unknown),
            Mode::Restored { since, cause } => Some(Hold::Restored { since: *since, cause: *cause }),
            Mode::Twin => Some(Hold::Twin),
        }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.standing.write().canaries.remove(&self.connection);
    }
}
