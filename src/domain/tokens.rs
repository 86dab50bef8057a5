//! Tokens as a provider issued them, and how an attempt to get them can fail.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::TokenSetName;
use super::secret::SecretString;

/// Deepest value that is kept as metadata. A record is JSON, whose readers stop at a depth of 128: what
/// is kept must be far from that, or its connection could be written and never be read again.
pub const KEPT_DEPTH_MAX: usize = 32;

/// Whether a value nests at most `levels` deep. Looks no deeper than that.
pub fn is_within_depth(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within_depth(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| is_within_depth(field, levels - 1)),
        _ => true,
    }
}

/// A token endpoint's answer, understood: one or more token sets and what else is worth keeping.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    pub sets: BTreeMap<TokenSetName, IssuedTokens>,
    /// What the provider's file says to keep (workspace, instance URL, …); never a secret.
    pub metadata: BTreeMap<String, Value>,
    /// Who connected, in the provider's words (`sub`, account id), where the answer says.
    pub subject: Option<String>,
}

impl TokenAnswer {
    /// With the tokens that took the place of these. What the second answer does not say stands as it was.
    pub fn extended(mut self, by: TokenAnswer) -> Self {
        for (name, mut tokens) in by.sets {
            let Some(old) = self.sets.get_mut(&name) else { continue };
            tokens.scopes = tokens.scopes.or(old.scopes.take());
            tokens.refresh_token = tokens.refresh_token.or(old.refresh_token.take());
            *old = tokens;
        }
        self.metadata.extend(by.metadata);
        self.subject = self.subject.or(by.subject);
        self
    }
}

/// Who says how long an access token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The answer that brought it.
    Named,
    /// Nobody: it ends when the provider's file assumes.
    Assumed,
    /// The provider, asked about this very token: so long from the start of the request that brought it.
    Measured(Duration),
}

/// The tokens of one set. What the provider left out is `None`, not guessed.
#[derive(Debug, Clone)]
pub struct IssuedTokens {
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    /// Of OAuth 1.0a: calls are signed with it.
    pub token_secret: Option<SecretString>,
    pub token_type: String,
    /// Counted from the start of the request; `None` when the token does not expire.
    pub expires_at: Option<Timestamp>,
    pub lifetime: Lifetime,
    pub refresh_expires_at: Option<Timestamp>,
    /// As granted, where the provider says.
    pub scopes: Option<Vec<String>>,
}

impl IssuedTokens {
    /// With the life that the provider told when it was asked.
    pub fn measured(&mut self, life: Duration, obtained_at: Timestamp) {
        self.lifetime = Lifetime::Measured(life);
        self.expires_at = after(obtained_at, life);
    }
}

/// The moment so much later; `None` beyond what a calendar has.
pub fn after(moment: Timestamp, span: Duration) -> Option<Timestamp> {
    moment.checked_add(SignedDuration::try_from(span).ok()?).ok()
}

/// What a failed token call means (docs/refresh.md, "What an answer means").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The provider says that this grant is over.
    DeadGrant,
    /// The provider refuses the tenant's client: nothing is wrong with the grant.
    IntegrationBroken,
    /// The request is not what the provider expects (scope, grant type): nothing is wrong with the grant.
    Misconfigured,
    /// No token is minted for this connection's subject: that says nothing of the client, nor of other subjects.
    SubjectRefused,
    /// Too many calls.
    Throttled,
    /// The request never left.
    NotSent,
    /// An answer that does not tell whether the provider did it: 5xx, a page of HTML, half a body.
    InDoubt,
}

/// A provider's refusal, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFailure {
    pub class: FailureClass,
    /// The provider's error code when it is a plain one (letters, digits, `_.-`, at most 64), else our own word.
    pub code: String,
    pub status: u16,
    pub retry_after: Option<Duration>,
}
