//! The link in the end user's browser: what it shows, and the way to the provider. Looking changes
//! nothing; a flow begins with a decision (`confirm = page`) or with each visit (`confirm = tenant`).

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::error_code::ErrorCode;
use crate::domain::integration::Confirm;
use crate::domain::link::{Binding, FlowSubject, Link, PendingAuthorization, TemporaryCredentials};
use crate::domain::provider::GrantType;
use crate::domain::refusal::Refusal;
use crate::oauth::authorize_url::{self, AuthorizeInput};
use crate::oauth::pkce::Pkce;
use crate::ports::entropy::random;
use crate::services::integrations::Active;
use crate::store::{Change, StoreError, keys};

use super::complete::{Ended, Outcome};
use super::one_time::{Purpose, browser_hash, fresh, hash_of, stored_as};
use super::{Connect, Names};

/// What a link leads to when it is opened.
pub enum Opened {
    /// A page that asks.
    Page(Invitation),
    /// Straight to the provider.
    Provider(Departure),
}

/// What the connect page tells.
pub struct Invitation {
    pub names: Names,
    pub end_user: String,
    /// Where the browser may go after the decision: to the provider, unless the consent is given on another device,
    /// and back to the tenant.
    pub provider: Option<Url>,
    pub back: Option<Url>,
}

/// The way to the provider.
pub struct Departure {
    pub url: Url,
    pub cookie: Option<FlowCookie>,
}

/// The browser's half of a flow.
pub struct FlowCookie {
    pub flow: String,
    pub value: SecretString,
    /// The provider's answer is a POST from its own site.
    pub cross_site: bool,
    pub life: Duration,
}

/// What the end user pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Connect,
    Cancel,
}

/// What followed from it.
pub enum Decided {
    Departs(Departure),
    Ends(Box<Ended>),
}

impl Connect {
    /// Opens a link. Consumes nothing.
    pub async fn open_link(&self, provider: &str, link: &str) -> Result<Opened, Refusal> {
        let (hash, link) = self.unused_link(provider, link).await?;
        let active = self.active(&link.subject).await?;
        match link.subject.confirm {
            _ if asks(&active, &link.subject) => Ok(Opened::Page(self.invitation(&active, &link.subject).await?)),
            Confirm::Page | Confirm::Tenant => {
                let binding = Binding::Link { hash: hex::encode(hash) };
                let begun = self.begun(&active, &link.subject).await?;
                Ok(Opened::Provider(self.depart(begun, link.subject, binding, None).await?))
            }
        }
    }

    /// Takes the link, once, and does as the end user decided.
    ///
    /// Two partitions: the link goes first. Cut short in between, the end user needs a new one.
    pub async fn decide(&self, provider: &str, link: &str, decision: Decision) -> Result<Decided, Refusal> {
        let (hash, unused) = self.unused_link(provider, link).await?;
        let active = self.active(&unused.subject).await?;
        if !asks(&active, &unused.subject) {
            return Err(ended_link());
        }
        // First, so that the link is still good when the provider does not answer.
        let begun = match decision {
            Decision::Connect if !active.provider.by_device_code() => Some(self.begun(&active, &unused.subject).await?),
            Decision::Connect | Decision::Cancel => None,
        };
        let taken = self.core.store.take(&keys::link(&hash)).await?.filter(|link| !self.is_over(link.expires_at));
        let subject = taken.ok_or_else(ended_link)?.subject;
        match (decision, begun) {
            (Decision::Cancel, _) => {
                let refusal = Refusal::new(ErrorCode::AccessDenied, "The end user pressed Cancel.");
                let names = self.names(&subject, &active.provider).await?;
                Ok(Decided::Ends(Box::new(Ended::at(&active, &subject, names, Outcome::Refused(refusal)))))
            }
            (Decision::Connect, None) => Ok(Decided::Departs(self.begin_on_device(&active, subject).await?)),
            (Decision::Connect, Some(begun)) => {
                let (cookie, binding) = self.new_cookie(active.provider.posts_back(), self.policy.state_ttl)?;
                Ok(Decided::Departs(self.depart(begun, subject, binding, Some(cookie)).await?))
            }
        }
    }

    /// The browser's half of a new flow, and ours.
    pub(super) fn new_cookie(&self, cross_site: bool, life: Duration) -> Result<(FlowCookie, Binding), StoreError> {
        let flow = hex::encode(random::<8>(self.core.entropy.as_ref())?);
        let cookie = FlowCookie { flow, value: fresh(self.core.entropy.as_ref())?, cross_site, life };
        let hash = browser_hash(cookie.value.expose_secret());
        let binding = Binding::Browser { flow: cookie.flow.clone(), hash };
        Ok((cookie, binding))
    }

    async fn unused_link(&self, provider: &str, link: &str) -> Result<([u8; 32], Link), Refusal> {
        let hash = stored_as(&self.core.store, Purpose::Link, link).ok_or_else(ended_link)?;
        let found = self.core.store.read(&keys::link(&hash)).await?.map(|stored| stored.value);
        let unused = found.filter(|link| !self.is_over(link.expires_at) && link.subject.provider.as_str() == provider);
        Ok((hash, unused.ok_or_else(ended_link)?))
    }

    async fn invitation(&self, active: &Active, subject: &FlowSubject) -> Result<Invitation, Refusal> {
        let names = self.names(subject, &active.provider).await?;
        let placeholder = "-".repeat(43);
        let shown = Some(placeholder.as_str());
        let known = Known { state: &placeholder, pkce_challenge: shown, nonce: None, token: shown };
        let provider = match active.provider.by_device_code() {
            true => None,
            false => Some(self.authorize_url(active, subject, &known)?),
        };
        let back = place_of_return(active, subject).and_then(|url| Url::parse(url).ok());
        Ok(Invitation { names, end_user: subject.end_user.to_string(), provider, back })
    }

    /// Everything of a flow that is made before it is written down.
    async fn begun(&self, active: &Active, subject: &FlowSubject) -> Result<Begun, Refusal> {
        let entropy = self.core.entropy.as_ref();
        let state = fresh(entropy).map_err(StoreError::from)?;
        let pkce = Pkce::for_use(active.provider.pkce(), random(entropy).map_err(StoreError::from)?);
        let nonce = Some(fresh(entropy).map_err(StoreError::from)?).filter(|_| active.provider.wants_nonce());
        let temporary = self.temporary_credentials(active, subject, &state).await?;
        let known = Known {
            state: state.expose_secret(),
            pkce_challenge: pkce.as_ref().map(|pkce| pkce.challenge.as_str()),
            nonce: nonce.as_ref().map(|nonce| nonce.expose_secret()),
            token: temporary.as_ref().map(|temporary| temporary.token.expose_secret()),
        };
        let url = self.authorize_url(active, subject, &known)?;
        Ok(Begun { url, state, pkce_verifier: pkce.map(|pkce| pkce.verifier), nonce, temporary })
    }

    /// Writes the state and says where to go.
    async fn depart(
        &self,
        begun: Begun,
        subject: FlowSubject,
        binding: Binding,
        cookie: Option<FlowCookie>,
    ) -> Result<Departure, Refusal> {
        let Begun { url, state, pkce_verifier, nonce, temporary } = begun;
        let expires_at = self.after(self.policy.state_ttl);
        let pending = PendingAuthorization { subject, binding, pkce_verifier, nonce, temporary, expires_at };
        let key = keys::state(&hash_of(&self.core.store, Purpose::State, &state));
        let mut change = Change::new();
        change.create(&key, &pending, Some(self.policy.state_ttl))?;
        self.core.store.commit(change).await?;
        Ok(Departure { url, cookie })
    }

    fn authorize_url(&self, active: &Active, subject: &FlowSubject, known: &Known<'_>) -> Result<Url, Refusal> {
        let integration = &active.integration;
        let params = merged(&integration.params, &subject.params);
        let scopes = integration.scopes_for(&subject.scopes);
        let redirect_uri = self.integrations.redirect_uri(&integration.id);
        let input = AuthorizeInput {
            provider: &active.provider,
            client_id: &integration.client_id,
            redirect_uri: &redirect_uri,
            scopes,
            state: known.state,
            pkce_challenge: known.pkce_challenge,
            nonce: known.nonce,
            params: &params,
        };
        let url = match (active.provider.grant(), known.token) {
            (GrantType::Oauth1, Some(token)) => authorize_url::of_oauth1(&input, token),
            _ => authorize_url::build(&input),
        };
        url.map_err(|cause| {
            let detail = "The provider's settings of this integration do not fit any more; the tenant must enable it again.";
            Refusal::new(ErrorCode::IntegrationBroken, detail).with_cause(cause)
        })
    }
}

/// Whether a link opens the page that asks. With `confirm = tenant` the tenant's backend asks at the end, so that it
/// leads straight on; but a code for another device costs a call to the provider, which looking at a link must not.
fn asks(active: &Active, subject: &FlowSubject) -> bool {
    subject.confirm == Confirm::Page || active.provider.by_device_code()
}

/// A flow that is not written down yet.
struct Begun {
    url: Url,
    state: SecretString,
    pkce_verifier: Option<SecretString>,
    nonce: Option<SecretString>,
    temporary: Option<TemporaryCredentials>,
}

/// What the authorize URL tells of the flow.
struct Known<'a> {
    state: &'a str,
    pkce_challenge: Option<&'a str>,
    nonce: Option<&'a str>,
    /// Of temporary credentials, where the flow has such.
    token: Option<&'a str>,
}

/// Where the browser goes at the end: only ever a place that is registered now, too.
pub(super) fn place_of_return<'a>(active: &'a Active, subject: &'a FlowSubject) -> Option<&'a str> {
    let asked = subject.return_url.as_deref().or(active.integration.user_redirect_url.as_deref());
    asked.filter(|url| active.integration.allows_return(url))
}

/// The integration's settings, and over them those of the link.
pub(in crate::services) fn merged(
    integration: &BTreeMap<String, String>,
    link: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    integration.iter().chain(link).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn ended_link() -> Refusal {
    Refusal::new(ErrorCode::LinkExpired, "This link was used already or has expired; ask for a new one.")
}
