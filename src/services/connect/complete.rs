//! The provider's redirect: the state is taken, whatever happens next; then browser, integration and
//! issuer are checked, in this order, and only then is the code looked at.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProviderId;
use crate::domain::link::{Binding, FlowSubject, HeldAuthorization, PendingAuthorization};
use crate::domain::refusal::Refusal;
use crate::oauth::callback::{self, CallbackError, ValidCallback};
use crate::oauth::oauth1;
use crate::services::integrations::{Active, RedirectStyle};
use crate::store::{Change, StoreError, keys};

use super::begin::place_of_return;
use super::exchange::Brought;
use super::keep::Confirmed;
use super::one_time::{Purpose, browser_hash, fresh, hash_of, stored_as};
use super::{Connect, Names};

/// What the provider's redirect brought, as the browser handed it over.
#[derive(Default)]
pub struct Callback {
    /// The integration in the path; `None` at the shared address.
    pub integration: Option<String>,
    pub pairs: Vec<(String, String)>,
    /// The browser's halves of its flows, by flow.
    pub cookies: BTreeMap<String, String>,
}

/// How the browser's part in a flow ended.
#[derive(Debug)]
pub struct Ended {
    /// Whose cookie has done its work.
    pub flow: Option<String>,
    /// `None` when the flow is not known, or is not this browser's.
    pub place: Option<Place>,
    pub outcome: Outcome,
}

/// Where the browser goes, and what a page would tell if it goes nowhere.
#[derive(Debug)]
pub struct Place {
    pub provider: ProviderId,
    pub names: Names,
    pub return_url: Option<String>,
}

#[derive(Debug)]
pub enum Outcome {
    Connected,
    /// The tenant's backend finishes, with this ticket.
    Held(SecretString),
    Refused(Refusal),
}

impl Ended {
    pub(super) fn at(active: &Active, subject: &FlowSubject, names: Names, outcome: Outcome) -> Self {
        let return_url = place_of_return(active, subject).map(str::to_owned);
        let place = Place { provider: subject.provider.clone(), names, return_url };
        Self { flow: None, place: Some(place), outcome }
    }

    pub(super) fn nowhere(refusal: Refusal) -> Self {
        Self { flow: None, place: None, outcome: Outcome::Refused(refusal) }
    }
}

impl Connect {
    /// Completes a flow, as far as the browser has a part in it.
    pub async fn complete(&self, callback: Callback) -> Ended {
        let here = self.clone();
        self.to_its_end(async move { here.complete_here(callback).await }).await.unwrap_or_else(Ended::nowhere)
    }

    async fn complete_here(&self, callback: Callback) -> Ended {
        let pending = match self.take_state(&callback).await {
            Ok(pending) => pending,
            Err(refusal) => return Ended::nowhere(refusal),
        };
        let flow = flow_of(&pending.binding);
        let active = match self.active(&pending.subject).await {
            Ok(active) => active,
            Err(refusal) => return Ended { flow, ..Ended::nowhere(refusal) },
        };
        let subject = pending.subject.clone();
        let outcome = self.fulfil(&active, pending, &callback.pairs).await.unwrap_or_else(Outcome::Refused);
        Ended { flow, ..self.ended(&active, &subject, outcome).await }
    }

    /// It has ended, whether or not the store can still say whose it was.
    pub(super) async fn ended(&self, active: &Active, subject: &FlowSubject, outcome: Outcome) -> Ended {
        let provider_alone = |_| Names { tenant: String::new(), provider: active.provider.name().to_owned() };
        let names = self.names(subject, &active.provider).await.unwrap_or_else(provider_alone);
        Ended::at(active, subject, names, outcome)
    }

    /// The flow behind the state, if it is this browser's and belongs at this address. One answer for
    /// every reason why not.
    async fn take_state(&self, callback: &Callback) -> Result<PendingAuthorization, Refusal> {
        let mut states = callback.pairs.iter().filter(|(name, _)| name == "state").map(|(_, value)| value);
        let state = states.next().filter(|_| states.next().is_none()).ok_or_else(invalid_state)?;
        let hash = stored_as(&self.core.store, Purpose::State, state).ok_or_else(invalid_state)?;
        let pending = self.core.store.take(&keys::state(&hash)).await?.ok_or_else(invalid_state)?;
        let here = self.is_right_place(callback.integration.as_deref(), &pending.subject);
        if here && is_right_browser(&pending.binding, &callback.cookies) && !self.is_over(pending.expires_at) {
            return Ok(pending);
        }
        tracing::warn!(integration = %pending.subject.integration_id, right_place = here, "a callback was refused");
        Err(invalid_state())
    }

    /// A code that one provider gave never reaches another's token endpoint.
    fn is_right_place(&self, in_path: Option<&str>, subject: &FlowSubject) -> bool {
        match in_path {
            Some(id) => id == subject.integration_id.as_str(),
            None => self.policy.redirect == RedirectStyle::Shared,
        }
    }

    async fn fulfil(
        &self,
        active: &Active,
        pending: PendingAuthorization,
        pairs: &[(String, String)],
    ) -> Result<Outcome, Refusal> {
        let valid = match &pending.temporary {
            Some(temporary) => oauth1::validate(&active.provider, temporary.token.expose_secret(), pairs),
            None => callback::validate(&active.provider, active.integration.client_secret.as_ref(), pairs),
        };
        let valid = valid.map_err(refused_callback)?;
        match &pending.binding {
            Binding::Link { hash } => {
                self.check_link(hash).await?;
                self.hold(active, pending, valid).await.map(Outcome::Held)
            }
            Binding::Browser { .. } => {
                let brought = Brought { code: valid.code(), state: valid.state(), kept: valid.kept() };
                let obtained = self.obtain(active, &pending, brought).await?;
                self.keep(active, &pending.subject, Confirmed::ByBrowser, obtained).await?;
                Ok(Outcome::Connected)
            }
        }
    }

    /// Whether the link that this flow began from is still unfinished.
    async fn check_link(&self, hash: &str) -> Result<(), Refusal> {
        let key = link_hash(hash).map(|hash| keys::link(&hash)).ok_or_else(invalid_state)?;
        self.core.store.read(&key).await?.map(|_| ()).ok_or_else(invalid_state)
    }

    /// Keeps the code, sealed and unexchanged, until the tenant's backend says whose it is.
    async fn hold(&self, active: &Active, pending: PendingAuthorization, valid: ValidCallback) -> Result<SecretString, Refusal> {
        let (code, state, callback) = valid.into_parts();
        let expires_at = self.after(self.policy.state_ttl);
        self.hold_as(active, HeldAuthorization { pending, code, state, callback, granted: None, expires_at }).await
    }

    pub(super) async fn hold_as(&self, active: &Active, held: HeldAuthorization) -> Result<SecretString, Refusal> {
        if place_of_return(active, &held.pending.subject).is_none() {
            let detail = "The tenant has no registered place to hand the ticket to; it must set `user_redirect_url`.";
            return Err(Refusal::new(ErrorCode::IntegrationBroken, detail));
        }
        let ticket = fresh(self.core.entropy.as_ref()).map_err(StoreError::from)?;
        let key = keys::ticket(&hash_of(&self.core.store, Purpose::Ticket, &ticket));
        let mut change = Change::new();
        change.create(&key, &held, Some(self.policy.state_ttl))?;
        self.core.store.commit(change).await?;
        Ok(ticket)
    }
}

pub(super) fn link_hash(hash: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).ok().map(|()| bytes)
}

fn flow_of(binding: &Binding) -> Option<String> {
    match binding {
        Binding::Browser { flow, .. } => Some(flow.clone()),
        Binding::Link { .. } => None,
    }
}

fn is_right_browser(binding: &Binding, cookies: &BTreeMap<String, String>) -> bool {
    match binding {
        Binding::Link { .. } => true,
        Binding::Browser { flow, hash } => {
            cookies.get(flow).is_some_and(|cookie| bool::from(browser_hash(cookie).as_bytes().ct_eq(hash.as_bytes())))
        }
    }
}

pub(super) fn invalid_state() -> Refusal {
    let detail = "This authorization was used already, has expired, or was started in another browser; start again.";
    Refusal::new(ErrorCode::StateInvalid, detail)
}

/// RFC 6749 4.1.2.1, in our words: the provider's description is shown to nobody.
fn refused_callback(error: CallbackError) -> Refusal {
    let refusal = match &error {
        CallbackError::Denied => Refusal::new(ErrorCode::AccessDenied, "The end user declined at the provider."),
        CallbackError::ProviderError(code) if matches!(code.as_str(), "temporarily_unavailable" | "server_error") => {
            Refusal::new(ErrorCode::ProviderUnavailable, "The provider could not do it at the moment; try again later.")
        }
        CallbackError::ProviderError(_) => {
            let detail = "The provider refused the authorization; check the integration's scopes and settings.";
            Refusal::new(ErrorCode::ExchangeFailed, detail)
        }
        CallbackError::Malformed(_) => Refusal::new(ErrorCode::InvalidRequest, "The provider's redirect cannot be understood."),
        CallbackError::WrongIssuer | CallbackError::BadSignature | CallbackError::OtherToken => {
            return invalid_state().with_cause(error);
        }
    };
    refusal.with_cause(error)
}
