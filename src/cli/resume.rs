//! `claviger resume`: after a restore, refreshes go on.

use clap::Args;

use crate::app::admin::{Ask, Told};

use super::failure::Failure;
use super::operate::{self, Alone, PlaceArgs};
use super::out;

const AFTER: &str = "\
For a server in restore mode (its log and /readyz say so). It first waits until every node has replayed its
journal, which may hold tokens that the restored store lacks. Then it refreshes one connection of each
provider, one whose token has ended where there is one. Providers that refuse it stay held back and are
listed; every other goes on. Called again, it tries another connection of each provider that is held.

Providers end a whole consent when a refresh token comes back that was rotated out before. So when a
provider refuses, think before you use --force: it lets everything go on, tries nothing and waits for no
other node.

Example:
  claviger resume

Exit codes: 0 refreshes go on everywhere, 1 a provider is held back or nothing could be done, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct ResumeArgs {
    /// Go on everywhere, with nothing tried and without waiting for other nodes' journals.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub fn run(args: ResumeArgs) -> Result<(), Failure> {
    let Told::Resumed { tried } = operate::ask(args.place.settings()?, Ask::Resume { force: args.force }, Alone::Refuses)? else {
        return Err(Failure::odd_answer());
    };
    for line in &tried {
        let outcome = line.refused.as_ref().map_or("goes on".to_owned(), |code| format!("held back: {code}"));
        out::line(&format!("{:<24} {:<38} {outcome}", line.provider, line.connection))?;
    }
    match tried.iter().filter(|line| line.refused.is_some()).count() {
        0 => out::line("Refreshes go on."),
        held => Err(Failure::Failed(format!("{held} of {} providers are held back; the others go on", tried.len()))),
    }
}
