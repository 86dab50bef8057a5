//! The providers that this server knows: those that came with the binary, and those of the operator's
//! folder, which add to them and override them. Read once at start; every fault stops the start.

pub mod card;
pub mod shelf;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::domain::ids::ProviderId;
use crate::domain::provider::Provider;
use crate::domain::refusal::Refusal;
use crate::oauth::provider_file::{self, FileError, ProviderFile, Shelf};

/// Longest text to search for, in bytes.
const SEARCH_MAX: usize = 100;

/// Every provider whose needs the deployment meets.
#[derive(Debug)]
pub struct Catalogue {
    providers: BTreeMap<ProviderId, Arc<Provider>>,
}

/// Everything that is wrong with the files, one per line.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.lines())]
pub struct CatalogueError {
    pub faults: Vec<FileError>,
}

impl CatalogueError {
    fn lines(&self) -> String {
        let lines: Vec<String> = self.faults.iter().map(FileError::to_string).collect();
        lines.join("\n")
    }
}

impl Catalogue {
    /// `extra` is the operator's folder; `deployment` are the values that this process supplies.
    pub fn load(extra: Option<&Path>, deployment: &BTreeMap<String, String>) -> Result<Self, CatalogueError> {
        let (mut shelf, mut faults) = shelf::built_in();
        if let Some(folder) = extra {
            let (more, more_faults) = shelf::of_folder(folder);
            shelf.extend(more);
            faults.extend(more_faults);
        }
        let (files, more_faults) = parse_all(&shelf);
        faults.extend(more_faults);
        let mut providers = BTreeMap::new();
        for ProviderFile { provider, .. } in files {
            match provider.deployed(deployment) {
                Ok(Some(provider)) => _ = providers.insert(provider.id().clone(), Arc::new(provider)),
                Ok(None) => {}
                Err(refusal) => {
                    let file = "the deployment's own settings".to_owned();
                    faults.push(FileError { file, line: None, at: refusal.field.unwrap_or_default(), message: refusal.detail });
                }
            }
        }
        if faults.is_empty() { Ok(Self { providers }) } else { Err(CatalogueError { faults }) }
    }

    pub fn get(&self, id: &ProviderId) -> Option<Arc<Provider>> {
        self.providers.get(id).cloned()
    }

    /// Those whose id or name holds `part` and that are of `category`, in the order of their ids.
    pub fn search(&self, part: Option<&str>, category: Option<&str>) -> Result<Vec<&Arc<Provider>>, Refusal> {
        let part = part.unwrap_or_default().to_lowercase();
        if part.len() > SEARCH_MAX {
            return Err(Refusal::field("q", format!("must have at most {SEARCH_MAX} bytes")));
        }
        let holds =
            |provider: &Provider| provider.id().as_str().contains(&part) || provider.name().to_lowercase().contains(&part);
        let of = |provider: &Provider| category.is_none_or(|wanted| provider.spec().categories.iter().any(|own| own == wanted));
        Ok(self.list().filter(|provider| holds(provider) && of(provider)).collect())
    }

    /// How many providers each category has.
    pub fn categories(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for category in self.list().flat_map(|provider| &provider.spec().categories) {
            *counts.entry(category.clone()).or_default() += 1;
        }
        counts
    }

    /// In the order of their ids.
    pub fn list(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }
}

/// Every file of a shelf, and every fault: what a start refuses, and what `provider check` says.
pub fn parse_all(shelf: &Shelf) -> (Vec<ProviderFile>, Vec<FileError>) {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for id in shelf.keys() {
        match provider_file::parse(id, shelf) {
            Err(more) => faults.extend(more),
            Ok(file) => files.push(file),
        }
    }
    faults.extend(twins(&files, shelf));
    (files, faults)
}

/// Two providers with one name would confuse people. Told of both files: either may be the one to mend.
fn twins(files: &[ProviderFile], shelf: &Shelf) -> Vec<FileError> {
    let mut named: BTreeMap<String, Vec<&ProviderId>> = BTreeMap::new();
    for file in files {
        named.entry(file.provider.name().to_lowercase()).or_default().push(file.provider.id());
    }
    let fault = |id: &ProviderId, twin: &ProviderId| {
        let file = shelf.get(id).map(|source| source.file.clone()).unwrap_or_default();
        FileError { file, line: None, at: "name".to_owned(), message: format!("is also the name of `{twin}`") }
    };
    let told = |ids: &Vec<&ProviderId>| {
        let others = |id: &ProviderId| ids.iter().copied().find(|other| *other != id).map(|twin| fault(id, twin));
        ids.iter().copied().filter_map(others).collect::<Vec<_>>()
    };
    named.values().flat_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::provider_file::Step;
    use crate::oauth::vectors;

    fn deployment() -> BTreeMap<String, String> {
        [("sandbox_origin".to_owned(), "http://127.0.0.1:4000/".to_owned())].into()
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_files_that_came_with_the_binary_keep_every_rule() {
        let (shelf, faults) = shelf::built_in();
        assert_eq!(faults, []);
        let (files, faults) = parse_all(&shelf);
        let faults: Vec<String> = faults.iter().map(FileError::to_string).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(files.len() >= 400, "{}", files.len());
    }

    #[test]
    fn every_vector_of_every_file_holds() {
        let (files, _) = parse_all(&shelf::built_in().0);
        let failing = files.iter().flat_map(|file| {
            let told = vectors::run(file).into_iter();
            told.map(|miss| format!("{}: {}: {}", file.provider.id(), miss.vector, miss.message))
        });
        let failing: Vec<String> = failing.collect();
        assert!(failing.is_empty(), "{}", failing.join("\n"));
        assert!(files.iter().map(|file| file.vectors.len()).sum::<usize>() > 4 * files.len());
    }

    #[test]
    fn a_provider_whose_deployment_param_is_missing_is_hidden() {
        let with = Catalogue::load(None, &deployment()).unwrap().list().count();
        let without = Catalogue::load(None, &BTreeMap::new()).unwrap().list().count();
        assert_eq!(with, without + 1);
    }

    #[test]
    fn a_deployment_param_that_breaks_its_rule_stops_the_start() {
        let outside = [("sandbox_origin".to_owned(), "http://192.0.2.1:4000".to_owned())].into();
        assert!(Catalogue::load(None, &outside).unwrap_err().to_string().contains("sandbox_origin"));
    }

    #[test]
    fn a_folder_adds_and_overrides() {
        let (shelf, _) = shelf::built_in();
        let (id, source) = shelf.iter().next().unwrap();
        let mine = source.text.replacen("name = \"", "name = \"My ", 1);
        let own = source.text.replacen("name = \"", "name = \"Other ", 1);
        let folder = folder(&[(&format!("{id}.toml"), &mine), ("other.toml", &own), ("notes.txt", "not a provider")]);
        let plain = Catalogue::load(None, &deployment()).unwrap();
        let catalogue = Catalogue::load(Some(folder.path()), &deployment()).unwrap();
        assert_eq!(catalogue.list().count(), plain.list().count() + 1);
        assert_eq!(catalogue.get(id).unwrap().name(), format!("My {}", plain.get(id).unwrap().name()));
        assert!(catalogue.get(&ProviderId::parse("other").unwrap()).is_some());
    }

    #[test]
    fn every_fault_of_a_folder_is_named() {
        let folder = folder(&[("a.toml", "nmae = \"A\"\n"), ("B C.toml", ""), ("d.toml", "x = [")]);
        let error = Catalogue::load(Some(folder.path()), &deployment()).unwrap_err().to_string();
        for part in ["a.toml:1: unknown key `nmae`; did you mean `name`?", "B C.toml: its name is not an id", "d.toml:1: "] {
            assert!(error.contains(part), "{part} is not in:\n{error}");
        }
        assert!(Catalogue::load(Some(&folder.path().join("gone")), &deployment()).is_err());
    }

    /// A broken disk or a slip of the hand: any part of a file missing or doubled is told, not suffered.
    /// One file of `every`, and of that every `step`th line.
    fn damage(every: usize, step: usize) {
        let (shelf, _) = shelf::built_in();
        for (id, source) in shelf.iter().step_by(every) {
            let lines: Vec<&str> = source.text.lines().collect();
            for at in (0..lines.len()).step_by(step) {
                let without: Vec<&str> = lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, line)| *line).collect();
                let cut: String = source.text.chars().take(at * 37).collect();
                for text in [without.join("\n"), cut] {
                    let damaged = Shelf::from([(id.clone(), provider_file::Source { file: "x.toml".to_owned(), text })]);
                    if let Ok(file) = provider_file::parse(id, &damaged) {
                        _ = vectors::run(&file);
                    }
                }
            }
        }
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic() {
        damage(29, 5);
    }

    #[test]
    #[ignore = "every line of every file: minutes"]
    fn no_damage_to_any_file_makes_the_reader_panic() {
        damage(1, 1);
    }

    /// What would be noticed by nobody: this file without one of the lines that say something.
    fn unnoticed(id: &ProviderId, shelf: &mut Shelf, says: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(source) = shelf.get(id).cloned() else { return Vec::new() };
        let whole = provider_file::parse(id, shelf).unwrap();
        let facts_end = source.text.find("[[test]]").unwrap();
        let lines: Vec<&str> = source.text.lines().collect();
        let mut unnoticed = Vec::new();
        for at in 0..source.text[..facts_end].lines().count() {
            let line = lines[at];
            if !says(line) {
                continue;
            }
            let text = [&lines[..at], &lines[at + 1..]].concat().join("\n");
            // Among its family, from which it may now inherit another fact.
            shelf.insert(id.clone(), provider_file::Source { file: "x.toml".to_owned(), text });
            let without = provider_file::parse(id, shelf).ok().filter(|file| vectors::run(file).is_empty());
            // What goes without saying is no fact.
            let same = |file: &ProviderFile| format!("{:?}", file.provider.spec()) == format!("{:?}", whole.provider.spec());
            if without.is_some_and(|file| !same(&file)) {
                unnoticed.push(format!("{id}:{}: {line}", at + 1));
            }
        }
        shelf.insert(id.clone(), source);
        unnoticed
    }

    /// The vectors are worth something: without a line that says what is sent, they no longer hold,
    /// or the file no longer keeps the rules.
    #[test]
    fn the_vectors_notice_when_a_fact_is_gone() {
        let facts = [
            "url =",
            "client_auth = \"basic\"",
            "body =",
            "separator =",
            "params = {",
            "drop =",
            "param =",
            "method =",
            "always =",
        ];
        let (mut shelf, _) = shelf::built_in();
        let ids: Vec<ProviderId> = shelf.keys().cloned().collect();
        let says = |line: &str| facts.iter().any(|fact| line.starts_with(fact));
        let unnoticed: Vec<String> = ids.iter().flat_map(|id| unnoticed(id, &mut shelf, says)).collect();
        assert!(unnoticed.is_empty(), "nobody notices when these are gone:\n{}", unnoticed.join("\n"));
    }

    /// With a `facts` vector, whatever a line says is noticed, texts for people apart.
    #[test]
    fn the_vectors_notice_every_fact_of_a_file_that_states_them() {
        let texts =
            ["name", "docs", "checked", "known", "categories", "credentials", "warnings", "title", "example", "examples", "note"];
        let says =
            |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.starts_with(['#', ' ']) && !texts.contains(&key));
        // What is so anyway, by the common table of errors or by what 0 means: no answer shows that it is gone.
        let anyway = [
            "dead_grant = [{ error = \"bad_verification_code\" }]",
            "integration_broken = [{ error = \"incorrect_client_credentials\" }]",
            "dead_grant = [{ error = \"interaction_required\" }]",
            "dead_grant = [{ error = \"invalid_grant\" }]",
            "zero_means_never = true",
        ];
        let says = |line: &str| says(line) && !anyway.contains(&line);
        let (mut shelf, _) = shelf::built_in();
        let (files, _) = parse_all(&shelf);
        let stated = files.iter().filter(|file| file.vectors.iter().any(|vector| vector.step == Step::Facts));
        let ids: Vec<ProviderId> = stated.map(|file| file.provider.id().clone()).collect();
        assert!(ids.len() >= 40, "{}", ids.len());
        let unnoticed: Vec<String> = ids.iter().flat_map(|id| unnoticed(id, &mut shelf, says)).collect();
        assert!(unnoticed.is_empty(), "nobody notices when these are gone:\n{}", unnoticed.join("\n"));
    }
}
