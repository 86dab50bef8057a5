//! Every schedule of a small scope, each state once.

use std::collections::BTreeMap;

use crate::calm::calm;
use crate::digest::Seen;
use crate::mutants::Mutant;
use crate::oracle::{Broken, Loss};
use crate::provider::Kind;
use crate::world::{Action, Budget, World};

/// The second node's clock is ahead by so many milliseconds, so that no two requests begin at the same time.
pub const SKEW: i64 = 7;

/// What a search found.
#[derive(Debug, Default)]
pub struct Report {
    pub states: usize,
    /// How a grant can be lost, whether in an open window, and the shortest schedule seen that does it.
    pub losses: BTreeMap<(Loss, bool), Vec<Action>>,
    pub broken: Option<(Broken, Vec<Action>)>,
}

impl Report {
    /// The first thing that must not be.
    pub fn fault(&self) -> Option<String> {
        if let Some((broken, path)) = &self.broken {
            return Some(format!("{broken:?} by {path:?}"));
        }
        let unexcused = self.losses.iter().find(|((_, excused), _)| !excused);
        unexcused.map(|((loss, _), path)| format!("{loss:?} by {path:?}"))
    }
}

struct Search {
    seen: Seen,
    path: Vec<Action>,
    report: Report,
    /// Ends where every schedule began: each last state is calmed.
    stop_at_fault: bool,
}

/// The search goes as deep as its schedules are long, which is more than a test's thread has room for.
const STACK: usize = 256 << 20;
/// No schedule of a protocol that ends is as long as this.
const LONGEST: usize = 400;

pub fn explore(kind: Kind, budget: Budget, skew: i64, mutant: Option<Mutant>) -> Report {
    let search = move || {
        let mut search =
            Search { seen: Seen::default(), path: Vec::new(), report: Report::default(), stop_at_fault: mutant.is_some() };
        search.visit(&World::new(kind, budget, mutant, skew));
        search.report.states = search.seen.len();
        search.report
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(search).expect("a thread for the search");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Search {
    fn visit(&mut self, world: &World) {
        if !self.seen.insert(world.digest()) {
            return;
        }
        if let Some(loss) = world.loss() {
            self.lost(world, loss);
            return;
        }
        if self.path.len() > LONGEST {
            self.broke(Broken("I12: a schedule without end"));
            return;
        }
        let mut enabled = Vec::new();
        world.enabled(&mut enabled);
        if enabled.is_empty() {
            self.calmed(world);
        }
        for action in enabled {
            if self.is_done() {
                return;
            }
            let mut next = world.clone();
            self.path.push(action);
            match next.apply(action) {
                Ok(()) => self.visit(&next),
                Err(broken) => self.broke(broken),
            }
            self.path.pop();
        }
    }

    fn is_done(&self) -> bool {
        self.report.broken.is_some() || (self.stop_at_fault && self.report.fault().is_some())
    }

    fn broke(&mut self, broken: Broken) {
        self.report.broken.get_or_insert((broken, self.path.clone()));
    }

    fn lost(&mut self, world: &World, loss: Loss) {
        let known = self.report.losses.entry((loss, world.excused(loss))).or_insert_with(|| self.path.clone());
        if self.path.len() < known.len() {
            known.clone_from(&self.path);
        }
        self.calmed(world);
    }

    /// Where nothing can happen any more but what always happens.
    fn calmed(&mut self, world: &World) {
        let lost_before = world.loss().is_some();
        let mut after = world.clone();
        match calm(&mut after) {
            Ok(Some(loss)) if !lost_before => {
                self.report.losses.entry((loss, after.excused(loss))).or_insert_with(|| self.path.clone());
            }
            Ok(_) => {}
            Err(broken) => self.broke(broken),
        }
    }
}
