//! A grant, from consent to its end, as pure rules: what a redeemed code or a used refresh token makes
//! of it. Knows no store, no clock.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::clients::ClientId;
use super::scopes::{SandboxScope, ScopeSet};
use super::{CODE_MEMORY, GRANT_IDLE};

/// Longest account name, in bytes.
pub const ACCOUNT_MAX: usize = 64;

/// The accounts that the consent page offers; any other name may be typed.
pub const ACCOUNTS: &[(&str, &str)] = &[("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("alan", "Alan Turing")];

/// Who consents: 1-64 lower-case letters, digits, `.`, `_` or `-`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountName(String);

impl AccountName {
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (begins && text.len() <= ACCOUNT_MAX && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the person, as far as the sandbox knows one.
    pub fn full_name(&self) -> &str {
        ACCOUNTS.iter().find(|(name, _)| *name == self.0).map_or(&self.0, |(_, full)| full)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One consent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) client: ClientId,
    pub(super) account: AccountName,
    pub(super) scopes: ScopeSet,
    pub(super) stage: Stage,
    /// Calls of the token endpoint that were in order, for `flaky`.
    pub(super) token_calls: u32,
    /// When it is over if nobody refreshes; `None` under `no-expiry`.
    pub(super) ends_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The code waits to be redeemed.
    Coded { redirect_uri: String, challenge: String, expires_at: Timestamp },
    /// The code was redeemed; tokens are out.
    Live,
    /// Revoked, or ended by a misuse: no token of it works.
    Over,
}

/// A refresh token's own record. It stays after its use, so that a second use is noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RefreshRecord {
    pub(super) grant: String,
    pub(super) used_at: Option<Timestamp>,
}

/// What a client brings to redeem a code.
pub(super) struct Claim<'a> {
    pub(super) client: &'a ClientId,
    pub(super) redirect_uri: &'a str,
    pub(super) verifier: &'a str,
}

/// What is to become of the grant, and what the client is told.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// `invalid_grant`; nothing changes.
    Refused(&'static str),
    /// `invalid_grant`, and the grant is over.
    Ends(Grant, &'static str),
    /// `flaky`: no tokens this time.
    Unavailable(Grant),
    /// New tokens.
    Granted(Grant),
}

impl Grant {
    /// RFC 6749 4.1.3 and 7636 4.6. One attempt per code: a claim by its own client that does not
    /// match burns it. Another client's attempt does not, so that nobody can burn what is not his.
    pub(super) fn redeem(mut self, claim: &Claim<'_>, now: Timestamp) -> Verdict {
        if self.client != *claim.client {
            return Verdict::Refused("the code was issued to another client");
        }
        let Stage::Coded { redirect_uri, challenge, expires_at } = &self.stage else {
            // RFC 6749 4.1.2: a code used twice revokes what it gave.
            return self.ends("the code was used already; its tokens are revoked");
        };
        if now >= *expires_at {
            return Verdict::Refused("the code has expired");
        }
        if redirect_uri != claim.redirect_uri {
            return self.ends("the redirect_uri is not the one of the authorization request");
        }
        if *challenge != challenge_of(claim.verifier) {
            return self.ends("the code_verifier does not fit the code_challenge");
        }
        self.stage = Stage::Live;
        // The first call, so never the one that `flaky` refuses.
        self.token_calls = 1;
        self.granted(now)
    }

    /// RFC 6749 6 and RFC 9700 4.14.2. A used token works on within the grace, for a client whose
    /// answer was lost; after that, its use means that somebody else has it, and the grant ends.
    pub(super) fn refresh(mut self, client: &ClientId, token: &RefreshRecord, now: Timestamp) -> Verdict {
        if self.client != *client {
            return Verdict::Refused("the refresh token was issued to another client");
        }
        if self.stage != Stage::Live || self.ends_at.is_some_and(|end| now >= end) {
            return Verdict::Refused("the grant is over");
        }
        if self.scopes.has(SandboxScope::Dead) {
            return Verdict::Refused("the scope dead refuses every refresh");
        }
        let grace = self.scopes.rotation_grace();
        if token.used_at.is_some_and(|used| now.duration_since(used) >= signed(grace)) {
            return self.ends("the refresh token was used before; the grant is over");
        }
        self.count_call().unwrap_or_else(|| self.granted(now))
    }

    /// Whether the answer to this refresh is to be cut short.
    pub(super) fn loses_answer(&self, token: &RefreshRecord) -> bool {
        self.scopes.has(SandboxScope::LoseAnswer) && token.used_at.is_none()
    }

    /// How long its record is kept.
    pub(super) fn memory(&self) -> Option<Duration> {
        match self.stage {
            Stage::Coded { .. } | Stage::Over => Some(CODE_MEMORY),
            Stage::Live => self.ends_at.map(|_| GRANT_IDLE),
        }
    }

    pub(super) fn over(mut self) -> Self {
        self.stage = Stage::Over;
        self
    }

    fn ends(self, why: &'static str) -> Verdict {
        // Over already: nothing to write.
        if self.stage == Stage::Over { Verdict::Refused(why) } else { Verdict::Ends(self.over(), why) }
    }

    fn granted(mut self, now: Timestamp) -> Verdict {
        let unending = self.scopes.has(SandboxScope::NoExpiry);
        self.ends_at = if unending { None } else { now.checked_add(GRANT_IDLE).ok() };
        Verdict::Granted(self)
    }

    /// Counts a call that is in order; `Some` when it is `flaky`'s turn to refuse it.
    fn count_call(&mut self) -> Option<Verdict> {
        self.token_calls = self.token_calls.wrapping_add(1);
        let refused = self.scopes.has(SandboxScope::Flaky) && self.token_calls.is_multiple_of(2);
        refused.then(|| Verdict::Unavailable(self.clone()))
    }
}

/// RFC 7636 4.2, method S256.
fn challenge_of(verifier: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

fn signed(span: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn account_names_are_bounded() {
        for good in ["ada", "x", "a.b_c-9", "9"] {
            assert!(AccountName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "Ada", "-a", ".a", "a b", "a\u{e9}", "a/b", "<b>"] {
            assert!(AccountName::parse(bad).is_none(), "{bad}");
        }
        assert!(AccountName::parse(&"a".repeat(ACCOUNT_MAX)).is_some());
        assert!(AccountName::parse(&"a".repeat(ACCOUNT_MAX + 1)).is_none());
    }
}
