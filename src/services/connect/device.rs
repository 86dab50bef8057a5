//! A flow whose consent is given on another device: the browser shows a code, and looks again until some node has
//! learnt that it was entered. The cookie that Connect set is the only way to the flow.

use std::collections::BTreeMap;

use url::Url;

use crate::domain::error_code::ErrorCode;
use crate::domain::integration::Confirm;
use crate::domain::link::{Binding, DeviceFlow, DeviceStage, FlowSubject, HeldAuthorization, PendingAuthorization};
use crate::domain::refusal::Refusal;
use crate::oauth::device::{self, Offer};
use crate::services::integrations::Active;
use crate::store::{Change, RecordKey, keys};

use super::begin::{Departure, merged};
use super::complete::{Ended, Outcome, invalid_state};
use super::exchange::{no_answer, not_buildable, refused_exchange};
use super::one_time::{Purpose, hash_of, stored_as};
use super::poll::Poller;
use super::{Connect, Names};

/// What the browser's look at its flow shows.
pub enum Watched {
    Waits(Box<Shown>),
    Ends(Box<Ended>),
}

/// What the page with the code tells.
pub struct Shown {
    pub names: Names,
    pub end_user: String,
    pub user_code: String,
    pub verification_uri: String,
    /// The same, with the code in it, where the provider has that.
    pub verification_uri_complete: Option<String>,
}

impl Connect {
    /// Asks the provider for a code. The link was taken: cut short from here on, the end user needs a new one.
    pub(super) async fn begin_on_device(&self, active: &Active, subject: FlowSubject) -> Result<Departure, Refusal> {
        let seat = self.waiting.take(&subject.tenant)?;
        let offer = self.offer(active, &subject).await?;
        let (cookie, binding) = self.new_cookie(false, offer.life + self.policy.state_ttl)?;
        let page = format!("{}/authorize-{}/device?flow={}", self.core.public_url, subject.provider, cookie.flow);
        let url = Url::parse(&page).map_err(|cause| Refusal::new(ErrorCode::Internal, "No page for it.").with_cause(cause))?;
        let expires_at = self.after(offer.life);
        let pending = PendingAuthorization { subject, binding, pkce_verifier: None, nonce: None, temporary: None, expires_at };
        let flow = DeviceFlow {
            pending,
            asked_until: self.after(offer.interval + self.policy.call_deadline),
            device_code: offer.device_code,
            user_code: offer.user_code,
            verification_uri: offer.verification_uri.into(),
            verification_uri_complete: offer.verification_uri_complete.map(Into::into),
            interval: offer.interval.as_secs(),
            stage: DeviceStage::Waiting,
        };
        let key = keys::device(&hash_of(&self.core.store, Purpose::Device, &cookie.value));
        let mut change = Change::new();
        change.create(&key, &flow, Some(offer.life + self.policy.state_ttl))?;
        self.core.store.commit(change).await?;
        self.wait_with(Poller::of_new(key, seat, offer.interval));
        Ok(Departure { url, cookie: Some(cookie) })
    }

    async fn offer(&self, active: &Active, subject: &FlowSubject) -> Result<Offer, Refusal> {
        let integration = &active.integration;
        let params = merged(&integration.params, &subject.params);
        let client = active.client(&params).at(self.core.moment()?);
        let scopes = integration.scopes_for(&subject.scopes);
        let call = device::ask(&active.provider, &client, scopes).map_err(not_buildable)?;
        let started = self.core.clock.now();
        let answer = self.outbound.call(call, self.policy.call_deadline).await.map_err(no_answer)?;
        device::judge_offer(&active.provider, &answer, started).map_err(|failure| refused_exchange(&failure))
    }

    /// The browser looks again. The flow is found by the cookie that pressing Connect has set, and by nothing else.
    pub async fn watch(&self, provider: &str, flow: &str, cookies: &BTreeMap<String, String>) -> Result<Watched, Refusal> {
        let cookie = cookies.get(flow).ok_or_else(invalid_state)?;
        let hash = stored_as(&self.core.store, Purpose::Device, cookie).ok_or_else(invalid_state)?;
        let key = keys::device(&hash);
        let stored = self.core.store.read(&key).await?.ok_or_else(invalid_state)?;
        let seen = stored.value;
        let subject = &seen.pending.subject;
        let named = matches!(&seen.pending.binding, Binding::Browser { flow: bound, .. } if bound == flow);
        if subject.provider.as_str() != provider || !named {
            return Err(invalid_state());
        }
        if matches!(seen.stage, DeviceStage::Waiting) && !self.is_over(seen.pending.expires_at) {
            self.go_on_with(key, &seen);
            let active = self.active(subject).await?;
            let names = self.names(subject, &active.provider).await?;
            return Ok(Watched::Waits(Box::new(Shown {
                names,
                end_user: subject.end_user.to_string(),
                user_code: seen.user_code,
                verification_uri: seen.verification_uri,
                verification_uri_complete: seen.verification_uri_complete,
            })));
        }
        let taken = self.core.store.take(&key).await?.ok_or_else(invalid_state)?;
        let ended = Ended { flow: Some(flow.to_owned()), ..self.end_on_device(taken).await };
        Ok(Watched::Ends(Box::new(ended)))
    }

    /// Whoever waited for this flow is gone, perhaps with its node.
    fn go_on_with(&self, key: RecordKey<DeviceFlow>, seen: &DeviceFlow) {
        if self.is_over(seen.asked_until)
            && let Ok(seat) = self.waiting.take(&seen.pending.subject.tenant)
        {
            self.wait_with(Poller::of_left(key, seat));
        }
    }

    async fn end_on_device(&self, flow: DeviceFlow) -> Ended {
        let subject = flow.pending.subject.clone();
        let active = match self.active(&subject).await {
            Ok(active) => active,
            Err(refusal) => return Ended::nowhere(refusal),
        };
        let outcome = self.outcome_on_device(&active, flow).await.unwrap_or_else(Outcome::Refused);
        self.ended(&active, &subject, outcome).await
    }

    async fn outcome_on_device(&self, active: &Active, flow: DeviceFlow) -> Result<Outcome, Refusal> {
        let DeviceFlow { pending, device_code, stage, .. } = flow;
        match stage {
            DeviceStage::Connected => Ok(Outcome::Connected),
            DeviceStage::Refused { code, detail } => {
                let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
                Err(Refusal::new(known.copied().unwrap_or(ErrorCode::Internal), detail))
            }
            // Its code, or what was granted, was left for too long.
            _ if self.is_over(pending.expires_at) => Err(invalid_state()),
            DeviceStage::Waiting => Err(invalid_state()),
            DeviceStage::Granted(granted) if pending.subject.confirm == Confirm::Tenant => {
                let (expires_at, callback) = (self.after(self.policy.state_ttl), BTreeMap::new());
                let (code, state) = (device_code, String::new());
                let held = HeldAuthorization { pending, code, state, callback, granted: Some(granted), expires_at };
                self.hold_as(active, held).await.map(Outcome::Held)
            }
            DeviceStage::Granted(_) => Err(invalid_state()),
        }
    }
}

/// What a poller leaves behind of a refusal.
pub(super) fn refused(refusal: &Refusal) -> DeviceStage {
    DeviceStage::Refused { code: refusal.code.as_str().to_owned(), detail: refusal.detail.clone() }
}
