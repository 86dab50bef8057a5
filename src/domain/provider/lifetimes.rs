//! How a provider's refresh tokens live and die: what a refresh may cost (docs/refresh.md).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::connection::Tokens;

use super::request::RequestSpec;
use super::response::ResponseSpec;

/// What a use does to a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshClass {
    /// There is no refresh.
    None,
    /// The same token again and again.
    Nonrotating,
    /// Each use brings the next; the old one is still good for so long.
    RotateGrace(Duration),
    /// Each use brings the next; the old one is refused, the family lives.
    RotatePlain,
    /// Each use brings the next; the old one's use kills the family.
    RotateStrict,
    /// Nobody said. Retried like grace, stolen like strict.
    Unknown,
}

impl RefreshClass {
    pub fn as_str(self) -> &'static str {
        match self {
            RefreshClass::None => "none",
            RefreshClass::Nonrotating => "nonrotating",
            RefreshClass::RotateGrace(_) => "rotate_grace",
            RefreshClass::RotatePlain => "rotate_plain",
            RefreshClass::RotateStrict => "rotate_strict",
            RefreshClass::Unknown => "unknown",
        }
    }
}

/// What is exchanged for the next access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshWith {
    RefreshToken,
    /// There is no refresh token: the access token itself is extended, before it ends.
    AccessToken,
    /// Nothing that was issued: the token is minted anew with the integration's own credentials.
    Client,
}

impl RefreshWith {
    pub fn as_str(self) -> &'static str {
        match self {
            RefreshWith::RefreshToken => "refresh_token",
            RefreshWith::AccessToken => "access_token",
            RefreshWith::Client => "client",
        }
    }

    /// Whether these tokens hold what would be sent.
    pub fn is_in(self, tokens: &Tokens) -> bool {
        match self {
            RefreshWith::RefreshToken => tokens.refresh.is_some(),
            RefreshWith::AccessToken | RefreshWith::Client => true,
        }
    }

    /// Whether that has ended. A refresh token's end only its provider knows for sure.
    pub fn is_over(self, tokens: &Tokens, now: Timestamp) -> bool {
        self == RefreshWith::AccessToken && !tokens.is_alive(now)
    }
}

/// How often a provider may be asked: at most so many in any span so long, of which so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
    pub burst: u32,
}

impl Rate {
    /// What comes at once after a pause is what a tenth of a second is worth, or one.
    pub fn new(count: u32, per: Duration) -> Self {
        let rate = Self { count: count.max(1), per, burst: 1 };
        Self { burst: (rate.in_a_second() / 10).max(1), ..rate }
    }

    /// What a second is worth; one, where it is less.
    pub fn in_a_second(self) -> u32 {
        let worth = u128::from(self.count) * Duration::from_secs(1).as_nanos() / self.per.as_nanos().max(1);
        u32::try_from(worth).unwrap_or(self.count).clamp(1, self.count)
    }
}

/// The `[refresh]` block.
#[derive(Debug, Clone)]
pub struct RefreshSpec {
    pub(crate) class: RefreshClass,
    pub(crate) with: RefreshWith,
    pub(crate) min_age: Option<Duration>,
    pub(crate) kills_access: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) idle_max: Option<Duration>,
    pub(crate) rate: Option<Rate>,
    pub(crate) note: Option<String>,
    pub(crate) request: RequestSpec,
    pub(crate) response: ResponseSpec,
}

impl RefreshSpec {
    pub fn class(&self) -> RefreshClass {
        self.class
    }

    pub fn with(&self) -> RefreshWith {
        self.with
    }

    /// What a refresh is made with; `None` where there is none.
    pub fn renewal(&self) -> Option<RefreshWith> {
        Some(self.with).filter(|_| self.class != RefreshClass::None)
    }

    /// Whether there is a refresh for these tokens.
    pub fn refreshes(&self, tokens: &Tokens) -> bool {
        self.renewal().is_some_and(|with| with.is_in(tokens))
    }

    /// Before this the provider refuses to refresh these tokens. Not after their end: those that were imported, or live
    /// shorter than usual, would be of no use until then, and a provider's reason to refuse is a token that still works.
    pub fn not_before(&self, tokens: &Tokens) -> Option<Timestamp> {
        let of_age = tokens.obtained_at.checked_add(SignedDuration::try_from(self.min_age?).ok()?).ok()?;
        Some(tokens.expires_at.map_or(of_age, |end| of_age.min(end)))
    }

    /// Whether the provider would refresh these tokens at this moment, for all that is known here.
    pub fn refreshes_now(&self, tokens: &Tokens, now: Timestamp) -> bool {
        let early = self.not_before(tokens).is_some_and(|at| now < at);
        self.refreshes(tokens) && !early && !self.with.is_over(tokens, now)
    }

    /// A token that is younger is not refreshed: the provider refuses.
    pub fn min_age(&self) -> Option<Duration> {
        self.min_age
    }

    /// A refresh ends the access token that clients may still hold.
    pub fn kills_access(&self) -> bool {
        self.kills_access
    }

    /// A refresh token lives so long from the consent, used or not.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// A refresh token dies when unused for so long.
    pub fn idle_max(&self) -> Option<Duration> {
        self.idle_max
    }

    /// How often the provider may be asked for a refresh, over all grants and nodes.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// How a refresh token is had, for people.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_worth_a_tenth_of_a_second() {
        for (count, per, burst) in [(200, 1, 20), (19, 1, 1), (20, 1, 2), (100, 60, 1), (6000, 60, 10), (1, 3600, 1)] {
            assert_eq!(Rate::new(count, Duration::from_secs(per)).burst, burst, "{count} in {per} s");
        }
    }
}
