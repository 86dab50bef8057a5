//! The tables of docs/reliability.md: what each fault can cost, and by what a protocol that lacks one part is told apart.
//! Each row is printed as soon as it is known.

use std::fmt::Write as _;

use crate::cells;
use crate::explore::{self, Report};
use crate::mutants::Mutant;
use crate::oracle::{Broken, Loss};
use crate::provider::Kind;

pub fn render() -> String {
    let mut text = String::from("| fault |");
    for kind in Kind::ALL {
        let _ = write!(text, " {} |", kind.name());
    }
    text.push_str(" states |\n|---|---|---|---|---|---|---|---|---|\n");
    for cell in cells::all() {
        let mut row = format!("| {} |", cell.name);
        let mut states = 0;
        for kind in Kind::ALL {
            let report = explore::explore(kind, cell.budget, explore::SKEW, None);
            states += report.states;
            let _ = write!(row, " {} |", verdict(&report));
        }
        let _ = write!(row, " {states} |");
        add(&mut text, &row);
    }
    mutants(&mut text);
    text
}

fn mutants(text: &mut String) {
    text.push_str("\n| left out | told apart at | by | schedule |\n|---|---|---|---|\n");
    for mutant in Mutant::ALL {
        let (kind, budget, skew) = cells::of_mutant(mutant);
        let report = explore::explore(kind, budget, skew, Some(mutant));
        let unexcused = report.losses.iter().find(|((_, excused), _)| !excused);
        let (what, path) = match (&report.broken, unexcused) {
            (Some((Broken(what), path)), _) => ((*what).to_owned(), path.len()),
            (None, Some(((loss, _), path))) => (word(*loss).to_owned(), path.len()),
            (None, None) => ("nothing".to_owned(), 0),
        };
        add(text, &format!("| {} | {} | {what} | {path} steps |", mutant.left_out(), kind.name()));
    }
}

fn add(text: &mut String, row: &str) {
    println!("{row}");
    text.push_str(row);
    text.push('\n');
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
        Loss::Ended => "ended",
        Loss::FalseDead => "false death",
    }
}
