//! OAuth 1.0a (RFC 5849): temporary credentials, the end user's consent, token credentials, and signed calls. Pure:
//! nonce and time are handed in with the [`Client`](super::client::Client), and so is every secret.

mod base_string;
mod callback;
mod signature;
mod signer;
mod steps;

pub use base_string::{base_string, encode};
pub use callback::validate;
pub use signature::{Key, PrivateKey, SignError, signature};
pub use signer::Signer;
pub use steps::{callback_url, judge_request_token, realm, request_token, signs_with};
pub(in crate::oauth) use steps::{exchange, signed};

#[cfg(test)]
mod tests;
