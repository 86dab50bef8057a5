//! Provider files: from TOML to a checked [`Provider`] and its test vectors. Knows no folder and no
//! provider; what a file is called and what it says are handed in.

mod convert;
mod convert_flow;
mod convert_grant;
mod convert_jwt;
mod convert_oauth1;
mod convert_params;
mod convert_request;
mod convert_response;
mod convert_time;
mod limits;
mod locate;
mod own;
mod shape;
mod shape_jwt;
mod shape_request;
#[cfg(test)]
pub(crate) mod testing;
mod vector;

use std::collections::BTreeMap;

use toml::{Table, Value};

pub use locate::FileError;
pub use own::{Definition, issuer_of, parse_own};
pub use vector::{Expectation, JwtVector, RequestVector, Step, VectorShape};

use crate::domain::ids::ProviderId;
use crate::domain::provider::rules::Fault;
use crate::domain::provider::{Owner, Provider};
use locate::{friendly, line_at, line_of};
use shape::FileShape;

/// Longest file, in bytes.
pub const FILE_MAX: usize = 64 * 1_024;
/// A family has at most so many generations.
const FAMILY_MAX: usize = 4;
/// What belongs to one file and is never inherited.
const OWN: &[&str] = &["extends", "name", "docs", "checked", "known", "warnings", "test"];

/// A file's text and what to call it in messages.
#[derive(Debug, Clone)]
pub struct Source {
    pub file: String,
    pub text: String,
}

/// Every file that may be extended, by the id that its name gives.
pub type Shelf = BTreeMap<ProviderId, Source>;

/// A file, understood.
#[derive(Debug, Clone)]
pub struct ProviderFile {
    pub provider: Provider,
    pub vectors: Vec<VectorShape>,
}

/// Reads one file of the shelf. On failure every fault that was found is named.
pub fn parse(id: &ProviderId, shelf: &Shelf) -> Result<ProviderFile, Vec<FileError>> {
    let Some(source) = shelf.get(id) else {
        let message = format!("there is no provider file {id}.toml");
        return Err(vec![FileError { file: format!("{id}.toml"), line: None, at: String::new(), message }]);
    };
    let shape: FileShape = read(source).map_err(|error| vec![error])?;
    // Most files stand alone: what was read is all there is.
    if shape.extends.is_none() {
        bounded(source, &read(source).map_err(|error| vec![error])?)?;
        return checked(id, Owner::Catalogue, source, &shape);
    }
    let table = inherited(id, source, shelf).map_err(|error| vec![error])?;
    understood(id, Owner::Catalogue, source, table)
}

fn bounded(source: &Source, table: &Table) -> Result<(), Vec<FileError>> {
    let long = limits::faults(table);
    if long.is_empty() { Ok(()) } else { Err(long.into_iter().map(|fault| placed(source, fault)).collect()) }
}

fn understood(id: &ProviderId, owner: Owner, source: &Source, table: Table) -> Result<ProviderFile, Vec<FileError>> {
    bounded(source, &table)?;
    let shape: FileShape = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        vec![FileError { file: source.file.clone(), line: None, at: String::new(), message: friendly(error.message()) }]
    })?;
    checked(id, owner, source, &shape)
}

fn checked(id: &ProviderId, owner: Owner, source: &Source, shape: &FileShape) -> Result<ProviderFile, Vec<FileError>> {
    let vectors = shape.test.clone();
    let provider = convert::provider(id.clone(), owner, shape).and_then(Provider::checked);
    match provider {
        Ok(provider) => Ok(ProviderFile { provider, vectors }),
        Err(faults) => Err(faults.into_iter().map(|fault| placed(source, fault)).collect()),
    }
}

fn placed(source: &Source, fault: Fault) -> FileError {
    FileError { file: source.file.clone(), line: line_of(&source.text, &fault.at), at: fault.at, message: fault.message }
}

fn read<T: serde::de::DeserializeOwned>(source: &Source) -> Result<T, FileError> {
    let error = |line, message| FileError { file: source.file.clone(), line, at: String::new(), message };
    if source.text.len() > FILE_MAX {
        return Err(error(None, format!("is longer than {FILE_MAX} bytes")));
    }
    toml::from_str(&source.text)
        .map_err(|cause| error(cause.span().map(|span| line_at(&source.text, span.start)), friendly(cause.message())))
}

/// The file over what it extends: tables are merged key by key, everything else is replaced.
fn inherited(id: &ProviderId, own: &Source, shelf: &Shelf) -> Result<Table, FileError> {
    let find = |wanted: &ProviderId| if wanted == id { Some(own) } else { shelf.get(wanted) };
    let mut child = id.clone();
    let mut table = Table::new();
    for generation in 0.. {
        let Some(source) = find(&child) else { break };
        // First each file by itself, so that a wrong key is found at its line.
        let FileShape { extends, .. } = read(source)?;
        let mut older: Table = read(source)?;
        if generation > 0 {
            older.retain(|key, _| !OWN.contains(&key));
        }
        merge(&mut table, older);
        let Some(parent) = extends else { return Ok(table) };
        let fault = |message: String| placed(source, Fault::new("extends", message));
        child = ProviderId::parse(&parent).map_err(|_| fault(format!("{parent:?} is not a provider's id")))?;
        if find(&child).is_none() {
            return Err(fault(format!("there is no provider file {child}.toml")));
        }
        if generation + 1 >= FAMILY_MAX {
            return Err(fault(format!("is more than {FAMILY_MAX} files deep, or a circle")));
        }
    }
    Ok(table)
}

/// Adds what `over` does not have.
fn merge(over: &mut Table, under: Table) {
    for (key, value) in under {
        match (over.get_mut(&key), value) {
            (Some(Value::Table(over)), Value::Table(under)) => merge(over, under),
            (Some(_), _) => {}
            (None, value) => {
                over.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
