//! `claviger sweep pause|resume|status`: the refreshing that nobody asked for, on the node that is asked.

use clap::Args;

use crate::app::admin::{Ask, SweepOrder, Told};

use super::failure::Failure;
use super::operate::{self, Alone, PlaceArgs};
use super::out;

const AFTER: &str = "\
It is of the node that is asked alone, and until that node ends: the setting `refresh.proactive = false` pauses it from
the start. Paused, a token is refreshed when somebody fetches it; nothing is lost, and what became due meanwhile
is refreshed after `resume`, at the provider's pace.

Example:
  claviger sweep status
  running: 12 due and not yet refreshed, the oldest since 2026-11-22T10:15:00Z; 3 under way; 4711 refreshed and 2 failed since the start

Exit codes: 0 done, 1 no server answers, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct SweepArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

pub fn run(args: SweepArgs, order: SweepOrder) -> Result<(), Failure> {
    let Told::Sweep(state) = operate::ask(args.place.settings()?, Ask::Sweep { order }, Alone::Refuses)? else {
        return Err(Failure::odd_answer());
    };
    let standing = if state.paused { "paused" } else { "running" };
    let oldest = state.oldest.map(|at| format!(", the oldest since {at}")).unwrap_or_default();
    out::line(&format!(
        "{standing}: {} due and not yet refreshed{oldest}; {} under way; {} refreshed and {} failed since the start",
        state.due, state.flying, state.refreshed, state.failed
    ))
}
