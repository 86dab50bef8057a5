//! How a provider's answers are read, as its file draws it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::domain::ids::TokenSetName;
use crate::domain::tokens::FailureClass;

/// A place in an answer (RFC 6901), or in the claims of its ID token (`id_token:/sub`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub source: Source,
    pub path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Body,
    IdToken,
}

impl Pointer {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (source, path) = match text.strip_prefix("id_token:") {
            Some(path) => (Source::IdToken, path),
            None => (Source::Body, text),
        };
        if !(path.is_empty() || path.starts_with('/')) {
            return Err("is not a JSON pointer: it must begin with '/' (or with `id_token:/`)");
        }
        if path.len() > 200 {
            return Err("is longer than 200 bytes");
        }
        Ok(Self { source, path: path.to_owned() })
    }

    /// The value there, in an answer's body alone.
    pub fn find<'a>(&self, body: &'a Value) -> Option<&'a Value> {
        body.pointer(&self.path).filter(|_| self.source == Source::Body)
    }
}

/// The `[response]` block.
#[derive(Debug, Clone)]
pub struct ResponseSpec {
    pub sets: Vec<SetSpec>,
    pub fields: TokenFields,
    pub expiry: ExpirySpec,
    pub keep: BTreeMap<String, Pointer>,
    pub subject: Vec<Pointer>,
}

/// Where one token set stands: the first of these places that holds an access token.
#[derive(Debug, Clone)]
pub struct SetSpec {
    pub name: TokenSetName,
    pub at: Vec<Pointer>,
}

/// Where the parts stand within a set, each with its fallbacks.
#[derive(Debug, Clone)]
pub struct TokenFields {
    pub access_token: Vec<Pointer>,
    pub refresh_token: Vec<Pointer>,
    /// Of OAuth 1.0a; elsewhere nowhere.
    pub token_secret: Vec<Pointer>,
    pub token_type: Vec<Pointer>,
    pub expires_in: Vec<Pointer>,
    pub expires_at: Vec<Pointer>,
    pub refresh_expires_in: Vec<Pointer>,
    pub refresh_expires_at: Vec<Pointer>,
    pub scope: Vec<Pointer>,
}

/// How a life is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpirySpec {
    pub unit: ExpiryUnit,
    /// The life of a token whose answer does not say; `None`: it does not expire.
    pub default: Option<Duration>,
    pub zero_means_never: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryUnit {
    Seconds,
    Milliseconds,
}

/// The `[errors]` block.
#[derive(Debug, Clone)]
pub struct ErrorRules {
    /// An answer that matches one of these is a failure, whatever its status.
    pub when: Vec<Predicate>,
    /// Where the error's code stands.
    pub code: Vec<Pointer>,
    /// What an answer means, asked in this order before the common table.
    pub classes: Vec<(FailureClass, Vec<Predicate>)>,
    /// Refusals that the provider never takes back: the grant is over without being asked again.
    pub finals: Vec<Predicate>,
}

/// Holds when every part of it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    pub status: Option<u16>,
    /// The error's code.
    pub error: Option<String>,
    pub value: Option<ValueTest>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ValueTest {
    pub at: Pointer,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Equals(Value),
    /// Of a text, without regard to case (ASCII).
    Contains(String),
    Exists,
}

impl Predicate {
    pub fn holds(&self, status: u16, code: Option<&str>, body: Option<&Value>) -> bool {
        let is = |wanted: &str| code.is_some_and(|code| code.eq_ignore_ascii_case(wanted));
        self.status.is_none_or(|wanted| wanted == status)
            && self.error.as_deref().is_none_or(is)
            && self.value.as_ref().is_none_or(|value| body.is_some_and(|body| value.holds(body)))
    }
}

impl ValueTest {
    fn holds(&self, body: &Value) -> bool {
        let Some(found) = self.at.find(body) else { return false };
        match &self.test {
            Test::Exists => !found.is_null(),
            Test::Equals(wanted) => found == wanted,
            Test::Contains(part) => {
                found.as_str().is_some_and(|text| text.to_ascii_lowercase().contains(&part.to_ascii_lowercase()))
            }
        }
    }
}
