//! A connection for which no end user is asked: the tenant's own credentials are enough (RFC 6749 4.4). It is made
//! with the request for it, or not at all.

use crate::domain::connection::Connection;
use crate::domain::error_code::ErrorCode;
use crate::domain::link::FlowSubject;
use crate::domain::refusal::Refusal;
use crate::domain::tokens::{FailureClass, ProviderFailure};
use crate::oauth::{token_request, token_response};
use crate::ports::outbound::CallError;
use crate::services::integrations::Active;

use super::Connect;
use super::begin::merged;
use super::exchange::{Obtained, When, not_buildable};
use super::keep::Confirmed;

impl Connect {
    pub(super) async fn connect_at_once(&self, active: Active, subject: FlowSubject) -> Result<Connection, Refusal> {
        let here = self.clone();
        self.to_its_end(async move {
            let obtained = here.mint(&active, &subject).await?;
            here.keep(&active, &subject, Confirmed::ByTenant, obtained).await
        })
        .await?
    }

    async fn mint(&self, active: &Active, subject: &FlowSubject) -> Result<Obtained, Refusal> {
        let params = merged(&active.integration.params, &subject.params);
        let client = active.client(&params).asking(&subject.scopes).at(self.core.moment()?);
        let call = token_request::mint(&active.provider, &client).map_err(not_buildable)?;
        let started = self.core.clock.now();
        let answer = self.outbound.call(call, self.policy.call_deadline).await.map_err(no_answer)?;
        let judged = token_response::judge_exchange(&active.provider, &answer, started);
        let mut answer = judged.map_err(|failure| refused(&failure))?;
        self.look_up(active, &client, &mut answer, When::Last).await?;
        self.measure(active, &client, &mut answer, started).await?;
        Ok(Obtained { answer, started })
    }
}

/// A second token harms nothing, so that whoever asked may ask again.
fn no_answer(cause: CallError) -> Refusal {
    Refusal::new(ErrorCode::ProviderUnavailable, "The provider did not answer; nothing was stored. Try again.").with_cause(cause)
}

fn refused(failure: &ProviderFailure) -> Refusal {
    let ProviderFailure { class, code, status, retry_after } = failure;
    let refusal = match class {
        FailureClass::DeadGrant
        | FailureClass::SubjectRefused
        | FailureClass::IntegrationBroken
        | FailureClass::Misconfigured => {
            let detail = format!(
                "The provider issues no token to this integration ({code}); check its client id, secret, scopes and settings with `POST /enable-provider`, and for whom the token is asked. Nothing was stored."
            );
            Refusal::new(ErrorCode::IntegrationBroken, detail)
        }
        FailureClass::Throttled | FailureClass::NotSent | FailureClass::InDoubt => {
            let detail = format!("The provider does not answer as it should ({code}); nothing was stored. Try again later.");
            Refusal { retry_after: *retry_after, ..Refusal::new(ErrorCode::ProviderUnavailable, detail) }
        }
    };
    refusal.with_reason(code.clone(), None).with_cause(format!("{code} ({status})"))
}
