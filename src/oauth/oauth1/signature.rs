//! The signature methods (RFC 5849 3.4.2 to 3.4.4), and those with SHA-256 that differ in the hash alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::provider::oauth1::SignatureMethod;

use super::base_string::encode;

/// Shortest and longest modulus, in bits. Providers took 1,024 when there were no others; more costs whole seconds.
const MODULUS: std::ops::RangeInclusive<u32> = 1_024..=8_192;

/// With what a client signs: the secrets of client and token, or its private key.
pub enum Key<'a> {
    Secrets { client: &'a str, token: &'a str },
    Private(&'a PrivateKey),
}

/// Why nothing can be signed. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the signature method does not go with this kind of key")]
    WrongKey,
    #[error("the private key is not an RSA key in PEM (PKCS #8 or PKCS #1) of 1,024 to 8,192 bits")]
    BadKey,
}

/// The `oauth_signature` over a base string.
pub fn signature(method: SignatureMethod, key: &Key<'_>, base_string: &str) -> Result<String, SignError> {
    let text = base_string.as_bytes();
    let bytes = match (method, key) {
        (SignatureMethod::Plaintext, Key::Secrets { client, token }) => return Ok(joined(client, token)),
        (SignatureMethod::HmacSha1, Key::Secrets { client, token }) => {
            let mac = Hmac::<Sha1>::new_from_slice(joined(client, token).as_bytes()).map_err(|_| SignError::WrongKey)?;
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
        (SignatureMethod::HmacSha256, Key::Secrets { client, token }) => {
            let mac = Hmac::<Sha256>::new_from_slice(joined(client, token).as_bytes()).map_err(|_| SignError::WrongKey)?;
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
        (SignatureMethod::RsaSha1, Key::Private(key)) => key.sign(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(text))?,
        (SignatureMethod::RsaSha256, Key::Private(key)) => key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text))?,
        _ => return Err(SignError::WrongKey),
    };
    Ok(STANDARD.encode(bytes))
}

/// 3.4.2: the key of an HMAC, and the whole of a PLAINTEXT signature.
fn joined(client: &str, token: &str) -> String {
    format!("{}&{}", encode(client), encode(token))
}

/// A client's RSA key.
pub struct PrivateKey(RsaPrivateKey);

impl PrivateKey {
    /// Line breaks may be written `\n`, as they are in JSON files.
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        let pem = Zeroizing::new(pem.trim().replace("\\n", "\n"));
        let read = RsaPrivateKey::from_pkcs8_pem(&pem).ok().or_else(|| RsaPrivateKey::from_pkcs1_pem(&pem).ok());
        let fits = |key: &RsaPrivateKey| u32::try_from(key.size() * 8).is_ok_and(|bits| MODULUS.contains(&bits));
        read.filter(fits).map(Self).ok_or(SignError::BadKey)
    }

    /// Without blinding, which would need randomness: the arithmetic below takes the same time for every key.
    fn sign(&self, padding: Pkcs1v15Sign, hash: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(padding, hash).map_err(|_| SignError::BadKey)
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}
