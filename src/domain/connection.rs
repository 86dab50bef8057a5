//! What one end user has granted one integration, and the rules of its tokens: when one is fresh,
//! what a refresh makes of it, what a failure does. Pure: the time is handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::{Account, ConnectionId, EndUserId, GrantId, IntegrationId, IntegrationName, ProviderId, TenantId, TokenSetName};
use super::secret::{SecretString, sealed_option, sealed_text};
use super::tokens::{FailureClass, IssuedTokens, TokenAnswer};

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
    /// Who connected, in the provider's words, where it says.
    pub subject: Option<String>,
    /// What the provider's file keeps of answers and callbacks; shown to the tenant.
    pub metadata: BTreeMap<String, Value>,
    /// The values of the provider's params with which this grant was made (`shop`, `subdomain`, …).
    pub params: BTreeMap<String, String>,
    pub connected_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Where a connection stands (REFRESH.md).
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
}

/// Access and refresh token that live together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenSet {
    pub generation: u64,
    pub current: Tokens,
    #[serde(default)]
    pub alternates: Vec<Tokens>,
    #[serde(default)]
    pub last_refreshed_at: Option<Timestamp>,
    #[serde(default)]
    pub last_error: Option<LastError>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(with = "sealed_text")]
    pub access: SecretString,
    #[serde(with = "sealed_option")]
    pub refresh: Option<SecretString>,
    pub token_type: String,
    /// When the request began whose answer brought them.
    pub obtained_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub refresh_expires_at: Option<Timestamp>,
    pub scopes: Vec<String>,
    pub from_generation: u64,
    pub received_by: String,
}

/// The last failure of a refresh, for people; cleared by the next success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub at: Timestamp,
    pub code: String,
}

/// How good an access token still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it, and refresh in the background.
    Ageing,
    /// Too close to its end to be served as good.
    Stale,
}

impl Tokens {
    /// From an answer; `before` supplies what the answer left out.
    pub fn issued(issued: IssuedTokens, before: Option<&TokenSet>, obtained_at: Timestamp, received_by: &str) -> Self {
        let old = before.map(|set| &set.current);
        let kept = issued.refresh_token.is_none();
        Self {
            access: issued.access_token,
            refresh: issued.refresh_token.or_else(|| old.and_then(|old| old.refresh.clone())),
            token_type: issued.token_type,
            obtained_at,
            expires_at: issued.expires_at,
            refresh_expires_at: issued.refresh_expires_at.or_else(|| old.filter(|_| kept).and_then(|old| old.refresh_expires_at)),
            scopes: issued.scopes.or_else(|| old.map(|old| old.scopes.clone())).unwrap_or_default(),
            from_generation: before.map_or(0, |set| set.generation),
            received_by: received_by.to_owned(),
        }
    }

    /// The whole life of the access token; `None` when it does not expire.
    pub fn life(&self) -> Option<Duration> {
        self.expires_at.map(|end| non_negative(end.duration_since(self.obtained_at)))
    }

    /// What is left of it at `now`; `None` when it does not expire.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.expires_at.map(|end| non_negative(end.duration_since(now)))
    }

    /// Below this much life left a token is not served as good: 60 s, or 5 % of a short life.
    pub fn floor(&self) -> Duration {
        self.life().map_or(Duration::ZERO, |life| Duration::from_secs(60).min(life / 20))
    }

    /// A refresh in the background begins with this much life left: 2 min or 10 % of life, the
    /// longer, but never in the first half of its life.
    pub fn soft(&self) -> Duration {
        self.life().map_or(Duration::ZERO, |life| Duration::from_secs(120).max(life / 10).min(life / 2))
    }

    pub fn freshness(&self, now: Timestamp) -> Freshness {
        match self.left(now) {
            None => Freshness::Fresh,
            Some(left) if left <= self.floor() => Freshness::Stale,
            Some(left) if left <= self.soft() => Freshness::Ageing,
            Some(_) => Freshness::Fresh,
        }
    }

    /// The end user's token has some life left, though perhaps less than the floor.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.left(now).is_none_or(|left| !left.is_zero())
    }
}

/// What became of a received answer when it met the stored connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It is the next generation.
    Advanced,
    /// Another receipt of the same line is ahead; this one is kept beside it.
    KeptAside,
    /// The connection is of another consent now: the tokens were not stored.
    OtherGrant,
}

impl Connection {
    /// Revoked and forgotten: what is stored is only a tombstone.
    pub fn is_gone(&self) -> bool {
        matches!(self.status, Status::Revoked { .. })
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

    /// Commit by generation (REFRESH.md, step 9): a received token is never thrown away while its
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
        let rotation = set.receive(from, received, now);
        if rotation == Rotation::Advanced {
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
    pub fn refresh_failed(mut self, name: &TokenSetName, code: &str, now: Timestamp) -> Self {
        if let Some(set) = self.sets.get_mut(name) {
            set.last_error = Some(LastError { at: now, code: code.to_owned() });
        }
        self.updated_at = now;
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
        }
        self
    }
}

impl TokenSet {
    /// The first tokens of a grant.
    pub fn first(tokens: Tokens) -> Self {
        Self { generation: 1, current: tokens, alternates: Vec::new(), last_refreshed_at: None, last_error: None }
    }

    fn receive(&mut self, from: u64, received: Tokens, now: Timestamp) -> Rotation {
        if from == self.generation {
            self.current = Tokens { from_generation: from, ..received };
            self.generation += 1;
            self.alternates.clear();
            self.last_refreshed_at = Some(now);
            self.last_error = None;
            return Rotation::Advanced;
        }
        // Another answer to the same question came first: the newest receipt leads, the other stays at hand.
        let aside = if self.current.from_generation == from && received.obtained_at > self.current.obtained_at {
            self.generation += 1;
            std::mem::replace(&mut self.current, received)
        } else {
            received
        };
        self.alternates.insert(0, aside);
        self.alternates.truncate(ALTERNATES_MAX);
        Rotation::KeptAside
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
    pub received_by: String,
}

impl Connection {
    /// A fresh consent. `before` is the connection it replaces, whose refresh token is kept where
    /// the same account consents again and the provider sends none (Google on a second consent).
    pub fn established(
        new: NewConnection,
        answer: TokenAnswer,
        before: Option<&Connection>,
        obtained_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let same_account = before.filter(|old| old.subject == answer.subject && !matches!(old.status, Status::Revoked { .. }));
        let sets = answer.sets.into_iter().map(|(name, issued)| {
            let old = same_account.and_then(|old| old.set(&name));
            let asked = new.asked_scopes.clone();
            let scopes = issued.scopes.clone().unwrap_or(asked);
            let mut tokens = Tokens::issued(IssuedTokens { scopes: Some(scopes), ..issued }, old, obtained_at, &new.received_by);
            tokens.from_generation = 0;
            (name, TokenSet::first(tokens))
        });
        Self {
            id: ConnectionId::derive(&new.tenant, &new.end_user, &new.integration_id, &new.account),
            sets: sets.collect(),
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
        }
    }
}

/// The `flight` record, one per connection and token set: plain, so that scripts can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    pub generation: u64,
    pub fence: u64,
    pub lease: Option<Lease>,
    pub intent: Option<Intent>,
    pub backoff: Backoff,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub owner: String,
    pub until: Timestamp,
}

/// What is about to be sent: written before, cleared by the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub attempt: String,
    pub node: String,
    pub fence: u64,
    pub grant_id: GrantId,
    pub from_generation: u64,
    pub prepared_at: Timestamp,
    pub class: String,
}

/// Failures in a row, what the last one was, and when the next attempt may be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub failures: u32,
    pub not_before: Option<Timestamp>,
    #[serde(default)]
    pub class: Option<FailureClass>,
    #[serde(default)]
    pub code: String,
    /// Since when the provider says that the grant is over; believed only when it says so again.
    #[serde(default)]
    pub refused_since: Option<Timestamp>,
}

fn non_negative(span: SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}
