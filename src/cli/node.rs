//! `claviger node list|forget`: the nodes that work on one store.

use clap::Args;

use crate::app::admin::{Ask, NodeLine, Told};

use super::failure::Failure;
use super::operate::{self, Alone, PlaceArgs};
use super::out;

const LIST: &str = "\
One line for each node that ever worked on this store: its name, its state, its beat, when it wrote that
(by its own clock), what waits in its journal, and its version. States: `beats`, `silent` (its beat stands
still), `stopped` (it ended as it should), `forgotten`; `unknown` where no running server could be asked.

Example:
  claviger node list

Exit codes: 0 listed, 1 the store or the server could not be asked, 2 wrong usage or settings.";

const FORGET: &str = "\
For a node that will never come back. What it had under way may then be ended by the others at once; without
this they wait, at providers where a mistake would cost the grant, until the access token has expired and the
node has been silent for five minutes. What only its journal holds is lost, unless its folder comes back: a
forgotten node that starts again replays it and is a node like any other.

Example:
  claviger node forget node-1f2e3d4c5b6a7988

Exit codes: 0 forgotten, 1 there is none, or it beats, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = LIST)]
pub struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = FORGET)]
pub struct ForgetArgs {
    /// Name of the node, as `claviger node list` shows it.
    id: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub fn list(args: ListArgs) -> Result<(), Failure> {
    match operate::ask(args.place.settings()?, Ask::ListNodes, Alone::Opens)? {
        Told::Nodes { nodes } => nodes.iter().try_for_each(|line| out::line(&shown(line))),
        _ => Err(Failure::odd_answer()),
    }
}

pub fn forget(args: ForgetArgs) -> Result<(), Failure> {
    let settings = args.place.settings()?;
    operate::confirmed(&format!("What only the journal of {} holds may be lost.", args.id), args.yes)?;
    match operate::ask(settings, Ask::ForgetNode { id: args.id.clone() }, Alone::Opens)? {
        Told::Forgotten => out::line(&format!("{} is forgotten", args.id)),
        _ => Err(Failure::odd_answer()),
    }
}

fn shown(line: &NodeLine) -> String {
    let node = &line.node;
    let state = if node.forgotten {
        "forgotten"
    } else if node.stopped {
        "stopped"
    } else {
        match line.silent {
            None => "unknown",
            Some(silent) if silent >= node.silence() => "silent",
            Some(_) => "beats",
        }
    };
    let here = if line.here { "  (asked)" } else { "" };
    let pending = node.journal_pending;
    format!("{:<24} {state:<9} beat {} at {}  journal {pending}  {}{here}", node.id, node.beat, node.at, node.version)
}
