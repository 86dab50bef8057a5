//! The text of a source file with comments, strings and test code taken out, line for line, and its
//! string literals apart. A small lexer, not a parser: enough for code that compiles.

use std::fs;
use std::path::Path;

pub struct Source {
    /// Below `src/`, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and the content of strings blanked, and test items too.
    pub code: String,
    /// Of the program, not of its tests: line and content.
    pub strings: Vec<(usize, String)>,
    /// Lines of test items.
    pub test_lines: usize,
}

impl Source {
    pub fn of(path: &str, text: &str) -> Self {
        let (code, strings) = lex(text);
        let (code, tests) = without_tests(&code);
        let in_tests = |line: usize| tests.iter().any(|range| range.contains(&line));
        let strings = strings.into_iter().filter(|(line, _)| !in_tests(*line)).collect();
        let test_lines = tests.iter().map(|range| range.end - range.start).sum();
        Self { path: path.to_owned(), text: text.to_owned(), code, strings, test_lines }
    }

    /// The module this file is, as `["adapters", "redis", "script"]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let mut module: Vec<_> = path.split('/').collect();
        if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
            module.pop();
        }
        module
    }

    /// The file's modules that exist only in tests: `#[cfg(test)] mod tests;`.
    fn test_modules(&self) -> Vec<String> {
        let (code, _) = lex(&self.text);
        let after = code.split("#[cfg(test)]").skip(1);
        let name = |rest: &str| Some(rest.trim_start().strip_prefix("mod ")?.split_once(';')?.0.trim().to_owned());
        let names = after.filter_map(name).filter(|name| !name.contains('{'));
        names.map(|name| [&self.module(), [name.as_str()].as_slice()].concat().join("/")).collect()
    }
}

/// All files under `src/` but those that are tests as a whole.
pub fn read_all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    read_folder(&root, &root, &mut all);
    let tests: Vec<_> = all.iter().flat_map(Source::test_modules).collect();
    let is_test = |source: &Source| {
        let module = source.module().join("/");
        tests.iter().any(|test| module == *test || module.starts_with(&format!("{test}/")))
    };
    all.retain(|source| !is_test(source));
    all
}

fn read_folder(root: &Path, folder: &Path, all: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(root, &path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            all.push(Source::of(&below, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What the lexer stands on.
enum Piece {
    LineComment,
    BlockComment,
    /// The offset of the content and how it ends.
    Text {
        open: usize,
        close: String,
        escapes: bool,
    },
    Character(usize),
    Code,
}

/// Blanks comments and the content of strings and characters; keeps every line break.
fn lex(text: &str) -> (String, Vec<(usize, String)>) {
    let (mut code, mut strings) = (String::with_capacity(text.len()), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = match piece(rest, code.chars().last()) {
            Piece::LineComment => blank(&mut code, &rest[..rest.find('\n').unwrap_or(rest.len())]),
            Piece::BlockComment => blank(&mut code, &rest[..block_comment(rest)]),
            Piece::Text { open, close, escapes } => {
                let end = text_end(&rest[open..], &close, escapes);
                let line = text[..at].matches('\n').count() + 1;
                strings.push((line, rest[open..open + end].to_owned()));
                code.push_str(&rest[..open]);
                blank(&mut code, &rest[open..open + end]);
                code.push_str(&close);
                open + end + close.len()
            }
            Piece::Character(length) => blank(&mut code, &rest[..length]),
            Piece::Code => {
                let next = rest.chars().next().unwrap();
                code.push(next);
                next.len_utf8()
            }
        };
        at += length;
    }
    (code, strings)
}

fn piece(rest: &str, before: Option<char>) -> Piece {
    if rest.starts_with("//") {
        return Piece::LineComment;
    }
    if rest.starts_with("/*") {
        return Piece::BlockComment;
    }
    if rest.starts_with('"') {
        return Piece::Text { open: 1, close: "\"".to_owned(), escapes: true };
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some(raw) = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            return Piece::Text { open, close: format!("\"{}", "#".repeat(hashes)), escapes: false };
        }
    }
    character(rest).map_or(Piece::Code, Piece::Character)
}

/// The length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if let Some(escaped) = inside.strip_prefix('\\') {
        let after = escaped.chars().next()?.len_utf8();
        return Some(2 + after + escaped[after..].find('\'')? + 1);
    }
    let length = inside.chars().next()?.len_utf8();
    inside[length..].starts_with('\'').then_some(length + 2)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest[at..].chars().next().unwrap().len_utf8();
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn text_end(content: &str, close: &str, escapes: bool) -> usize {
    let mut at = 0;
    while at < content.len() && !content[at..].starts_with(close) {
        let mut characters = content[at..].chars();
        let next = characters.next().unwrap();
        at += next.len_utf8();
        if escapes && next == '\\' {
            at += characters.next().map_or(0, char::len_utf8);
        }
    }
    at
}

fn blank(code: &mut String, text: &str) -> usize {
    code.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    text.len()
}

/// Blanks every item under `#[cfg(test)]`; gives the lines it had, from 1.
fn without_tests(code: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let (mut kept, mut ranges, mut at) = (String::with_capacity(code.len()), Vec::new(), 0);
    while let Some(found) = code[at..].find("#[cfg(test)]") {
        let (start, end) = (at + found, at + found + item_end(&code[at + found..]));
        kept.push_str(&code[at..start]);
        blank(&mut kept, &code[start..end]);
        let line = |offset: usize| code[..offset].matches('\n').count() + 1;
        ranges.push(line(start)..line(end) + 1);
        at = end;
    }
    kept.push_str(&code[at..]);
    (kept, ranges)
}

/// Where the item at the start of `code` ends: after its `;`, or its closing brace.
fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = r###"//! crate::web
/* crate::web /* nested */ crate::web */
fn f<'a>(x: &'a str) -> char { g("crate::web \" // ", r#"crate::"web"#, b"x", '"', '\'', '\u{1F600}'); 'x' }
/// crate::web
use crate::domain::x; // crate::web
"###;
    let source = Source::of("a.rs", text);
    assert_eq!(source.code.matches("crate::").count(), 1);
    assert_eq!(source.code.lines().count(), text.lines().count());
    assert_eq!(source.strings, [(3, "crate::web \\\" // ".to_owned()), (3, "crate::\"web".to_owned()), (3, "x".to_owned())]);
}

#[test]
fn test_items_are_no_program() {
    let text = "fn a() { x(\"kept\") }\n#[cfg(test)]\nmod tests {\n    use crate::web;\n    fn b() { x(\"}gone\") }\n}\nfn c() {}\n\
                #[cfg(test)]\nmod more;\nuse crate::domain;\n";
    let source = Source::of("services/vault.rs", text);
    assert!(!source.code.contains("web") && source.code.contains("fn c()") && source.code.contains("crate::domain"));
    assert_eq!(source.strings, [(1, "kept".to_owned())]);
    assert_eq!(source.test_lines, 5 + 2);
    assert_eq!(source.test_modules(), ["services/vault/more"]);
}
