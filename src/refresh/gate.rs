//! Whether a node may send at all at this moment. Facts in, verdict out.

use std::time::Duration;

use super::outcome::{Outcome, Setback, Why};
use super::plan::At;

/// The facts, put together by the driver for one flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    /// SIGTERM was received.
    pub draining: bool,
    /// The store was restored or cloned, and nobody has said `resume`.
    pub restored: bool,
    /// On the monotonic clock: the first contact with the present store and [`super::Policy::reconcile`]. Zero
    /// for a store that no other node shares.
    pub barrier_until: Duration,
    /// The epoch for which this node's journal, pending and recently settled entries, has been replayed; `None`
    /// before the first replay of this process.
    pub replayed: Option<u64>,
    pub journal: Journal,
    /// What a breaker or the provider's pace says, if it says stop.
    pub hold: Option<Setback>,
}

/// This node's journal, for this flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Room is reserved for this flight's next answer, and no entry of an earlier flight of the same connection and
    /// set is pending (this flight's own, of a request that it repeats, does not count).
    Reserved,
    /// Too full.
    Full,
    /// It does not take writes.
    Broken,
    /// An entry of an earlier flight of the same connection and set is pending.
    Pending,
}

/// Why nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    Draining,
    Restored,
    /// Another store: this node's journal is not replayed into it yet, or other nodes may not have done so.
    Reconciling(Duration),
    JournalFull,
    JournalBroken,
    /// An earlier answer for the same tokens is not in the store yet.
    JournalPending,
    Held(Setback),
}

/// Reconciling takes a moment; who is told to come back comes then.
const RECONCILE_RETRY: Duration = Duration::from_secs(1);
const DRAIN_RETRY: Duration = Duration::from_secs(2);
const JOURNAL_RETRY: Duration = Duration::from_secs(5);
const RESTORED_RETRY: Duration = Duration::from_secs(60);

/// docs/refresh.md, step 2.
pub fn admit(view: &GateView, at: &At) -> Result<(), Closed> {
    may_judge(view, at)?;
    match view.journal {
        Journal::Broken => return Err(Closed::JournalBroken),
        Journal::Full => return Err(Closed::JournalFull),
        Journal::Pending | Journal::Reserved => {}
    }
    match &view.hold {
        Some(setback) => Err(Closed::Held(setback.clone())),
        None => Ok(()),
    }
}

/// What a verdict on a grant needs that is given without asking the provider: no room and nobody's leave, but the
/// say of every journal that may hold newer tokens (I6).
pub fn may_judge(view: &GateView, at: &At) -> Result<(), Closed> {
    if view.draining {
        return Err(Closed::Draining);
    }
    if view.restored {
        return Err(Closed::Restored);
    }
    if view.replayed != Some(at.epoch) {
        return Err(Closed::Reconciling(RECONCILE_RETRY));
    }
    if at.mono < view.barrier_until {
        return Err(Closed::Reconciling(view.barrier_until - at.mono));
    }
    match view.journal {
        Journal::Pending => Err(Closed::JournalPending),
        Journal::Broken | Journal::Full | Journal::Reserved => Ok(()),
    }
}

impl From<Closed> for Outcome {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Draining => Outcome::failed(Why::Stopping, "stopping", DRAIN_RETRY),
            Closed::Restored => Outcome::failed(Why::Held, "restored", RESTORED_RETRY),
            Closed::Reconciling(rest) => Outcome::failed(Why::Store, "reconciling", rest),
            Closed::JournalFull => Outcome::failed(Why::Store, "journal_full", JOURNAL_RETRY),
            Closed::JournalBroken => Outcome::failed(Why::Store, "journal_broken", JOURNAL_RETRY),
            Closed::JournalPending => Outcome::failed(Why::Store, "journal_pending", RECONCILE_RETRY),
            Closed::Held(setback) => Outcome::Failed(setback),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const AT: At = At { now: Timestamp::UNIX_EPOCH, mono: Duration::from_secs(100), epoch: 2 };

    fn open() -> GateView {
        GateView {
            draining: false,
            restored: false,
            barrier_until: Duration::from_secs(100),
            replayed: Some(2),
            journal: Journal::Reserved,
            hold: None,
        }
    }

    #[test]
    fn each_reason_alone_closes_it() {
        assert_eq!(admit(&open(), &AT), Ok(()));
        let hold = Setback { why: Why::IntegrationBroken, code: "invalid_client".into(), retry_after: Duration::from_secs(9) };
        for (view, closed) in [
            (GateView { draining: true, ..open() }, Closed::Draining),
            (GateView { restored: true, ..open() }, Closed::Restored),
            (GateView { replayed: None, ..open() }, Closed::Reconciling(RECONCILE_RETRY)),
            (GateView { replayed: Some(1), ..open() }, Closed::Reconciling(RECONCILE_RETRY)),
            (GateView { barrier_until: Duration::from_secs(103), ..open() }, Closed::Reconciling(Duration::from_secs(3))),
            (GateView { journal: Journal::Full, ..open() }, Closed::JournalFull),
            (GateView { journal: Journal::Broken, ..open() }, Closed::JournalBroken),
            (GateView { journal: Journal::Pending, ..open() }, Closed::JournalPending),
            (GateView { hold: Some(hold.clone()), ..open() }, Closed::Held(hold.clone())),
        ] {
            let of_sending = matches!(closed, Closed::JournalFull | Closed::JournalBroken | Closed::Held(_));
            assert_eq!(may_judge(&view, &AT), if of_sending { Ok(()) } else { Err(closed.clone()) }, "{view:?}");
            assert_eq!(admit(&view, &AT), Err(closed), "{view:?}");
        }
    }
}
