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
mod tests {
    use super::*;
    use crate::oauth::vectors::keys;

    const RSA_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0\nl8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pC\ngNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSX\nndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD\nZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8\nq2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpzQorw35S\nbEUAVx8dYXUdZOlJcHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cf\nUhPu2MFaJdjVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVAoLvhowVWmC1O\nn95fZCXxTUtxNEG1Xcc7m0rtzJKs45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKK\nVf9GRx80JQY7nVNkL17eHoTWEwga+lwi0FEoW9Y7lDtWXYmKBWhUE+U8PGxlJf8f\n40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhlknlo53M09EFPdadQ4TlU\nbjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcxGn6QLvnE\ntfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPG\nBY5t7yLc1QlQ5xHdwW1VhvKn+nXqhJTBgIPgtldC+KDV5z+y2XDwGUcCgYEAuQPE\nfgmVtjL0Uyyx88GZFF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYs\np1ZSe7zFYHj7C6ul7TjeLQeZD/YwD66t62wDmpe/HlB+TnBA+njbglfIsRLtXlnD\nzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcCgYAHAp9XcCSrn8wVkMVkKdb7\nDOX4IKjzdahm+ctDAJN4O/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F0F+lP88jtjP4\nU4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl1OH9hWvu2yza7q+d5PCsDzqtm\n27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9tmkfOJmN\n54dxdixdpozCQ6U4OxZrsj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCC\nMx3bD1yPPf/6TI2XECva/ggqEY2mYzmIiA5LVVmc5nrybr+lssFKneeyxN2Wq93S\n0iJMdQKBgCGHewxzoa1r8ZMD0LETNrToK423K377UCYqXfg5XMclbrjPbEC3YI1Z\nNqMtuhdBJqUnBi6tjKMF+34Xf0CUN8ncuXGO2CAYvO8PdyCixHX52ybaDjy1FtCE\n6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1\n-----END RSA PRIVATE KEY-----";
    const P256_SEC1: &str = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\nAwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\nfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END EC PRIVATE KEY-----";
    const P384_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\nMIGkAgEBBDBrnT2tLhuMHAWxmHW2ZZ9N4jw7Znvyl7qapHdAeHE32JbVck5McKgl\n+HLJ6mDS7fWgBwYFK4EEACKhZANiAATsOk5BW04ZpFaGGAKfQn+l2pqLxK6S4C4G\nquUoazAMZN748OqQVYZgZKJUUVSAvBOAFdm3LX1XJE6o75rAxiGJZwilk2f537n1\nTKhLPxydsSiLIxw64NT+c0T9JTMmRyA=\n-----END EC PRIVATE KEY-----";
    const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----\nMIICdAIBADANBgkqhkiG9w0BAQEFAASCAl4wggJaAgEAAoGBAJNBqJtCR7JY1Arp\nn91LCKqCsSNgQXeKfydJAJ/YrJgcaULIZebQvpOyYzByGBfGeNMuX3DSfZ/6EXK8\nnJTtpR1g/Gj22Y6cA4igHOzkPnT59r6zGM/uFmNestNFPjWU++uhcQBzchrmg7gM\nDN/UEtnT8pCUpqwVQ3xL3RWyjY4BAgMBAAECgYAcKkfMgm3iL9lGyQ6ZrftXWa31\n3ThIXAYcBnuHF1NTuMNtUZUkA7Mf3tPX9UqkaYK8qbb5hlke2x6xOmAcoCOfY6Gb\nUF2G7TqwbgEhdLVZ6aj18P/pJ4tsSTnxgNao9A4xIRzAZZjJETK2XWvlhhFeAQnU\nBdjMqzwBnOihQbRkQQJBAMQm+KWGc/cj5CPq/FCC0su2kW4NXJ1nVGmorsez8gT2\n2fBnKDsUlfblNLEZ3e2WWqm4lmYNtt73U6JhZWl+ovkCQQDAL4uaZpTb8P0Lcx63\nK6PVrfUmC8Du2MPpFmwTqjWenoB/4hdmuKxU+2zoaapESmCvkgoJaUKSsmtDOJ3g\nqf1JAj8ZSOzEaZCJSxcdiiz8M+D4YZBdn1tQ7wDyncvp8khAW5G8a4/EDeNG8ETa\nj3sMJVWKi0DX5uyr0TX2uJdaAfkCQBwBUaiINjzumxEmD13FwDQNC2Il6FFlyPaY\nS9t5vCKHGlaITbysQICJus8LRsJ4zCoJb+j7K7ZQxYygHXF1k/ECQHKCrNIIBU5y\nTrrTNdsJeRBQSzh68VSyohIRo2R+1Eahjul/92ELqNoAq/EJalDoyOkkbEgl9LhA\nNZvNqaBf7qE=\n-----END PRIVATE KEY-----";
    const K256: &str = "-----BEGIN PRIVATE KEY-----\nMIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQglx7y8sCIP51kWtDgKzg1\nX6srcjg9e1MzA0y5srQSpSWhRANCAAQaaZi/VZbZV1W+LwNNKcXCBusmyNfrteBi\n75DhKXCISYHJAuKxdu1HiJSmxcnFtfXF5X/RgXbscr6H1I82QE5b\n-----END PRIVATE KEY-----";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\nNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\nP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\nEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\nFvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\noQIDAQAB\n-----END PUBLIC KEY-----";
    const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAAmEUnbTOxB7XZhG/Z\n5AQ8AgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQsFlSyTuCSU0MO/e8\nXVtr5QSBkH/cOzGv76kwM5HJ9qTQiIucipv1ZUhWzrUjpkWDfXsqkBHm5oA1Lu4f\nwCwc2HoTRZLVhACeqB7svcq/2K7Tq75tvheiz5tGJ7EUalKB3x3NF+fyJ/Ivc/bv\nTLiVUDcoantpBoyb+/1BeHUzK9iJhPkNLU08Y0jSp53v2drD8QgIRGWY2TYpl14C\nlFkAbW9FBA==\n-----END ENCRYPTED PRIVATE KEY-----";
    const ENCRYPTED_OLD: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,317C63AEACBF804961ABE7D4084435C2\n\npcDEV18qfaZxO8gJB/ISjTc+1CI+lquH11A0cvmiEdG6zBjy25mYh4b9HPAcBFlh\nszI5JrNIN95Ru5gh6UtzSI7iC8+pgZAFxJSWyU1XS8g7QKMNzM3bdLvyPcs1h2DV\nTV9OywLETbXhRqvKYrje0wVNdPMCk2QztFSX6lSzzEw=\n-----END EC PRIVATE KEY-----";

    fn key(pem: &str) -> SigningKey {
        SigningKey::from_pem(pem).unwrap()
    }

    fn all() -> [(SigningKey, &'static [Algorithm]); 5] {
        use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Rs256, Rs384, Rs512};
        [
            (key(keys::RSA), &[Rs256, Rs384, Rs512, Ps256]),
            (key(keys::P256), &[Es256]),
            (key(keys::P384), &[Es384]),
            (key(keys::ED25519), &[EdDsa]),
            (SigningKey::shared("a shared secret"), &[Hs256, Hs384, Hs512]),
        ]
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// What the standards print: RFC 7515 A.1 to A.3, RFC 8037 A.4.
    #[test]
    fn signatures_are_those_of_the_standards() {
        let joe = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let shared = SigningKey(Kind::Shared(Zeroizing::new(decoded(secret))));
        for (key, algorithm, text, expected) in [
            (
                shared,
                Algorithm::Hs256,
                format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{joe}"),
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
            (
                key(keys::RSA),
                Algorithm::Rs256,
                format!("eyJhbGciOiJSUzI1NiJ9.{joe}"),
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                key(keys::ED25519),
                Algorithm::EdDsa,
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            ),
        ] {
            assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(algorithm, text.as_bytes()).unwrap()), expected, "{algorithm:?}");
        }
        // Signatures on curves are made with chance, so that the standard's is one of many that hold.
        let made = decoded("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
        assert!(key(keys::P256).verifies(Algorithm::Es256, format!("eyJhbGciOiJFUzI1NiJ9.{joe}").as_bytes(), &made));
    }

    /// Values of another library, for what the standards do not print.
    #[test]
    fn other_digests_are_what_they_are_called() {
        use sha2::{Digest as _, Sha256};
        let rsa = key(keys::RSA);
        let digest = |algorithm| hex::encode(Sha256::digest(rsa.sign(algorithm, b"text").unwrap()));
        assert_eq!(digest(Algorithm::Rs384), "ecc21c23d1aa796d68f19116c3a52324f66734d57d81f1dd43457b1a0c89761f");
        assert_eq!(digest(Algorithm::Rs512), "5a2d06b122b845bb2d3d6ace675e2c4af634b250c7de149d435aec80c12025b9");
        let pss = "SYxHH-KHCyr5REfoauLXndjb0RkRABVFoKtl-DCu0-IHJjW39bO3qjz-cIiPOUy6Eej5bBcWM2doubzNKq4tpgkc4VtMVkNPDosvCKjDo4MaQIZJGvQFmT2OJue68B7TSGP3g0vRJ96kD1QeJ1XC38cHZdbG0W5_27odAGq6PIRw3rxcN91wXzWe7XDH3Zjl-Obf77TufHMRsmjZbT39hyk7RmF1sTCat9z0_QBQvbXCMTkVsX4HHdlME2gghETIW3rr-1RS_GLHTEKCyuc8mILI567Z9dZnBj_RoUiMwEa9XuLdfFsSNDr3oAUOaxOgQB0kCsN-HYK_JJ3WxZbIOg";
        assert!(rsa.verifies(Algorithm::Ps256, b"text", &decoded(pss)));
        let shared = SigningKey::shared("a shared secret");
        let mac = |algorithm| URL_SAFE_NO_PAD.encode(shared.sign(algorithm, b"text").unwrap());
        assert_eq!(mac(Algorithm::Hs384), "oOX2bxUQVNP63s13jfc6mQS3PMaaOsSy2hd604qrqgM8YXiE17ak0isw7rqLb35u");
        assert_eq!(
            mac(Algorithm::Hs512),
            "y9ykTUcx3wjHplq4iIr3iRfi0_JR-8jUTbYDygnDKfJ_03cs9IEJfSTVanuEKRY83LEP1ubOcjffa2peX0rQhw"
        );
    }

    #[test]
    fn what_a_key_signs_its_public_half_takes_and_no_other() {
        for (nth, (key, algorithms)) in all().iter().enumerate() {
            assert_eq!(key.usual(), algorithms[0]);
            for algorithm in *algorithms {
                let token =
                    sign(key, *algorithm, object(serde_json::json!({ "kid": "k" })), object(serde_json::json!({ "n": 1 })))
                        .unwrap();
                let (header, claims) = opened(key, &token).unwrap();
                assert_eq!(Value::from(header), serde_json::json!({ "alg": algorithm.as_str(), "typ": "JWT", "kid": "k" }));
                assert_eq!(Value::from(claims), serde_json::json!({ "n": 1 }));
                let (text, made) = token.rsplit_once('.').unwrap();
                let forged = format!(
                    "{}.{made}",
                    text.replace(&URL_SAFE_NO_PAD.encode("{\"n\":1}"), &URL_SAFE_NO_PAD.encode("{\"n\":2}"))
                );
                assert!(forged != token && opened(key, &forged).is_none(), "{algorithm:?}");
                for (_, (other, _)) in all().iter().enumerate().filter(|(at, _)| *at != nth) {
                    assert!(opened(other, &token).is_none(), "{algorithm:?}");
                }
            }
            for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithms.contains(algorithm)) {
                let error = sign(key, algorithm, Map::new(), Map::new()).unwrap_err();
                assert!(matches!(error, JwtError::Key(KeyError::WrongKind { .. })), "{algorithm:?}");
            }
        }
    }

    #[test]
    fn a_key_is_read_in_each_form_it_comes_in() {
        let spelled = keys::P256.replace('\n', "\\n");
        let windows = keys::RSA.replace('\n', "\r\n");
        let bundle = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", keys::ED25519);
        for (pem, algorithm) in [
            (RSA_PKCS1, Algorithm::Rs256),
            (P256_SEC1, Algorithm::Es256),
            (P384_SEC1, Algorithm::Es384),
            (&spelled, Algorithm::Es256),
            (&windows, Algorithm::Rs256),
            (&bundle, Algorithm::EdDsa),
        ] {
            assert_eq!(key(pem).usual(), algorithm);
        }
        let token = sign(&key(P384_SEC1), Algorithm::Es384, Map::new(), Map::new()).unwrap();
        assert!(opened(&key(keys::P384), &token).is_some());
    }

    #[test]
    fn what_is_no_key_is_told_with_what_to_do() {
        let cut = &keys::RSA[..400];
        let holed = keys::P256.replace("MIGH", "MIGG");
        let long = format!("{}{}", keys::RSA, "\n".repeat(KEY_MAX));
        for (text, told, advice) in [
            ("", KeyError::NotPem, "-----BEGIN PRIVATE KEY-----"),
            ("secret", KeyError::NotPem, "send the whole file"),
            (cut, KeyError::Unreadable, "damaged"),
            (&holed, KeyError::Unreadable, "PKCS#8"),
            (K256, KeyError::Unreadable, "P-256"),
            (&long, KeyError::TooLong, "16384"),
            ("{\"type\":\"service_account\"}", KeyError::Json, "`private_key`"),
            (ENCRYPTED, KeyError::Encrypted, "openssl pkey"),
            (ENCRYPTED_OLD, KeyError::Encrypted, "openssl pkey"),
            (PUBLIC, KeyError::Public, "private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", KeyError::Certificate, "private key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", KeyError::OpenSsh, "ssh-keygen"),
            (RSA_1024, KeyError::ShortRsa, "openssl genpkey"),
        ] {
            let error = SigningKey::from_pem(text).expect_err(text);
            assert_eq!(error, told, "{text}");
            assert!(error.to_string().contains(advice), "{error}");
        }
        let wrong = key(keys::P256).fits(Algorithm::Rs256).unwrap_err().to_string();
        assert!(wrong.starts_with("is a P-256 key, and RS256 signs with an RSA key"), "{wrong}");
    }

    #[test]
    fn a_key_prints_its_kind_alone_and_a_jwt_has_a_size() {
        assert_eq!(format!("{:?}", key(keys::RSA)), "SigningKey(an RSA key)");
        assert_eq!(format!("{:?}", SigningKey::shared("topsecret")), "SigningKey(a shared secret)");
        let long = object(serde_json::json!({ "long": "x".repeat(JWT_MAX) }));
        assert_eq!(sign(&key(keys::ED25519), Algorithm::EdDsa, Map::new(), long), Err(JwtError::TooLong));
    }
}
