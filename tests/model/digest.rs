//! A canonical, compact encoding of records and worlds: states that are equal have the same digest.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use claviger::domain::connection::{Connection, Tokens};
use claviger::domain::flight::Flight;
use claviger::domain::secret::ExposeSecret as _;

/// A multiply-and-rotate hash: quick in a build without optimisation, and good enough for some millions.
#[derive(Debug, Clone, Copy)]
pub struct Mix(u64);

impl Default for Mix {
    fn default() -> Self {
        Self(0x51_7C_C1_B7_27_22_0A_95)
    }
}

impl Mix {
    fn add(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mixed = self.0.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 59));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.add(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.add(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.add(n as u64);
    }
}

/// For sets of digests, which need no further hashing.
pub type Seen = std::collections::HashSet<u64, BuildHasherDefault<Mix>>;

pub fn of(value: &impl Hash) -> u64 {
    let mut mix = Mix::default();
    value.hash(&mut mix);
    mix.finish()
}

pub fn of_connection(connection: &Connection) -> u64 {
    let mut mix = Mix::default();
    connection.grant_id.hash(&mut mix);
    connection.status.as_str().hash(&mut mix);
    for set in connection.sets.values() {
        (set.generation, set.alternates.len()).hash(&mut mix);
        std::iter::once(&set.current).chain(&set.alternates).for_each(|tokens| add_tokens(tokens, &mut mix));
        set.last_error.as_ref().map(|error| (error.class, &error.code)).hash(&mut mix);
    }
    mix.finish()
}

fn add_tokens(tokens: &Tokens, mix: &mut Mix) {
    tokens.access.expose_secret().hash(mix);
    tokens.refresh.as_ref().map(|token| token.expose_secret()).hash(mix);
    tokens.obtained_at.as_millisecond().hash(mix);
    tokens.expires_at.map(|end| end.as_millisecond()).hash(mix);
    tokens.from_generation.hash(mix);
}

pub fn of_flight(flight: &Flight) -> u64 {
    let mut mix = Mix::default();
    (flight.generation, flight.fence, flight.doubts, &flight.owed, flight.tried.len()).hash(&mut mix);
    flight.doubted_at.map(|at| at.as_millisecond()).hash(&mut mix);
    if let Some(intent) = &flight.intent {
        (&intent.attempt, intent.prepared_at.as_millisecond()).hash(&mut mix);
    }
    let backoff = &flight.backoff;
    (backoff.failures, backoff.class, &backoff.code).hash(&mut mix);
    (backoff.not_before.map(|at| at.as_millisecond()), backoff.refused_since.map(|at| at.as_millisecond())).hash(&mut mix);
    mix.finish()
}
