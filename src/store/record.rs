//! What a typed record is: its kind, where it stands, and under which key it is sealed.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::ids::TenantId;
use crate::ports::kv::{Key, Partition};

/// A type that is stored. Fields may be added with a default, so that neighbouring versions of
/// Claviger read each other's records; `KIND` is bound into the seal and never changes.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

/// Under which key a record is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Not sealed: it holds no secret, and scripts read it.
    Plain,
    System,
    Tenant(TenantId),
}

/// Where one record stands. Made only by the functions in `entities::keys`.
#[derive(Debug, Clone)]
pub struct RecordKey<R> {
    pub(super) key: Key,
    pub(super) protection: Protection,
    pub(super) record: PhantomData<fn() -> R>,
}

/// Records whose names begin alike.
#[derive(Debug, Clone)]
pub struct RecordRange<R> {
    pub(super) partition: Partition,
    pub(super) prefix: Vec<u8>,
    pub(super) protection: Protection,
    pub(super) record: PhantomData<fn() -> R>,
}

impl<R> RecordRange<R> {
    pub(super) fn key(&self, name: Vec<u8>) -> RecordKey<R> {
        let key = Key { partition: self.partition.clone(), name };
        RecordKey { key, protection: self.protection.clone(), record: PhantomData }
    }
}

/// A record as read, with the version a replacement must name.
#[derive(Debug, Clone)]
pub struct Stored<R> {
    pub value: R,
    pub version: u64,
}
