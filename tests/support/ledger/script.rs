//! What is to go wrong, and with whom.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;

use super::book::GrantNo;

/// What becomes of one request.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// Before the books are written.
    pub before: Wait,
    /// After that and before the answer.
    pub after: Wait,
    pub end: End,
}

#[derive(Debug, Clone, Default)]
pub enum Wait {
    #[default]
    Not,
    For(Duration),
    /// Until the test says `true`.
    Until(watch::Receiver<bool>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Whole,
    /// The books are written, and the connection closes without a byte.
    Lost,
    /// The books are written, and half of the body comes.
    Half,
    /// The books are written, and the connection is reset.
    Reset,
    /// The books are written, and a gateway answers 500 in the provider's place.
    Hidden,
    /// 500, and nothing was done.
    Failed,
    /// 429 with `Retry-After` in seconds, and nothing was done.
    Throttled(u64),
}

impl End {
    /// Whether the books are written.
    pub fn commits(self) -> bool {
        !matches!(self, End::Failed | End::Throttled(_))
    }
}

impl Fault {
    pub fn before(mut self, wait: impl Into<Wait>) -> Self {
        self.before = wait.into();
        self
    }

    pub fn after(mut self, wait: impl Into<Wait>) -> Self {
        self.after = wait.into();
        self
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Self { end, ..Self::default() }
    }
}

impl From<Duration> for Wait {
    fn from(span: Duration) -> Self {
        Wait::For(span)
    }
}

impl From<&watch::Sender<bool>> for Wait {
    fn from(gate: &watch::Sender<bool>) -> Self {
        Wait::Until(gate.subscribe())
    }
}

impl Wait {
    pub(super) async fn over(self) {
        match self {
            Wait::Not => {}
            Wait::For(span) => tokio::time::sleep(span).await,
            // A test that is gone holds nobody.
            Wait::Until(mut gate) => drop(gate.wait_for(|open| *open).await.is_ok()),
        }
    }
}

pub(super) struct Script {
    next: HashMap<GrantNo, VecDeque<Fault>>,
    pub always: Box<dyn FnMut(GrantNo) -> Fault + Send>,
}

impl Default for Script {
    fn default() -> Self {
        Self { next: HashMap::new(), always: Box::new(|_| Fault::default()) }
    }
}

impl Script {
    pub fn next(&mut self, grant: GrantNo, fault: Fault) {
        self.next.entry(grant).or_default().push_back(fault);
    }

    pub fn fault_for(&mut self, grant: GrantNo) -> Fault {
        self.next.get_mut(&grant).and_then(VecDeque::pop_front).unwrap_or_else(|| (self.always)(grant))
    }
}

/// A small generator of random numbers, so that a seed gives the same faults again (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// True `n` times in a thousand.
    pub fn per_mille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }
}
