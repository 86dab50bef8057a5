//! Integrations: a provider enabled by a tenant. Secrets go in sealed and never come back out.

mod checks;
mod installs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::caller::Caller;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::{IntegrationId, IntegrationName, ProviderId, TenantId};
use crate::domain::integration::{Confirm, Integration};
use crate::domain::provider::request::ClientSecret;
use crate::domain::provider::{GrantType, NeededBy, Owner, Provider};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::oauth::client::{Client, NOTHING};
use crate::store::{Change, keys};

use super::Core;
use super::cached::{Cached, Trust};
use super::catalogue::Catalogue;
use super::defined::Defined;
use checks::{check, check_keys, check_move, moved_host};

const INTEGRATIONS_MAX: usize = 1_000;

/// Where providers send the end user back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectStyle {
    /// One address per integration, so that one provider's code cannot reach another.
    PerIntegration,
    /// OAuthHandler's single address.
    Shared,
}

pub struct Integrations {
    core: Core,
    catalogue: Arc<Catalogue>,
    defined: Arc<Defined>,
    redirect: RedirectStyle,
    cache: Cached<Integration>,
}

/// What a tenant asks for. On an update, what is absent stays as it was.
#[derive(Debug, Default)]
pub struct EnableProvider {
    pub provider: String,
    pub integration: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<SecretString>,
    pub api_key: Option<SecretString>,
    pub api_secret: Option<SecretString>,
    pub scopes: Option<Vec<String>>,
    pub user_redirect_url: Option<String>,
    pub return_urls: Option<Vec<String>>,
    pub confirm: Option<Confirm>,
    /// Where installs that begin at the provider go; `off` takes none.
    pub install_url: Option<String>,
    /// The provider's own settings.
    pub params: BTreeMap<String, String>,
}

impl EnableProvider {
    /// OAuthHandler calls the consumer key and secret of OAuth 1.0a `api_key` and `api_secret`.
    fn named_for(mut self, provider: &Provider) -> Self {
        if provider.grant() == GrantType::Oauth1
            && let (Some(key), Some(secret)) = (&self.api_key, &self.api_secret)
        {
            self.client_id = Some(key.expose_secret().to_owned());
            self.client_secret = Some(secret.clone());
            (self.api_key, self.api_secret) = (None, None);
        }
        self
    }
}

/// An integration as its tenant sees it, with what to do next.
#[derive(Debug)]
pub struct Enabled {
    pub integration: Arc<Integration>,
    pub redirect_uri: Option<String>,
    pub warnings: Vec<String>,
}

/// An enabled integration with its provider: what every flow and refresh needs.
#[derive(Debug, Clone)]
pub struct Active {
    pub integration: Arc<Integration>,
    pub provider: Arc<Provider>,
    pub redirect_uri: String,
}

impl Active {
    /// The tenant's client, with the params of one connection or link merged into its own.
    pub fn client<'a>(&'a self, params: &'a BTreeMap<String, String>) -> Client<'a> {
        let integration = &self.integration;
        Client {
            client_id: &integration.client_id,
            client_secret: integration.client_secret.as_ref(),
            params,
            secret_params: &integration.secret_params,
            redirect_uri: &self.redirect_uri,
            scopes: &integration.scopes,
            metadata: &NOTHING,
            moment: None,
        }
    }
}

impl Integrations {
    pub fn new(core: Core, catalogue: Arc<Catalogue>, defined: Arc<Defined>, redirect: RedirectStyle, trust: Trust) -> Self {
        let cache = Cached::new(core.clone(), trust);
        Self { core, catalogue, defined, redirect, cache }
    }

    /// Stores the integration; again: updates it.
    pub async fn enable(&self, caller: &Caller, asked: EnableProvider) -> Result<Enabled, Refusal> {
        let tenant = caller.require(Scope::IntegrationsWrite)?;
        let (provider, place) = self.placed(tenant, &asked.provider).await?;
        let name = integration_name(provider.id(), asked.integration.as_deref())?;
        let id = IntegrationId::derive(tenant, provider.id(), &name);
        let key = keys::integration(tenant, &id);
        let before = self.core.store.read(&key).await?;
        if before.is_none() {
            self.check_room(tenant).await?;
        }
        let mut asked = asked.named_for(&provider);
        // A secret that proves nothing is not kept: it could only be lost.
        let unused = provider.client_secret() == ClientSecret::Unused && asked.client_secret.take().is_some();
        // What was given for another place is given anew.
        let kept = before.as_ref().map(|stored| &stored.value).filter(|old| old.place == place);
        let settled = self.settled(tenant, &provider, name, asked, kept)?;
        let integration = Integration { place, ..settled };
        if let Some(old) = kept {
            self.check_grants_stay(&provider, old, &integration).await?;
        }
        self.note_installs(&integration).await?;
        let version = before.as_ref().map(|stored| stored.version);
        let mut change = Change::new();
        change.store(&key, &integration, version, None)?;
        self.core.store.commit(change).await?;
        let found = self.cache.note(id.as_str(), integration, version.map_or(1, |version| version + 1)).await;
        let mut enabled = self.view(found.record, &provider);
        if unused {
            enabled.warnings.push(format!("{} takes no client secret: the one that was sent is not kept.", provider.name()));
        }
        Ok(enabled)
    }

    pub async fn list(&self, caller: &Caller) -> Result<Vec<Enabled>, Refusal> {
        let tenant = caller.require(Scope::IntegrationsRead)?;
        let (found, _) = self.core.store.list(&keys::integrations(tenant), None, INTEGRATIONS_MAX).await?;
        let enabled = found.into_iter().map(|(_, stored)| stored.value).filter(|integration| integration.enabled);
        let mut views = Vec::new();
        for integration in enabled {
            if let Some(provider) = self.provider_of(&integration).await? {
                views.push(self.view(Arc::new(integration), &provider));
            }
        }
        Ok(views)
    }

    /// Serves nobody from now on. Credentials and connections stay, so that enabling it again brings
    /// all of them back.
    pub async fn disable(&self, caller: &Caller, provider: &str, integration: Option<&str>) -> Result<Arc<Integration>, Refusal> {
        let tenant = caller.require(Scope::IntegrationsWrite)?;
        let provider = ProviderId::parse(provider)?;
        let name = integration_name(&provider, integration)?;
        let id = IntegrationId::derive(tenant, &provider, &name);
        let key = keys::integration(tenant, &id);
        let stored = self
            .core
            .store
            .read(&key)
            .await?
            .filter(|stored| stored.value.enabled)
            .ok_or_else(|| not_enabled(&provider, &name))?;
        let disabled = Integration { enabled: false, updated_at: self.core.clock.now(), ..stored.value };
        let mut change = Change::new();
        change.replace(&key, &disabled, stored.version, None)?;
        self.core.store.commit(change).await?;
        Ok(self.cache.note(id.as_str(), disabled, stored.version + 1).await.record)
    }

    /// The tenant's integration, enabled, with its provider.
    pub async fn active(&self, tenant: &TenantId, provider: &ProviderId, name: &IntegrationName) -> Result<Active, Refusal> {
        let id = IntegrationId::derive(tenant, provider, name);
        let found = self.cache.read(id.as_str(), || keys::integration(tenant, &id)).await?;
        let Some(found) = found.filter(|found| found.record.enabled) else {
            self.provider(tenant, provider.as_str()).await?;
            return Err(not_enabled(provider, name));
        };
        let provider = self.provider_of(&found.record).await?.ok_or_else(|| no_provider(provider.as_str()))?;
        let redirect_uri = self.redirect_uri(&found.record.id);
        Ok(Active { integration: found.record, provider, redirect_uri })
    }

    /// The same, enabled or not: to finish what was begun.
    pub async fn known(
        &self,
        tenant: &TenantId,
        provider: &ProviderId,
        name: &IntegrationName,
    ) -> Result<Option<Active>, Refusal> {
        let id = IntegrationId::derive(tenant, provider, name);
        let Some(found) = self.cache.read(id.as_str(), || keys::integration(tenant, &id)).await? else { return Ok(None) };
        let redirect_uri = self.redirect_uri(&found.record.id);
        Ok(self.provider_of(&found.record).await?.map(|provider| Active { integration: found.record, provider, redirect_uri }))
    }

    /// The provider of an integration; it is asked for with every token, so nothing but the cache is.
    async fn provider_of(&self, integration: &Integration) -> Result<Option<Arc<Provider>>, Refusal> {
        if !integration.own_provider {
            return Ok(self.catalogue.get(&integration.provider));
        }
        // A node may know one of the two before the other: what was given for one place does not go to another.
        let own = self.defined.find(&integration.tenant, &integration.provider).await?;
        Ok(own.filter(|own| own.record.place == integration.place).map(|own| own.provider))
    }

    /// A provider by what a tenant's request calls it: its own, or one of the catalogue.
    pub async fn provider(&self, tenant: &TenantId, id: &str) -> Result<Arc<Provider>, Refusal> {
        self.placed(tenant, id).await.map(|(provider, _)| provider)
    }

    /// … with the place that secrets go to.
    async fn placed(&self, tenant: &TenantId, id: &str) -> Result<(Arc<Provider>, String), Refusal> {
        let named = ProviderId::parse(id).map_err(|_| no_provider(id))?;
        match self.defined.find_anew(tenant, &named).await? {
            Some(own) => Ok((own.provider, own.record.place.clone())),
            None => Ok((self.listed(id)?, String::new())),
        }
    }

    /// A provider of the catalogue.
    pub fn listed(&self, id: &str) -> Result<Arc<Provider>, Refusal> {
        ProviderId::parse(id).ok().and_then(|id| self.catalogue.get(&id)).ok_or_else(|| no_provider(id))
    }

    /// The address to register at the provider, known before anything is enabled.
    pub fn redirect_uri(&self, id: &IntegrationId) -> String {
        match self.redirect {
            RedirectStyle::PerIntegration => format!("{}/authorization-success/{id}", self.core.public_url),
            RedirectStyle::Shared => format!("{}/authorization-success", self.core.public_url),
        }
    }

    /// As [`Integrations::redirect_uri`], by provider and name; `None` where no end user is sent back here.
    pub fn redirect_uri_of(&self, caller: &Caller, provider: &Provider, named: Option<&str>) -> Result<Option<String>, Refusal> {
        let id = IntegrationId::derive(caller.tenant(), provider.id(), &integration_name(provider.id(), named)?);
        Ok((!provider.grant().is_minted() && !provider.by_device_code()).then(|| self.redirect_uri(&id)))
    }

    fn view(&self, integration: Arc<Integration>, provider: &Provider) -> Enabled {
        if provider.grant().is_minted() {
            return Enabled { integration, redirect_uri: None, warnings: provider.spec().warnings.clone() };
        }
        // With a device's code nobody is redirected.
        let redirect_uri = (!provider.by_device_code()).then(|| self.redirect_uri(&integration.id));
        let mut warnings: Vec<String> = redirect_uri.iter().filter_map(|uri| provider.redirects().warning(uri)).collect();
        warnings.extend(provider.spec().warnings.iter().cloned());
        if integration.user_redirect_url.is_none() && integration.confirm == Confirm::Page {
            warnings.push("No `user_redirect_url` is set: after consent the end user stays on a page of this server.".to_owned());
        }
        Enabled { integration, redirect_uri, warnings }
    }

    /// The tokens of those who have connected would be sent to a host that is named now, by whoever names it.
    async fn check_grants_stay(&self, provider: &Provider, old: &Integration, new: &Integration) -> Result<(), Refusal> {
        let Some(name) = moved_host(provider, &old.params, &new.params) else { return Ok(()) };
        if !old.params.contains_key(name) || !self.core.store.has_connections(&old.tenant, &old.provider, Some(&old.id)).await? {
            return Ok(());
        }
        let rule = "must not change while the integration has connections, whose tokens would go there; end them first, or enable \
                    another `integration` beside it";
        Err(Refusal::field(name, rule))
    }

    async fn check_room(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let (known, _) = self.core.store.list(&keys::integrations(tenant), None, INTEGRATIONS_MAX).await?;
        if known.len() < INTEGRATIONS_MAX {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::LimitReached, format!("An account may have {INTEGRATIONS_MAX} integrations.")))
    }

    fn settled(
        &self,
        tenant: &TenantId,
        provider: &Provider,
        name: IntegrationName,
        asked: EnableProvider,
        before: Option<&Integration>,
    ) -> Result<Integration, Refusal> {
        let sent_again: BTreeSet<String> = asked.params.keys().cloned().collect();
        let given: BTreeMap<String, String> = merged_params(before, asked.params);
        let settled = provider.settle_params(&given, NeededBy::Integration, &BTreeMap::new())?;
        check_keys(provider, &settled.secret)?;
        let keeps_secret = before.filter(|old| old.client_secret.is_some() && asked.client_secret.is_none());
        let kept = before.and_then(|old| old.secret_params.keys().find(|name| !sent_again.contains(*name)).zip(Some(old)));
        let kept = keeps_secret.map(|old| ("client_secret", old)).or(kept.map(|(name, old)| (name.as_str(), old)));
        kept.map_or(Ok(()), |(secret, old)| check_move(provider, secret, &old.params, &settled.public))?;
        let now = self.core.clock.now();
        let integration = Integration {
            id: IntegrationId::derive(tenant, provider.id(), &name),
            tenant: tenant.clone(),
            provider: provider.id().clone(),
            own_provider: provider.spec().owner == Owner::Tenant,
            place: String::new(),
            name,
            client_id: asked.client_id.or_else(|| before.map(|old| old.client_id.clone())).unwrap_or_default(),
            client_secret: asked.client_secret.or_else(|| before.and_then(|old| old.client_secret.clone())),
            api_key: asked.api_key.or_else(|| before.and_then(|old| old.api_key.clone())),
            api_secret: asked.api_secret.or_else(|| before.and_then(|old| old.api_secret.clone())),
            scopes: asked.scopes.or_else(|| before.map(|old| old.scopes.clone())).unwrap_or_default(),
            user_redirect_url: asked.user_redirect_url.or_else(|| before.and_then(|old| old.user_redirect_url.clone())),
            return_urls: asked.return_urls.or_else(|| before.map(|old| old.return_urls.clone())).unwrap_or_default(),
            confirm: asked.confirm.or_else(|| before.map(|old| old.confirm)).unwrap_or_default(),
            install_url: installs::settled(asked.install_url, before),
            params: settled.public,
            secret_params: settled.secret,
            enabled: true,
            created_at: before.map_or(now, |old| old.created_at),
            updated_at: now,
        };
        check(&integration, provider)?;
        self.check_installs(&integration, provider)?;
        Ok(integration)
    }
}

/// Which integration a request means: the one it names, else the one called like the provider.
pub fn integration_name(provider: &ProviderId, named: Option<&str>) -> Result<IntegrationName, Refusal> {
    named.map_or_else(|| Ok(IntegrationName::of_provider(provider)), IntegrationName::parse)
}

fn merged_params(before: Option<&Integration>, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut params = before.map(|old| old.params.clone()).unwrap_or_default();
    let secret =
        before.iter().flat_map(|old| &old.secret_params).map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    params.extend(secret);
    params.extend(given);
    params
}

fn no_provider(id: &str) -> Refusal {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
    Refusal::new(ErrorCode::ProviderNotFound, format!("There is no provider `{shown}`; `GET /providers` lists them."))
}

fn not_enabled(provider: &ProviderId, name: &IntegrationName) -> Refusal {
    let detail = format!("The integration `{name}` of `{provider}` is not enabled; enable it with `POST /enable-provider`.");
    Refusal::new(ErrorCode::IntegrationNotFound, detail)
}
