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
        let mut sealed = Vec::with_capacity(HEADER_LEN + NONCE_LEN + padded + TAG_LEN);
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
