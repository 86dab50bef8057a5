//! From a code to tokens: one exchange, then the look-ups that the provider's file asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::call::HttpAnswer;
use crate::domain::error_code::ErrorCode;
use crate::domain::link::{GrantedTokens, PendingAuthorization};
use crate::domain::provider::AfterConnectSpec;
use crate::domain::refusal::Refusal;
use crate::domain::secret::{ExposeSecret as _, SecretString};
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};
use crate::oauth::client::Client;
use crate::oauth::id_token::{self, NonceError};
use crate::oauth::request::BuildError;
use crate::oauth::token_request::{self, Authorization};
use crate::oauth::token_response;
use crate::oauth::token_response::Found;
use crate::ports::outbound::CallError;
use crate::services::integrations::Active;

use super::Connect;
use super::begin::merged;
use super::complete::invalid_state;

/// A look-up only reads, so it is tried again; a code exchange never is.
const LOOKUP_TRIES: u32 = 3;
const LOOKUP_PAUSE: Duration = Duration::from_millis(300);

/// What the callback brought.
pub(super) struct Brought<'a> {
    pub code: &'a SecretString,
    pub state: &'a str,
    pub kept: &'a BTreeMap<String, String>,
}

/// Which look-ups: those that must come before a token is extended, or the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    First,
    Last,
}

/// A look-up that found nothing.
struct Missed {
    why: String,
    /// The provider says that there is no such thing, or not for this token.
    refused: bool,
}

/// What the provider gave.
pub(super) struct Obtained {
    pub answer: TokenAnswer,
    /// When the exchange was sent: lifetimes are counted from here.
    pub started: Timestamp,
}

impl Connect {
    pub(super) async fn obtain(
        &self,
        active: &Active,
        pending: &PendingAuthorization,
        brought: Brought<'_>,
    ) -> Result<Obtained, Refusal> {
        let integration = &active.integration;
        let params = merged(&integration.params, &pending.subject.params);
        let client = active.client(&params);
        let Brought { code, state, kept } = brought;
        let verifier = pending.pkce_verifier.as_ref();
        let scopes = integration.scopes_for(&pending.subject.scopes);
        let temporary = pending.temporary.as_ref();
        let flow = Authorization { code, kept, redirect_uri: client.redirect_uri, verifier, state, scopes, temporary };
        let (mut answer, started) = self.exchange(active, &client, &flow, pending.nonce.as_ref()).await?;
        for (name, value) in kept {
            answer.metadata.entry(name.clone()).or_insert_with(|| Value::String(value.clone()));
        }
        self.round_off(active, &client, answer, started).await
    }

    /// The same from an answer that came before.
    pub(super) async fn obtain_granted(
        &self,
        active: &Active,
        pending: &PendingAuthorization,
        granted: &GrantedTokens,
    ) -> Result<Obtained, Refusal> {
        let params = merged(&active.integration.params, &pending.subject.params);
        let client = active.client(&params).at(self.core.moment()?);
        let body = granted.body.expose_secret().as_bytes().to_vec();
        let answer = HttpAnswer { status: granted.status, headers: Vec::new(), body };
        let judged = token_response::judge_exchange(&active.provider, &answer, granted.started);
        let answer = judged.map_err(|failure| refused_exchange(&failure))?;
        self.round_off(active, &client, answer, granted.started).await
    }

    /// What comes after the first tokens.
    async fn round_off(
        &self,
        active: &Active,
        client: &Client<'_>,
        mut answer: TokenAnswer,
        started: Timestamp,
    ) -> Result<Obtained, Refusal> {
        self.look_up(active, client, &mut answer, When::First).await?;
        let (mut answer, started) = self.extend(active, client, answer, started).await?;
        self.look_up(active, client, &mut answer, When::Last).await?;
        self.measure(active, client, &mut answer, started).await?;
        Ok(Obtained { answer, started })
    }

    async fn exchange(
        &self,
        active: &Active,
        client: &Client<'_>,
        flow: &Authorization<'_>,
        nonce: Option<&SecretString>,
    ) -> Result<(TokenAnswer, Timestamp), Refusal> {
        let client = client.at(self.core.moment()?);
        let call = token_request::exchange(&active.provider, &client, flow).map_err(not_buildable)?;
        let started = self.core.clock.now();
        let answer = self.outbound.call(call, self.policy.call_deadline).await.map_err(no_answer)?;
        let judged = token_response::judge_exchange(&active.provider, &answer, started);
        let judged = judged.map_err(|failure| refused_exchange(&failure))?;
        if let Some(nonce) = nonce {
            id_token::check_nonce(&answer, nonce.expose_secret()).map_err(of_another_flow)?;
        }
        Ok((judged, started))
    }

    /// For a token that lives longer, where the file asks for it. To ask again harms nothing: the first token lives on.
    async fn extend(
        &self,
        active: &Active,
        client: &Client<'_>,
        answer: TokenAnswer,
        started: Timestamp,
    ) -> Result<(TokenAnswer, Timestamp), Refusal> {
        let mut last = None;
        for attempt in 0..LOOKUP_TRIES {
            if attempt > 0 {
                self.core.clock.sleep(LOOKUP_PAUSE * attempt).await;
            }
            // Made anew each time: what is signed is good for one call.
            let client = client.at(self.core.moment()?);
            let Some(call) = token_request::extend(&active.provider, &client, &answer).map_err(not_buildable)? else {
                return Ok((answer, started));
            };
            let started = self.core.clock.now();
            last = Some(match self.outbound.call(call, self.policy.call_deadline).await {
                Err(error) => no_answer(error),
                Ok(came) => match token_response::judge_extend(&active.provider, &came, started) {
                    Ok(longer) => return Ok((answer.extended(longer), started)),
                    Err(failure) => refused_exchange(&failure),
                },
            });
        }
        Err(last.unwrap_or_else(|| Refusal::new(ErrorCode::ProviderUnavailable, "The provider did not answer; start again.")))
    }

    /// What is found adds to the answer; where two look-ups name a subject, the first is kept.
    pub(super) async fn look_up(
        &self,
        active: &Active,
        client: &Client<'_>,
        answer: &mut TokenAnswer,
        when: When,
    ) -> Result<(), Refusal> {
        for step in active.provider.spec().after_connect.iter().filter(|step| step.first == (when == When::First)) {
            match self.look_up_once_and_again(active, step, client, answer).await? {
                Ok(None) => {}
                Ok(Some(found)) => {
                    answer.metadata.extend(found.metadata);
                    answer.subject = answer.subject.take().or(found.subject);
                }
                Err(Missed { why, .. }) if step.optional => {
                    tracing::info!(step = step.name, why, "an optional look-up failed")
                }
                Err(Missed { why, refused: true }) if when == When::First => {
                    let detail = "The provider does not confirm that this belongs to who came back; start again.";
                    return Err(Refusal::new(ErrorCode::ExchangeFailed, detail).with_cause(why));
                }
                Err(Missed { why, .. }) => {
                    let detail = "The provider granted access but did not say what belongs to it; try again.";
                    return Err(Refusal::new(ErrorCode::ProviderUnavailable, detail).with_cause(why));
                }
            }
        }
        Ok(())
    }

    /// What was found, or why nothing was; nothing at all where there is nothing to look up. Each attempt is a call of its
    /// own moment: one that is signed must not come twice.
    async fn look_up_once_and_again(
        &self,
        active: &Active,
        step: &AfterConnectSpec,
        client: &Client<'_>,
        answer: &TokenAnswer,
    ) -> Result<Result<Option<Found>, Missed>, Refusal> {
        let mut missed = Missed { why: String::new(), refused: false };
        for attempt in 0..LOOKUP_TRIES {
            if attempt > 0 {
                self.core.clock.sleep(LOOKUP_PAUSE * attempt).await;
            }
            let client = client.at(self.core.moment()?);
            let lookup = token_request::look_up(&active.provider, step, &client, answer).map_err(not_buildable)?;
            let Some(lookup) = lookup else { return Ok(Ok(None)) };
            let started = self.core.clock.now();
            missed = match self.outbound.call(lookup.call.clone(), self.policy.call_deadline).await {
                Err(error) => Missed { why: error.to_string(), refused: false },
                Ok(came) => match lookup.read(&came, started) {
                    Ok(found) => return Ok(Ok(Some(found))),
                    Err(ProviderFailure { code, status, .. }) => {
                        Missed { why: format!("{code} ({status})"), refused: matches!(status, 403 | 404) }
                    }
                },
            };
            if step.first && missed.refused {
                break;
            }
        }
        Ok(Err(missed))
    }
}

pub(in crate::services) fn not_buildable(cause: BuildError) -> Refusal {
    let detail = "The provider's settings of this integration do not fit any more; enable it again.";
    Refusal::new(ErrorCode::IntegrationBroken, detail).with_cause(cause)
}

/// The code was obtained by another flow, and slipped into this one. Its tokens are left as they are: to revoke them could
/// end the grant of whoever did consent.
fn of_another_flow(cause: NonceError) -> Refusal {
    tracing::warn!(%cause, "tokens were refused");
    invalid_state().with_cause(cause)
}

/// A code whose exchange may have arrived is spent: sending it again would look like theft.
pub(super) fn no_answer(cause: CallError) -> Refusal {
    Refusal::new(ErrorCode::ProviderUnavailable, "The provider did not answer; start again.").with_cause(cause)
}

pub(super) fn refused_exchange(failure: &ProviderFailure) -> Refusal {
    let refusal = match failure.class {
        FailureClass::DeadGrant => {
            Refusal::new(ErrorCode::ExchangeFailed, "The provider did not accept the authorization; start again.")
        }
        FailureClass::IntegrationBroken | FailureClass::Misconfigured | FailureClass::SubjectRefused => {
            let detail = "The provider refuses the integration's client; check its client id, secret and redirect URI.";
            Refusal::new(ErrorCode::IntegrationBroken, detail)
        }
        FailureClass::Throttled | FailureClass::NotSent | FailureClass::InDoubt => {
            Refusal::new(ErrorCode::ProviderUnavailable, "The provider does not answer as it should; start again later.")
        }
    };
    refusal.with_cause(format!("{} ({})", failure.code, failure.status))
}
