//! How long a file and a function may be, tests aside.

use crate::Breach;
use crate::source::Source;

const FILE_MAX: usize = 400;
const FUNCTION_MAX: usize = 60;

pub fn breaches(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    let lines = source.text.lines().count() - source.test_lines.min(source.text.lines().count());
    if lines > FILE_MAX {
        found.push(Breach::new(source, 1, format!("{lines} lines, more than {FILE_MAX}")));
    }
    for (line, length) in functions(&source.code) {
        if length > FUNCTION_MAX {
            found.push(Breach::new(source, line, format!("a function of {length} lines, more than {FUNCTION_MAX}")));
        }
    }
    found
}

/// Where each function with a body begins, and how many lines it has from `fn` to its last brace.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let bodies = starts.filter_map(|(at, _)| {
        let length = function_end(&code[at..])?;
        Some((line(code, at), line(code, at + length) - line(code, at) + 1))
    });
    bodies.collect()
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The offset of a function's closing brace; `None` for a declaration or a type.
fn function_end(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces -= 1,
            ';' | ',' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
        if braces < 0 || brackets < 0 {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> String {
        format!("//! x\n{}", "const A: u8 = 1;\n".repeat(lines - 1))
    }

    fn function(lines: usize) -> String {
        format!("impl X {{\n    fn f(a: [u8; 2]) -> Vec<u8> {{\n{}    }}\n}}\n", "        g({ 1 });\n".repeat(lines - 2))
    }

    fn count(text: &str) -> usize {
        breaches(&Source::of("domain/x.rs", text)).len()
    }

    #[test]
    fn a_file_of_400_lines_passes_and_of_401_does_not() {
        assert_eq!(count(&file(FILE_MAX)), 0);
        assert_eq!(count(&file(FILE_MAX + 1)), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    // x\n".repeat(500));
        assert_eq!(count(&format!("{}{tests}", file(FILE_MAX))), 0);
        assert_eq!(count(&format!("{}{tests}", file(FILE_MAX + 1))), 1);
    }

    #[test]
    fn a_function_of_60_lines_passes_and_of_61_does_not() {
        assert_eq!(count(&function(FUNCTION_MAX)), 0);
        assert_eq!(count(&function(FUNCTION_MAX + 1)), 1);
        assert_eq!(count(&format!("fn f(g: fn(u8) -> u8);\n{}", function(FUNCTION_MAX))), 0);
    }
}
