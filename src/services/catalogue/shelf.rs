//! Provider files as they lie: those in the binary, and those of a folder. Reads them; `provider_file`
//! understands them.

use std::path::Path;

use rust_embed::RustEmbed;

use crate::domain::ids::ProviderId;
use crate::oauth::provider_file::{FILE_MAX, FileError, Shelf, Source};

#[derive(RustEmbed)]
#[folder = "providers/"]
struct BuiltIn;

/// Files, and what is wrong with those that could not be taken.
pub type Gathered = (Shelf, Vec<FileError>);

/// The files that came with the binary.
pub fn built_in() -> Gathered {
    let names = BuiltIn::iter().filter(|name| name.ends_with(".toml"));
    gather(names.filter_map(|name| {
        let bytes = BuiltIn::get(&name)?.data.into_owned();
        Some((format!("providers/{name}"), name.into_owned(), Ok(bytes)))
    }))
}

/// The files of a folder: every `*.toml` in it, not in folders below it.
pub fn of_folder(folder: &Path) -> Gathered {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) => return (Shelf::new(), vec![unreadable(&folder.display().to_string(), &cause)]),
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    gather(paths.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str().filter(|name| name.ends_with(".toml"))?.to_owned();
        Some((path.display().to_string(), name, std::fs::read(&path)))
    }))
}

/// Each with its path for messages, the file name that gives its id, and its content.
fn gather(files: impl Iterator<Item = (String, String, std::io::Result<Vec<u8>>)>) -> Gathered {
    let (mut shelf, mut faults) = (Shelf::new(), Vec::new());
    for (file, name, content) in files {
        match source(&file, &name, content) {
            Ok((id, source)) => _ = shelf.insert(id, source),
            Err(fault) => faults.push(fault),
        }
    }
    (shelf, faults)
}

fn source(file: &str, name: &str, content: std::io::Result<Vec<u8>>) -> Result<(ProviderId, Source), FileError> {
    let fault = |message: String| FileError { file: file.to_owned(), line: None, at: String::new(), message };
    let id = ProviderId::parse(name.trim_end_matches(".toml"))
        .map_err(|refusal| fault(format!("its name is not an id: {}", refusal.detail)))?;
    let bytes = content.map_err(|cause| unreadable(file, &cause))?;
    if bytes.len() > FILE_MAX {
        return Err(fault(format!("is longer than {FILE_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8".to_owned()))?;
    Ok((id, Source { file: file.to_owned(), text }))
}

fn unreadable(file: &str, cause: &std::io::Error) -> FileError {
    FileError { file: file.to_owned(), line: None, at: String::new(), message: format!("cannot be read: {cause}") }
}
