//! What a node writes before it sends a refresh token, and what failed flights leave behind. Pure data;
//! who may fly is judged in `refresh/`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::GrantId;
use super::tokens::FailureClass;

/// The `flight` record, one per connection and token set: plain, so that scripts can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Of which generation the rest speaks.
    pub generation: u64,
    pub fence: u64,
    pub lease: Option<Lease>,
    pub intent: Option<Intent>,
    pub backoff: Backoff,
    /// How often this generation's token was sent without anybody knowing what became of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub doubts: u32,
    /// When the first of those requests was prepared, by its node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubted_at: Option<Timestamp>,
    /// Nodes whose intent for this generation was taken from them: each may hold an answer in its journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
    /// The alternates that were tried in this generation, by when they were obtained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Timestamp>,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub owner: String,
    pub until: Timestamp,
}

/// What is about to be sent: written before, cleared by the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub attempt: String,
    pub node: String,
    pub fence: u64,
    pub grant_id: GrantId,
    pub from_generation: u64,
    pub prepared_at: Timestamp,
    /// Its request is over by then: if it still stands here, its node ended, and somebody has to look after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
    pub class: String,
}

/// Failures in a row, what the last one was, and when the next attempt may be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub failures: u32,
    pub not_before: Option<Timestamp>,
    #[serde(default)]
    pub class: Option<FailureClass>,
    #[serde(default)]
    pub code: String,
    /// Since when the provider says that the grant is over; believed only when it says so again.
    #[serde(default)]
    pub refused_since: Option<Timestamp>,
}

impl Flight {
    /// The nodes besides `node` whose state decides what may be done with this record.
    pub fn others<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a str> {
        let holder = self.intent.iter().map(|intent| intent.node.as_str());
        holder.chain(self.owed.iter().map(String::as_str)).filter(move |other| *other != node)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of the release before reads here; one that says nothing new reads there.
    #[test]
    fn a_record_without_doubts_is_written_as_before() {
        let old = r#"{"generation":2,"fence":3,"lease":null,"intent":null,"backoff":{"failures":1,"not_before":null}}"#;
        let read: Flight = serde_json::from_str(old).unwrap();
        assert_eq!((read.fence, read.doubts, read.owed.len()), (3, 0, 0));
        let written = serde_json::to_value(&read).unwrap();
        let mut names: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["backoff", "fence", "generation", "intent", "lease"]);
    }
}
