//! The sandbox provider: a small, correct OAuth 2.0 authorization server, so that anybody can try all
//! of Claviger with no account anywhere. By scope it misbehaves on purpose ([`scopes`]).
//!
//! It is a stranger to the rest of Claviger: a store of its own, nothing of the broker's accounts or
//! sealing, and no code shared with the client side, so that a mistake there cannot hide by being
//! made here as well.

mod access;
mod authorize;
pub mod clients;
mod grants;
mod issue;
mod records;
pub mod scopes;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::secret::SecretString;
use crate::ports::clock::Clock;
use crate::ports::entropy::{Entropy, EntropyError, random};
use crate::ports::kv::{Kv, KvError};

pub use access::{AccessError, UserInfo};
pub use authorize::{AuthorizationRequest, AuthorizeError, AuthorizeFields};
pub use grants::{ACCOUNTS, AccountName};
pub use issue::Issued;
pub use tokens::{CodeExchange, RefreshRequest, TokenError, TokenReply};

use records::Records;

/// How long a code can be redeemed (RFC 6749 4.1.2 recommends ten minutes at most).
pub const CODE_LIFE: Duration = Duration::from_secs(600);
/// How long a redeemed code is remembered, so that its replay revokes what it gave.
pub const CODE_MEMORY: Duration = Duration::from_secs(3600);
/// Life of an access token.
pub const ACCESS_LIFE: Duration = Duration::from_secs(300);
/// Life of an access token under `short-lived`.
pub const SHORT_LIFE: Duration = Duration::from_secs(8);
/// How long a rotated refresh token still works, `strict-rotation` aside.
pub const ROTATE_GRACE: Duration = Duration::from_secs(60);
/// How long the token endpoint keeps its caller waiting under `slow`.
pub const SLOW_ANSWER: Duration = Duration::from_secs(3);
/// A grant whose refresh token goes unused this long is over.
pub const GRANT_IDLE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Longest code or token that is looked up; ours have about 50 bytes.
pub const TOKEN_MAX: usize = 256;

/// How often a call looks again after losing a race. Of those that race, one wins each round.
const ROUNDS: usize = 512;

/// The server's state and its use cases.
pub struct Sandbox {
    records: Records,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    issuer: String,
}

/// What went wrong on the sandbox's own side.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(transparent)]
    Store(#[from] KvError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error("a record of the sandbox cannot be read or written: {0}")]
    Record(#[from] serde_json::Error),
    #[error("too many calls on one grant at the same moment")]
    Contended,
}

impl Sandbox {
    /// `issuer` is the origin under which browsers and clients reach the server, such as
    /// `http://127.0.0.1:8081`. The store is the sandbox's alone.
    pub fn new(kv: Arc<dyn Kv>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, issuer: String) -> Self {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Self { records: Records::new(kv, entropy.clone()), clock, entropy, issuer }
    }

    /// RFC 8414's `issuer`, without a slash at its end.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether the store takes reads and writes.
    pub async fn ping(&self) -> Result<(), SandboxError> {
        Ok(self.records.ping().await?)
    }

    /// A new code or token: 256 random bits behind a prefix that says what it is.
    fn secret(&self, prefix: &str) -> Result<SecretString, EntropyError> {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;

        let bytes: [u8; 32] = random(&*self.entropy)?;
        Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }
}
