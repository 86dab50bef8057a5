//! What a tenant asks for an end user: a link, good for one flow, or a connection at once where nobody is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::caller::Caller;
use crate::domain::connection::Connection;
use crate::domain::ids::{Account, EndUserId};
use crate::domain::integration::{Confirm, Integration};
use crate::domain::link::{FlowSubject, Link};
use crate::domain::provider::{NeededBy, Provider};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::services::integrations::{Active, integration_name};
use crate::store::{Change, ReusableLink, StoreError, keys};

use super::Connect;
use super::one_time::{Purpose, fresh, hash_of, stored_as};

const SCOPES_MAX: usize = 200;
const SCOPE_LENGTH_MAX: usize = 300;
/// A link with less than this left is not handed out again: somebody has yet to press it.
const REUSE_LEFT: SignedDuration = SignedDuration::from_mins(2);

/// What a tenant asks for.
#[derive(Debug, Default)]
pub struct Asked {
    pub provider: String,
    pub end_user_id: String,
    pub integration: Option<String>,
    pub account: Option<String>,
    pub scopes: Vec<String>,
    pub return_url: Option<String>,
    /// The provider's own settings, for this link.
    pub params: BTreeMap<String, String>,
}

/// A link, as its tenant passes it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeLink {
    pub authorize_url: String,
    pub expires_at: Timestamp,
}

/// What came of asking.
#[derive(Debug)]
pub enum Begun {
    /// The end user has to go there.
    Link(MadeLink),
    /// Nobody had to be asked.
    Connected(Box<Connection>),
}

impl Connect {
    /// Connects one end user: at once where nobody is asked, else by a one-time link.
    pub async fn authorize(&self, caller: &Caller, asked: Asked) -> Result<Begun, Refusal> {
        let tenant = caller.require(Scope::LinksWrite)?;
        let provider = self.integrations.provider(tenant, &asked.provider).await?;
        let name = integration_name(provider.id(), asked.integration.as_deref())?;
        let end_user = EndUserId::parse(&asked.end_user_id)?;
        let account = asked.account.as_deref().map_or_else(|| Ok(Account::default_account()), Account::parse)?;
        let active = self.integrations.active(tenant, provider.id(), &name).await?;
        let plain = self.subject(&active, &end_user, &account, &asked.params)?;
        let subject = FlowSubject { scopes: settled_scopes(&provider, asked.scopes)?, ..plain };
        if active.provider.grant().is_minted() {
            return Ok(Begun::Connected(Box::new(self.connect_at_once(active, subject).await?)));
        }
        let subject = FlowSubject { return_url: settled_return(&active.integration, asked.return_url)?, ..subject };
        let (_, made) = self.store_link(subject).await?;
        Ok(Begun::Link(made))
    }

    /// Whom a plain link would be for: the integration's own scopes and place of return.
    pub fn subject(
        &self,
        active: &Active,
        end_user: &EndUserId,
        account: &Account,
        params: &BTreeMap<String, String>,
    ) -> Result<FlowSubject, Refusal> {
        let integration = &active.integration;
        let settled = active.provider.settle_params(params, NeededBy::Link, &integration.params)?;
        if let Some(secret) = settled.secret.keys().next() {
            return Err(Refusal::field(secret, "is a secret; give it with `POST /enable-provider`"));
        }
        Ok(FlowSubject {
            tenant: integration.tenant.clone(),
            end_user: end_user.clone(),
            provider: integration.provider.clone(),
            integration: integration.name.clone(),
            integration_id: integration.id.clone(),
            place: integration.place.clone(),
            account: account.clone(),
            scopes: Vec::new(),
            params: settled.public,
            return_url: None,
            confirm: integration.confirm,
        })
    }

    /// A link for `subject`: one that is still unused, else a new one. For answers that say "connect
    /// first", so that polling makes no new links.
    ///
    /// Two partitions: first the link, then where it is found again. Cut short in between, a link
    /// that nobody knows ends by itself.
    pub async fn reusable_link(&self, subject: FlowSubject) -> Result<MadeLink, Refusal> {
        let key = keys::open_link(&subject.connection_id());
        let open = self.core.store.read(&key).await?;
        if let Some(open) = &open
            && let Some(made) = self.still_open(&open.value, &subject).await?
        {
            return Ok(made);
        }
        let (token, made) = self.store_link(subject.clone()).await?;
        let noted = ReusableLink { token, expires_at: made.expires_at };
        let mut change = Change::new();
        change.store(&key, &noted, open.map(|open| open.version), Some(self.policy.link_ttl))?;
        match self.core.store.commit(change).await {
            Ok(()) => Ok(made),
            Err(StoreError::Conflict) => self.noted_by_another(&key, &subject, made).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Another caller was quicker: its link is handed out, and ours is never seen.
    async fn noted_by_another(
        &self,
        key: &crate::store::RecordKey<ReusableLink>,
        subject: &FlowSubject,
        ours: MadeLink,
    ) -> Result<MadeLink, Refusal> {
        let Some(open) = self.core.store.read(key).await? else { return Ok(ours) };
        Ok(self.still_open(&open.value, subject).await?.unwrap_or(ours))
    }

    async fn still_open(&self, open: &ReusableLink, subject: &FlowSubject) -> Result<Option<MadeLink>, Refusal> {
        let Some(hash) = stored_as(&self.core.store, Purpose::Link, open.token.expose_secret()) else { return Ok(None) };
        if open.expires_at.duration_since(self.core.clock.now()) < REUSE_LEFT.min(self.half_a_link()) {
            return Ok(None);
        }
        let link = self.core.store.read(&keys::link(&hash)).await?;
        let same = link.is_some_and(|link| link.value.subject == *subject);
        Ok(same.then(|| self.made(subject, &open.token, open.expires_at)))
    }

    fn half_a_link(&self) -> SignedDuration {
        SignedDuration::try_from(self.policy.link_ttl / 2).unwrap_or_default()
    }

    async fn store_link(&self, subject: FlowSubject) -> Result<(SecretString, MadeLink), Refusal> {
        let token = fresh(self.core.entropy.as_ref()).map_err(StoreError::from)?;
        let expires_at = self.after(self.policy.link_ttl);
        let made = self.made(&subject, &token, expires_at);
        let kept_for = self.link_kept_for(subject.confirm);
        let key = keys::link(&hash_of(&self.core.store, Purpose::Link, &token));
        let mut change = Change::new();
        change.create(&key, &Link { subject, expires_at }, Some(kept_for))?;
        self.core.store.commit(change).await?;
        Ok((token, made))
    }

    /// With `confirm = tenant` the link must still be there when the last flow that began from it is
    /// finished: its being taken is what makes it one-time.
    fn link_kept_for(&self, confirm: Confirm) -> Duration {
        match confirm {
            Confirm::Page => self.policy.link_ttl,
            Confirm::Tenant => self.policy.link_ttl + self.policy.state_ttl * 2,
        }
    }

    fn made(&self, subject: &FlowSubject, token: &SecretString, expires_at: Timestamp) -> MadeLink {
        let (base, provider) = (&self.core.public_url, &subject.provider);
        MadeLink { authorize_url: format!("{base}/authorize-{provider}?link={}", token.expose_secret()), expires_at }
    }
}

fn settled_scopes(provider: &Provider, scopes: Vec<String>) -> Result<Vec<String>, Refusal> {
    if provider.scopes().none && !scopes.is_empty() {
        return Err(Refusal::field("scopes", format!("must be left out: {} has no scopes", provider.name())));
    }
    let unfit = |scope: &String| scope.is_empty() || scope.len() > SCOPE_LENGTH_MAX || scope.chars().any(char::is_control);
    if scopes.len() > SCOPES_MAX || scopes.iter().any(unfit) {
        let rule = format!("may hold {SCOPES_MAX} scopes of 1 to {SCOPE_LENGTH_MAX} bytes without control characters");
        return Err(Refusal::field("scopes", rule));
    }
    Ok(scopes)
}

/// A place of return is one that the tenant registered, byte for byte.
fn settled_return(integration: &Integration, asked: Option<String>) -> Result<Option<String>, Refusal> {
    match asked {
        Some(url) if !integration.allows_return(&url) => {
            let rule = "is not registered for this integration; list it in `return_urls` (or `user_redirect_url`) of `POST /enable-provider`, byte for byte";
            Err(Refusal::field("return_url", rule))
        }
        None if integration.confirm == Confirm::Tenant && integration.user_redirect_url.is_none() => {
            Err(Refusal::field("return_url", "is needed: with `confirm=tenant` the ticket is handed to your own site"))
        }
        asked => Ok(asked),
    }
}
