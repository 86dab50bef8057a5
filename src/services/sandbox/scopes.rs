//! The scopes of the sandbox and the faults that some of them ask for, in one table: the sandbox's
//! first page, its discovery document and docs/sandbox.md print it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ACCESS_LIFE, ROTATE_GRACE, SHORT_LIFE, SLOW_ANSWER};

/// Longest `scope` parameter.
pub const SCOPE_MAX: usize = 1024;

macro_rules! sandbox_scopes {
    ($($variant:ident = $name:literal, $description:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum SandboxScope { $(#[serde(rename = $name)] $variant,)* }

        impl SandboxScope {
            pub const ALL: &[SandboxScope] = &[$(SandboxScope::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(SandboxScope::$variant => $name,)* }
            }

            /// One sentence for people.
            pub fn description(self) -> &'static str {
                match self { $(SandboxScope::$variant => $description,)* }
            }
        }
    };
}

sandbox_scopes! {
    Read = "read", "An ordinary scope; given when none is asked for.";
    Write = "write", "An ordinary scope.";
    Offline = "offline", "An ordinary scope, for code that always asks for it; refresh tokens are issued without it too.";
    Slow = "slow", "The token endpoint does its work and answers 3 seconds later.";
    Flaky = "flaky", "Every second token call of the grant is answered 503 and changes nothing; the first one works.";
    LoseAnswer = "lose-answer", "A refresh is processed, but the connection is closed half-way through the answer, the first time for each refresh token.";
    ShortLived = "short-lived", "Access tokens live 8 seconds instead of 300.";
    StrictRotation = "strict-rotation", "A rotated refresh token that is used again ends the grant at once, without the 60 seconds of grace.";
    NoRefresh = "no-refresh", "No refresh token is issued.";
    Dead = "dead", "Every refresh is answered invalid_grant.";
    NoExpiry = "no-expiry", "Access tokens never expire and the answer names no expires_in; with short-lived they die after 8 seconds all the same, unannounced.";
}

/// The scopes of one grant or token, without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<SandboxScope>);

/// A `scope` parameter that names something else than the table's scopes, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownScope;

impl ScopeSet {
    /// From a space-separated list (RFC 6749 3.3); nothing asked for is `read`.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        if text.len() > SCOPE_MAX {
            return Err(UnknownScope);
        }
        let named = |name: &str| SandboxScope::ALL.iter().copied().find(|scope| scope.as_str() == name).ok_or(UnknownScope);
        let mut scopes = text.split(' ').filter(|name| !name.is_empty()).map(named).collect::<Result<BTreeSet<_>, _>>()?;
        if scopes.is_empty() {
            scopes.insert(SandboxScope::Read);
        }
        Ok(Self(scopes))
    }

    pub fn has(&self, scope: SandboxScope) -> bool {
        self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = SandboxScope> + '_ {
        self.0.iter().copied()
    }

    pub fn contains_all(&self, wanted: &ScopeSet) -> bool {
        wanted.0.is_subset(&self.0)
    }

    /// How long an access token lives; `None` for ever.
    pub(super) fn access_life(&self) -> Option<Duration> {
        match (self.has(SandboxScope::ShortLived), self.has(SandboxScope::NoExpiry)) {
            (true, _) => Some(SHORT_LIFE),
            (false, true) => None,
            (false, false) => Some(ACCESS_LIFE),
        }
    }

    /// What the answer says about it.
    pub(super) fn announced_life(&self) -> Option<Duration> {
        self.access_life().filter(|_| !self.has(SandboxScope::NoExpiry))
    }

    pub(super) fn rotation_grace(&self) -> Duration {
        if self.has(SandboxScope::StrictRotation) { Duration::ZERO } else { ROTATE_GRACE }
    }

    pub(super) fn answer_delay(&self) -> Option<Duration> {
        self.has(SandboxScope::Slow).then_some(SLOW_ANSWER)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{}", scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_parses_to_itself_and_stores_under_its_name() {
        for scope in SandboxScope::ALL {
            let set = ScopeSet::parse(scope.as_str()).unwrap();
            assert_eq!(set.iter().collect::<Vec<_>>(), [*scope]);
            assert_eq!(serde_json::to_string(scope).unwrap(), format!("\"{}\"", scope.as_str()));
        }
    }

    #[test]
    fn lists_are_forgiving_in_spaces_and_strict_in_names() {
        assert_eq!(ScopeSet::parse("").unwrap().to_string(), "read");
        assert_eq!(ScopeSet::parse("  write  read write ").unwrap().to_string(), "read write");
        for wrong in ["Read", "read,write", "read\twrite", "read openid"] {
            assert_eq!(ScopeSet::parse(wrong), Err(UnknownScope), "{wrong}");
        }
        assert!(ScopeSet::parse(&format!("{}read", " ".repeat(SCOPE_MAX - 4))).is_ok());
        assert!(ScopeSet::parse(&format!("{}read", " ".repeat(SCOPE_MAX - 3))).is_err());
    }

    #[test]
    fn descriptions_tell_the_numbers_that_are_in_force() {
        let told = |scope: SandboxScope, span: Duration| {
            assert!(scope.description().contains(&format!("{} seconds", span.as_secs())), "{scope:?}");
        };
        told(SandboxScope::Slow, SLOW_ANSWER);
        told(SandboxScope::ShortLived, SHORT_LIFE);
        told(SandboxScope::NoExpiry, SHORT_LIFE);
        told(SandboxScope::StrictRotation, ROTATE_GRACE);
    }
}
