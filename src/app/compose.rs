//! From settings to use cases: chooses the adapters and hands them down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::available_parallelism;

use tokio::runtime::Handle;

use crate::adapters::mail::{self, EachMail, LogMail, NoMail};
use crate::adapters::outbound::{EgressPolicy, Loopback, ReqwestOutbound};
use crate::adapters::steady::SteadyClock;
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::domain::connection::Connection;
use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::ports::kv::Kv;
use crate::ports::mail::Mail;
use crate::ports::node_memory::{Forgetful, NodeMemory};
use crate::ports::outbound::Outbound;
use crate::services::accounts::{AccountSettings, Accounts, Signup};
use crate::services::api_keys::{self, ApiKeys};
use crate::services::cached::{self, Cached, Trust};
use crate::services::catalogue::Catalogue;
use crate::services::connect::{Connect, ConnectPolicy};
use crate::services::connections::Connections;
use crate::services::defined::{Defined, Definitions};
use crate::services::integrations::Integrations;
use crate::services::nodes::{EnterError, NodePolicy, Nodes};
use crate::services::refresh::{Means, RefreshPolicy, Refresher};
use crate::services::sandbox::Sandbox;
use crate::services::standing::Standing;
use crate::services::sweep::{self, SweepPolicy, Sweeper};
use crate::services::vault::Vault;
use crate::services::{Core, Services};
use crate::settings::{self, Cache, Mode, Place as StorePlace, Settings};
use crate::store::{Keyring, OpenError, SealedJournal, Store, StoreError};

use super::folder::NodeFolder;
use super::memory::{self, FolderMemory};
use super::{BuildError, Parts, stores};

/// How many of its last beats a Redis may lose in a failover: at the default period, those of a minute.
const FAILOVER_BEATS: u64 = 12;
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
            clock: Arc::new(SteadyClock::over(parts.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::start())))),
            entropy: parts.entropy.clone().unwrap_or_else(|| Arc::new(SystemEntropy)),
        }
    }

    /// All use cases of the broker. What they do aside from requests runs on this runtime, not on the
    /// threads that serve HTTP, which end with their server.
    pub(super) async fn services(&self, settings: Settings, parts: Parts, place: Place<'_>) -> Result<Services, BuildError> {
        let mail = parts.mail.map_or_else(|| self.mail(&settings), Ok)?;
        let outbound = parts.outbound.map_or_else(|| outbound(&settings, &place.public_url), Ok)?;
        let catalogue = Arc::new(catalogue(&settings, parts.deployment, place.sandbox)?);
        let node = settings.node.id.clone().map_or_else(|| place.folder.node_id(self.entropy.as_ref()), Ok)?;
        let journal = parts.journal.map_or_else(|| stores::open_journal(&settings, place.folder.path()), Ok)?;
        let lasting = parts.kv.is_some() || !matches!(settings.store.place, StorePlace::Memory);
        let memory: Arc<dyn NodeMemory> =
            if lasting { Arc::new(FolderMemory::of(place.folder.path())) } else { Arc::new(Forgetful) };
        let kv = match parts.kv {
            Some(kv) => kv,
            None => stores::open(&settings.store, &self.clock).await?,
        };
        let store = self.store(kv, settings.keys, (memory.as_ref(), place.folder), parts.restored).await?;
        let journal = Arc::new(store.journal(journal).await?);
        let (clock, entropy, standing) = (self.clock.clone(), self.entropy.clone(), Arc::new(Standing::unknown()));
        let core = Core { store, clock, entropy, public_url: place.public_url.into(), standing };
        let tolerance = if matches!(settings.store.place, StorePlace::Redis(_)) { FAILOVER_BEATS } else { 0 };
        let policy = NodePolicy { beat: settings.node.beat, tolerance };
        let nodes = Nodes::new(core.clone(), memory, policy, node).map_err(StoreError::from).map_err(OpenError::from)?;
        let shared = Shared::new(core, journal, &settings.cache, outbound, Arc::new(nodes));
        let rules = Rules {
            signup: settings.accounts.signup,
            connect: settings.connect,
            refresh: settings.refresh,
            sweep: settings.sweep,
            definitions: settings.providers.custom,
        };
        Ok(shared.services(rules, catalogue, mail))
    }

    /// Opens the store; founds it only where this node has never seen one.
    async fn store(
        &self,
        kv: Arc<dyn Kv>,
        keys: Keyring,
        (memory, folder): (&dyn NodeMemory, &NodeFolder),
        restored: bool,
    ) -> Result<Arc<Store>, BuildError> {
        let known = memory.recall().await.map_err(EnterError::Memory)?.filter(|_| !restored);
        if known.is_some() && !Store::is_founded(kv.as_ref()).await.map_err(OpenError::from)? {
            return Err(BuildError::Emptied(folder.file(memory::FILE).display().to_string()));
        }
        let store = Store::open(kv, self.entropy.clone(), keys).await?;
        if known.is_some_and(|known| known.instance != store.instance()) {
            return Err(BuildError::OtherDeployment);
        }
        Ok(Arc::new(store))
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
    sweep: SweepPolicy,
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
    nodes: Arc<Nodes>,
}

impl Shared {
    fn new(core: Core, journal: Arc<SealedJournal>, cache: &Cache, outbound: Arc<dyn Outbound>, nodes: Arc<Nodes>) -> Self {
        let trust = Trust { trust: cache.trust, cut_off: cache.cut_off, entries: cache.bytes / cached::USUAL_SIZE };
        let known = Arc::new(Cached::new(core.clone(), trust));
        Self { core, journal, trust, known, outbound, runtime: Handle::current(), nodes }
    }

    fn services(self, rules: Rules, catalogue: Arc<Catalogue>, mail: Arc<dyn Mail>) -> Services {
        let defined = self.defined(&rules, catalogue.clone());
        let redirect = rules.connect.redirect;
        let integrations =
            Arc::new(Integrations::new(self.core.clone(), catalogue.clone(), defined.clone(), redirect, self.trust));
        let connections = self.connections(integrations.clone());
        let connect = self.connect(&rules, integrations.clone(), connections.clone());
        let refresher = self.refresher(rules.refresh, integrations.clone());
        let sweeper = self.sweeper(rules.sweep, integrations.clone(), refresher.clone());
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
            sweeper,
            journal: self.journal,
            nodes: self.nodes,
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
        Connections::new(core, integrations, known, outbound, self.runtime.clone(), self.nodes.id().to_owned())
    }

    fn connect(&self, rules: &Rules, integrations: Arc<Integrations>, connections: Connections) -> Connect {
        let policy = ConnectPolicy {
            link_ttl: rules.connect.link_ttl,
            state_ttl: rules.connect.state_ttl,
            redirect: rules.connect.redirect,
            call_deadline: rules.refresh.call_deadline,
            keep_trying: rules.connect.keep_trying,
            node: self.nodes.id().to_owned(),
        };
        let aside = (policy, self.runtime.clone());
        Connect::new(self.core.clone(), integrations, connections, self.outbound.clone(), aside)
    }

    fn sweeper(&self, policy: SweepPolicy, integrations: Arc<Integrations>, refresher: Arc<Refresher>) -> Sweeper {
        let (core, connections, nodes) = (self.core.clone(), self.known.clone(), self.nodes.clone());
        Sweeper::new(sweep::Means { core, connections, integrations, refresher, nodes }, policy)
    }

    fn refresher(&self, policy: RefreshPolicy, integrations: Arc<Integrations>) -> Arc<Refresher> {
        let means = Means {
            core: self.core.clone(),
            connections: self.known.clone(),
            integrations,
            journal: self.journal.clone(),
            outbound: self.outbound.clone(),
            nodes: self.nodes.clone(),
            runtime: self.runtime.clone(),
        };
        Arc::new(Refresher::new(means, policy))
    }
}

/// Providers ask who calls them: the public URL says it, where it leads anywhere from there.
fn outbound(settings: &Settings, public_url: &str) -> Result<Arc<dyn Outbound>, BuildError> {
    let loopback = match settings.mode {
        Mode::Dev => Loopback::Allowed,
        Mode::Serve => Loopback::Refused,
    };
    let contact = Some(public_url).filter(|url| url.starts_with("https://"));
    Ok(Arc::new(ReqwestOutbound::new(EgressPolicy { loopback, allow: settings.egress.clone() }, contact)?))
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
