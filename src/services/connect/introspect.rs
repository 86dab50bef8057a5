//! How long the first tokens of a grant live, where their answer does not say and the provider can be asked. What it
//! tells holds for every later token of the grant, so that no refresh needs a second call.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TokenSetName;
use crate::domain::refusal::Refusal;
use crate::domain::tokens::{Lifetime, TokenAnswer};
use crate::oauth::client::Client;
use crate::oauth::introspection::{self, Untold};
use crate::services::integrations::Active;

use super::Connect;

/// An end user waits, and what is asked for is no condition of the grant.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(300);

impl Connect {
    /// A provider that does not tell leaves what its file assumes. One that says to the last that the token it has just
    /// issued is not good is believed: nothing would work with it.
    pub(super) async fn measure(
        &self,
        active: &Active,
        client: &Client<'_>,
        answer: &mut TokenAnswer,
        started: Timestamp,
    ) -> Result<(), Refusal> {
        if active.provider.spec().introspect.is_none() {
            return Ok(());
        }
        let assumed = answer.sets.iter().filter(|(_, tokens)| tokens.lifetime == Lifetime::Assumed);
        for name in assumed.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let life = match self.ask_twice(active, client, answer, &name, started).await? {
                Ok(life) => life,
                Err(Untold::Inactive) => {
                    let detail = "The provider says that the token it has just issued is not active; start again.";
                    return Err(Refusal::new(ErrorCode::ExchangeFailed, detail));
                }
                Err(Untold::Failed(failure)) => {
                    tracing::warn!(
                        code = failure.code,
                        status = failure.status,
                        "a provider does not tell how long a token lives"
                    );
                    None
                }
            };
            if let (Some(life), Some(tokens)) = (life, answer.sets.get_mut(&name)) {
                tokens.measured(life, started);
            }
        }
        Ok(())
    }

    async fn ask_twice(
        &self,
        active: &Active,
        client: &Client<'_>,
        answer: &TokenAnswer,
        name: &TokenSetName,
        started: Timestamp,
    ) -> Result<Result<Option<Duration>, Untold>, Refusal> {
        let mut told = Ok(None);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.core.clock.sleep(PAUSE).await;
            }
            let client = client.at(self.core.moment()?);
            let Some(tokens) = answer.sets.get(name) else { break };
            let call = match introspection::request(&active.provider, &client, tokens, &answer.metadata) {
                Ok(Some(call)) => call,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the question how long a token lives cannot be built");
                    break;
                }
            };
            let asked_at = self.core.clock.now();
            match self.outbound.call(call, self.policy.call_deadline.min(PATIENCE)).await {
                Err(error) => {
                    tracing::warn!(%error, "a provider was not reached to tell how long a token lives");
                    told = Ok(None);
                }
                Ok(came) => {
                    told = introspection::judge(&active.provider, &came, started, asked_at);
                    if told.is_ok() {
                        break;
                    }
                }
            }
        }
        Ok(told)
    }
}
