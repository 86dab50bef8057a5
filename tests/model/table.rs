//! The table of docs/reliability.md: what each fault can cost, with the whole protocol and with one part of it left out.

use std::fmt::Write as _;

use crate::cells::{self, Cell};
use crate::explore::{self, Report};
use crate::mutants::Mutant;
use crate::oracle::{Broken, Loss};
use crate::provider::Kind;

/// The columns of the second table.
const FAULTS: [&str; 5] = ["crash", "lost answer", "failover", "crash, failover", "node paused for longer than W"];
const KINDS: [(Kind, &str); 3] = [(Kind::Plain, "plain"), (Kind::Grace, "grace"), (Kind::Strict, "strict")];

pub fn render() -> String {
    let mut text = String::from("| fault |");
    for kind in Kind::ALL {
        let _ = write!(text, " {} |", kind.name());
    }
    text.push_str(" states |\n|---|---|---|---|---|---|---|---|\n");
    for cell in cells::all() {
        let _ = write!(text, "| {} |", cell.name);
        let mut states = 0;
        for kind in Kind::ALL {
            let report = explore::explore(kind, cell.budget, explore::SKEW, None);
            states += report.states;
            let _ = write!(text, " {} |", verdict(&report));
        }
        let _ = writeln!(text, " {states} |");
    }
    mutants(&mut text);
    text
}

fn mutants(text: &mut String) {
    let cells: Vec<_> = cells::all().into_iter().filter(|cell| FAULTS.contains(&cell.name)).collect();
    text.push_str("\n| left out, provider |");
    cells.iter().for_each(|cell| {
        let _ = write!(text, " {} |", cell.name);
    });
    text.push_str("\n|---|---|---|---|---|---|\n");
    for mutant in Mutant::ALL {
        for (kind, name) in KINDS {
            let _ = write!(text, "| {mutant:?}, {name} |");
            cells.iter().for_each(|cell| {
                let _ = write!(text, " {} |", told_apart(mutant, kind, cell));
            });
            text.push('\n');
        }
    }
}

/// What the part that is left out costs beyond what cannot be helped.
fn told_apart(mutant: Mutant, kind: Kind, cell: &Cell) -> String {
    let report = explore::explore(kind, cell.budget, explore::SKEW, Some(mutant));
    match (&report.broken, report.losses.keys().find(|(_, excused)| !excused)) {
        (Some((Broken(what), _)), _) => what.split(':').next().unwrap_or(what).to_owned(),
        (None, Some((loss, _))) => format!("**{}**", word(*loss)),
        (None, None) => "as above".to_owned(),
    }
}

fn verdict(report: &Report) -> String {
    let told =
        |(loss, excused): &(Loss, bool)| if *excused { format!("{}*", word(*loss)) } else { format!("**{}**", word(*loss)) };
    let words: Vec<_> = report.losses.keys().map(told).collect();
    if words.is_empty() { "ok".to_owned() } else { words.join(", ") }
}

fn word(loss: Loss) -> &'static str {
    match loss {
        Loss::Revoked => "revoked",
        Loss::Orphan => "lost",
        Loss::FalseDead => "false death",
    }
}
