//! A grant that was obtained is kept, judged by what is stored. The answer in hand is its only copy, so
//! a store that does not answer is asked again for a while.

use std::time::Duration;

use crate::domain::connection::{Connection, NewConnection};
use crate::domain::error_code::ErrorCode;
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::{ConnectionId, GrantId};
use crate::domain::link::FlowSubject;
use crate::domain::refusal::Refusal;
use crate::ports::entropy::random;
use crate::services::HISTORY;
use crate::services::integrations::Active;
use crate::store::{Change, StoreError, keys};

use super::Connect;
use super::exchange::Obtained;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Others write the same connection at most so often in a row.
const CONFLICTS_MAX: u32 = 20;

/// Who said whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmed {
    ByBrowser,
    ByTenant,
}

/// Why a grant is not kept.
enum NotKept {
    /// The connection is of another account at the provider.
    OtherAccount,
    Store(StoreError),
}

impl From<StoreError> for NotKept {
    fn from(error: StoreError) -> Self {
        NotKept::Store(error)
    }
}

impl Connect {
    pub(super) async fn keep(
        &self,
        active: &Active,
        subject: &FlowSubject,
        confirmed: Confirmed,
        obtained: Obtained,
    ) -> Result<Connection, Refusal> {
        let new = self.new_connection(active, subject, confirmed)?;
        let give_up = self.core.clock.monotonic() + self.policy.keep_trying;
        let (mut pause, mut conflicts) = (FIRST_PAUSE, 0);
        loop {
            match self.try_to_keep(&new, &obtained).await {
                Ok(connection) => return Ok(connection),
                Err(NotKept::OtherAccount) => return Err(self.other_account(subject).await),
                Err(NotKept::Store(StoreError::Conflict)) if conflicts < CONFLICTS_MAX => conflicts += 1,
                Err(NotKept::Store(StoreError::Unavailable(why))) if self.core.clock.monotonic() < give_up => {
                    tracing::warn!(why, "a new grant waits for the store");
                    self.core.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(NotKept::Store(error)) => return Err(error.into()),
            }
        }
    }

    fn new_connection(&self, active: &Active, subject: &FlowSubject, confirmed: Confirmed) -> Result<NewConnection, StoreError> {
        let named = active.integration.scopes_for(&subject.scopes);
        Ok(NewConnection {
            tenant: subject.tenant.clone(),
            end_user: subject.end_user.clone(),
            provider: subject.provider.clone(),
            integration: subject.integration.clone(),
            integration_id: subject.integration_id.clone(),
            account: subject.account.clone(),
            grant_id: GrantId::from_random(random(self.core.entropy.as_ref())?),
            confirmed: confirmed == Confirmed::ByTenant,
            params: subject.params.clone(),
            asked_scopes: active.provider.scopes().asked(named),
            named_scopes: subject.scopes.clone(),
            renewal: active.provider.refresh().renewal(),
            received_by: self.policy.node.clone(),
        })
    }

    /// One attempt, from reading what is there.
    async fn try_to_keep(&self, new: &NewConnection, obtained: &Obtained) -> Result<Connection, NotKept> {
        let now = self.core.clock.now();
        let id = ConnectionId::derive(&new.tenant, &new.end_user, &new.integration_id, &new.account);
        let before = self.core.store.read(&keys::connection(&new.tenant, &id)).await?;
        if let Some(before) = &before {
            // An earlier attempt whose answer was lost did arrive.
            if before.value.grant_id == new.grant_id {
                return Ok(before.value.clone());
            }
            if is_other_account(&before.value, obtained) {
                return Err(NotKept::OtherAccount);
            }
        }
        let old = before.as_ref().map(|before| &before.value);
        let kind = if old.is_some_and(|old| !old.is_gone()) { EventKind::Reconnected } else { EventKind::Created };
        let connection = Connection::established(new.clone(), obtained.answer.clone(), old, obtained.started, now);
        let detail = not_granted(&connection, &new.asked_scopes);
        self.connections.save_new(&connection, before.as_ref(), (kind, detail)).await?;
        Ok(connection)
    }

    /// The new grant is left as it is: revoking it could end one that the same
    /// account has given for somebody else.
    async fn other_account(&self, subject: &FlowSubject) -> Refusal {
        self.leave_event(subject, EventKind::AccountMismatch).await;
        let detail = "Another account of the provider is connected here; revoke that connection first, or name an `account`.";
        Refusal::new(ErrorCode::AccountMismatch, detail)
    }

    /// What happened to a flow that ended without a grant. It ends all the same when this fails.
    pub(super) async fn leave_event(&self, subject: &FlowSubject, kind: EventKind) {
        if let Err(error) = self.try_to_leave_event(subject, kind).await {
            tracing::error!(%error, ?kind, connection = %subject.connection_id(), "an event could not be written");
        }
    }

    async fn try_to_leave_event(&self, subject: &FlowSubject, kind: EventKind) -> Result<(), StoreError> {
        let event = Event {
            id: self.core.new_uuid()?.simple().to_string(),
            at: self.core.clock.now(),
            kind,
            connection: subject.connection_id(),
            provider: subject.provider.clone(),
            end_user_id: subject.end_user.clone(),
            detail: None,
        };
        let mut change = Change::new();
        change.create(&keys::event(&subject.tenant, &event), &event, Some(HISTORY))?;
        self.core.store.commit(change).await
    }
}

/// Both must be known to differ: a provider that does not say who connected is not held against anybody.
fn is_other_account(before: &Connection, obtained: &Obtained) -> bool {
    let known = before.subject.as_ref().zip(obtained.answer.subject.as_ref());
    !before.is_gone() && known.is_some_and(|(before, now)| before != now)
}

/// A provider may grant less than was asked; the event says what is missing.
fn not_granted(connection: &Connection, asked: &[String]) -> Option<String> {
    let granted = |scope: &&String| connection.sets.values().any(|set| set.current.scopes.contains(scope));
    let missing: Vec<&str> = asked.iter().filter(|scope| !granted(scope)).map(String::as_str).collect();
    (!missing.is_empty()).then(|| format!("not granted: {}", missing.join(" ")))
}
