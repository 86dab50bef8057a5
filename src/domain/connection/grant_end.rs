//! When a grant ends though it is refreshed in time: the provider's word is taken for what it is, and stops nothing here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Connection, TokenSet};
use crate::domain::provider::{RefreshClass, RefreshSpec, RefreshWith};
use crate::domain::tokens::after;

/// It is told of so long before, or with a tenth of its life left where that is shorter.
const TOLD_BEFORE: Duration = Duration::from_secs(7 * 86_400);
/// An end that moved by less is the same: providers tell it anew with each refresh, in whole seconds from then.
const SAME_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// The end of a grant, after which its end user must consent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantEnd {
    pub at: Timestamp,
    /// From when on it is told.
    pub told_from: Timestamp,
}

impl GrantEnd {
    fn of(begin: Timestamp, at: Timestamp) -> Self {
        let life = Duration::try_from(at.duration_since(begin)).unwrap_or_default();
        let before = SignedDuration::try_from(TOLD_BEFORE.min(life / 10)).unwrap_or_default();
        Self { at, told_from: at.checked_sub(before).unwrap_or(at) }
    }

    /// Whether the end user should be sent through a link now.
    pub fn is_near(&self, now: Timestamp) -> bool {
        self.told_from <= now
    }

    /// Whether an event of this end is still to be written.
    pub fn is_news(&self, connection: &Connection, now: Timestamp) -> bool {
        let told = connection.end_told;
        self.is_near(now) && told.is_none_or(|told| self.at.duration_since(told).abs() > SAME_WITHIN)
    }
}

impl Connection {
    /// When it ends for all that is known: by its file's `max_age`, counted from the consent, or by the end that the
    /// provider named for the refresh token, whichever comes first. `None` where nobody said, and where there is no
    /// consent that could end.
    pub fn grant_end(&self, refresh: &RefreshSpec) -> Option<GrantEnd> {
        if self.is_over() || refresh.with() == RefreshWith::Client {
            return None;
        }
        let refreshed = || self.sets.values().filter(|set| refresh.refreshes(&set.current));
        let oldest = refresh.max_age().filter(|_| refreshed().next().is_some()).and_then(|age| after(self.connected_at, age));
        let by_age = oldest.map(|at| GrantEnd::of(self.connected_at, at));
        by_age.into_iter().chain(refreshed().filter_map(|set| self.refresh_end(refresh, set))).min_by_key(|end| end.at)
    }

    /// A token that is used again and again lives from the consent on; one that took another's place has a life of its
    /// own, and is used in time for the next.
    fn refresh_end(&self, refresh: &RefreshSpec, set: &TokenSet) -> Option<GrantEnd> {
        let at = set.current.refresh_expires_at.filter(|_| refresh.with() == RefreshWith::RefreshToken)?;
        let begin = match refresh.class() {
            RefreshClass::RotateGrace(_) | RefreshClass::RotatePlain | RefreshClass::RotateStrict => set.current.obtained_at,
            RefreshClass::None | RefreshClass::Nonrotating | RefreshClass::Unknown => self.connected_at,
        };
        Some(GrantEnd::of(begin, at))
    }

    /// An event has told of this end.
    pub fn told_of(mut self, end: GrantEnd) -> Self {
        self.end_told = Some(end.at);
        self
    }
}
