//! From settings to use cases: chooses the adapters and hands them down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;

use tokio::runtime::Handle;

use crate::adapters::mail::{self, EachMail, LogMail, NoMail};
use crate::adapters::outbound::{EgressPolicy, Loopback, ReqwestOutbound};
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::domain::connection::Connection;
use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::ports::mail::Mail;
use crate::ports::outbound::Outbound;
use crate::services::accounts::{AccountSettings, Accounts, Signup};
use crate::services::api_keys::{self, ApiKeys};
use crate::services::cached::{self, Cached, Trust};
use crate::services::catalogue::Catalogue;
use crate::services::connect::{Connect, ConnectPolicy};
use crate::services::connections::Connections;
use crate::services::defined::{Defined, Definitions};
use crate::services::integrations::Integrations;
use crate::services::refresh::{RefreshPolicy, Refresher};
use crate::services::sandbox::Sandbox;
use crate::services::vault::Vault;
use crate::services::{Core, Services};
use crate::settings::{self, Cache, Mode, Settings};
use crate::store::{SealedJournal, Store};

use super::folder::NodeFolder;
use super::{BuildError, Parts, stores};

/// What provider files call the sandbox's origin.
const SANDBOX_ORIGIN: &str = "sandbox_origin";

/// The world as the settings and the parts describe it.
pub(super) struct World {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What is known only once the sockets are there.
pub(super) struct Place<'a> {
    pub public_url: String,
    pub sandbox: Option<String>,
    pub folder: &'a NodeFolder,
}

impl World {
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            clock: parts.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::start())),
            entropy: parts.entropy.clone().unwrap_or_else(|| Arc::new(SystemEntropy)),
        }
    }

    /// All use cases of the broker. What they do aside from requests runs on this runtime, not on the
    /// threads that serve HTTP, which end with their server.
    pub(super) async fn services(&self, settings: Settings, parts: Parts, place: Place<'_>) -> Result<Services, BuildError> {
        let mail = parts.mail.map_or_else(|| self.mail(&settings), Ok)?;
        let outbound = parts.outbound.map_or_else(|| outbound(&settings), Ok)?;
        let catalogue = Arc::new(catalogue(&settings, parts.deployment, place.sandbox)?);
        let node = settings.node.id.clone().map_or_else(|| place.folder.node_id(self.entropy.as_ref()), Ok)?;
        let journal = parts.journal.map_or_else(|| stores::open_journal(&settings, place.folder.path()), Ok)?;
        let kv = match parts.kv {
            Some(kv) => kv,
            None => stores::open(&settings.store, &self.clock).await?,
        };
        let store = Arc::new(Store::open(kv, self.entropy.clone(), settings.keys).await?);
        let journal = Arc::new(store.journal(journal).await?);
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let core = Core { store, clock, entropy, public_url: place.public_url.into() };
        let shared = Shared::new(core, journal, &settings.cache, outbound, node);
        let rules = Rules {
            signup: settings.accounts.signup,
            connect: settings.connect,
            refresh: settings.refresh,
            definitions: settings.providers.custom,
        };
        Ok(shared.services(rules, catalogue, mail))
    }

    pub(super) fn sandbox(&self, settings: &Settings, folder: &NodeFolder, issuer: String) -> Result<Arc<Sandbox>, BuildError> {
        let kv = stores::open_sandbox(&settings.store, folder.path(), &self.clock)?;
        Ok(Arc::new(Sandbox::new(kv, self.clock.clone(), self.entropy.clone(), issuer)))
    }

    /// `dev` has its mail in the log as well.
    fn mail(&self, settings: &Settings) -> Result<Arc<dyn Mail>, BuildError> {
        let Some(wanted) = &settings.mail else { return Ok(Arc::new(NoMail)) };
        let world = mail::World { clock: self.clock.clone(), entropy: self.entropy.clone() };
        let mail = mail::open(&wanted.url, &wanted.from, world)?;
        match settings.mode {
            Mode::Serve => Ok(mail),
            Mode::Dev => Ok(Arc::new(EachMail(vec![mail, Arc::new(LogMail)]))),
        }
    }
}

/// What the operator decided of how the use cases behave.
struct Rules {
    signup: Signup,
    connect: settings::Connect,
    refresh: RefreshPolicy,
    definitions: Definitions,
}

/// What several use cases hold together.
struct Shared {
    core: Core,
    journal: Arc<SealedJournal>,
    trust: Trust,
    known: Arc<Cached<Connection>>,
    outbound: Arc<dyn Outbound>,
    runtime: Handle,
    node: String,
}

impl Shared {
    fn new(core: Core, journal: Arc<SealedJournal>, cache: &Cache, outbound: Arc<dyn Outbound>, node: String) -> Self {
        let trust = Trust { trust: cache.trust, cut_off: cache.cut_off, entries: cache.bytes / cached::USUAL_SIZE };
        let known = Arc::new(Cached::new(core.clone(), trust));
        Self { core, journal, trust, known, outbound, runtime: Handle::current(), node }
    }

    fn services(self, rules: Rules, catalogue: Arc<Catalogue>, mail: Arc<dyn Mail>) -> Services {
        let defined = self.defined(&rules, catalogue.clone());
        let redirect = rules.connect.redirect;
        let integrations =
            Arc::new(Integrations::new(self.core.clone(), catalogue.clone(), defined.clone(), redirect, self.trust));
        let connections = self.connections(integrations.clone());
        let connect = self.connect(&rules, integrations.clone(), connections.clone());
        let refresher = self.refresher(rules.refresh);
        let (core, known) = (self.core.clone(), self.known.clone());
        Services {
            catalogue,
            defined,
            accounts: self.accounts(rules.signup, mail),
            api_keys: ApiKeys::new(self.core.clone(), self.key_trust(), self.trust.entries),
            vault: Vault::new(core, integrations.clone(), known, refresher.clone(), connect.clone()),
            integrations,
            connect,
            connections,
            refresher,
            journal: self.journal,
            stopping: AtomicBool::new(false),
            core: self.core,
        }
    }

    fn defined(&self, rules: &Rules, catalogue: Arc<Catalogue>) -> Arc<Defined> {
        let limits = (rules.definitions, rules.refresh.call_deadline);
        Arc::new(Defined::new(self.core.clone(), catalogue, self.outbound.clone(), limits, self.trust))
    }

    fn accounts(&self, signup: Signup, mail: Arc<dyn Mail>) -> Accounts {
        let hashes_at_once = available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
        let settings = AccountSettings { signup, trust: self.key_trust(), proofs: self.trust.entries, hashes_at_once };
        Accounts::new(self.core.clone(), mail, settings, self.runtime.clone())
    }

    fn key_trust(&self) -> api_keys::Trust {
        api_keys::Trust { trust: self.trust.trust, cut_off: self.trust.cut_off }
    }

    fn connections(&self, integrations: Arc<Integrations>) -> Connections {
        let (core, known, outbound) = (self.core.clone(), self.known.clone(), self.outbound.clone());
        Connections::new(core, integrations, known, outbound, self.runtime.clone(), self.node.clone())
    }

    fn connect(&self, rules: &Rules, integrations: Arc<Integrations>, connections: Connections) -> Connect {
        let policy = ConnectPolicy {
            link_ttl: rules.connect.link_ttl,
            state_ttl: rules.connect.state_ttl,
            redirect: rules.connect.redirect,
            call_deadline: rules.refresh.call_deadline,
            keep_trying: rules.connect.keep_trying,
            node: self.node.clone(),
        };
        let aside = (policy, self.runtime.clone());
        Connect::new(self.core.clone(), integrations, connections, self.outbound.clone(), aside)
    }

    fn refresher(&self, policy: RefreshPolicy) -> Arc<Refresher> {
        let (core, known, outbound) = (self.core.clone(), self.known.clone(), self.outbound.clone());
        Arc::new(Refresher::new(core, known, outbound, policy, self.node.clone(), self.runtime.clone()))
    }
}

fn outbound(settings: &Settings) -> Result<Arc<dyn Outbound>, BuildError> {
    let loopback = match settings.mode {
        Mode::Dev => Loopback::Allowed,
        Mode::Serve => Loopback::Refused,
    };
    Ok(Arc::new(ReqwestOutbound::new(EgressPolicy { loopback, allow: settings.egress.clone() })?))
}

/// A provider whose file needs something of the deployment is left out where it is not there.
fn catalogue(
    settings: &Settings,
    mut deployment: BTreeMap<String, String>,
    sandbox: Option<String>,
) -> Result<Catalogue, BuildError> {
    deployment.extend(sandbox.map(|origin| (SANDBOX_ORIGIN.to_owned(), origin)));
    Ok(Catalogue::load(settings.providers.dir.as_deref(), &deployment)?)
}
