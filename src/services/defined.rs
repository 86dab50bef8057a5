//! Providers that a tenant defines for itself: the same data as a file, known to that tenant alone. Their calls go
//! through the same egress guard as every other.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use moka::future::Cache;

use crate::domain::caller::Caller;
use crate::domain::defined_provider::DefinedProvider;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::{ProviderId, TenantId};
use crate::domain::provider::Provider;
use crate::domain::provider::destinations;
use crate::domain::provider::discovery::Discovered;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::oauth::discovery;
use crate::oauth::provider_file::{self, Definition, FileError, ProviderFile, Shelf};
use crate::oauth::vectors;
use crate::ports::outbound::Outbound;
use crate::store::{Change, keys};

use super::Core;
use super::cached::{Cached, Found, Trust};
use super::catalogue::{Catalogue, shelf};

/// Most definitions of one tenant.
pub const DEFINED_MAX: usize = 100;
/// Definitions that are kept understood.
const UNDERSTOOD_MAX: u64 = 1_000;
/// Faults that are told at once.
const FAULTS_SHOWN: usize = 10;
/// What an issuer said is good for so long.
const DISCOVERED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// An issuer that did not answer is asked again after this.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// Whether tenants may define providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definitions {
    Allowed,
    Refused,
}

pub struct Defined {
    core: Core,
    catalogue: Arc<Catalogue>,
    outbound: Arc<dyn Outbound>,
    call_deadline: Duration,
    definitions: Definitions,
    /// What came with the binary, which a definition may extend.
    shelf: Shelf,
    records: Cached<DefinedProvider>,
    understood: Cache<(TenantId, ProviderId, u64), Arc<Provider>>,
}

/// A definition with what it means.
pub struct Own {
    pub record: Arc<DefinedProvider>,
    pub provider: Arc<Provider>,
}

impl Defined {
    pub fn new(
        core: Core,
        catalogue: Arc<Catalogue>,
        outbound: Arc<dyn Outbound>,
        (definitions, call_deadline): (Definitions, Duration),
        trust: Trust,
    ) -> Self {
        let (shelf, _) = shelf::built_in();
        let (records, understood) = (Cached::new(core.clone(), trust), Cache::new(UNDERSTOOD_MAX));
        Self { core, catalogue, outbound, call_deadline, definitions, shelf, records, understood }
    }

    /// Stores a definition; again: replaces it. Its rules and its own tests must hold.
    pub async fn define(&self, caller: &Caller, id: &str, definition: String) -> Result<Own, Refusal> {
        let tenant = caller.require(Scope::IntegrationsWrite)?;
        if self.definitions == Definitions::Refused {
            let detail = "This server does not let tenants define providers (its settings `providers.custom` and `connect.redirect` decide).";
            return Err(Refusal::new(ErrorCode::InsufficientScope, detail));
        }
        let id = ProviderId::parse(id)?;
        if self.catalogue.get(&id).is_some() {
            return Err(Refusal::field("provider", format!("must not be `{id}`: the catalogue has a provider of that name")));
        }
        let key = keys::defined_provider(tenant, &id);
        let before = self.core.store.read(&key).await?;
        if before.is_none() {
            self.check_room(tenant).await?;
        }
        let issuer = provider_file::issuer_of(&definition).map_err(|fault| refused(&[fault]))?;
        let discovered = match &issuer {
            Some(issuer) => Some(self.discover(issuer).await?),
            None => None,
        };
        let now = self.core.clock.now();
        let record = DefinedProvider {
            id: id.clone(),
            tenant: tenant.clone(),
            definition,
            place: before.as_ref().map(|stored| stored.value.place.clone()).unwrap_or_default(),
            asked_at: discovered.is_some().then_some(now),
            discovered,
            defined_at: before.as_ref().map_or(now, |stored| stored.value.defined_at),
            updated_at: now,
        };
        let file = self.read(&record).map_err(|faults| refused(&faults))?;
        check_vectors(&file)?;
        let place = self.placed(before.as_ref().map(|stored| &stored.value), &record, &file.provider).await?;
        let version = before.map(|stored| stored.version);
        self.put(DefinedProvider { place, ..record }, version).await
    }

    /// The place that secrets go to by `record`: the one of before, unless they would go elsewhere. Then nothing may be
    /// left that could go there.
    async fn placed(
        &self,
        before: Option<&DefinedProvider>,
        record: &DefinedProvider,
        provider: &Provider,
    ) -> Result<String, Refusal> {
        let moved = before.map_or_else(|| Some("definition".to_owned()), |before| self.moved(before, record, provider));
        if let (Some(before), None) = (before, &moved) {
            return Ok(before.place.clone());
        }
        if let Some(kept) = self.in_use(&record.tenant, &record.id).await? {
            let moved = moved.unwrap_or_default();
            let rule = format!(
                "may not change where secrets go (`{moved}`): {kept} and would send them there. Define it under another name, or end its \
                 connections and disable its integrations first; then they ask for their secrets anew"
            );
            return Err(Refusal::field("definition", rule));
        }
        Ok(self.core.new_uuid()?.to_string())
    }

    /// What an issuer says of itself is its own affair: only what the tenant says is compared.
    fn moved(&self, before: &DefinedProvider, after: &DefinedProvider, provider: &Provider) -> Option<String> {
        let issuer = |record: &DefinedProvider| record.discovered.as_ref().map(|found| found.issuer.clone());
        let told = if issuer(before) == issuer(after) { after } else { before };
        match self.read(&DefinedProvider { discovered: told.discovered.clone(), ..before.clone() }) {
            Ok(old) => destinations::moved(old.provider.spec(), provider.spec()),
            Err(_) => Some("definition".to_owned()),
        }
    }

    /// What holds credentials for the provider, or grants that it gave.
    async fn in_use(&self, tenant: &TenantId, id: &ProviderId) -> Result<Option<String>, Refusal> {
        let (mut after, mut known) = (None, false);
        loop {
            let (integrations, next) = self.core.store.list(&keys::integrations(tenant), after.as_deref(), 1000).await?;
            for integration in integrations.iter().map(|(_, found)| &found.value).filter(|found| found.provider == *id) {
                if integration.enabled && integration.own_provider {
                    return Ok(Some(format!("its integration `{}` is enabled", integration.name)));
                }
                known = true;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        let connected = known && self.core.store.has_connections(tenant, id, None).await?;
        Ok(connected.then(|| "it has connections".to_owned()))
    }

    pub async fn list(&self, caller: &Caller) -> Result<Vec<DefinedProvider>, Refusal> {
        let tenant = caller.require(Scope::IntegrationsRead)?;
        let (found, _) = self.core.store.list(&keys::defined_providers(tenant), None, DEFINED_MAX).await?;
        Ok(found.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// Forgets a definition that no enabled integration and no connection uses.
    pub async fn remove(&self, caller: &Caller, id: &str) -> Result<ProviderId, Refusal> {
        let tenant = caller.require(Scope::IntegrationsWrite)?;
        let id = ProviderId::parse(id)?;
        let key = keys::defined_provider(tenant, &id);
        let missing = || {
            Refusal::new(
                ErrorCode::ProviderNotFound,
                format!("You have not defined a provider `{id}`; `GET /defined-providers` lists yours."),
            )
        };
        let stored = self.core.store.read(&key).await?.ok_or_else(missing)?;
        if let Some(kept) = self.in_use(tenant, &id).await? {
            let rule = format!("is in use: {kept}; end its connections and disable its integrations first");
            return Err(Refusal::field("provider", rule));
        }
        let mut change = Change::new();
        change.remove(&key, stored.version);
        self.core.store.commit(change).await?;
        self.records.forget(&cache_id(tenant, &id)).await;
        Ok(id)
    }

    /// The tenant's own provider of this name, if there is one.
    pub async fn find(&self, tenant: &TenantId, id: &ProviderId) -> Result<Option<Own>, Refusal> {
        let found = self.records.read(&cache_id(tenant, id), || keys::defined_provider(tenant, id)).await?;
        match found {
            Some(found) => self.understand(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// As [`Defined::find`], when a flow is about to begin: what an issuer said a day ago is asked for again.
    pub async fn find_anew(&self, tenant: &TenantId, id: &ProviderId) -> Result<Option<Own>, Refusal> {
        let key = keys::defined_provider(tenant, id);
        let Some(stored) = self.core.store.read(&key).await? else { return Ok(None) };
        let now = self.core.clock.now();
        let (record, version) = (stored.value, stored.version);
        let age = record.asked_at.map(|asked| now.duration_since(asked));
        let issuer = record.discovered.as_ref().map(|known| known.issuer.clone());
        let (Some(issuer), Some(true)) = (issuer, age.map(|age| age >= DISCOVERED_FOR)) else {
            let found = self.records.note(&cache_id(tenant, id), record, version).await;
            return self.understand(found).await.map(Some);
        };
        let told = self.discover(&issuer).await;
        let asked_at = if told.is_ok() { now } else { now - (DISCOVERED_FOR - ASK_AGAIN) };
        if let Err(refusal) = &told {
            tracing::warn!(provider = %id, why = refusal.detail, "an issuer did not answer; what it said before stands");
        }
        let newer =
            DefinedProvider { discovered: told.ok().or(record.discovered.clone()), asked_at: Some(asked_at), ..record.clone() };
        let usable = if self.read(&newer).is_ok() { newer } else { DefinedProvider { asked_at: Some(asked_at), ..record } };
        self.put(usable, Some(version)).await.map(Some)
    }

    async fn put(&self, record: DefinedProvider, version: Option<u64>) -> Result<Own, Refusal> {
        let key = keys::defined_provider(&record.tenant, &record.id);
        let mut change = Change::new();
        change.store(&key, &record, version, None)?;
        self.core.store.commit(change).await?;
        let id = cache_id(&record.tenant, &record.id);
        let found = self.records.note(&id, record, version.map_or(1, |version| version + 1)).await;
        self.understand(found).await
    }

    async fn check_room(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let (known, _) = self.core.store.list(&keys::defined_providers(tenant), None, DEFINED_MAX).await?;
        if known.len() < DEFINED_MAX {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::LimitReached, format!("An account may define {DEFINED_MAX} providers.")))
    }

    async fn understand(&self, found: Found<DefinedProvider>) -> Result<Own, Refusal> {
        let record = found.record;
        // Definition and discovery change only with the version.
        let key = (record.tenant.clone(), record.id.clone(), found.version);
        if let Some(provider) = self.understood.get(&key).await {
            return Ok(Own { record, provider });
        }
        // A definition that was good once and is no more: a newer version of this program has another rule.
        let file = self.read(&record).map_err(|faults| refused(&faults))?;
        let provider = Arc::new(file.provider);
        self.understood.insert(key, provider.clone()).await;
        Ok(Own { record, provider })
    }

    fn read(&self, record: &DefinedProvider) -> Result<ProviderFile, Vec<FileError>> {
        let today = record.updated_at.strftime("%Y-%m-%d").to_string();
        let discovered = record.discovered.as_ref();
        provider_file::parse_own(&Definition { id: &record.id, text: &record.definition, today: &today, discovered }, &self.shelf)
    }

    /// Asks an issuer at both places; the first metadata that may be believed counts.
    async fn discover(&self, issuer: &str) -> Result<Discovered, Refusal> {
        let failed = |why: &dyn std::fmt::Display| Refusal::field("definition", format!("issuer: {why}"));
        let mut last = None;
        for call in discovery::calls(issuer).map_err(|why| failed(&why))? {
            match self.outbound.call(call, self.call_deadline).await {
                Ok(answer) => match discovery::judge(issuer, &answer) {
                    Ok(found) => return Ok(found),
                    Err(why) => last = last.or(Some(why.to_string())),
                },
                // What the network says of a host is not for a tenant: it would tell what answers inside.
                Err(why) => {
                    tracing::info!(%why, "an issuer was not reached");
                    last = last.or_else(|| Some("its metadata could not be fetched".to_owned()));
                }
            }
        }
        Err(failed(&last.unwrap_or_default()))
    }
}

fn cache_id(tenant: &TenantId, id: &ProviderId) -> String {
    format!("{tenant}/{id}")
}

fn check_vectors(file: &ProviderFile) -> Result<(), Refusal> {
    let misses = vectors::run(file);
    let told: Vec<String> =
        misses.iter().take(FAULTS_SHOWN).map(|miss| format!("test {}: {}", miss.vector, miss.message)).collect();
    if told.is_empty() { Ok(()) } else { Err(Refusal::field("definition", told.join("; "))) }
}

fn refused(faults: &[FileError]) -> Refusal {
    let told: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(|fault| fault.to_string()).collect();
    let more = faults.len().saturating_sub(FAULTS_SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Refusal::field("definition", format!("{}{more}", told.join("; ")))
}
