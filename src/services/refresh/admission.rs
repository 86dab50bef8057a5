//! Whether a request may go to a provider at this moment, for all that connections share: the provider's pace, the
//! rest of a host that does not answer, the rest of an integration whose client is refused. In this process alone;
//! nodes share a pace by dividing it. What a single connection may do is said by its flight record.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::ids::{ConnectionId, IntegrationId, ProviderId, TenantId};
use crate::domain::provider::Rate;
use crate::domain::tokens::FailureClass;
use crate::oauth::token_request;
use crate::refresh::breaker::{self, Breaker, Leave, Rest, Sign, Standing};
use crate::refresh::pace::Pace;
use crate::refresh::{Setback, Why};
use crate::services::integrations::Active;

/// What is idle is forgotten when a table has grown by this many entries.
const TIDY_EVERY: usize = 1024;
/// What an answer can be, in the order in which they are counted.
const CLASSES: [&str; 8] =
    ["success", "dead_grant", "integration_broken", "misconfigured", "throttled", "not_sent", "in_doubt", "subject_refused"];

/// One per node.
pub struct Admission {
    rest: Duration,
    rate: Rate,
    nodes: AtomicU32,
    answers: [AtomicU64; CLASSES.len()],
    table: Mutex<Table>,
}

/// Who wants to ask whom.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub active: &'a Active,
    pub connection: &'a ConnectionId,
    /// With which the grant was made, over the integration's.
    pub params: &'a BTreeMap<String, String>,
}

/// Leave for one request. Whoever drops it without a word did not send, and says nothing about anybody.
#[must_use]
pub struct Permit {
    admission: Arc<Admission>,
    names: Names,
    connection: ConnectionId,
    host: Leave,
    integration: Leave,
    wait: Duration,
    answered: bool,
}

/// How many rest at the moment, of how many kinds of rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rests {
    pub open: usize,
    pub half_open: usize,
}

/// What is shared with whom. A provider that a tenant defined is that tenant's alone, wherever it points to: nobody
/// can bring another's requests to a stop.
#[derive(Debug, Clone)]
struct Names {
    provider: (Option<TenantId>, ProviderId),
    host: (Option<TenantId>, String),
    integration: IntegrationId,
    /// New credentials end an integration's rest at once.
    credentials: Timestamp,
}

#[derive(Default)]
struct Table {
    paces: HashMap<(Option<TenantId>, ProviderId), Pace>,
    hosts: HashMap<(Option<TenantId>, String), Breaker<ConnectionId>>,
    integrations: HashMap<IntegrationId, (Timestamp, Breaker<ConnectionId>)>,
    tidy_at: usize,
}

impl Admission {
    /// `rest` is how long an open breaker waits for its next probe; `rate` holds for a provider whose file names none.
    pub fn new(rest: Duration, rate: Rate) -> Arc<Self> {
        let (nodes, answers, table) = (AtomicU32::new(1), Default::default(), Mutex::default());
        Arc::new(Self { rest, rate, nodes, answers, table })
    }

    /// So many nodes share each provider's rate.
    pub fn share_among(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// Leave to send, after [`Permit::wait`]. Whoever would have to wait for longer than `patience` is told when to
    /// come again.
    pub fn may_send(self: &Arc<Self>, asking: Asking<'_>, now: Duration, patience: Duration) -> Result<Permit, Setback> {
        let names = self.names(asking);
        let mut table = self.table();
        table.tidy(now);
        let host = self.host(&mut table, &names).ask(asking.connection, now).map_err(|rest| setback(Why::Provider, rest))?;
        let integration = self.integration(&mut table, &names).ask(asking.connection, now);
        let taken = match integration {
            Err(rest) => Err(setback(Why::IntegrationBroken, rest)),
            Ok(integration) => {
                let taken = self.pace(&mut table, &names, asking.active).take(now, self.nodes(), patience);
                taken.map(|wait| (integration, wait)).map_err(|wait| {
                    self.integration(&mut table, &names).answered(integration, asking.connection, Sign::Silent, now);
                    setback(Why::Provider, Rest { code: "waiting_for_turn".to_owned(), left: wait })
                })
            }
        };
        let (integration, wait) = taken.inspect_err(|_| {
            self.host(&mut table, &names).answered(host, asking.connection, Sign::Silent, now);
        })?;
        drop(table);
        let (admission, connection) = (self.clone(), asking.connection.clone());
        Ok(Permit { admission, names, connection, host, integration, wait, answered: false })
    }

    /// Whether there would be leave at once, without taking it: else, when to look again.
    pub fn would_wait(&self, asking: Asking<'_>, now: Duration) -> Option<Duration> {
        let names = self.names(asking);
        let mut table = self.table();
        let host = self.host(&mut table, &names).rest(asking.connection, now).map(|rest| rest.left);
        let integration = self.integration(&mut table, &names).rest(asking.connection, now).map(|rest| rest.left);
        let pace = self.pace(&mut table, &names, asking.active).wait(now, self.nodes());
        host.max(integration).max((!pace.is_zero()).then_some(pace))
    }

    /// How many requests that nobody waits for may be under way to a provider: half of what it takes in a second, so
    /// that whoever asks finds room.
    pub fn at_once(&self, active: &Active) -> usize {
        let in_a_second = active.provider.refresh().rate().unwrap_or(self.rate).in_a_second();
        usize::try_from(in_a_second / self.nodes() / 2).unwrap_or(usize::MAX).max(1)
    }

    /// How often each class was answered since the start, success first.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CLASSES.iter().zip(&self.answers).map(|(class, count)| (*class, count.load(Ordering::Relaxed)))
    }

    /// How many hosts, and how many integrations, rest.
    pub fn rests(&self) -> (Rests, Rests) {
        let table = self.table();
        (count(table.hosts.values()), count(table.integrations.values().map(|(_, breaker)| breaker)))
    }

    /// How many providers are asked more slowly than they allow, because they said that it is too fast.
    pub fn slowed(&self, now: Duration) -> usize {
        self.table().paces.values().filter(|pace| pace.slowed(now) > 1).count()
    }

    fn names(&self, Asking { active, params, .. }: Asking<'_>) -> Names {
        let integration = &active.integration;
        let owner = integration.own_provider.then(|| integration.tenant.clone());
        let mut all = integration.params.clone();
        all.extend(params.clone());
        // A URL that cannot be built is never asked; who shares its rest does not matter.
        let host = token_request::refresh_host(&active.provider, &active.client(&all)).unwrap_or_default();
        Names {
            provider: (owner.clone(), active.provider.id().clone()),
            host: (owner, host),
            integration: integration.id.clone(),
            credentials: integration.updated_at,
        }
    }

    fn host<'t>(&self, table: &'t mut Table, names: &Names) -> &'t mut Breaker<ConnectionId> {
        table.hosts.entry(names.host.clone()).or_insert_with(|| Breaker::new(breaker::of_host(self.rest)))
    }

    fn integration<'t>(&self, table: &'t mut Table, names: &Names) -> &'t mut Breaker<ConnectionId> {
        let fresh = || (names.credentials, Breaker::new(breaker::of_integration(self.rest)));
        let entry = table.integrations.entry(names.integration.clone()).or_insert_with(fresh);
        if entry.0 < names.credentials {
            *entry = fresh();
        }
        &mut entry.1
    }

    fn pace<'t>(&self, table: &'t mut Table, names: &Names, active: &Active) -> &'t mut Pace {
        let rate = active.provider.refresh().rate().unwrap_or(self.rate);
        let pace = table.paces.entry(names.provider.clone()).or_insert_with(|| Pace::new(rate));
        if pace.rate() != rate {
            *pace = Pace::new(rate);
        }
        pace
    }

    fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The request's turn comes so long after leave was given.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// What came of it; `None` is success.
    pub fn answered(mut self, class: Option<FailureClass>, code: &str, now: Duration) {
        self.answered = true;
        if let Some(count) = self.admission.answers.get(place(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let (host, integration) = (breaker::sign_of_host(class, code), breaker::sign_of_integration(class, code));
        self.tell(host, integration, class == Some(FailureClass::Throttled), now);
    }

    fn tell(&self, host: Sign, integration: Sign, throttled: bool, now: Duration) {
        let mut table = self.admission.table();
        if let Some(breaker) = table.hosts.get_mut(&self.names.host) {
            breaker.answered(self.host, &self.connection, host, now);
        }
        // Of credentials that have been replaced meanwhile nobody wants to know.
        if let Some((credentials, breaker)) = table.integrations.get_mut(&self.names.integration)
            && *credentials == self.names.credentials
        {
            breaker.answered(self.integration, &self.connection, integration, now);
        }
        if let Some(pace) = table.paces.get_mut(&self.names.provider).filter(|_| throttled) {
            pace.throttled(now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.answered {
            self.tell(Sign::Silent, Sign::Silent, false, Duration::ZERO);
        }
    }
}

impl Table {
    fn tidy(&mut self, now: Duration) {
        let size = self.hosts.len() + self.integrations.len() + self.paces.len();
        if size < self.tidy_at.max(TIDY_EVERY) {
            return;
        }
        self.hosts.retain(|_, breaker| !breaker.is_idle(now));
        self.integrations.retain(|_, (_, breaker)| !breaker.is_idle(now));
        self.paces.retain(|_, pace| !pace.is_idle(now));
        self.tidy_at = self.hosts.len() + self.integrations.len() + self.paces.len() + TIDY_EVERY;
    }
}

/// In [`CLASSES`].
fn place(class: Option<FailureClass>) -> usize {
    match class {
        None => 0,
        Some(FailureClass::DeadGrant) => 1,
        Some(FailureClass::IntegrationBroken) => 2,
        Some(FailureClass::Misconfigured) => 3,
        Some(FailureClass::Throttled) => 4,
        Some(FailureClass::NotSent) => 5,
        Some(FailureClass::InDoubt) => 6,
        Some(FailureClass::SubjectRefused) => 7,
    }
}

fn setback(why: Why, rest: Rest) -> Setback {
    Setback { why, code: rest.code, retry_after: rest.left }
}

fn count<'a>(breakers: impl Iterator<Item = &'a Breaker<ConnectionId>>) -> Rests {
    breakers.fold(Rests::default(), |mut rests, breaker| {
        match breaker.standing() {
            Standing::Closed => {}
            Standing::Open => rests.open += 1,
            Standing::HalfOpen => rests.half_open += 1,
        }
        rests
    })
}
