//! What one end user has granted one integration, and the rules of its tokens: when one is fresh,
//! what a refresh makes of it, what a failure does. Pure: the time is handed in.

mod grant_end;
mod token_set;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use grant_end::GrantEnd;
use token_set::non_negative;
pub use token_set::{Freshness, LastError, Rotation, TokenSet, Tokens};

use super::due;
use super::ids::{Account, ConnectionId, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId, TokenSetName};
use super::provider::RefreshWith;
use super::tokens::{FailureClass, IssuedTokens, Lifetime, TokenAnswer};

/// A refresh keeps at most so many superseded siblings of the current tokens.
pub const ALTERNATES_MAX: usize = 2;

/// The `grant` record: sealed whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    pub id: ConnectionId,
    pub tenant: TenantId,
    pub end_user: EndUserId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub integration_id: IntegrationId,
    pub account: Account,
    pub grant_id: GrantId,
    pub status: Status,
    pub confirmed: bool,
    pub sets: BTreeMap<TokenSetName, TokenSet>,
    /// What its tokens are refreshed with, as its provider's file said when it was made; `None`: with nothing.
    #[serde(default = "by_refresh_token")]
    pub renewal: Option<RefreshWith>,
    /// Scopes that were named for it alone; its integration's where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_scopes: Vec<String>,
    /// Who connected, in the provider's words, where it says.
    pub subject: Option<String>,
    /// What the provider's file keeps of answers and callbacks; shown to the tenant.
    pub metadata: BTreeMap<String, Value>,
    /// The values of the provider's params with which this grant was made (`shop`, `subdomain`, …).
    pub params: BTreeMap<String, String>,
    pub connected_at: Timestamp,
    pub updated_at: Timestamp,
    /// When somebody last fetched a token of it, to the day.
    #[serde(default)]
    pub fetched_at: Option<Timestamp>,
    /// The end of its grant that an event has told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_told: Option<Timestamp>,
}

/// Of records that do not say it.
fn by_refresh_token() -> Option<RefreshWith> {
    Some(RefreshWith::RefreshToken)
}

/// Where a connection stands (docs/refresh.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Status {
    Active,
    /// A refresh was sent and its answer is not known.
    InDoubt {
        since: Timestamp,
        reason: String,
    },
    /// The provider refuses the newest refresh token: the end user must consent again.
    NeedsReauth {
        since: Timestamp,
        reason: String,
    },
    Revoked {
        since: Timestamp,
    },
}

impl Status {
    pub fn as_str(&self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::InDoubt { .. } => "in_doubt",
            Status::NeedsReauth { .. } => "needs_reauth",
            Status::Revoked { .. } => "revoked",
        }
    }

    /// Why, since when, and what the tenant can do, where it is not active.
    pub fn explained(&self) -> Option<Explained<'_>> {
        let (reason, since, advice) = match self {
            Status::Active | Status::Revoked { .. } => return None,
            Status::InDoubt { since, reason } => (reason, since, IN_DOUBT_ADVICE),
            Status::NeedsReauth { since, reason } if reason == ENDED => (reason, since, ENDED_ADVICE),
            Status::NeedsReauth { since, reason } => (reason, since, NEEDS_REAUTH_ADVICE),
        };
        Some(Explained { reason, since: *since, advice })
    }
}

/// A status in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained<'a> {
    /// A plain code.
    pub reason: &'a str,
    pub since: Timestamp,
    /// A sentence to the tenant.
    pub advice: &'static str,
}

/// Why a connection is over whose access token had to be extended while it lived.
pub const ENDED: &str = "access_token_ended";

const ENDED_ADVICE: &str =
    "This provider extends a token only while it lives, and this one has ended: send the end user through a new authorize link.";
const IN_DOUBT_ADVICE: &str = "Nothing has to be done now: the token is served while it lives, and the refresh is tried again when that \
                               can do no harm. If the provider then refuses, the end user must connect again.";
const NEEDS_REAUTH_ADVICE: &str =
    "The provider does not refresh this connection any more: send the end user through a new authorize link.";

impl Connection {
    /// Revoked and forgotten: what is stored is only a tombstone.
    pub fn is_gone(&self) -> bool {
        matches!(self.status, Status::Revoked { .. })
    }

    /// No refresh can help: gone, or its end user must consent anew.
    pub fn is_over(&self) -> bool {
        matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. })
    }

    /// The tombstone: ids alone, so that nothing in flight can revive what was revoked.
    pub fn buried(mut self, now: Timestamp) -> Self {
        self.status = Status::Revoked { since: now };
        self.sets.clear();
        self.metadata.clear();
        self.params.clear();
        self.subject = None;
        self.updated_at = now;
        self
    }

    pub fn set(&self, name: &TokenSetName) -> Option<&TokenSet> {
        self.sets.get(name)
    }

    /// Commit by generation (docs/refresh.md, step 8): a received token is never thrown away while its
    /// grant lives.
    pub fn rotated(
        mut self,
        grant: &GrantId,
        name: &TokenSetName,
        from: u64,
        received: Tokens,
        now: Timestamp,
    ) -> (Self, Rotation) {
        let Some(set) = self.sets.get_mut(name).filter(|_| self.grant_id == *grant) else {
            return (self, Rotation::OtherGrant);
        };
        let before = set.generation;
        let rotation = set.receive(from, received, now);
        if set.generation != before {
            set.due = due::first_look(&self.id, name, set, self.renewal);
        }
        // What one set's success proves says nothing about another set of the same consent.
        if rotation == Rotation::Advanced && !self.sets.values().any(TokenSet::is_doubtful) {
            self.status = Status::Active;
        }
        self.updated_at = now;
        (self, rotation)
    }

    /// Values that came with a refresh replace those of the same name (an instance URL may move).
    pub fn with_metadata(mut self, metadata: BTreeMap<String, Value>) -> Self {
        self.metadata.extend(metadata);
        self
    }

    /// The last refresh failed; the tokens stay as they are.
    pub fn refresh_failed(mut self, name: &TokenSetName, class: FailureClass, code: &str, now: Timestamp) -> Self {
        if let Some(set) = self.sets.get_mut(name) {
            set.last_error = Some(LastError { at: now, code: code.to_owned(), class: Some(class), retry_at: None });
        }
        self.updated_at = now;
        self
    }

    /// When the refresh that failed is tried again at the earliest.
    pub fn retried_at(mut self, name: &TokenSetName, retry_at: Option<Timestamp>) -> Self {
        if let Some(error) = self.sets.get_mut(name).and_then(|set| set.last_error.as_mut()) {
            error.retry_at = retry_at;
        }
        self
    }

    pub fn in_doubt(mut self, reason: &str, now: Timestamp) -> Self {
        if matches!(self.status, Status::Active) {
            self.status = Status::InDoubt { since: now, reason: reason.to_owned() };
        }
        self
    }

    pub fn needs_reauth(mut self, reason: &str, now: Timestamp) -> Self {
        if !matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. }) {
            self.status = Status::NeedsReauth { since: now, reason: reason.to_owned() };
            self.sets.values_mut().for_each(|set| set.due = None);
        }
        self
    }

    /// When this set is looked at next though nobody asks.
    pub fn due_at(mut self, name: &TokenSetName, due: Option<Timestamp>) -> Self {
        if let Some(set) = self.sets.get_mut(name) {
            set.due = due;
        }
        self
    }

    /// A token was fetched. What an older version wrote is put in order on the way: it knows no due times.
    pub fn fetched(mut self, now: Timestamp) -> Self {
        self.fetched_at = Some(now);
        let over = matches!(self.status, Status::NeedsReauth { .. } | Status::Revoked { .. });
        for (name, set) in self.sets.iter_mut().filter(|(_, set)| !over && set.due.is_none()) {
            set.due = due::first_look(&self.id, name, set, self.renewal);
        }
        self
    }

    pub fn was_fetched_within(&self, span: Duration, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| non_negative(now.duration_since(at)) < span)
    }
}

/// Everything a new consent is made of, apart from the provider's answer.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant: TenantId,
    pub end_user: EndUserId,
    pub provider: ProviderId,
    pub integration: IntegrationName,
    pub integration_id: IntegrationId,
    pub account: Account,
    pub grant_id: GrantId,
    pub confirmed: bool,
    pub params: BTreeMap<String, String>,
    /// Asked for; stands in where the answer does not say what was granted.
    pub asked_scopes: Vec<String>,
    /// Named for this connection alone.
    pub named_scopes: Vec<String>,
    /// What its tokens are refreshed with.
    pub renewal: Option<RefreshWith>,
    pub received_by: String,
}

impl Connection {
    /// A fresh consent. `before` is the connection it replaces, whose refresh token is kept where
    /// the same account consents again and the provider sends none (Google on a second consent). An
    /// account that is not known is not the same: two people's tokens must not be mixed.
    pub fn established(
        new: NewConnection,
        answer: TokenAnswer,
        before: Option<&Connection>,
        obtained_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let same_account = before.filter(|old| old.subject.is_some() && old.subject == answer.subject && !old.is_gone());
        let sets = answer.sets.into_iter().map(|(name, issued)| {
            let old = same_account.and_then(|old| old.set(&name));
            let asked = new.asked_scopes.clone();
            let scopes = issued.scopes.clone().unwrap_or(asked);
            // Where the provider could not be asked this time, what it told of the same account stands.
            let measured_life = match issued.lifetime {
                Lifetime::Measured(life) => Some(life),
                Lifetime::Named | Lifetime::Assumed => old.and_then(|old| old.measured_life),
            };
            let mut tokens = Tokens::issued(IssuedTokens { scopes: Some(scopes), ..issued }, old, obtained_at, &new.received_by);
            tokens.from_generation = 0;
            (name, TokenSet { measured_life, ..TokenSet::first(tokens) })
        });
        let id = ConnectionId::derive(&new.tenant, &new.end_user, &new.integration_id, &new.account);
        let sets = sets.map(|(name, set)| {
            let due = due::first_look(&id, &name, &set, new.renewal);
            (name, TokenSet { due, ..set })
        });
        Self {
            sets: sets.collect(),
            renewal: new.renewal,
            named_scopes: new.named_scopes,
            id,
            tenant: new.tenant,
            end_user: new.end_user,
            provider: new.provider,
            integration: new.integration,
            integration_id: new.integration_id,
            account: new.account,
            grant_id: new.grant_id,
            status: Status::Active,
            confirmed: new.confirmed,
            subject: answer.subject,
            metadata: answer.metadata,
            params: new.params,
            connected_at: now,
            updated_at: now,
            fetched_at: Some(now),
            end_told: None,
        }
    }
}

#[cfg(test)]
mod tests;
