//! Sealing: XAES-256-GCM over padded plaintext, bound to where the record stands (SECURITY.md).
//!
//! `version u8 | suite u8 | key id 8 | nonce 24 | ciphertext | tag 16`. Pure: key, nonce and context
//! are handed in. Opening is total: no panic, and no allocation beyond the size of what is opened.

use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use xaes_256_gcm::aes::Aes256;
use xaes_256_gcm::{Key, Nonce, Tag, Xaes256Gcm};
use zeroize::Zeroizing;

pub const KEY_LEN: usize = 32;
pub const KEY_ID_LEN: usize = 8;
pub const NONCE_LEN: usize = 24;
const VERSION: u8 = 1;
const SUITE_XAES_256_GCM: u8 = 1;
const HEADER_LEN: usize = 2 + KEY_ID_LEN;
const TAG_LEN: usize = 16;
const LENGTH_LEN: usize = 4;
/// Plaintext is padded to steps of this size, so that a size says little.
const STEP: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a sealed record has an unknown version or suite")]
    UnknownFormat,
    #[error("a sealed record names a key that is not at hand")]
    UnknownKey,
    #[error("a sealed record does not open here: it was changed, or moved from another place")]
    NotAuthentic,
    #[error("a record is too large to seal")]
    TooLarge,
}

/// How long so many bytes are once they are sealed.
pub fn sealed_len(plain: usize) -> usize {
    HEADER_LEN + NONCE_LEN + (LENGTH_LEN + plain).next_multiple_of(STEP) + TAG_LEN
}

/// What a seal is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub deployment: &'a [u8; 16],
    pub partition: &'a str,
    pub kind: &'a str,
    pub key: &'a [u8],
    pub version: u64,
}

/// A key with its id. The cipher holds the expanded key and wipes it on drop.
pub struct SealKey {
    id: [u8; KEY_ID_LEN],
    cipher: Xaes256Gcm,
}

impl SealKey {
    pub fn new(id: [u8; KEY_ID_LEN], key: &[u8; KEY_LEN]) -> Self {
        Self { id, cipher: Xaes256Gcm::new(&Key::<Aes256>::from(*key)) }
    }

    pub fn id(&self) -> [u8; KEY_ID_LEN] {
        self.id
    }

    pub fn seal(&self, nonce: [u8; NONCE_LEN], context: &Context<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let length = u32::try_from(plain.len()).map_err(|_| SealError::TooLarge)?;
        let padded = (LENGTH_LEN + plain.len()).next_multiple_of(STEP);
        let mut sealed = Vec::with_capacity(sealed_len(plain.len()));
        sealed.extend_from_slice(&[VERSION, SUITE_XAES_256_GCM]);
        sealed.extend_from_slice(&self.id);
        let data = associated_data(&sealed, context);
        sealed.extend_from_slice(&nonce);
        let body = sealed.len();
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(plain);
        sealed.resize(body + padded, 0);
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &data, (&mut sealed[body..]).into())
            .map_err(|_| SealError::TooLarge)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    pub fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, rest) = sealed.split_at_checked(HEADER_LEN).ok_or(SealError::UnknownFormat)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::UnknownFormat)?;
        let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(SealError::UnknownFormat)?;
        let data = associated_data(header, context);
        let mut plain = Zeroizing::new(body.to_vec());
        self.cipher
            .decrypt_inout_detached(&Nonce::from(*nonce), &data, plain.as_mut_slice().into(), &Tag::from(*tag))
            .map_err(|_| SealError::NotAuthentic)?;
        let length = plain.first_chunk::<LENGTH_LEN>().map(|bytes| u32::from_be_bytes(*bytes) as usize);
        let length = length.filter(|length| *length <= plain.len() - LENGTH_LEN).ok_or(SealError::NotAuthentic)?;
        plain.drain(..LENGTH_LEN);
        plain.truncate(length);
        Ok(plain)
    }
}

/// The id of the key that sealed this, after checking version and suite.
pub fn key_id(sealed: &[u8]) -> Result<[u8; KEY_ID_LEN], SealError> {
    match sealed {
        [VERSION, SUITE_XAES_256_GCM, rest @ ..] => rest.first_chunk().copied().ok_or(SealError::UnknownFormat),
        _ => Err(SealError::UnknownFormat),
    }
}

/// Each part with its length before it, so that no two contexts give the same bytes.
fn associated_data(header: &[u8], context: &Context<'_>) -> Vec<u8> {
    let version = context.version.to_be_bytes();
    let parts: [&[u8]; 6] =
        [header, context.deployment, context.partition.as_bytes(), context.kind.as_bytes(), context.key, &version];
    let mut data = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

#[cfg(test)]
mod tests {
    use sha3::Shake128;
    use sha3::digest::{ExtendableOutput as _, Update as _, XofReader as _};
    use xaes_256_gcm::aead::{Aead as _, Payload};

    use super::*;

    const DEPLOYMENT: [u8; 16] = [7; 16];
    const NONCE: [u8; NONCE_LEN] = *b"ABCDEFGHIJKLMNOPQRSTUVWX";

    fn context() -> Context<'static> {
        Context { deployment: &DEPLOYMENT, partition: "t.a", kind: "grant", key: b"g/1", version: 3 }
    }

    fn raw(key: u8, plain: &[u8], data: &[u8]) -> String {
        let cipher = Xaes256Gcm::new(&Key::<Aes256>::from([key; 32]));
        hex::encode(cipher.encrypt(&Nonce::from(NONCE), Payload { msg: plain, aad: data }).unwrap())
    }

    /// C2SP, XAES-256-GCM, test vectors: one for each branch of the key derivation.
    #[test]
    fn the_cipher_gives_the_specifications_vectors() {
        assert_eq!(raw(1, b"XAES-256-GCM", b""), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
        let second = raw(3, b"XAES-256-GCM", b"c2sp.org/XAES-256-GCM");
        assert_eq!(second, "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
    }

    /// C2SP, XAES-256-GCM, accumulated test: inputs and the digest of outputs by SHAKE128.
    #[test]
    fn the_cipher_gives_the_specifications_accumulated_vector() {
        let mut source = Shake128::default().finalize_xof();
        let mut digest = Shake128::default();
        for _ in 0..10_000 {
            let (mut key, mut nonce, mut length) = ([0; 32], [0; NONCE_LEN], [0; 1]);
            source.read(&mut key);
            source.read(&mut nonce);
            source.read(&mut length);
            let mut plain = vec![0; usize::from(length[0])];
            source.read(&mut plain);
            source.read(&mut length);
            let mut data = vec![0; usize::from(length[0])];
            source.read(&mut data);
            let cipher = Xaes256Gcm::new(&Key::<Aes256>::from(key));
            digest.update(&cipher.encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &data }).unwrap());
        }
        let mut found = [0; 32];
        digest.finalize_xof().read(&mut found);
        assert_eq!(hex::encode(found), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = SealKey::new([9; 8], &[1; 32]);
        let sealed = key.seal(NONCE, &context(), b"a secret").unwrap();
        assert_eq!(key.open(&context(), &sealed).unwrap().as_slice(), b"a secret");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&context(), &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_truncation_is_refused_without_a_panic() {
        let key = SealKey::new([9; 8], &[1; 32]);
        let sealed = key.seal(NONCE, &context(), b"a secret").unwrap();
        for length in 0..sealed.len() {
            assert!(key.open(&context(), &sealed[..length]).is_err(), "{length} bytes");
            assert_eq!(key_id(&sealed[..length]).is_ok(), length >= HEADER_LEN);
        }
    }

    #[test]
    fn a_record_opens_in_its_own_place_only() {
        let key = SealKey::new([9; 8], &[1; 32]);
        let home = context();
        let other = [8; 16];
        let places = [
            home,
            Context { deployment: &other, ..home },
            Context { partition: "t.b", ..home },
            Context { kind: "flight", ..home },
            Context { key: b"g/2", ..home },
            Context { version: 4, ..home },
            // The same bytes, cut elsewhere.
            Context { partition: "t.ag", kind: "rant", ..home },
            Context { kind: "grantg", key: b"/1", ..home },
        ];
        for (from, sealed_for) in places.iter().enumerate() {
            let sealed = key.seal(NONCE, sealed_for, b"x").unwrap();
            for (to, opened_as) in places.iter().enumerate() {
                assert_eq!(key.open(opened_as, &sealed).is_ok(), from == to, "from {from} to {to}");
            }
        }
        let sealed = key.seal(NONCE, &home, b"x").unwrap();
        assert_eq!(SealKey::new([9; 8], &[2; 32]).open(&home, &sealed).err(), Some(SealError::NotAuthentic));
    }

    #[test]
    fn an_unknown_version_or_suite_is_an_error() {
        let sealed = SealKey::new([9; 8], &[1; 32]).seal(NONCE, &context(), b"x").unwrap();
        for (at, value) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
            let mut other = sealed.clone();
            other[at] = value;
            assert_eq!(key_id(&other), Err(SealError::UnknownFormat));
        }
    }

    #[test]
    fn a_size_says_little() {
        let key = SealKey::new([9; 8], &[1; 32]);
        let sizes: std::collections::BTreeSet<usize> =
            (0..=60 + 10 * STEP).map(|plain| key.seal(NONCE, &context(), &vec![0; plain]).unwrap().len()).collect();
        let overhead = HEADER_LEN + NONCE_LEN + TAG_LEN;
        let expected: Vec<usize> = (1..=11).map(|steps| overhead + steps * STEP).collect();
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), expected);
    }
}
