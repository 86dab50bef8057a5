//! The tenant's confirmation: only now is a held code exchanged, and only for the end user of the
//! tenant's own session.

use crate::domain::caller::Caller;
use crate::domain::connection::Connection;
use crate::domain::error_code::ErrorCode;
use crate::domain::event::EventKind;
use crate::domain::ids::EndUserId;
use crate::domain::link::{Binding, HeldAuthorization};
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scope;
use crate::store::keys;

use super::Connect;
use super::complete::link_hash;
use super::exchange::Brought;
use super::keep::Confirmed;
use super::one_time::{Purpose, stored_as};

impl Connect {
    /// Finishes a held authorization. Another end user than the link was made for ends it.
    pub async fn finish(&self, caller: &Caller, ticket: &str, end_user_id: &str) -> Result<Connection, Refusal> {
        let tenant = caller.require(Scope::LinksWrite)?;
        let end_user = EndUserId::parse(end_user_id)?;
        let hash = stored_as(&self.core.store, Purpose::Ticket, ticket).ok_or_else(invalid_ticket)?;
        let key = keys::ticket(&hash);
        let seen = self.core.store.read(&key).await?.ok_or_else(invalid_ticket)?;
        if seen.value.pending.subject.tenant != *tenant {
            return Err(invalid_ticket());
        }
        let here = self.clone();
        self.to_its_end(async move {
            let held = here.core.store.take(&key).await?.ok_or_else(invalid_ticket)?;
            here.finish_held(held, &end_user).await
        })
        .await?
    }

    async fn finish_held(&self, held: HeldAuthorization, end_user: &EndUserId) -> Result<Connection, Refusal> {
        if self.is_over(held.expires_at) {
            return Err(invalid_ticket());
        }
        // The link goes with the first ticket that is shown, whatever becomes of it: a flow that came
        // to somebody else must not be begun again.
        let unfinished = self.take_link(&held.pending.binding).await?;
        if held.pending.subject.end_user != *end_user {
            self.leave_event(&held.pending.subject, EventKind::WrongEndUser).await;
            let detail = "This authorization was started for another end user; it has ended. Make a new link for the one who is signed in.";
            return Err(Refusal::new(ErrorCode::EndUserMismatch, detail));
        }
        if !unfinished {
            return Err(invalid_ticket());
        }
        let active = self.active(&held.pending.subject).await?;
        let obtained = match &held.granted {
            Some(granted) => self.obtain_granted(&active, &held.pending, granted).await?,
            None => {
                let brought = Brought { code: &held.code, state: &held.state, kept: &held.callback };
                self.obtain(&active, &held.pending, brought).await?
            }
        };
        // Who entered a device's code nobody can tell.
        let confirmed = if active.provider.by_device_code() { Confirmed::ByBrowser } else { Confirmed::ByTenant };
        self.keep(&active, &held.pending.subject, confirmed, obtained).await
    }

    async fn take_link(&self, binding: &Binding) -> Result<bool, Refusal> {
        // With a device's code the link went when Connect was pressed; the ticket alone is left to take.
        let Binding::Link { hash } = binding else { return Ok(true) };
        let Some(hash) = link_hash(hash) else { return Ok(false) };
        Ok(self.core.store.take(&keys::link(&hash)).await?.is_some())
    }
}

fn invalid_ticket() -> Refusal {
    let detail = "This ticket was used already, has expired, or is not yours; make a new link.";
    Refusal::new(ErrorCode::TicketInvalid, detail)
}
