//! A tenant's account, and the rules of addresses and passwords.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
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

/// Bytes of a password. NIST SP 800-63B asks for 8 at least and for room for long ones; 10 because
/// this one password stands before the tokens of many people. The upper end only bounds the work.
pub const PASSWORD_MIN: usize = 10;
pub const PASSWORD_MAX: usize = 1024;
/// A password of fewer different characters is a pattern.
const DISTINCT_MIN: usize = 5;
/// Long enough by the rule above, and still the first that anybody would try.
const COMMON: [&str; 16] = [
    "1234567890",
    "0123456789",
    "12345678910",
    "123456789a",
    "password12",
    "password123",
    "password1234",
    "passwordpassword",
    "qwertyuiop",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "qwerty12345",
    "iloveyou123",
    "letmein123",
    "administrator",
    "changeme123",
];

/// A password that may be set: long enough, and not one of the first that anybody would try.
#[derive(Debug)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// `field` is the request's name for it.
    pub fn parse(field: &str, password: SecretString, email: Option<&Email>) -> Result<Self, Refusal> {
        let text = password.expose_secret();
        if text.len() < PASSWORD_MIN || text.len() > PASSWORD_MAX {
            return Err(Refusal::field(field, format!("must have {PASSWORD_MIN} to {PASSWORD_MAX} bytes")));
        }
        let folded = text.to_lowercase();
        let distinct = text.chars().collect::<std::collections::BTreeSet<_>>().len();
        let is_address = email.is_some_and(|email| email.folded() == folded);
        if distinct < DISTINCT_MIN || is_address || COMMON.contains(&folded.as_str()) {
            return Err(Refusal::field(field, "is one of the first that anybody would try; choose another"));
        }
        Ok(Self(password))
    }

    pub fn expose(&self) -> &SecretString {
        &self.0
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(password: &str) -> bool {
        let email = Email::parse("Developer@Example.com").unwrap();
        NewPassword::parse("password", password.into(), Some(&email)).is_ok()
    }

    fn of_length(length: usize) -> String {
        "abcdefghij".chars().cycle().take(length).collect()
    }

    #[test]
    fn a_password_has_a_shortest_and_a_longest_length_in_bytes() {
        assert!(!accepted(""));
        assert!(!accepted(&of_length(PASSWORD_MIN - 1)));
        assert!(accepted(&of_length(PASSWORD_MIN)));
        assert!(accepted(&of_length(PASSWORD_MAX)));
        assert!(!accepted(&of_length(PASSWORD_MAX + 1)));
        assert!(accepted("ábćdéfg"), "ten bytes, seven characters");
    }

    #[test]
    fn what_anybody_would_try_first_is_no_password() {
        for common in COMMON {
            assert!(common.len() >= PASSWORD_MIN, "{common} is refused for its length already");
            assert!(!accepted(common) && !accepted(&common.to_uppercase()));
        }
        assert!(!accepted("developer@example.COM"), "the address itself");
        assert!(!accepted("abababababab") && !accepted("abcdabcdabcd"));
        assert!(accepted("abcdeabcdeab"));
    }

    #[test]
    fn an_address_has_two_sides_and_limits_on_each() {
        let host = |length: usize| format!("a@{}", "h".repeat(length));
        let user = |length: usize| format!("{}@h", "u".repeat(length));
        for good in ["dev@example.com", "a@b", " dev@example.com ", "d.e+v@example.com", &host(252), &user(64)] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let hostile = ["a@b\r\nBcc: c@d", "a b@c", "<a@b>", "a@b,c@d", "a@b;c", "\"a\"@b", "a(b)@c", "a\u{0}@b", "a@b@c"];
        for bad in ["", "@", "a@", "@b", "ab", &host(253), &user(65)].into_iter().chain(hostile) {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_is_looked_up_without_regard_to_case_and_kept_as_written() {
        let email = Email::parse("Dev@Example.COM").unwrap();
        assert_eq!(
            (email.folded().as_str(), email.as_str(), email.domain()),
            ("dev@example.com", "Dev@Example.COM", "Example.COM")
        );
    }
}
