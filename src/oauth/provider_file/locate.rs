//! Says where in a file something is wrong, and what its author may have meant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a file: `file:line: at: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    pub file: String,
    /// From 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The key at fault, as a path; empty for the file.
    pub at: String,
    pub message: String,
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let gap = if self.at.is_empty() { "" } else { ": " };
        write!(f, ": {}{gap}{}", self.at, self.message)
    }
}

impl std::error::Error for FileError {}

/// The line of a path of keys, or of as much of it as the file has.
pub(super) fn line_of(text: &str, at: &str) -> Option<usize> {
    let (root, _) = DeTable::parse_recoverable(text);
    let mut table = Some(root.get_ref());
    let mut value: Option<&Spanned<DeValue<'_>>> = None;
    let mut found = None;
    for part in at.split('.').filter(|part| !part.is_empty()) {
        let next = match (table, value.map(Spanned::get_ref)) {
            (Some(table), _) => table.iter().find(|(key, _)| key.get_ref() == part).map(|(key, value)| (key.span().start, value)),
            (None, Some(DeValue::Array(items))) => {
                part.parse().ok().and_then(|at: usize| items.get(at)).map(|item| (item.span().start, item))
            }
            _ => None,
        };
        let Some((start, inner)) = next else { break };
        found = Some(start);
        value = Some(inner);
        table = inner.get_ref().as_table();
    }
    found.map(|start| line_at(text, start))
}

/// The path of the first key on a line.
pub(super) fn path_at(text: &str, line: usize) -> Option<String> {
    let (root, _) = DeTable::parse_recoverable(text);
    in_table(root.get_ref(), &|start| line_at(text, start) == line)
}

fn in_table(table: &DeTable<'_>, is_there: &impl Fn(usize) -> bool) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if is_there(key.span().start) {
            return Some(name.to_string());
        }
        in_value(value.get_ref(), is_there).map(|inner| format!("{name}.{inner}"))
    })
}

fn in_value(value: &DeValue<'_>, is_there: &impl Fn(usize) -> bool) -> Option<String> {
    match value {
        DeValue::Table(table) => in_table(table, is_there),
        DeValue::Array(items) => (0..)
            .zip(items.iter())
            .find_map(|(at, item): (usize, _)| in_value(item.get_ref(), is_there).map(|inner| format!("{at}.{inner}"))),
        _ => None,
    }
}

pub(super) fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// serde's words for an unknown key or value, with the nearest known one in front.
pub(super) fn friendly(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown")) else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    match nearest(unknown, &known) {
        Some(near) => format!("unknown {what} `{unknown}`; did you mean `{near}`? Known here: {}", known.join(", ")),
        None => format!("unknown {what} `{unknown}`. Known here: {}", known.join(", ")),
    }
}

pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    scored.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_keys_has_a_line() {
        let text = "a = 1\n[b]\nc = { d = 2 }\n\n[[e]]\nf = 1\n[[e]]\nf = 2\n";
        for (at, line) in [
            ("a", Some(1)),
            ("b", Some(2)),
            ("b.c.d", Some(3)),
            ("b.c.x", Some(3)),
            ("e.0.f", Some(6)),
            ("e.1.f", Some(8)),
            ("z", None),
            ("", None),
        ] {
            assert_eq!(line_of(text, at), line, "{at}");
        }
        for (line, at) in [(1, Some("a")), (2, Some("b")), (3, Some("b.c")), (4, None), (6, Some("e.0.f")), (8, Some("e.1.f"))] {
            assert_eq!(path_at(text, line).as_deref(), at, "{line}");
        }
    }

    #[test]
    fn the_nearest_key_is_named() {
        let message = friendly("unknown field `separater`, expected one of `default`, `separator`, `always`");
        assert!(message.contains("did you mean `separator`?"), "{message}");
        assert!(!friendly("unknown field `zzz`, expected `url`").contains("did you mean"));
        assert_eq!(friendly("invalid type"), "invalid type");
    }
}
