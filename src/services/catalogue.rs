//! The providers that this server knows: those that came with the binary, and those of the operator's
//! folder, which add to them and override them. Read once at start; every fault stops the start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;

use crate::domain::ids::ProviderId;
use crate::domain::provider::Provider;
use crate::oauth::provider_file::{self, FILE_MAX, FileError, ProviderFile, Shelf, Source};

#[derive(RustEmbed)]
#[folder = "providers/"]
struct BuiltIn;

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
        let mut shelf = built_in().map_err(|faults| CatalogueError { faults })?;
        if let Some(folder) = extra {
            shelf.extend(shelf_of(folder).map_err(|faults| CatalogueError { faults })?);
        }
        Self::of(&shelf, deployment)
    }

    fn of(shelf: &Shelf, deployment: &BTreeMap<String, String>) -> Result<Self, CatalogueError> {
        let (files, mut faults) = parse_all(shelf);
        let mut providers = BTreeMap::new();
        for ProviderFile { provider, .. } in files {
            let file = shelf.get(provider.id()).map_or_else(String::new, |source| source.file.clone());
            match provider.deployed(deployment) {
                Ok(Some(provider)) => _ = providers.insert(provider.id().clone(), Arc::new(provider)),
                Ok(None) => {}
                Err(refusal) => faults.push(FileError { file, line: None, at: "params".to_owned(), message: refusal.detail }),
            }
        }
        if faults.is_empty() { Ok(Self { providers }) } else { Err(CatalogueError { faults }) }
    }

    pub fn get(&self, id: &ProviderId) -> Option<Arc<Provider>> {
        self.providers.get(id).cloned()
    }

    /// In the order of their ids.
    pub fn list(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }
}

/// The files that came with the binary.
pub fn built_in() -> Result<Shelf, Vec<FileError>> {
    let files = BuiltIn::iter().filter(|name| name.ends_with(".toml")).filter_map(|name| Some((name.to_string(), BuiltIn::get(&name)?.data.into_owned())));
    shelf(files.map(|(name, bytes)| (format!("providers/{name}"), name, bytes)))
}

/// The files of a folder: every `*.toml` in it, not in folders below it.
pub fn shelf_of(folder: &Path) -> Result<Shelf, Vec<FileError>> {
    let unreadable = |file: &Path, cause: std::io::Error| {
        vec![FileError { file: file.display().to_string(), line: None, at: String::new(), message: format!("cannot be read: {cause}") }]
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|cause| unreadable(folder, cause))? {
        let path = entry.map_err(|cause| unreadable(folder, cause))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".toml")) else { continue };
        let bytes = std::fs::read(&path).map_err(|cause| unreadable(&path, cause))?;
        files.push((path.display().to_string(), name.to_owned(), bytes));
    }
    shelf(files.into_iter())
}

/// Each of a path for messages, a file name that gives the id, and content.
pub fn shelf(files: impl Iterator<Item = (String, String, Vec<u8>)>) -> Result<Shelf, Vec<FileError>> {
    let (mut shelf, mut faults) = (Shelf::new(), Vec::new());
    for (file, name, bytes) in files {
        let fault = |message: String| FileError { file: file.clone(), line: None, at: String::new(), message };
        let id = ProviderId::parse(name.trim_end_matches(".toml"));
        match (id, String::from_utf8(bytes)) {
            (Err(refusal), _) => faults.push(fault(format!("its name is not an id: {}", refusal.detail))),
            (_, Err(_)) => faults.push(fault("is not UTF-8".to_owned())),
            (_, Ok(text)) if text.len() > FILE_MAX => faults.push(fault(format!("is longer than {FILE_MAX} bytes"))),
            (Ok(id), Ok(text)) => _ = shelf.insert(id, Source { file, text }),
        }
    }
    if faults.is_empty() { Ok(shelf) } else { Err(faults) }
}

/// Every file of a shelf, and every fault. Two providers with one name would confuse people.
pub fn parse_all(shelf: &Shelf) -> (Vec<ProviderFile>, Vec<FileError>) {
    let (mut files, mut faults): (Vec<ProviderFile>, Vec<FileError>) = (Vec::new(), Vec::new());
    for (id, source) in shelf {
        match provider_file::parse(id, shelf) {
            Err(more) => faults.extend(more),
            Ok(file) => {
                let twin = files.iter().find(|other| other.provider.name().eq_ignore_ascii_case(file.provider.name()));
                faults.extend(twin.map(|twin| FileError {
                    file: source.file.clone(),
                    line: None,
                    at: "name".to_owned(),
                    message: format!("is also the name of `{}`", twin.provider.id()),
                }));
                files.push(file);
            }
        }
    }
    (files, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_came_with_the_binary_keep_every_rule() {
        let (files, faults) = parse_all(&built_in().unwrap());
        let faults: Vec<String> = faults.iter().map(FileError::to_string).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(!files.is_empty());
    }

    #[test]
    fn every_vector_of_every_file_holds() {
        let (files, _) = parse_all(&built_in().unwrap());
        let failing = files.iter().flat_map(|file| {
            let told = crate::oauth::vectors::run(file).into_iter();
            told.map(|miss| format!("{}: {}: {}", file.provider.id(), miss.vector, miss.message))
        });
        let failing: Vec<String> = failing.collect();
        assert!(failing.is_empty(), "{}", failing.join("\n"));
        assert!(files.iter().map(|file| file.vectors.len()).sum::<usize>() > 4 * files.len());
    }
}
