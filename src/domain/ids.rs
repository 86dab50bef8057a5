//! Names of things. Each type has one constructor, the check, so that a value of the type is proof
//! that the check was made.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::refusal::Refusal;

/// Longest `end_user_id` and `account`, in bytes.
pub const END_USER_MAX: usize = 200;
/// Longest provider id and integration name, in bytes.
pub const SLUG_MAX: usize = 64;
/// Connections are spread over this many partitions.
pub const CONNECTION_PARTITIONS: u16 = 256;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                $check($field, text)?;
                Ok(Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refusal;
            fn try_from(text: String) -> Result<Self, Refusal> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    };
}

text_id!(
    /// A tenant: one SaaS backend. `tnt_` and 32 hex digits (a version 7 UUID).
    TenantId, "user_id", check_tenant
);
text_id!(
    /// The tenant's own opaque name for one of its users: 1-200 bytes of UTF-8 without control
    /// characters, compared byte for byte and never normalised.
    EndUserId, "end_user_id", check_opaque
);
text_id!(
    /// Tells apart several accounts that one end user connects at one provider.
    Account, "account", check_opaque
);
text_id!(
    /// A provider of the catalogue, or one that a tenant defined.
    ProviderId, "provider", check_slug
);
text_id!(
    /// A tenant's name for an integration; by default the provider's id.
    IntegrationName, "integration", check_slug
);
text_id!(
    /// Names one token set of a grant: `default`, or a provider's own (`bot`, `user`).
    TokenSetName, "token_set", check_slug
);
text_id!(
    /// The id of an integration: derived from tenant, provider and name, so that it is known before
    /// enabling and survives disable and enable. `int_` and 32 hex digits.
    IntegrationId, "integration", check_integration_id
);
text_id!(
    /// The id of a connection: derived from tenant, end user, integration and account. `con_`, two
    /// hex digits that name the partition, and 32 more.
    ConnectionId, "connection", check_connection_id
);
text_id!(
    /// One consent. Random: 32 hex digits.
    GrantId, "grant_id", check_hex32
);

impl Account {
    pub fn default_account() -> Self {
        Self("default".to_owned())
    }
}

impl TokenSetName {
    pub fn default_set() -> Self {
        Self("default".to_owned())
    }
}

impl TenantId {
    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(format!("tnt_{}", id.simple()))
    }
}

impl GrantId {
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex::encode(bytes))
    }
}

impl IntegrationName {
    pub fn of_provider(provider: &ProviderId) -> Self {
        Self(provider.0.clone())
    }
}

impl IntegrationId {
    pub fn derive(tenant: &TenantId, provider: &ProviderId, name: &IntegrationName) -> Self {
        let digest = digest_of("integration", &[&tenant.0, &provider.0, &name.0]);
        Self(format!("int_{}", hex::encode(&digest[..16])))
    }
}

impl ConnectionId {
    pub fn derive(tenant: &TenantId, end_user: &EndUserId, integration: &IntegrationId, account: &Account) -> Self {
        let partition = Self::partition_of(tenant, end_user);
        let digest = digest_of("connection", &[&tenant.0, &end_user.0, &integration.0, &account.0]);
        Self(format!("con_{partition:02x}{}", hex::encode(&digest[..16])))
    }

    /// All connections of one end user share a partition.
    pub fn partition_of(tenant: &TenantId, end_user: &EndUserId) -> u8 {
        digest_of("end_user", &[&tenant.0, &end_user.0])[0]
    }

    pub fn partition(&self) -> u8 {
        self.0.get(4..6).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }
}

/// SHA-256 over a label and parts, each with its length, so that no two lists of parts collide.
pub fn digest_of(label: &str, parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in std::iter::once(&label).chain(parts) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

fn check_opaque(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > END_USER_MAX {
        return Err(Refusal::field(field, format!("must have 1 to {END_USER_MAX} bytes; it has {}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::field(field, "must not contain control characters"));
    }
    Ok(())
}

fn check_slug(field: &str, text: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let starts_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if text.len() > SLUG_MAX || !starts_well || !text.bytes().all(allowed) {
        return Err(Refusal::field(
            field,
            format!("must be 1 to {SLUG_MAX} lower-case letters, digits, '-', '_' or '.', and begin with a letter or digit"),
        ));
    }
    Ok(())
}

fn check_tenant(field: &str, text: &str) -> Result<(), Refusal> {
    check_prefixed_hex(field, text, "tnt_", 32)
}

fn check_integration_id(field: &str, text: &str) -> Result<(), Refusal> {
    check_prefixed_hex(field, text, "int_", 32)
}

fn check_connection_id(field: &str, text: &str) -> Result<(), Refusal> {
    check_prefixed_hex(field, text, "con_", 34)
}

fn check_hex32(field: &str, text: &str) -> Result<(), Refusal> {
    check_prefixed_hex(field, text, "", 32)
}

fn check_prefixed_hex(field: &str, text: &str, prefix: &str, digits: usize) -> Result<(), Refusal> {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match text.strip_prefix(prefix) {
        Some(rest) if rest.len() == digits && rest.bytes().all(is_hex) => Ok(()),
        _ => Err(Refusal::field(field, format!("must be '{prefix}' and {digits} hex digits"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_user_id_is_limited_in_bytes_and_free_of_control_characters() {
        assert!(EndUserId::parse("").is_err());
        assert!(EndUserId::parse(&"é".repeat(100)).is_ok());
        assert!(EndUserId::parse(&("é".repeat(100) + "x")).is_err());
        assert!(EndUserId::parse("a\nb").is_err());
        assert!(EndUserId::parse("a\u{85}b").is_err());
    }

    #[test]
    fn a_connection_id_names_its_partition() {
        let tenant = TenantId::from_uuid(uuid::Uuid::nil());
        for n in 0..500 {
            let user = EndUserId::parse(&format!("u{n}")).unwrap();
            let integration =
                IntegrationId::derive(&tenant, &ProviderId::parse("p").unwrap(), &IntegrationName::parse("p").unwrap());
            let id = ConnectionId::derive(&tenant, &user, &integration, &Account::default_account());
            assert_eq!(id.partition(), ConnectionId::partition_of(&tenant, &user));
            assert_eq!(ConnectionId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn parts_of_a_digest_do_not_run_together() {
        assert_ne!(digest_of("l", &["ab", "c"]), digest_of("l", &["a", "bc"]));
    }
}
