//! `claviger provider check`: files held to the rules and to the vectors that they carry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use crate::domain::ids::ProviderId;
use crate::oauth::provider_file::{self, ProviderFile, Shelf};
use crate::oauth::vectors;
use crate::services::catalogue::{parse_all, shelf};

use super::Outcome;

/// Checks one file, or every `*.toml` of a folder: what a start would refuse first, then vectors. A file may extend the
/// providers that came with the binary and those beside it, and is held against all of them.
pub fn check(path: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    };
    let (mine, mut faults) = shelf::of_folder(folder);
    let only = (!path.is_dir()).then(|| folder.join(path.file_name().unwrap_or_default()).display().to_string());
    let wanted = |file: &str| only.as_deref().is_none_or(|only| only == file);
    let names: BTreeMap<ProviderId, String> =
        mine.iter().filter(|(_, source)| wanted(&source.file)).map(|(id, source)| (id.clone(), source.file.clone())).collect();
    let (mut shelf, _) = shelf::built_in();
    shelf.extend(mine);
    let (files, more) = parse_all(&shelf);
    faults.retain(|fault| wanted(&fault.file) || fault.file == folder.display().to_string());
    faults.extend(more.into_iter().filter(|fault| names.values().any(|name| *name == fault.file)));
    let mut broken: BTreeSet<&str> = faults.iter().map(|fault| fault.file.as_str()).collect();
    let all: BTreeSet<&str> = names.values().map(String::as_str).chain(broken.iter().copied()).collect();
    if all.is_empty() {
        writeln!(out, "{}: there is no provider file (NAME.toml) here", path.display())?;
        return Ok(Outcome::NotFound);
    }
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    for file in &files {
        let Some(name) = names.get(file.provider.id()) else { continue };
        if !holds(name, file, out)? {
            broken.insert(name);
        } else if !broken.contains(name.as_str()) {
            writeln!(out, "{name}: fine, {} tests hold", file.vectors.len())?;
        }
    }
    writeln!(out, "{} {}, {} with faults", all.len(), if all.len() == 1 { "file" } else { "files" }, broken.len())?;
    Ok(if broken.is_empty() { Outcome::Fine } else { Outcome::Faulty })
}

/// Whether every vector does; those that do not are told.
fn holds(name: &str, file: &ProviderFile, out: &mut dyn Write) -> io::Result<bool> {
    let misses = vectors::run(file);
    for miss in &misses {
        writeln!(out, "{name}: test {}: {}", miss.vector, miss.message)?;
    }
    Ok(misses.is_empty())
}

fn parsed(id: &ProviderId, shelf: &Shelf, out: &mut dyn Write) -> io::Result<Option<ProviderFile>> {
    match provider_file::parse(id, shelf) {
        Ok(file) => Ok(Some(file)),
        Err(faults) => {
            for fault in faults {
                writeln!(out, "{fault}")?;
            }
            Ok(None)
        }
    }
}

/// Runs the vectors of one file and says of each whether it holds.
pub fn test(path: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let Some(file) = load(path, out)? else { return Ok(if path.is_file() { Outcome::Faulty } else { Outcome::NotFound }) };
    let misses = vectors::run(&file);
    for vector in &file.vectors {
        let title = vectors::title(vector);
        let mine = misses.iter().filter(|miss| miss.vector == title);
        let said = mine.map(|miss| miss.message.as_str()).collect::<Vec<_>>().join("; ");
        writeln!(
            out,
            "{}  {title}{}{said}",
            if said.is_empty() { "holds " } else { "breaks" },
            if said.is_empty() { "" } else { ": " }
        )?;
    }
    Ok(if misses.is_empty() { Outcome::Fine } else { Outcome::Faulty })
}

/// One file by itself; what is wrong with it is printed. It may extend what `check` lets it.
pub fn load(path: &Path, out: &mut dyn Write) -> io::Result<Option<ProviderFile>> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mine, faults) = shelf::of_folder(folder);
    let wanted = folder.join(path.file_name().unwrap_or_default()).display().to_string();
    for fault in faults.iter().filter(|fault| fault.file == wanted) {
        writeln!(out, "{fault}")?;
    }
    let id = mine.iter().find(|(_, source)| source.file == wanted).map(|(id, _)| id.clone());
    let Some(id) = id else {
        if faults.iter().all(|fault| fault.file != wanted) {
            writeln!(out, "{}: there is no such provider file (NAME.toml)", path.display())?;
        }
        return Ok(None);
    };
    let (mut shelf, _) = shelf::built_in();
    shelf.extend(mine);
    parsed(&id, &shelf, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::testing::{one, run};

    #[test]
    fn check_takes_a_file_or_a_folder_and_tells_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (_, text) = one();
        let named = |name: &str| text.replacen("name = \"", &format!("name = \"{name} "), 1);
        let text = named("Good");
        std::fs::write(folder.path().join("good.toml"), &text).unwrap();
        let (outcome, said) = run(|out| check(folder.path(), out));
        assert_eq!(outcome, Outcome::Fine, "{said}");
        assert!(said.contains("good.toml: fine, ") && said.ends_with("1 file, 0 with faults\n"), "{said}");

        std::fs::write(folder.path().join("bad.toml"), text.replacen("name =", "nam =", 1)).unwrap();
        let wrong = named("Wrong").replace("access_token = \"", "access_token = \"x");
        std::fs::write(folder.path().join("wrong.toml"), wrong).unwrap();
        let (outcome, said) = run(|out| check(folder.path(), out));
        assert_eq!(outcome, Outcome::Faulty);
        assert!(said.contains("bad.toml:1: unknown key `nam`") && said.contains("wrong.toml: test exchange"), "{said}");
        assert!(said.ends_with("3 files, 2 with faults\n"), "{said}");

        let (outcome, said) = run(|out| check(&folder.path().join("good.toml"), out));
        assert_eq!((outcome, said.contains("bad")), (Outcome::Fine, false), "{said}");
        assert_eq!(run(|out| check(&folder.path().join("bad.toml"), out)).0, Outcome::Faulty);
        assert_eq!(run(|out| check(&folder.path().join("gone.toml"), out)).0, Outcome::NotFound);
        assert_eq!(run(|out| check(&folder.path().join("gone"), out)).0, Outcome::NotFound);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(run(|out| check(empty.path(), out)).0, Outcome::NotFound);
        assert_eq!(run(|out| check(&empty.path().join("no/folder.toml"), out)).0, Outcome::Faulty);
    }

    #[test]
    fn test_says_of_each_vector_whether_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (_, text) = one();
        let path = folder.path().join("one.toml");
        std::fs::write(&path, &text).unwrap();
        let (outcome, said) = run(|out| test(&path, out));
        assert!(outcome == Outcome::Fine && said.lines().all(|line| line.starts_with("holds")), "{said}");
        assert_eq!(said.lines().count(), text.matches("[[test]]").count());
        std::fs::write(&path, text.replace("access_token = \"", "access_token = \"x")).unwrap();
        let (outcome, said) = run(|out| test(&path, out));
        assert!(outcome == Outcome::Faulty && said.contains("breaks  exchange: access_token"), "{said}");
        std::fs::write(&path, "nmae = 1").unwrap();
        let (outcome, said) = run(|out| test(&path, out));
        assert!(outcome == Outcome::Faulty && said.contains("did you mean `name`"), "{said}");
        let (outcome, said) = run(|out| test(&folder.path().join("gone.toml"), out));
        assert!(outcome == Outcome::NotFound && said.contains("no such provider file"), "{said}");
    }

    #[test]
    fn a_file_may_extend_what_came_with_the_binary() {
        let folder = tempfile::tempdir().unwrap();
        let (id, _) = one();
        std::fs::write(
            folder.path().join("child.toml"),
            format!(
                "extends = \"{id}\"\nname = \"Child\"\ndocs = \"https://a.example/\"\nchecked = 2026-01-01\nknown = \"docs\"\n"
            ),
        )
        .unwrap();
        let (outcome, said) = run(|out| check(folder.path(), out));
        assert_eq!(outcome, Outcome::Faulty);
        assert!(said.contains("an `authorize` test with its `url` is missing"), "{said}");
        assert!(!said.contains("token.url"), "{said}");
    }

    /// CONTRIBUTING.md shows a file and what `check` says of it; both are true.
    #[test]
    fn the_walk_in_contributing_works_as_written() {
        let page = include_str!("../../../CONTRIBUTING.md");
        let file: Vec<&str> = page.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
        assert_eq!(file.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.toml");
        let checked = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let said = run(|out| check(&path, out)).1;
            said.replace(&path.display().to_string(), "providers/acme.toml")
        };
        let good = file.join("\n");
        assert!(page.contains(&format!("```\n{}```", checked(&good))), "{}", checked(&good));
        let slip = checked(&good.replacen("client_auth", "client_autth", 1));
        let shown = slip.split(", url").next().unwrap();
        assert!(page.contains(shown), "{slip}");
        let missing = checked(&good.replacen("client_auth = \"basic\"", "", 1));
        let shown = missing.split("Q0xJ").next().unwrap();
        assert!(page.contains(shown), "{missing}");
        // Whatever else differs in the same request is told with it.
        assert!(missing.contains("form: `client_id` is sent besides, `client_secret` is sent besides"), "{missing}");
    }

    /// docs/provider-file.md names every key that a file may have.
    #[test]
    fn the_reference_names_every_key() {
        let page = include_str!("../../../docs/provider-file.md");
        let blocks = [
            "",
            "authorize.",
            "authorize.scopes.",
            "oauth1.",
            "request_token.",
            "callback.",
            "token.",
            "response.",
            "refresh.",
            "introspect.",
            "revoke.",
            "errors.",
            "use.",
            "redirect.",
            "params.p.",
            "jwt.a.",
            "client_assertion.",
        ];
        let asked = blocks
            .iter()
            .map(|block| format!("{block}zzzz = 1\n"))
            .chain(["after_connect", "test"].map(|list| format!("[[{list}]]\nzzzz = 1\n")));
        let mut keys = 0;
        for text in asked.chain([
            "[[test]]\nstep = \"refresh\"\nexpect.zzzz = 1\n".to_owned(),
            "[[test]]\nstep = \"refresh\"\nrequest.zzzz = 1\n".to_owned(),
            "[[test]]\nstep = \"refresh\"\nrequest.url = \"x\"\nrequest.jwt.a.zzzz = 1\n".to_owned(),
            "[[errors.when]]\nzzzz = 1\n".to_owned(),
        ]) {
            let id = ProviderId::parse("a").unwrap();
            let shelf = Shelf::from([(id.clone(), provider_file::Source { file: "a.toml".to_owned(), text: text.clone() })]);
            let said = provider_file::parse(&id, &shelf).unwrap_err().first().unwrap().message.clone();
            let known = said.split_once("Known here: ").unwrap_or_else(|| panic!("{text}: {said}")).1;
            for key in known.split(", ") {
                let named = [format!("`{key}`"), format!("[{key}]"), format!("[{key}."), format!("[[{key}]]")]
                    .iter()
                    .any(|form| page.contains(form.as_str()));
                assert!(named, "`{key}` is not in docs/provider-file.md ({})", text.lines().next().unwrap());
                keys += 1;
            }
        }
        assert!(keys > 100, "{keys}");
    }
}
