//! The faults that are searched exhaustively, each with its scope, and what each may cost at each kind of provider: the
//! table of docs/reliability.md. What is lost elsewhere than in an open window fails the search, whatever stands here.

use crate::oracle::Loss;
use crate::provider::Kind;
use crate::world::Budget;

pub struct Cell {
    pub name: &'static str,
    pub budget: Budget,
    /// What the search must find, no more and no less, at providers that refuse an old token, forgive it for an hour, or
    /// end the family. Half a minute of forgiveness may be over before anybody asks again; an access token that is
    /// extended ends if nobody asks for long enough.
    plain: &'static [Loss],
    grace: &'static [Loss],
    strict: &'static [Loss],
    /// Too large for every run.
    pub large: bool,
}

const NO: &[Loss] = &[];
const LOST: &[Loss] = &[Loss::Orphan];
const REVOKED: &[Loss] = &[Loss::Revoked];
const ENDED: &[Loss] = &[Loss::Ended, Loss::Orphan];
const BOTH: &[Loss] = &[Loss::Revoked, Loss::Orphan];

impl Cell {
    pub fn expects(&self, kind: Kind, found: &[Loss]) -> bool {
        match kind {
            Kind::Nonrotating => found.is_empty(),
            Kind::Plain => found == self.plain,
            // Of two requests that crossed, the one that lost costs nothing.
            Kind::NewestOnly if self.budget.under_way => found.is_empty(),
            Kind::Grace | Kind::NewestOnly => found == self.grace,
            Kind::ShortGrace => found.iter().all(|loss| BOTH.contains(loss)),
            Kind::Strict => found == self.strict,
            Kind::Extended => {
                let known = found.iter().all(|loss| ENDED.contains(loss));
                known && found.contains(&Loss::Ended) == self.may_end()
            }
        }
    }

    /// An access token may end while nobody asks, or be at its end when it comes.
    pub fn may_end(&self) -> bool {
        self.budget.long > 0 || self.budget.imports > 0
    }

    fn costs(name: &'static str, budget: Budget, costs: [&'static [Loss]; 3]) -> Self {
        let [plain, grace, strict] = costs;
        Self { name, budget, plain, grace, strict, large: false }
    }

    fn large(self) -> Self {
        Self { large: true, ..self }
    }
}

const TWO: Budget = Budget {
    asks: 2,
    crashes: 0,
    lost: 0,
    dropped: 0,
    failovers: 0,
    rollbacks: 0,
    under_way: false,
    pauses: 0,
    away: 0,
    odd: 0,
    broken_journals: 0,
    consents: 0,
    imports: 0,
    deletes: 0,
    forgets: 0,
    hangups: 0,
    short: 0,
    lease: 0,
    long: 0,
};
const THREE: Budget = Budget { asks: 3, ..TWO };

/// Faults that come alone.
fn single() -> Vec<Cell> {
    let cell = Cell::costs;
    vec![
        cell("no fault", Budget { short: 2, ..THREE }, [NO, NO, NO]),
        cell("crash", Budget { crashes: 1, lease: 1, ..TWO }, [LOST, NO, LOST]),
        cell("lost answer", Budget { lost: 1, short: 1, long: 1, ..TWO }, [LOST, NO, LOST]),
        cell("lost request", Budget { dropped: 1, short: 1, ..TWO }, [NO, NO, NO]),
        cell("failover", Budget { failovers: 1, short: 1, ..TWO }, [NO, NO, NO]),
        cell("two failovers", Budget { failovers: 2, short: 1, ..TWO }, [NO, NO, NO]),
        cell("failover past acknowledged commits", Budget { rollbacks: 1, long: 1, ..TWO }, [NO, NO, NO]),
        cell(
            "failover past an acknowledged intent",
            Budget { rollbacks: 1, under_way: true, short: 1, ..TWO },
            [NO, REVOKED, REVOKED],
        )
        .large(),
        cell("store away", Budget { away: 1, short: 1, ..TWO }, [NO, NO, NO]),
        cell("odd answer", Budget { odd: 1, short: 1, lease: 1, ..TWO }, [LOST, NO, LOST]),
        cell("node paused for longer than W", Budget { pauses: 1, long: 1, ..THREE }, [NO, NO, REVOKED]),
        cell("new consent", Budget { consents: 1, short: 1, ..TWO }, [NO, NO, NO]),
        cell("import", Budget { imports: 1, short: 1, ..TWO }, [NO, NO, NO]),
        cell("delete, new consent", Budget { deletes: 1, consents: 1, short: 1, ..TWO }, [NO, NO, NO]),
    ]
}

/// Faults that meet.
fn combined() -> Vec<Cell> {
    let cell = Cell::costs;
    vec![
        cell("node dead for longer than W", Budget { crashes: 1, long: 1, ..THREE }, [LOST, NO, BOTH]),
        cell("two crashes", Budget { crashes: 2, lease: 1, ..TWO }, [LOST, NO, LOST]).large(),
        cell("crash, lost answer", Budget { crashes: 1, lost: 1, lease: 1, ..TWO }, [LOST, NO, LOST]),
        cell("crash, failover", Budget { crashes: 1, failovers: 1, ..TWO }, [LOST, NO, LOST]),
        cell("crash, failover, time passes", Budget { crashes: 1, failovers: 1, short: 1, ..TWO }, [LOST, NO, LOST]).large(),
        cell("lost answer, failover", Budget { lost: 1, failovers: 1, short: 1, ..TWO }, [LOST, NO, LOST]),
        cell("pause, failover", Budget { pauses: 1, failovers: 1, lease: 1, ..TWO }, [NO, NO, NO]).large(),
        cell("two lost answers, the token ends", Budget { lost: 2, long: 1, ..TWO }, [LOST, NO, LOST]),
        cell("two lost answers", Budget { lost: 2, short: 1, lease: 1, long: 1, ..THREE }, [LOST, NO, LOST]).large(),
        cell("broken journal, crash", Budget { broken_journals: 1, crashes: 1, short: 1, ..TWO }, [LOST, NO, LOST]),
        cell("import, crash", Budget { imports: 1, crashes: 1, ..TWO }, [LOST, NO, LOST]),
        cell("delete, crash", Budget { deletes: 1, crashes: 1, short: 1, ..TWO }, [LOST, NO, LOST]),
        cell("paused, its intent taken, lost answer", Budget { pauses: 1, lost: 1, lease: 1, ..THREE }, [LOST, LOST, LOST])
            .large(),
        cell("dead, its intent taken, lost answer", Budget { crashes: 1, lost: 1, lease: 1, ..THREE }, [LOST, LOST, LOST])
            .large(),
    ]
}

/// Two nodes have sent one token, both children were stored, and both are forgotten.
pub fn of_two_children() -> Cell {
    let budget = Budget { pauses: 1, rollbacks: 1, lease: 1, ..TWO };
    Cell::costs("paused, failover past acknowledged commits", budget, [NO, NO, NO])
}

pub fn all() -> Vec<Cell> {
    let mut cells = single();
    cells.extend(combined());
    cells
}

/// Where a protocol without one of its parts is found out: the provider, the faults, the nodes' difference in time.
pub fn of_mutant(mutant: crate::mutants::Mutant) -> (Kind, Budget, i64) {
    use crate::mutants::Mutant;
    let pause = Budget { pauses: 1, long: 1, ..THREE };
    let failover = Budget { failovers: 1, short: 1, ..TWO };
    match mutant {
        Mutant::NoJournal => (Kind::Strict, Budget { crashes: 1, lease: 1, ..TWO }, 7),
        Mutant::NoIntent | Mutant::NoWait => (Kind::Grace, failover, 7),
        Mutant::NoBarrier => (Kind::Strict, Budget { crashes: 1, long: 1, ..TWO }, 7),
        Mutant::NoEpoch => (Kind::Strict, Budget { failovers: 1, away: 1, short: 1, ..THREE }, 7),
        Mutant::ReleaseAny => (Kind::Grace, Budget { pauses: 1, lease: 1, ..THREE }, 7),
        Mutant::FenceCommit | Mutant::NothingOwed => (Kind::Plain, Budget { lease: 1, asks: 4, ..pause }, 7),
        Mutant::KillAtOnce => (Kind::Plain, Budget { odd: 1, ..TWO }, 7),
        Mutant::RequestOwns => (Kind::Strict, Budget { hangups: 1, short: 1, ..TWO }, 7),
        Mutant::NoVersionCheck => (Kind::Grace, Budget { short: 1, ..TWO }, 7),
        Mutant::StealAtOnce => (Kind::Grace, Budget { short: 1, ..TWO }, 7),
        Mutant::DropOnConflict => (Kind::Plain, pause, 7),
        Mutant::RetryForever => (Kind::Strict, Budget { lost: 1, short: 1, ..TWO }, 7),
        Mutant::NoLastCheck => (Kind::Grace, Budget { pauses: 1, lease: 1, ..THREE }, 7),
        Mutant::OwnAtOnce => (Kind::Grace, Budget { crashes: 1, short: 1, ..TWO }, 7),
        Mutant::NeverEnds | Mutant::AlwaysEnded => (Kind::Strict, Budget { lost: 1, short: 1, ..TWO }, 7),
        Mutant::OnceInWindow => (Kind::Grace, Budget { lost: 2, short: 1, ..TWO }, 7),
        Mutant::EndsUnheard => (Kind::Extended, Budget { rollbacks: 1, long: 1, ..TWO }, 7),
        Mutant::SettledForGood => (Kind::Strict, Budget { rollbacks: 1, short: 1, ..TWO }, 7),
        Mutant::NoAlternates => (Kind::NewestOnly, Budget { pauses: 1, lease: 1, ..THREE }, -60_000),
    }
}
