//! A tenant's account, and the rules of addresses and passwords.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::TenantId;
use super::refusal::Refusal;

/// The `account` record: sealed whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub email: Email,
    /// Shown to end users on the connect page; the address's domain until the tenant says otherwise.
    pub display_name: String,
    /// Argon2id in PHC form.
    pub password_hash: String,
    pub verified_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A mail address: one `@`, something on each side, a dot-free or dotted host, 254 bytes at most;
/// kept as written, compared in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Email {
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        let well_formed = text.len() <= 254
            && text
                .chars()
                .all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '(' | ')'))
            && text
                .split_once('@')
                .is_some_and(|(user, host)| !user.is_empty() && user.len() <= 64 && !host.is_empty() && !host.contains('@'));
        if !well_formed {
            return Err(Refusal::field("username", "must be a mail address such as dev@example.com"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which accounts are looked up.
    pub fn folded(&self) -> String {
        self.0.to_lowercase()
    }

    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, host)| host)
    }
}
