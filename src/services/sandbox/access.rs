//! What tokens are good for: userinfo, and their revocation (RFC 6750, RFC 7009).

use super::clients::{Presented, Trust, unknown_client};
use super::grants::{AccountName, Grant, RefreshRecord, Stage};
use super::issue::AccessRecord;
use super::records::{Change, Found, Place, fingerprint};
use super::tokens::TokenError;
use super::{ROUNDS, Sandbox, SandboxError, TOKEN_MAX};
use crate::domain::secret::{ExposeSecret, SecretString};

/// Whom an access token speaks for.
pub struct UserInfo {
    pub account: AccountName,
    pub scope: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not known, expired or revoked.
    #[error("the access token is not valid")]
    InvalidToken,
    #[error(transparent)]
    Broken(#[from] SandboxError),
}

impl Sandbox {
    pub async fn userinfo(&self, token: &SecretString) -> Result<UserInfo, AccessError> {
        if token.expose_secret().len() > TOKEN_MAX {
            return Err(AccessError::InvalidToken);
        }
        let access = self.records.read::<AccessRecord>(Place::Access(&fingerprint(token))).await?;
        let access = access.ok_or(AccessError::InvalidToken)?.value;
        if access.expires_at.is_some_and(|expiry| self.clock.now() >= expiry) {
            return Err(AccessError::InvalidToken);
        }
        match self.records.read::<Grant>(Place::Grant(&access.grant)).await? {
            Some(Found { value: Grant { stage: Stage::Live, account, .. }, .. }) => {
                Ok(UserInfo { account, scope: access.scopes.to_string() })
            }
            _ => Err(AccessError::InvalidToken),
        }
    }

    /// RFC 7009: a refresh token ends its grant, an access token only itself. A token that nobody knows
    /// is no error.
    pub async fn revoke(&self, client: &Presented, token: &SecretString) -> Result<(), TokenError> {
        let Trust::Known = self.trust(client).await? else { return Err(unknown_client()) };
        if token.expose_secret().len() > TOKEN_MAX {
            return Ok(());
        }
        let hash = fingerprint(token);
        if let Some(refresh) = self.records.read::<RefreshRecord>(Place::Refresh(&hash)).await? {
            return self.end_grant(client, &refresh.value.grant).await;
        }
        if let Some(access) = self.records.read::<AccessRecord>(Place::Access(&hash)).await? {
            return self.drop_access(client, &access.value.grant, &hash).await;
        }
        Ok(())
    }

    async fn end_grant(&self, client: &Presented, id: &str) -> Result<(), TokenError> {
        for _ in 0..ROUNDS {
            let Some(grant) = self.grant_of(client, id).await? else { return Ok(()) };
            let mut change = Change::default();
            let over = grant.value.over();
            self.records.put(&mut change, (Place::Grant(id), Some(grant.version)), &over, over.memory())?;
            if self.records.commit(change).await? {
                return Ok(());
            }
        }
        Err(SandboxError::Contended.into())
    }

    async fn drop_access(&self, client: &Presented, id: &str, hash: &str) -> Result<(), TokenError> {
        if self.grant_of(client, id).await?.is_some() {
            let mut change = Change::default();
            self.records.delete(&mut change, Place::Access(hash));
            self.records.commit(change).await?;
        }
        Ok(())
    }

    /// The grant, if it is the client's; `None` when it is forgotten already.
    async fn grant_of(&self, client: &Presented, id: &str) -> Result<Option<Found<Grant>>, TokenError> {
        match self.records.read::<Grant>(Place::Grant(id)).await? {
            Some(grant) if grant.value.client != client.id => {
                Err(TokenError::UnauthorizedClient("the token was issued to another client"))
            }
            found => Ok(found),
        }
    }
}
