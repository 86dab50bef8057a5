//! Access and refresh token that live together: when they are fresh, and what a received answer makes of them.
//! Pure: the time is handed in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ALTERNATES_MAX;
use crate::domain::secret::{ExposeSecret as _, SecretString, sealed_option, sealed_text};
use crate::domain::tokens::{FailureClass, IssuedTokens, Lifetime, after};

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
    /// How long its tokens live whose answer does not say, as the provider told when it was asked about the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_life: Option<Duration>,
    /// When it is looked at though nobody asks; the store keeps an index of it. `None` also in records of old.
    #[serde(default)]
    pub due: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    #[serde(with = "sealed_text")]
    pub access: SecretString,
    #[serde(with = "sealed_option")]
    pub refresh: Option<SecretString>,
    /// Of OAuth 1.0a: calls are signed with it.
    #[serde(default, with = "sealed_option", skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretString>,
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
    #[serde(default)]
    pub class: Option<FailureClass>,
    /// No attempt is made before; `None`: as soon as somebody asks.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
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
        let measured = before.and_then(|set| set.measured_life).filter(|_| issued.lifetime == Lifetime::Assumed);
        Self {
            access: issued.access_token,
            refresh: issued.refresh_token.or_else(|| old.and_then(|old| old.refresh.clone())),
            secret: issued.token_secret,
            token_type: issued.token_type,
            obtained_at,
            expires_at: measured.and_then(|life| after(obtained_at, life)).or(issued.expires_at),
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

    /// The same access and refresh token.
    pub fn are(&self, other: &Tokens) -> bool {
        let refresh = |tokens: &Tokens| tokens.refresh.as_ref().map(|token| token.expose_secret().to_owned());
        self.access.expose_secret() == other.access.expose_secret() && refresh(self) == refresh(other)
    }
}

/// What became of a received answer when it met the stored connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It is the next generation.
    Advanced,
    /// Another receipt of the same line is ahead; this one is kept beside it.
    KeptAside,
    /// These very tokens are stored already, or what came of their generation since: an earlier commit arrived, and
    /// its answer was lost.
    Known,
    /// The connection is of another consent now: the tokens were not stored.
    OtherGrant,
}

impl TokenSet {
    /// The first tokens of a grant.
    pub fn first(tokens: Tokens) -> Self {
        Self {
            generation: 1,
            current: tokens,
            alternates: Vec::new(),
            last_refreshed_at: None,
            last_error: None,
            measured_life: None,
            due: None,
        }
    }

    /// Its last refresh leaves open whether the grant still lives.
    pub(super) fn is_doubtful(&self) -> bool {
        let class = self.last_error.as_ref().and_then(|error| error.class);
        matches!(class, Some(FailureClass::InDoubt | FailureClass::DeadGrant))
    }

    pub(super) fn receive(&mut self, from: u64, received: Tokens, now: Timestamp) -> Rotation {
        let received = Tokens { from_generation: from, ..received };
        // Behind `from`, the store has fallen back (a failover); what was received is the newest there is.
        if from >= self.generation {
            self.lead(received, from + 1, now);
            self.alternates.clear();
            return Rotation::Advanced;
        }
        // The line has gone on from this generation, so that these tokens are its parents or their dead siblings. Kept
        // at hand they could be sent again one day, and end the family.
        let superseded = from < self.current.from_generation;
        if superseded || std::iter::once(&self.current).chain(&self.alternates).any(|known| known.are(&received)) {
            return Rotation::Known;
        }
        // Another answer to the same question came first: the newest receipt leads, the other stays at hand.
        let aside = if self.current.from_generation == from && received.obtained_at > self.current.obtained_at {
            self.lead(received, self.generation + 1, now)
        } else {
            received
        };
        self.alternates.insert(0, aside);
        self.alternates.truncate(ALTERNATES_MAX);
        Rotation::KeptAside
    }

    /// Puts `tokens` in front; answers what stood there.
    pub(super) fn lead(&mut self, tokens: Tokens, generation: u64, now: Timestamp) -> Tokens {
        self.generation = generation;
        self.last_refreshed_at = Some(now);
        self.last_error = None;
        std::mem::replace(&mut self.current, tokens)
    }
}

pub(super) fn non_negative(span: SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}
