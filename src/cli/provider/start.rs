//! `claviger provider new`: a file to begin with, which keeps every rule and says what to look at.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::domain::ids::ProviderId;

use super::Outcome;

/// What there is a start for, as `grant` of a file says it, and the rest of that file.
const STARTS: [(&str, &str); 5] = [
    ("authorization_code", include_str!("start/authorization_code.toml")),
    ("device_code", include_str!("start/device_code.toml")),
    ("oauth1", include_str!("start/oauth1.toml")),
    ("client_credentials", include_str!("start/client_credentials.toml")),
    ("jwt_bearer", include_str!("start/jwt_bearer.toml")),
];

/// The grants that a file may begin with; the first is what a file has that does not say.
pub const GRANTS: [&str; STARTS.len()] = [STARTS[0].0, STARTS[1].0, STARTS[2].0, STARTS[3].0, STARTS[4].0];

/// Writes `folder/NAME.toml`; a file that is there stays as it is.
pub fn start(name: &str, grant: &str, today: &str, folder: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
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
    file.write_all(text(&id, grant, today).as_bytes())?;
    writeln!(
        out,
        "{0}\nNow compare each line with the provider's documentation, then: claviger provider check {0}",
        path.display()
    )?;
    Ok(Outcome::Fine)
}

fn text(id: &ProviderId, grant: &str, today: &str) -> String {
    let title: String = id.as_str().split(['-', '_', '.']).map(capital).collect::<Vec<_>>().join(" ");
    let head = include_str!("start/head.toml").replace("TITLE", &title).replace("TODAY", today);
    let [(usual, code), others @ ..] = STARTS;
    let (named, rest) = others.into_iter().find(|(known, _)| *known == grant).unwrap_or((usual, code));
    let line = if named == usual { String::new() } else { format!("grant = \"{named}\"\n\n") };
    [head.as_str(), &line, include_str!("start/params.toml"), rest].concat()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::testing::run;
    use crate::cli::provider::{check, test};

    #[test]
    fn what_it_writes_keeps_every_rule_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["acme", "acme-sub_2.x", "9"] {
            let (outcome, said) = run(|out| start(name, "authorization_code", "2026-01-31", folder.path(), out));
            assert_eq!(outcome, Outcome::Fine, "{said}");
            let path = folder.path().join(format!("{name}.toml"));
            let (outcome, said) = run(|out| check(&path, out));
            assert_eq!(outcome, Outcome::Fine, "{said}");
            std::fs::write(&path, "mine").unwrap();
            assert_eq!(run(|out| start(name, "authorization_code", "2026-01-31", folder.path(), out)).0, Outcome::Faulty);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        }
        let (outcome, said) = run(|out| start("No Id", "oauth1", "2026-01-31", folder.path(), out));
        assert!(outcome == Outcome::NotFound && said.contains("not an id"), "{said}");
    }

    /// Lines that follow one another and stand behind a `#`, as TOML, belong together.
    fn groups(text: &str) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let bare = line.strip_prefix("# ").unwrap_or_default();
            if !(bare.starts_with('[') || bare.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))) {
                continue;
            }
            match groups.last_mut().filter(|group| group.last() == Some(&(at - 1))) {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        groups
    }

    /// Whatever a start has for those who need it is right as it stands, for each grant.
    #[test]
    fn what_stands_behind_a_comment_keeps_every_rule_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.toml");
        let id = ProviderId::parse("acme").unwrap();
        let mut seen = String::new();
        for grant in GRANTS {
            let text = text(&id, grant, "2026-01-31");
            let groups = groups(&text);
            assert!(groups.len() >= 2, "{grant}");
            for group in [vec![]].iter().chain(&groups) {
                let uncommented =
                    |(at, line): (usize, &str)| if group.contains(&at) { line[2..].to_owned() } else { line.to_owned() };
                let lines: Vec<String> = text.lines().enumerate().map(uncommented).collect();
                std::fs::write(&path, lines.join("\n")).unwrap();
                let (outcome, said) = run(|out| test(&path, out));
                let what = format!("{grant}, {:?}: {said}", group.first().map(|at| &lines[*at]));
                // A key by itself may change what is sent, which the file's tests must then say; a block what is told.
                let alone = !group.is_empty() && group.iter().all(|at| !lines[*at].starts_with('['));
                let of_a_test = |line: &str| line.starts_with("breaks  ") && (alone || line.starts_with("breaks  facts"));
                let expected = |line: &str| line.starts_with("holds   ") || line.starts_with("      ") || of_a_test(line);
                assert!(outcome == Outcome::Fine || !group.is_empty() && said.lines().all(expected), "{what}");
            }
            seen += &text;
        }
        for named in ["[device]", "[install]", "[oauth1]", "[jwt.", "grant = ", "[request_token]"] {
            assert!(seen.contains(named), "{named}");
        }
    }
}
