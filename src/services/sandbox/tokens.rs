//! The token endpoint: redeems codes, rotates refresh tokens. Each attempt reads, judges and commits on
//! the versions it read; who loses the race looks again.

use super::clients::{KnownClient, Presented, Trust, unknown_client};
use super::grants::{Claim, Grant, RefreshRecord, Verdict};
use super::issue::{CodeRecord, Issued, Judged};
use super::records::{Change, Found, Place, fingerprint};
use super::scopes::ScopeSet;
use super::{GRANT_IDLE, ROUNDS, Sandbox, SandboxError, TOKEN_MAX};
use crate::domain::secret::{ExposeSecret, SecretString};

/// `grant_type=authorization_code`.
pub struct CodeExchange {
    pub code: SecretString,
    pub redirect_uri: String,
    pub verifier: SecretString,
}

/// `grant_type=refresh_token`.
pub struct RefreshRequest {
    pub refresh_token: SecretString,
    /// Fewer scopes for the access token (RFC 6749 6).
    pub scope: Option<String>,
}

pub enum TokenReply {
    Whole(Issued),
    /// `lose-answer`: it is done, and the client is not to hear all of it.
    CutShort(Issued),
}

/// RFC 6749 5.2. The sentences hold nothing of the request.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    #[error("{0}")]
    InvalidClient(&'static str),
    #[error("{0}")]
    InvalidGrant(&'static str),
    #[error("{0}")]
    UnauthorizedClient(&'static str),
    #[error("grant_type must be authorization_code or refresh_token")]
    UnsupportedGrantType,
    #[error("{0}")]
    InvalidScope(&'static str),
    #[error("the scope flaky refuses every second call; try again")]
    Unavailable,
    #[error(transparent)]
    Broken(#[from] SandboxError),
}

/// `None` when somebody else was first.
type Round = Result<Option<(TokenReply, ScopeSet)>, TokenError>;

impl Sandbox {
    /// RFC 6749 4.1.3: a code for tokens.
    pub async fn exchange(&self, client: &Presented, request: &CodeExchange) -> Result<TokenReply, TokenError> {
        check_token(&request.code)?;
        for _ in 0..ROUNDS {
            if let Some(done) = self.try_exchange(client, request).await? {
                return Ok(self.in_its_time(done).await);
            }
        }
        Err(SandboxError::Contended.into())
    }

    /// RFC 6749 6: a refresh token for the next tokens.
    pub async fn refresh(&self, client: &Presented, request: &RefreshRequest) -> Result<TokenReply, TokenError> {
        check_token(&request.refresh_token)?;
        for _ in 0..ROUNDS {
            if let Some(done) = self.try_refresh(client, request).await? {
                return Ok(self.in_its_time(done).await);
            }
        }
        Err(SandboxError::Contended.into())
    }

    async fn try_exchange(&self, client: &Presented, request: &CodeExchange) -> Round {
        let trust = self.trust(client).await?;
        let unknown = TokenError::InvalidGrant("the code is not known or has expired");
        let hash = fingerprint(&request.code);
        let Some(code) = self.records.read::<CodeRecord>(Place::Code(&hash)).await? else { return Err(unknown) };
        let id = code.value.grant;
        let Some(grant) = self.records.read::<Grant>(Place::Grant(&id)).await? else { return Err(unknown) };

        let now = self.clock.now();
        let claim = Claim { client: &client.id, redirect_uri: &request.redirect_uri, verifier: request.verifier.expose_secret() };
        let verdict = grant.value.redeem(&claim, now);
        let mut change = Change::default();
        if let (Trust::New, Verdict::Granted(_)) = (trust, &verdict) {
            let place = (Place::Client(client.id.as_str()), None);
            self.records.put(&mut change, place, &KnownClient::first_seen(client), None)?;
        }
        let judged = Judged { id: &id, version: grant.version, change };
        let issued = self.carry_out(judged, verdict, None, now).await?;
        Ok(issued.map(|(issued, scopes)| (TokenReply::Whole(issued), scopes)))
    }

    async fn try_refresh(&self, client: &Presented, request: &RefreshRequest) -> Round {
        // A refresh token exists only after its client's first redemption.
        let Trust::Known = self.trust(client).await? else { return Err(unknown_client()) };
        let unknown = TokenError::InvalidGrant("the refresh token is not known");
        let hash = fingerprint(&request.refresh_token);
        let place = Place::Refresh(&hash);
        let Some(token) = self.records.read::<RefreshRecord>(place).await? else { return Err(unknown) };
        let Some(grant) = self.records.read::<Grant>(Place::Grant(&token.value.grant)).await? else { return Err(unknown) };

        let now = self.clock.now();
        let narrowed = narrow(&grant.value, request.scope.as_deref())?;
        let cut_short = grant.value.loses_answer(&token.value);
        let verdict = grant.value.refresh(&client.id, &token.value, now);
        let mut change = Change::default();
        if let (Verdict::Granted(_), Found { value, version }) = (&verdict, &token) {
            let used = RefreshRecord { grant: value.grant.clone(), used_at: value.used_at.or(Some(now)) };
            self.records.put(&mut change, (place, Some(*version)), &used, Some(GRANT_IDLE))?;
        }
        let judged = Judged { id: &token.value.grant, version: grant.version, change };
        let issued = self.carry_out(judged, verdict, narrowed, now).await?;
        let reply = if cut_short { TokenReply::CutShort } else { TokenReply::Whole };
        Ok(issued.map(|(issued, scopes)| (reply(issued), scopes)))
    }

    /// `slow`: the work is done, the answer waits.
    async fn in_its_time(&self, (reply, scopes): (TokenReply, ScopeSet)) -> TokenReply {
        if let Some(delay) = scopes.answer_delay() {
            self.clock.sleep(delay).await;
        }
        reply
    }
}

/// The scopes asked for with a refresh: never more than was granted.
fn narrow(grant: &Grant, asked: Option<&str>) -> Result<Option<ScopeSet>, TokenError> {
    let Some(asked) = asked else { return Ok(None) };
    match ScopeSet::parse(asked) {
        Ok(scopes) if grant.scopes.contains_all(&scopes) => Ok(Some(scopes)),
        _ => Err(TokenError::InvalidScope("scope asks for more than was granted")),
    }
}

fn check_token(token: &SecretString) -> Result<(), TokenError> {
    let fits = token.expose_secret().len() <= TOKEN_MAX;
    fits.then_some(()).ok_or(TokenError::InvalidGrant("the code or token is longer than any of ours"))
}
