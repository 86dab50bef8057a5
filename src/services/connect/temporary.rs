//! The first call of a flow of OAuth 1.0a (RFC 5849 2.1): temporary credentials, which the flow is bound to from its
//! beginning to its end.

use crate::domain::link::{FlowSubject, TemporaryCredentials};
use crate::domain::provider::GrantType;
use crate::domain::refusal::Refusal;
use crate::domain::secret::{ExposeSecret as _, SecretString};
use crate::oauth::oauth1;
use crate::services::integrations::Active;

use super::Connect;
use super::begin::merged;
use super::exchange::{no_answer, not_buildable, refused_exchange};

impl Connect {
    /// `None` where the provider's flows begin without a call.
    pub(super) async fn temporary_credentials(
        &self,
        active: &Active,
        subject: &FlowSubject,
        state: &SecretString,
    ) -> Result<Option<TemporaryCredentials>, Refusal> {
        if active.provider.grant() != GrantType::Oauth1 {
            return Ok(None);
        }
        let integration = &active.integration;
        let params = merged(&integration.params, &subject.params);
        let client = active.client(&params).at(self.core.moment()?);
        let scopes = integration.scopes_for(&subject.scopes);
        let callback = oauth1::callback_url(client.redirect_uri, state.expose_secret()).map_err(not_buildable)?;
        let call = oauth1::request_token(&active.provider, &client, &callback, scopes).map_err(not_buildable)?;
        let started = self.core.clock.now();
        let answer = self.outbound.call(call, self.policy.call_deadline).await.map_err(no_answer)?;
        let judged = oauth1::judge_request_token(&active.provider, &answer, started);
        judged.map(Some).map_err(|failure| refused_exchange(&failure))
    }
}
