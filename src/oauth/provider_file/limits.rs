//! How many of each thing a file may have. An answer is measured against every rule of its file and every
//! place that the file names, so the work for one answer is bounded only where these are.

use toml::{Table, Value};

use crate::domain::provider::rules::Fault;

/// Entries of any list or table.
const ENTRIES_MAX: usize = 100;
/// Conditions of one class of errors: each reads the answer.
const CONDITIONS_MAX: usize = 30;
/// Token sets, places to look for one thing, and look-ups: what multiplies, or calls.
const PLACES_MAX: usize = 10;

/// What is too long, at most one fault for each list or table.
pub(super) fn faults(file: &Table) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, value) in file {
        walk(&mut vec![key], value, &mut faults);
    }
    faults
}

fn walk<'a>(at: &mut Vec<&'a str>, value: &'a Value, faults: &mut Vec<Fault>) {
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Table(fields) => fields.len(),
        _ => return,
    };
    let most = most(at, value.is_array());
    if length > most {
        faults.push(Fault::new(at.join("."), format!("has {length} entries; at most {most} are taken")));
        return;
    }
    match value {
        Value::Table(fields) => {
            for (key, field) in fields {
                at.push(key);
                walk(at, field, faults);
                at.pop();
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(at, item, faults)),
        _ => {}
    }
}

fn most(at: &[&str], is_list: bool) -> usize {
    match at {
        ["after_connect"] | ["after_connect", .., "subject"] | ["errors", "code"] => PLACES_MAX,
        ["errors", _] => CONDITIONS_MAX,
        ["response", "sets"] | ["refresh", "response", "sets"] => PLACES_MAX,
        ["response", ..] | ["refresh", "response", ..] if is_list => PLACES_MAX,
        _ => ENTRIES_MAX,
    }
}
