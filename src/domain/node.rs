//! The nodes of a deployment: what each says of itself while it beats, what its folder remembers of
//! that, and how the two tell a store that was restored, cloned or emptied. Pure records and judgements.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::ProviderId;

/// A node whose beat stands still for so many of its periods does not run, and no sooner than after this:
/// a busy machine is late.
const SILENT_PERIODS: u32 = 3;
const SILENT_MIN: Duration = Duration::from_secs(2);

/// The `node` record: plain, so that scripts can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: String,
    /// Random for each process, so that a process knows its own record.
    pub session: String,
    /// Grows by one each period while the process runs, and never falls.
    pub beat: u64,
    /// By the node's own wall clock: for people.
    pub at: Timestamp,
    pub started_at: Timestamp,
    /// Milliseconds from one beat to the next.
    pub every_ms: u64,
    pub version: String,
    /// Entries of its journal that no store has yet.
    #[serde(default)]
    pub journal_pending: u64,
    /// The process ended as it should, with nothing under way.
    #[serde(default)]
    pub stopped: bool,
    /// An operator said that it will not come back: others may end what it began.
    #[serde(default)]
    pub forgotten: bool,
    /// The restoration over which it has replayed its journal.
    #[serde(default)]
    pub replayed: Option<String>,
}

impl NodeRecord {
    /// How long its beat must stand still before it counts as silent.
    pub fn silence(&self) -> Duration {
        (Duration::from_millis(self.every_ms) * SILENT_PERIODS).max(SILENT_MIN)
    }
}

/// What the node's folder remembers of the store: written after each beat that the store acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The deployment that the store was founded as, in hex.
    pub instance: String,
    pub session: String,
    pub beat: u64,
}

/// The `restoration` record, one per deployment: the last time that the store was found to be another
/// than it was, and what the operator made of it. It holds back every node, also those that noticed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    pub id: String,
    pub since: Timestamp,
    pub cause: Cause,
    /// The node that noticed.
    pub by: String,
    /// When the operator let refreshes go on.
    pub resumed_at: Option<Timestamp>,
    /// Providers that are held back still, and why.
    #[serde(default)]
    pub held: BTreeMap<ProviderId, String>,
}

/// How it showed that a store is not the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It has an older beat of this node than the one it acknowledged.
    FellBack,
    /// It does not know this node, which has beaten in it.
    NodeMissing,
    /// It was founded as another deployment.
    OtherDeployment,
    /// What it was founded with is gone.
    Emptied,
    /// The operator said so (`--restored`, `claviger restore`).
    Said,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::FellBack => "the store fell back to an earlier state",
            Cause::NodeMissing => "the store no longer knows this node",
            Cause::OtherDeployment => "the store is that of another deployment",
            Cause::Emptied => "the store was emptied",
            Cause::Said => "the operator said that the store was restored",
        }
    }
}

/// What a node finds where it put its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// Its own, as it left it or one beat on.
    Own,
    /// An older one than the store has acknowledged.
    FellBack {
        beats: u64,
    },
    Missing,
    /// One that goes on without it: another process has this node's name, or had it since.
    Other,
}

/// Judges the record in the store by what was acknowledged last. A beat whose answer was lost may be there.
pub fn sighting(found: Option<&NodeRecord>, session: &str, acknowledged: u64) -> Sighting {
    match found {
        None => Sighting::Missing,
        Some(found) if found.beat < acknowledged => Sighting::FellBack { beats: acknowledged - found.beat },
        Some(found) if found.session == session && found.beat - acknowledged <= 1 => Sighting::Own,
        Some(_) => Sighting::Other,
    }
}

/// Whether a store that can lose its last moments in a failover may have done just that: a loss of so few
/// beats is made good by replaying the journals, and is no restoration.
pub fn is_failover(sighting: Sighting, acknowledged: u64, tolerance: u64) -> bool {
    match sighting {
        Sighting::FellBack { beats } => beats <= tolerance,
        Sighting::Missing => acknowledged <= tolerance,
        Sighting::Own | Sighting::Other => false,
    }
}

/// What a starting process makes of the record and of what its folder remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Expected,
    /// The store lacks its last moments.
    Failover,
    Restored(Cause),
    /// The record is not one that this folder left, and was not closed: a process may be using the name.
    NameInUse,
}

pub fn arrival(remembered: Option<&Remembered>, instance: &str, found: Option<&NodeRecord>, tolerance: u64) -> Arrival {
    let unclosed = found.is_some_and(|found| !found.stopped);
    let Some(remembered) = remembered else {
        return if unclosed { Arrival::NameInUse } else { Arrival::Expected };
    };
    if remembered.instance != instance {
        return Arrival::Restored(Cause::OtherDeployment);
    }
    match sighting(found, &remembered.session, remembered.beat) {
        Sighting::Own => Arrival::Expected,
        Sighting::Other if unclosed => Arrival::NameInUse,
        Sighting::Other => Arrival::Expected,
        lost if is_failover(lost, remembered.beat, tolerance) => Arrival::Failover,
        Sighting::FellBack { .. } => Arrival::Restored(Cause::FellBack),
        Sighting::Missing => Arrival::Restored(Cause::NodeMissing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(session: &str, beat: u64) -> NodeRecord {
        NodeRecord {
            id: "n".into(),
            session: session.into(),
            beat,
            at: Timestamp::UNIX_EPOCH,
            started_at: Timestamp::UNIX_EPOCH,
            every_ms: 5000,
            version: "0".into(),
            journal_pending: 0,
            stopped: false,
            forgotten: false,
            replayed: None,
        }
    }

    #[test]
    fn a_record_is_own_only_as_it_was_left_or_one_beat_on() {
        for beat in 0..20 {
            for acknowledged in 0..20 {
                let own = sighting(Some(&record("mine", beat)), "mine", acknowledged);
                let other = sighting(Some(&record("theirs", beat)), "mine", acknowledged);
                if beat < acknowledged {
                    let fell = Sighting::FellBack { beats: acknowledged - beat };
                    assert_eq!((own, other), (fell, fell));
                } else {
                    let near = if beat <= acknowledged + 1 { Sighting::Own } else { Sighting::Other };
                    assert_eq!((own, other), (near, Sighting::Other));
                }
            }
        }
        assert_eq!(sighting(None, "mine", 0), Sighting::Missing);
    }

    #[test]
    fn only_a_small_loss_is_a_failover() {
        assert!(is_failover(Sighting::FellBack { beats: 3 }, 100, 3));
        assert!(!is_failover(Sighting::FellBack { beats: 4 }, 100, 3));
        assert!(!is_failover(Sighting::FellBack { beats: 1 }, 100, 0));
        assert!(is_failover(Sighting::Missing, 3, 3) && !is_failover(Sighting::Missing, 4, 3));
        assert!(!is_failover(Sighting::Other, 1, 3));
    }

    #[test]
    fn a_start_tells_a_restored_store_from_its_own() {
        let remembered = Remembered { instance: "i".into(), session: "mine".into(), beat: 10 };
        let at = |found: Option<NodeRecord>, tolerance| arrival(Some(&remembered), "i", found.as_ref(), tolerance);
        let closed = |session, beat| NodeRecord { stopped: true, ..record(session, beat) };
        assert_eq!(at(Some(record("mine", 10)), 0), Arrival::Expected);
        assert_eq!(at(Some(record("mine", 11)), 0), Arrival::Expected, "a beat whose answer was lost");
        assert_eq!(at(Some(record("mine", 12)), 0), Arrival::NameInUse, "a copied folder whose original goes on");
        assert_eq!(at(Some(closed("mine", 12)), 0), Arrival::Expected);
        assert_eq!(at(Some(record("theirs", 10)), 0), Arrival::NameInUse);
        assert_eq!(at(Some(record("mine", 9)), 0), Arrival::Restored(Cause::FellBack));
        assert_eq!(at(Some(closed("mine", 9)), 0), Arrival::Restored(Cause::FellBack));
        assert_eq!(at(Some(record("mine", 9)), 1), Arrival::Failover);
        assert_eq!(at(None, 9), Arrival::Restored(Cause::NodeMissing));
        assert_eq!(at(None, 10), Arrival::Failover);
        assert_eq!(arrival(Some(&remembered), "j", None, 99), Arrival::Restored(Cause::OtherDeployment));
        assert_eq!(arrival(None, "i", None, 0), Arrival::Expected, "a new node");
        assert_eq!(arrival(None, "i", Some(&record("theirs", 3)), 0), Arrival::NameInUse);
    }

    /// What a newer version adds is no obstacle, and what an older one left out has a default.
    #[test]
    fn neighbouring_versions_read_it() {
        let old = r#"{"id":"n","session":"s","beat":1,"at":"2026-01-01T00:00:00Z","started_at":"2026-01-01T00:00:00Z","every_ms":5000,"version":"0","more":1}"#;
        let read: NodeRecord = serde_json::from_str(old).unwrap();
        assert!(!read.forgotten && !read.stopped && read.journal_pending == 0);
    }
}
