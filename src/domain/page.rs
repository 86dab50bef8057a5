//! Paging of lists: a limit and an opaque cursor.

use super::refusal::Refusal;

pub const DEFAULT_LIMIT: usize = 50;
pub const MAX_LIMIT: usize = 200;

/// How many entries a caller wants, 1 to [`MAX_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(usize);

impl Limit {
    pub fn parse(asked: Option<usize>) -> Result<Self, Refusal> {
        match asked {
            None => Ok(Self(DEFAULT_LIMIT)),
            Some(n) if (1..=MAX_LIMIT).contains(&n) => Ok(Self(n)),
            Some(_) => Err(Refusal::field("limit", format!("must be 1 to {MAX_LIMIT}"))),
        }
    }

    pub fn get(self) -> usize {
        self.0
    }
}

/// Part of a list, and where the next part begins.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}
