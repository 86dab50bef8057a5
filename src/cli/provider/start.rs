//! `claviger provider new`: a file to begin with, which keeps every rule and says what to look at.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::domain::ids::ProviderId;

use super::Outcome;

/// Writes `folder/NAME.toml`; a file that is there stays as it is.
pub fn start(name: &str, today: &str, folder: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let id = match ProviderId::parse(name) {
        Ok(id) => id,
        Err(refusal) => {
            writeln!(out, "`{name}` is not an id: {}", refusal.detail)?;
            return Ok(Outcome::NotFound);
        }
    };
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{id}.toml"));
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            writeln!(out, "{} is there already; it was left as it is.", path.display())?;
            return Ok(Outcome::Faulty);
        }
        Err(cause) => return Err(cause),
    };
    file.write_all(text(&id, today).as_bytes())?;
    writeln!(
        out,
        "{0}\nNow compare each line with the provider's documentation, then: claviger provider check {0}",
        path.display()
    )?;
    Ok(Outcome::Fine)
}

fn text(id: &ProviderId, today: &str) -> String {
    let title: String = id.as_str().split(['-', '_', '.']).map(capital).collect::<Vec<_>>().join(" ");
    include_str!("start.toml").replace("TITLE", &title).replace("TODAY", today)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::check;
    use crate::cli::provider::testing::run;

    #[test]
    fn what_it_writes_keeps_every_rule_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["acme", "acme-sub_2.x", "9"] {
            let (outcome, said) = run(|out| start(name, "2026-01-31", folder.path(), out));
            assert_eq!(outcome, Outcome::Fine, "{said}");
            let path = folder.path().join(format!("{name}.toml"));
            let (outcome, said) = run(|out| check(&path, out));
            assert_eq!(outcome, Outcome::Fine, "{said}");
            std::fs::write(&path, "mine").unwrap();
            assert_eq!(run(|out| start(name, "2026-01-31", folder.path(), out)).0, Outcome::Faulty);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        }
        let (outcome, said) = run(|out| start("No Id", "2026-01-31", folder.path(), out));
        assert!(outcome == Outcome::NotFound && said.contains("not an id"), "{said}");
    }
}
