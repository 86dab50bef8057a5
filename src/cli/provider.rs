//! `claviger provider list|show|check`: the provider files for people. Needs no server and no store.

use std::io::{self, Write};
use std::path::Path;

use crate::domain::ids::ProviderId;
use crate::oauth::provider_file::{self, ProviderFile, Shelf};
use crate::oauth::vectors;
use crate::services::catalogue::card::{ParamCard, ProviderCard};
use crate::services::catalogue::parse_all;
use crate::services::catalogue::shelf::{self, Gathered};

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
    let (shelf, _) = gathered(extra);
    let Some(id) = ProviderId::parse(id).ok().filter(|id| shelf.contains_key(id)) else {
        writeln!(out, "There is no provider `{id}`; `claviger provider list` names them all.")?;
        return Ok(Outcome::NotFound);
    };
    match provider_file::parse(&id, &shelf) {
        Ok(file) => {
            print_card(&ProviderCard::from(&file.provider), out)?;
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

/// Checks one file, or every `*.toml` of a folder: rules first, then vectors. A file may extend the
/// providers that came with the binary and those beside it.
pub fn check(path: &Path, out: &mut dyn Write) -> io::Result<Outcome> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    };
    let (mine, mut faults) = shelf::of_folder(folder);
    let only = (!path.is_dir()).then(|| folder.join(path.file_name().unwrap_or_default()).display().to_string());
    let wanted = |file: &str| only.as_deref().is_none_or(|only| only == file);
    faults.retain(|fault| wanted(&fault.file) || fault.file == folder.display().to_string());
    let ids: Vec<ProviderId> = mine.iter().filter(|(_, source)| wanted(&source.file)).map(|(id, _)| id.clone()).collect();
    if ids.is_empty() && faults.is_empty() {
        writeln!(out, "{}: there is no provider file (NAME.toml) here", path.display())?;
        return Ok(Outcome::NotFound);
    }
    let (mut shelf, _) = shelf::built_in();
    shelf.extend(mine);
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    let mut broken = faults.len();
    for id in &ids {
        broken += usize::from(!check_one(id, &shelf, out)?);
    }
    let files = ids.len() + faults.len();
    writeln!(out, "{files} {}, {broken} with faults", if files == 1 { "file" } else { "files" })?;
    Ok(if broken == 0 { Outcome::Fine } else { Outcome::Faulty })
}

fn check_one(id: &ProviderId, shelf: &Shelf, out: &mut dyn Write) -> io::Result<bool> {
    let name = shelf.get(id).map_or("?", |source| source.file.as_str());
    let file: ProviderFile = match provider_file::parse(id, shelf) {
        Ok(file) => file,
        Err(faults) => {
            for fault in faults {
                writeln!(out, "{fault}")?;
            }
            return Ok(false);
        }
    };
    let misses = vectors::run(&file);
    for miss in &misses {
        writeln!(out, "{name}: test {}: {}", miss.vector, miss.message)?;
    }
    if misses.is_empty() {
        writeln!(out, "{name}: fine, {} tests hold", file.vectors.len())?;
    }
    Ok(misses.is_empty())
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

fn print_card(card: &ProviderCard, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({})\n", card.name, card.id)?;
    line(out, "docs", &card.docs)?;
    line(out, "checked", &format!("{}, known from {}", card.checked, card.known))?;
    line(out, "categories", &card.categories.join(", "))?;
    line(out, "credentials", &card.credentials)?;
    line(out, "client secret", card.client_secret)?;
    for param in &card.params {
        line(out, "setting", &setting(param))?;
    }
    line(out, "scopes", &scopes(card))?;
    line(out, "PKCE", card.pkce)?;
    line(out, "refresh", &refresh(card))?;
    line(
        out,
        "revoking",
        if card.revokes_at_provider { "also at the provider" } else { "here only: the provider has no call for it" },
    )?;
    line(out, "token sets", &card.token_sets.join(", "))?;
    line(out, "metadata", &card.metadata.join(", "))?;
    line(out, "use", &format!("{}: {} TOKEN", card.usage.header, card.usage.scheme))?;
    line(out, "base URL", card.usage.base_url.as_deref().unwrap_or_default())?;
    for (name, value) in &card.usage.headers {
        line(out, "header", &format!("{name}: {value}"))?;
    }
    line(out, "loopback", &format!("{} (redirect URIs on this machine)", card.redirect.loopback))?;
    for warning in &card.warnings {
        line(out, "note", warning)?;
    }
    Ok(())
}

/// One fact; none where there is nothing to say.
fn line(out: &mut dyn Write, what: &str, said: &str) -> io::Result<()> {
    if said.is_empty() { Ok(()) } else { writeln!(out, "{what:>14}  {said}") }
}

fn setting(param: &ParamCard) -> String {
    let mut parts = vec![format!("{}: {} ({}, {}", param.name, param.title, param.kind, param.needed_by)];
    parts.extend(param.options.as_ref().map(|options| format!("one of {}", options.join(" "))));
    parts.extend(param.default.as_ref().map(|default| format!("default {default}")));
    parts.extend(param.example.as_ref().map(|example| format!("such as {example}")));
    parts.extend(param.secret.then(|| "secret".to_owned()));
    parts.join(", ") + ")"
}

fn scopes(card: &ProviderCard) -> String {
    let scopes = &card.scopes;
    if scopes.none {
        return "none".to_owned();
    }
    let parts = [
        ("by default", &scopes.default),
        ("always", &scopes.always),
        ("such as", &scopes.examples),
        ("with prefix", &scopes.prefixes),
    ];
    let said: Vec<String> =
        parts.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| format!("{what} {}", list.join(" "))).collect();
    said.join("; ")
}

fn refresh(card: &ProviderCard) -> String {
    let refresh = &card.refresh;
    let span = |what: &str, seconds: Option<u64>| seconds.map(|seconds| format!("{what} {}", spoken(seconds)));
    let mut parts = vec![refresh.class.to_owned()];
    parts.extend(span("grace", refresh.grace_seconds));
    parts.extend(span("ends after", refresh.max_age_seconds));
    parts.extend(span("ends unused after", refresh.idle_max_seconds));
    parts.extend(refresh.kills_access.then(|| "ends the old access token".to_owned()));
    let note = refresh.note.as_ref().map(|note| format!(". {note}")).unwrap_or_default();
    parts.join(", ") + &note
}

fn spoken(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units.iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    unit.map_or(format!("{seconds} s"), |(size, name)| format!("{} {name}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: impl FnOnce(&mut dyn Write) -> io::Result<Outcome>) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = command(&mut out).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    /// Any provider that came with the binary.
    fn one() -> (ProviderId, String) {
        let (shelf, _) = shelf::built_in();
        let (id, source) = shelf.into_iter().next().unwrap();
        (id, source.text)
    }

    #[test]
    fn list_has_a_line_for_each_file() {
        let (outcome, said) = run(|out| list(None, out));
        assert_eq!((outcome, said.lines().count()), (Outcome::Fine, shelf::built_in().0.len()));
        assert!(said.lines().all(|line| line.contains("rotat") || line.contains("none") || line.contains("unknown")), "{said}");
    }

    #[test]
    fn show_tells_of_one_and_names_what_is_missing() {
        for id in shelf::built_in().0.keys() {
            let (outcome, said) = run(|out| show(id.as_str(), None, out));
            assert_eq!(outcome, Outcome::Fine);
            assert!(["docs", "credentials", "refresh", "use"].iter().all(|word| said.contains(word)), "{said}");
        }
        let (outcome, said) = run(|out| show("nobody", None, out));
        assert_eq!(outcome, Outcome::NotFound);
        assert!(said.contains("claviger provider list"));
        assert_eq!(run(|out| show("Not An Id", None, out)).0, Outcome::NotFound);
    }

    #[test]
    fn check_takes_a_file_or_a_folder_and_tells_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let (_, text) = one();
        std::fs::write(folder.path().join("good.toml"), &text).unwrap();
        let (outcome, said) = run(|out| check(folder.path(), out));
        assert_eq!(outcome, Outcome::Fine, "{said}");
        assert!(said.contains("good.toml: fine, ") && said.ends_with("1 file, 0 with faults\n"), "{said}");

        std::fs::write(folder.path().join("bad.toml"), text.replacen("name =", "nam =", 1)).unwrap();
        std::fs::write(folder.path().join("wrong.toml"), text.replace("access_token = \"", "access_token = \"x")).unwrap();
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
        let page = include_str!("../../CONTRIBUTING.md");
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
    }

    /// docs/provider-file.md names every key that a file may have.
    #[test]
    fn the_reference_names_every_key() {
        let page = include_str!("../../docs/provider-file.md");
        let blocks = [
            "",
            "authorize.",
            "authorize.scopes.",
            "callback.",
            "token.",
            "response.",
            "refresh.",
            "revoke.",
            "errors.",
            "use.",
            "redirect.",
            "params.p.",
        ];
        let asked = blocks
            .iter()
            .map(|block| format!("{block}zzzz = 1\n"))
            .chain(["after_connect", "test"].map(|list| format!("[[{list}]]\nzzzz = 1\n")));
        let mut keys = 0;
        for text in asked.chain([
            "[[test]]\nstep = \"refresh\"\nexpect.zzzz = 1\n".to_owned(),
            "[[test]]\nstep = \"refresh\"\nrequest.zzzz = 1\n".to_owned(),
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
