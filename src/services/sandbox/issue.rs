//! What a verdict comes to: the grant written, and tokens handed out once they are durable.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::grants::{Grant, RefreshRecord, Verdict};
use super::records::{Change, Place, fingerprint};
use super::scopes::{SandboxScope, ScopeSet};
use super::tokens::TokenError;
use super::{Sandbox, SandboxError};
use crate::domain::secret::SecretString;

/// How much longer than its life an access token's record is kept.
const ACCESS_MEMORY: Duration = Duration::from_secs(60);

/// The tokens of one answer.
pub struct Issued {
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    pub expires_in: Option<Duration>,
    pub scopes: ScopeSet,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CodeRecord {
    pub(super) grant: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AccessRecord {
    pub(super) grant: String,
    pub(super) scopes: ScopeSet,
    /// `None`: never.
    pub(super) expires_at: Option<Timestamp>,
}

/// A judged call: the grant's id and version, and the other records that change with it.
pub(super) struct Judged<'a> {
    pub(super) id: &'a str,
    pub(super) version: u64,
    pub(super) change: Change,
}

impl Sandbox {
    /// Writes what the verdict says. Answers the tokens with the grant's scopes, which say how the answer
    /// behaves; `None` when somebody else was first.
    pub(super) async fn carry_out(
        &self,
        judged: Judged<'_>,
        verdict: Verdict,
        narrowed: Option<ScopeSet>,
        now: Timestamp,
    ) -> Result<Option<(Issued, ScopeSet)>, TokenError> {
        let (grant, refusal) = match verdict {
            Verdict::Refused(why) => return Err(TokenError::InvalidGrant(why)),
            Verdict::Ends(grant, why) => (grant, Some(TokenError::InvalidGrant(why))),
            Verdict::Unavailable(grant) => (grant, Some(TokenError::Unavailable)),
            Verdict::Granted(grant) => (grant, None),
        };
        let Judged { id, version, mut change } = judged;
        self.records.put(&mut change, (Place::Grant(id), Some(version)), &grant, grant.memory())?;
        let told = match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.mint(&mut change, (id, &grant), narrowed, now)?),
        };
        if !self.records.commit(change).await? {
            return Ok(None);
        }
        told.map(|issued| Some((issued, grant.scopes)))
    }

    /// New tokens for the grant; their records join the change.
    fn mint(
        &self,
        change: &mut Change,
        (id, grant): (&str, &Grant),
        narrowed: Option<ScopeSet>,
        now: Timestamp,
    ) -> Result<Issued, SandboxError> {
        let scopes = narrowed.unwrap_or_else(|| grant.scopes.clone());
        let life = grant.scopes.access_life();
        let access_token = self.secret("sbx_at_")?;
        let access = AccessRecord { grant: id.to_owned(), scopes: scopes.clone(), expires_at: life.map(|life| now + life) };
        let ttl = life.map(|life| life + ACCESS_MEMORY);
        self.records.put(change, (Place::Access(&fingerprint(&access_token)), None), &access, ttl)?;

        let refresh_token = if grant.scopes.has(SandboxScope::NoRefresh) { None } else { Some(self.secret("sbx_rt_")?) };
        if let Some(token) = &refresh_token {
            let fresh = RefreshRecord { grant: id.to_owned(), used_at: None };
            self.records.put(change, (Place::Refresh(&fingerprint(token)), None), &fresh, grant.memory())?;
        }
        Ok(Issued { access_token, refresh_token, expires_in: grant.scopes.announced_life(), scopes })
    }
}
