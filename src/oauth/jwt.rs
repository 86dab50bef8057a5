//! Signed JWTs (RFC 7515, 7518, 7519, 8037): claims, header, algorithm and key in, compact JWS out. The keys are those
//! of a tenant; nothing here says a word of one.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::provider::jwt::Algorithm;

/// Longest private key, in bytes of PEM: RSA of the longest kind, with a certificate before or after it.
pub const KEY_MAX: usize = crate::domain::provider::param::KEY_MAX;
/// Shortest RSA key, in bits (RFC 7518 3.3).
const RSA_MIN: usize = 2_048;
/// Longest header and claims together, in bytes of JSON.
const JWT_MAX: usize = 16 * 1_024;

/// Why a text is not a key that signs. Each says what to do, after the name of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("must have at most {KEY_MAX} bytes")]
    TooLong,
    #[error("is not PEM: send the whole file, from `-----BEGIN PRIVATE KEY-----` to its `-----END` line, with its line breaks")]
    NotPem,
    #[error(
        "is JSON: of a service account's file send the value of `private_key`; a JWK must be converted to PEM (PKCS#8) first"
    )]
    Json,
    #[error("is encrypted: send it without its passphrase, as `openssl pkey -in key.pem -out plain.pem` writes it")]
    Encrypted,
    #[error("is a public key: send the private key that belongs to it; the public one is for the provider")]
    Public,
    #[error("is a certificate: send the private key that belongs to it; the certificate is for the provider")]
    Certificate,
    #[error("is an OpenSSH key: convert a copy of it with `ssh-keygen -p -N '' -m PKCS8 -f copy`")]
    OpenSsh,
    #[error("is damaged, or of a kind that is not used here: RSA, P-256, P-384 and Ed25519 are; send it once more as PKCS#8")]
    Unreadable,
    #[error(
        "is an RSA key of less than {RSA_MIN} bits: make a longer one, with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{RSA_MIN}`"
    )]
    ShortRsa,
    #[error("is {found}, and {wanted} signs with {}", needs(wanted))]
    WrongKind { wanted: &'static str, found: &'static str },
}

/// Why a JWT cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("header and claims are longer than {JWT_MAX} bytes")]
    TooLong,
    #[error("the signature could not be made")]
    NotSigned,
}

fn needs(algorithm: &str) -> &'static str {
    match algorithm {
        "ES256" => "a P-256 key: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`",
        "ES384" => "a P-384 key: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`",
        "EdDSA" => "an Ed25519 key: `openssl genpkey -algorithm ED25519`",
        "HS256" | "HS384" | "HS512" => "a shared secret",
        _ => "an RSA key: `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`",
    }
}

/// A key, read. The library clears its memory when it is dropped.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Shared(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

impl SigningKey {
    /// A private key as PEM: PKCS#8, PKCS#1 or SEC1. Line breaks may be written `\n`, as they are in JSON files.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > KEY_MAX {
            return Err(KeyError::TooLong);
        }
        let text = Zeroizing::new(text.trim().replace("\\n", "\n"));
        refuse_others(&text)?;
        let mut der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| missing(&text))?;
        let key = Self::from_der(&der);
        der.zeroize();
        key
    }

    /// A secret that both sides know, as it stands.
    pub fn shared(secret: &str) -> Self {
        Self(Kind::Shared(Zeroizing::new(secret.as_bytes().to_vec())))
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyError> {
        let bytes = der.secret_der();
        let rsa = match der {
            PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(bytes),
            _ => RsaKeyPair::from_pkcs8(bytes),
        };
        let curve = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, bytes).ok();
        let kind = match rsa {
            Ok(key) => Some(Kind::Rsa(key)),
            // The library's own limit, which is RFC 7518's.
            Err(cause) if cause.to_string() == "TooSmall" => return Err(KeyError::ShortRsa),
            Err(_) => curve(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).map(Kind::P256),
        };
        let kind = kind.or_else(|| curve(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).map(Kind::P384));
        let kind = kind.or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok().map(Kind::Ed25519));
        kind.map(Self).ok_or(KeyError::Unreadable)
    }

    fn kind(&self) -> &'static str {
        match self.0 {
            Kind::Rsa(_) => "an RSA key",
            Kind::P256(_) => "a P-256 key",
            Kind::P384(_) => "a P-384 key",
            Kind::Ed25519(_) => "an Ed25519 key",
            Kind::Shared(_) => "a shared secret",
        }
    }

    /// What is signed with such a key unless somebody says otherwise.
    pub fn usual(&self) -> Algorithm {
        match self.0 {
            Kind::Rsa(_) => Algorithm::Rs256,
            Kind::P256(_) => Algorithm::Es256,
            Kind::P384(_) => Algorithm::Es384,
            Kind::Ed25519(_) => Algorithm::EdDsa,
            Kind::Shared(_) => Algorithm::Hs256,
        }
    }

    /// Whether it is a key for this algorithm.
    pub fn fits(&self, algorithm: Algorithm) -> Result<(), KeyError> {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Rs256, Rs384, Rs512};
        match (&self.0, algorithm) {
            (Kind::Rsa(_), Rs256 | Rs384 | Rs512 | Ps256)
            | (Kind::P256(_), Es256)
            | (Kind::P384(_), Es384)
            | (Kind::Ed25519(_), EdDsa)
            | (Kind::Shared(_), Hs256 | Hs384 | Hs512) => Ok(()),
            _ => Err(KeyError::WrongKind { wanted: algorithm.as_str(), found: self.kind() }),
        }
    }

    fn sign(&self, algorithm: Algorithm, text: &[u8]) -> Result<Vec<u8>, JwtError> {
        self.fits(algorithm)?;
        let random = SystemRandom::new();
        let curve = |key: &EcdsaKeyPair| Some(key.sign(&random, text).ok()?.as_ref().to_vec());
        let made = match &self.0 {
            Kind::Rsa(key) => {
                let mut made = vec![0; key.public_modulus_len()];
                key.sign(rsa_encoding(algorithm), &random, text, &mut made).ok().map(|()| made)
            }
            Kind::P256(key) | Kind::P384(key) => curve(key),
            Kind::Ed25519(key) => key.try_sign(text).ok().map(|made| made.as_ref().to_vec()),
            Kind::Shared(secret) => Some(hmac::sign(&hmac_key(algorithm, secret), text).as_ref().to_vec()),
        };
        made.ok_or(JwtError::NotSigned)
    }

    /// Whether this key's public half takes the signature.
    fn verifies(&self, algorithm: Algorithm, text: &[u8], made: &[u8]) -> bool {
        let by = |method: &'static dyn VerificationAlgorithm, public: &[u8]| {
            UnparsedPublicKey::new(method, public).verify(text, made).is_ok()
        };
        self.fits(algorithm).is_ok()
            && match &self.0 {
                Kind::Rsa(key) => by(rsa_verification(algorithm), key.public_key().as_ref()),
                Kind::P256(key) => by(&signature::ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()),
                Kind::P384(key) => by(&signature::ECDSA_P384_SHA384_FIXED, key.public_key().as_ref()),
                Kind::Ed25519(key) => by(&signature::ED25519, key.public_key().as_ref()),
                Kind::Shared(secret) => hmac::verify(&hmac_key(algorithm, secret), text, made).is_ok(),
            }
    }
}

/// What people send in a private key's place.
fn refuse_others(text: &str) -> Result<(), KeyError> {
    if text.starts_with('{') {
        return Err(KeyError::Json);
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    if text.contains("BEGIN OPENSSH PRIVATE KEY") { Err(KeyError::OpenSsh) } else { Ok(()) }
}

fn missing(text: &str) -> KeyError {
    if text.contains("PRIVATE KEY-----") {
        KeyError::Unreadable
    } else if text.contains("PUBLIC KEY-----") {
        KeyError::Public
    } else if text.contains("CERTIFICATE-----") {
        KeyError::Certificate
    } else {
        KeyError::NotPem
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn signature::RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

fn rsa_verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        _ => &signature::RSA_PKCS1_2048_8192_SHA256,
    }
}

fn hmac_key(algorithm: Algorithm, secret: &[u8]) -> hmac::Key {
    let method = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::Key::new(method, secret)
}

/// The JWT. `alg` is put into the header, and `typ` where it has none.
pub fn sign(
    key: &SigningKey,
    algorithm: Algorithm,
    mut header: Map<String, Value>,
    claims: Map<String, Value>,
) -> Result<String, JwtError> {
    header.insert("alg".to_owned(), algorithm.as_str().into());
    header.entry("typ").or_insert_with(|| "JWT".into());
    let (header, claims) = (Value::from(header).to_string(), Value::from(claims).to_string());
    if header.len() + claims.len() > JWT_MAX {
        return Err(JwtError::TooLong);
    }
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let made = key.sign(algorithm, text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(made)))
}

/// Header and claims of a JWT that this key signed; `None` for any other. For a file's own tests.
pub fn opened(key: &SigningKey, token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let (text, made) = token.rsplit_once('.')?;
    let (header, claims) = text.split_once('.')?;
    let decoded = |part: &str| serde_json::from_slice::<Map<String, Value>>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, claims) = (decoded(header)?, decoded(claims)?);
    let said = header.get("alg")?.as_str()?;
    let algorithm = Algorithm::ALL.into_iter().find(|known| known.as_str() == said)?;
    key.verifies(algorithm, text.as_bytes(), &URL_SAFE_NO_PAD.decode(made).ok()?).then_some((header, claims))
}

#[cfg(test)]
mod tests;
