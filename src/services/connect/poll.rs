//! Asking after a device's code (RFC 8628 3.4, 3.5): a task of this node, whatever becomes of the browser. Each question
//! is first written down, so that of all nodes only one asks; who finds that another has written, leaves it the flow.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::call::HttpAnswer;
use crate::domain::error_code::ErrorCode;
use crate::domain::integration::Confirm;
use crate::domain::link::{DeviceFlow, DeviceStage, GrantedTokens};
use crate::domain::refusal::Refusal;
use crate::oauth::device::{self, INTERVAL, Polled};
use crate::services::integrations::Active;
use crate::store::{Change, RecordKey, StoreError};

use super::Connect;
use super::begin::merged;
use super::complete::invalid_state;
use super::device::refused;
use super::exchange::{not_buildable, refused_exchange};
use super::keep::Confirmed;
use super::room::Seat;

/// A provider that does not answer is asked less and less often, at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Who asks after one flow's code.
pub(super) struct Poller {
    key: RecordKey<DeviceFlow>,
    /// As this node wrote the flow last; `None` while another's is taken over.
    version: Option<u64>,
    wait: Duration,
    _seat: Seat,
}

impl Poller {
    pub(super) fn of_new(key: RecordKey<DeviceFlow>, seat: Seat, interval: Duration) -> Self {
        Self { key, version: Some(1), wait: interval, _seat: seat }
    }

    pub(super) fn of_left(key: RecordKey<DeviceFlow>, seat: Seat) -> Self {
        Self { key, version: None, wait: Duration::ZERO, _seat: seat }
    }
}

/// What one question led to.
enum Learnt {
    /// Nothing yet: the next question may follow after this.
    Wait(Duration),
    Ends(DeviceStage),
}

impl Connect {
    pub(super) fn wait_with(&self, mut poller: Poller) {
        let here = self.clone();
        let task = async move {
            loop {
                tokio::select! {
                    biased;
                    () = here.stopping.cancelled() => return,
                    () = here.core.clock.sleep(poller.wait) => {}
                }
                match here.ask_once(&mut poller).await {
                    Ok(Some(wait)) => poller.wait = wait,
                    Ok(None) => return,
                    // The store is away; whether the flow is still ours is seen with the next question.
                    Err(error) => {
                        tracing::warn!(%error, "a device's code is asked after later");
                        poller.wait = (poller.wait * 2).clamp(INTERVAL, LONGEST_WAIT);
                    }
                }
            }
        };
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    /// One question; `None` when there is none left to ask.
    async fn ask_once(&self, poller: &mut Poller) -> Result<Option<Duration>, StoreError> {
        let Some(stored) = self.core.store.read(&poller.key).await? else { return Ok(None) };
        let (mut flow, version) = (stored.value, stored.version);
        let of_another = poller.version != Some(version) && !self.is_over(flow.asked_until);
        if of_another || !matches!(flow.stage, DeviceStage::Waiting) || self.is_over(flow.pending.expires_at) {
            return Ok(None);
        }
        let next = poller.wait.max(Duration::from_secs(flow.interval));
        flow.asked_until = self.after(next * 2 + self.policy.call_deadline);
        match self.write(&poller.key, &flow, version).await {
            Ok(()) => poller.version = Some(version + 1),
            Err(StoreError::Conflict) => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.ask(&mut flow, poller.wait).await {
            Ok(Learnt::Wait(wait)) => self.keep_waiting(poller, flow, wait).await.map(Some),
            Ok(Learnt::Ends(stage)) => self.settle(poller, flow, stage).await.map(|()| None),
            Err(refusal) => self.settle(poller, flow, refused(&refusal)).await.map(|()| None),
        }
    }

    /// Writes down how long the next question waits, where that has changed.
    async fn keep_waiting(&self, poller: &mut Poller, mut flow: DeviceFlow, wait: Duration) -> Result<Duration, StoreError> {
        let until = self.after(wait + self.policy.call_deadline);
        if until > flow.asked_until || wait > poller.wait {
            flow.asked_until = until;
            let version = poller.version.unwrap_or_default();
            match self.write(&poller.key, &flow, version).await {
                Ok(()) => poller.version = Some(version + 1),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wait)
    }

    async fn ask(&self, flow: &mut DeviceFlow, waited: Duration) -> Result<Learnt, Refusal> {
        let subject = &flow.pending.subject;
        let active = self.active(subject).await?;
        let params = merged(&active.integration.params, &subject.params);
        let client = active.client(&params).at(self.core.moment()?);
        let scopes = active.integration.scopes_for(&subject.scopes);
        let call = device::poll(&active.provider, &client, &flow.device_code, scopes).map_err(not_buildable)?;
        let started = self.core.clock.now();
        let interval = Duration::from_secs(flow.interval);
        // RFC 8628 3.5: what was not answered is asked less often.
        let seldom = (waited * 2).clamp(interval, LONGEST_WAIT.max(interval));
        let Ok(answer) = self.outbound.call(call, self.policy.call_deadline).await else { return Ok(Learnt::Wait(seldom)) };
        match device::judge_poll(&active.provider, &answer, started) {
            Polled::NotYet => Ok(Learnt::Wait(interval)),
            Polled::SlowDown => {
                flow.interval = flow.interval.saturating_add(INTERVAL.as_secs());
                Ok(Learnt::Wait(Duration::from_secs(flow.interval)))
            }
            Polled::Unclear(after) => Ok(Learnt::Wait(after.unwrap_or_default().max(seldom))),
            Polled::Granted(_) => self.granted(&active, flow, held(&answer, started)).await.map(Learnt::Ends),
            Polled::Denied => Err(Refusal::new(ErrorCode::AccessDenied, "The end user declined at the provider.")),
            Polled::Expired => Err(invalid_state()),
            Polled::Refused(failure) => Err(refused_exchange(&failure)),
        }
    }

    /// With `confirm = tenant` what came is held; else it is the connection.
    async fn granted(&self, active: &Active, flow: &DeviceFlow, granted: GrantedTokens) -> Result<DeviceStage, Refusal> {
        if flow.pending.subject.confirm == Confirm::Tenant {
            return Ok(DeviceStage::Granted(granted));
        }
        let obtained = self.obtain_granted(active, &flow.pending, &granted).await?;
        self.keep(active, &flow.pending.subject, Confirmed::ByBrowser, obtained).await?;
        Ok(DeviceStage::Connected)
    }

    /// The last word on a flow. It may be the only copy of a grant, so a store that is away is asked again for a while.
    async fn settle(&self, poller: &Poller, mut flow: DeviceFlow, stage: DeviceStage) -> Result<(), StoreError> {
        flow.stage = stage;
        flow.pending.expires_at = self.after(self.policy.state_ttl);
        let (mut version, mut pause) = (poller.version.unwrap_or_default(), FIRST_PAUSE);
        let give_up = self.core.clock.monotonic() + self.policy.keep_trying;
        loop {
            match self.write(&poller.key, &flow, version).await {
                Ok(()) => return Ok(()),
                // Another node took it over meanwhile; what it has learnt stands, what it waits for is known here.
                Err(StoreError::Conflict) => match self.core.store.read(&poller.key).await? {
                    Some(now) if matches!(now.value.stage, DeviceStage::Waiting) => version = now.version,
                    _ => return Ok(()),
                },
                Err(StoreError::Unavailable(why)) if self.core.clock.monotonic() < give_up => {
                    tracing::warn!(why, "the end of a device's flow waits for the store");
                    self.core.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&self, key: &RecordKey<DeviceFlow>, flow: &DeviceFlow, version: u64) -> Result<(), StoreError> {
        let left = flow.pending.expires_at.duration_since(self.core.clock.now());
        let life = Duration::try_from(left).unwrap_or_default() + self.policy.state_ttl;
        let mut change = Change::new();
        change.replace(key, flow, version, Some(life))?;
        self.core.store.commit(change).await
    }
}

fn held(answer: &HttpAnswer, started: jiff::Timestamp) -> GrantedTokens {
    let body = SecretString::from(String::from_utf8_lossy(&answer.body).into_owned());
    GrantedTokens { status: answer.status, body, started }
}
