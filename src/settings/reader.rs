//! Reads single settings into types and gathers what is wrong, so that an operator is told
//! everything at once. A problem never repeats a secret's value.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};

use super::source::Values;
use super::{Problem, Problems};

/// Largest file that is read as a secret.
const SECRET_FILE_MAX: u64 = 64 * 1024;

pub(super) struct Reader<'a> {
    values: &'a Values,
    problems: Vec<Problem>,
    read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(values: &'a Values, problems: Vec<Problem>) -> Self {
        Self { values, problems, read: BTreeSet::new() }
    }

    /// `Err` with everything gathered so far, if anything was.
    pub fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }

    /// The names read so far: a test compares them with the list of settings.
    #[cfg(test)]
    pub fn names_read(&self) -> &BTreeSet<&'static str> {
        &self.read
    }

    pub fn problem(&mut self, name: &str, what: impl Into<String>) {
        self.problems.push(Problem { setting: name.to_owned(), what: what.into() });
    }

    /// A text; `None` when empty.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.read.insert(name);
        let found = self.values.get(name)?;
        match found.value.as_slice() {
            [] => None,
            [text] => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => {
                self.problem(name, "is one value, not a list");
                None
            }
        }
    }

    /// The parts of a list, or of a text with commas.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        self.read.insert(name);
        let parts = self.values.get(name).map(|found| found.value.as_slice()).unwrap_or_default();
        parts.iter().flat_map(|part| part.split(',')).map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    pub fn items<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Vec<T> {
        let parts = self.list(name);
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            match part.parse() {
                Ok(item) => items.push(item),
                Err(why) => self.problem(name, format!("`{part}` will not do: {why}")),
            }
        }
        items
    }

    /// A value of another type; `form` says how it is written.
    pub fn value<T: FromStr>(&mut self, name: &'static str, form: &str) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problem(name, format!("`{text}` will not do; write {form}"));
        }
        value
    }

    pub fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> u64 {
        let form = format!("a whole number from {} to {}", range.start(), range.end());
        match self.value(name, &form) {
            Some(number) if range.contains(&number) => return number,
            Some(number) => self.problem(name, format!("`{number}` will not do; write {form}")),
            None => {}
        }
        *range.start()
    }

    pub fn flag(&mut self, name: &'static str) -> bool {
        self.value(name, "true or false").unwrap_or_default()
    }

    pub fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(name).unwrap_or_default();
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.problem(name, format!("`{text}` will not do; write {}", words.join(" or ")));
        }
        chosen
    }

    pub fn span(&mut self, name: &'static str, range: RangeInclusive<Duration>) -> Duration {
        let form = format!("a span from {:?} to {:?}, such as \"10s\" or \"15m\"", range.start(), range.end());
        let text = self.text(name).unwrap_or_default();
        let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        match span {
            Some(span) if range.contains(&span) => span,
            _ => {
                self.problem(name, format!("`{text}` will not do; write {form}"));
                *range.start()
            }
        }
    }

    /// A size in bytes: `64MiB`, `512KiB`, `1GiB`, or a plain number.
    pub fn bytes(&mut self, name: &'static str, range: RangeInclusive<u64>) -> u64 {
        let text = self.text(name).unwrap_or_default();
        match size(&text) {
            Some(bytes) if range.contains(&bytes) => bytes,
            _ => {
                let form = format!("a size from {} to {} bytes, such as \"64MiB\"", range.start(), range.end());
                self.problem(name, format!("`{text}` will not do; write {form}"));
                *range.start()
            }
        }
    }

    /// A secret, given inline or as a file.
    pub fn secret(&mut self, name: &'static str, name_of_file: &'static str) -> Option<SecretString> {
        let inline = self.text(name).map(SecretString::from);
        let path = self.text(name_of_file);
        let from_file = match (&inline, path) {
            (_, None) => return inline,
            (Some(_), Some(_)) => {
                self.problem(name, format!("is set twice; keep it or `{name_of_file}`"));
                return None;
            }
            (None, Some(path)) => read_secret(&path),
        };
        match from_file {
            Ok(secret) if secret.expose_secret().is_empty() => {
                self.problem(name_of_file, "names a file that is empty");
                None
            }
            Ok(secret) => Some(secret),
            Err(why) => {
                self.problem(name_of_file, why);
                None
            }
        }
    }
}

fn read_secret(path: &str) -> Result<SecretString, String> {
    let meta = std::fs::metadata(path).map_err(|why| format!("`{path}` cannot be read: {why}"))?;
    if !meta.is_file() || meta.len() > SECRET_FILE_MAX {
        return Err(format!("`{path}` is no file of at most {} KiB", SECRET_FILE_MAX / 1024));
    }
    let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
    let text = text.map_err(|why| format!("`{path}` cannot be read: {why}"))?;
    Ok(SecretString::from(text.trim()))
}

fn size(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}
