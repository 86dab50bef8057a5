//! `claviger provider …`: the provider files for people. Needs no server and no store.

mod card;
mod check;
mod compare;
mod live;
mod page;
mod pages;
mod start;

use std::io::{self, Write};
use std::path::Path;

use crate::domain::ids::ProviderId;
use crate::oauth::provider_file::{self, Shelf};
use crate::services::catalogue::card::ProviderCard;
use crate::services::catalogue::parse_all;
use crate::services::catalogue::shelf::{self, Gathered};

pub use check::{check, load, test};
pub use compare::compare;
pub use live::{Live, secret_of, walk};
pub use pages::{Pages, pages};
pub use start::{GRANTS, start};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    /// A file has faults, or a vector does not hold.
    Faulty,
    /// There is no such provider or file.
    NotFound,
}

impl Outcome {
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Fine => 0,
            Outcome::Faulty => 1,
            Outcome::NotFound => 2,
        }
    }
}

/// One line per provider: id, name, how it refreshes, categories. `extra` is the operator's folder.
pub fn list(extra: Option<&Path>, out: &mut dyn Write) -> io::Result<Outcome> {
    let (shelf, mut faults) = gathered(extra);
    let (files, more) = parse_all(&shelf);
    faults.extend(more);
    let width = |of: fn(&ProviderCard) -> usize, cards: &[ProviderCard]| cards.iter().map(of).max().unwrap_or(0);
    let cards: Vec<ProviderCard> = files.iter().map(|file| ProviderCard::from(&file.provider)).collect();
    let (ids, names) = (width(|card| card.id.len(), &cards), width(|card| card.name.len(), &cards));
    for card in &cards {
        writeln!(out, "{:ids$}  {:names$}  {:13}  {}", card.id, card.name, card.refresh.class, card.categories.join(", "))?;
    }
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    Ok(if faults.is_empty() { Outcome::Fine } else { Outcome::Faulty })
}

/// Everything that a tenant needs to know of one provider.
pub fn show(id: &str, extra: Option<&Path>, out: &mut dyn Write) -> io::Result<Outcome> {
    shown(&gathered(extra).0, id, out)
}

fn shown(shelf: &Shelf, id: &str, out: &mut dyn Write) -> io::Result<Outcome> {
    let Some(id) = ProviderId::parse(id).ok().filter(|id| shelf.contains_key(id)) else {
        writeln!(out, "There is no provider `{id}`; `claviger provider list` names them all.")?;
        return Ok(Outcome::NotFound);
    };
    match provider_file::parse(&id, shelf) {
        Ok(file) => {
            card::print(&ProviderCard::from(&file.provider), out)?;
            Ok(Outcome::Fine)
        }
        Err(faults) => {
            for fault in faults {
                writeln!(out, "{fault}")?;
            }
            Ok(Outcome::Faulty)
        }
    }
}

fn gathered(extra: Option<&Path>) -> Gathered {
    let (mut shelf, mut faults) = shelf::built_in();
    if let Some(folder) = extra {
        let (more, more_faults) = shelf::of_folder(folder);
        shelf.extend(more);
        faults.extend(more_faults);
    }
    (shelf, faults)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub fn run(command: impl FnOnce(&mut dyn Write) -> io::Result<Outcome>) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = command(&mut out).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    /// Any provider that came with the binary.
    pub fn one() -> (ProviderId, String) {
        let (shelf, _) = shelf::built_in();
        let (id, source) = shelf.into_iter().next().unwrap();
        (id, source.text)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::run;
    use super::*;

    #[test]
    fn list_has_a_line_for_each_file() {
        let (outcome, said) = run(|out| list(None, out));
        assert_eq!((outcome, said.lines().count()), (Outcome::Fine, shelf::built_in().0.len()));
        assert!(said.lines().all(|line| line.contains("rotat") || line.contains("none") || line.contains("unknown")), "{said}");
    }

    #[test]
    fn show_tells_of_one_and_names_what_is_missing() {
        let (shelf, _) = shelf::built_in();
        for id in shelf.keys() {
            let (outcome, said) = run(|out| shown(&shelf, id.as_str(), out));
            assert_eq!(outcome, Outcome::Fine);
            assert!(["docs", "credentials", "refresh", "use"].iter().all(|word| said.contains(word)), "{said}");
        }
        let (outcome, said) = run(|out| show("nobody", None, out));
        assert_eq!(outcome, Outcome::NotFound);
        assert!(said.contains("claviger provider list"));
        assert_eq!(run(|out| show("Not An Id", None, out)).0, Outcome::NotFound);
    }
}
