//! The house rules that a machine can hold, over the text of `src/`: who may use whom, how long a
//! file and a function may be, and that code knows no provider. Each rule is also shown a wrong
//! sample, so that a rule that catches nothing fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod imports;
mod providers;
mod sizes;
mod source;

use source::Source;

/// A broken rule and where.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

impl Breach {
    fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self { file: source.path.clone(), line, what: what.into() }
    }
}

fn assert_none(breaches: Vec<Breach>) {
    let list: Vec<_> = breaches.iter().map(|b| format!("src/{}:{}: {}", b.file, b.line, b.what)).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// Every file of `src/` that the program is made of.
fn program() -> Vec<Source> {
    let all = source::read_all();
    assert!(all.len() > 20, "only {} files found under src/", all.len());
    all
}

#[test]
fn layers_use_only_what_they_may() {
    assert_none(program().iter().flat_map(imports::breaches).collect());
}

#[test]
fn files_and_functions_stay_short() {
    assert_none(program().iter().flat_map(sizes::breaches).collect());
}

#[test]
fn code_knows_no_provider() {
    let known = providers::Known::read();
    assert_none(program().iter().flat_map(|source| providers::breaches(source, &known)).collect());
}

#[test]
fn a_file_says_first_what_it_owns() {
    let silent = |source: &&Source| !source.text.starts_with("//!") && source.path != "main.rs";
    assert_none(program().iter().filter(silent).map(|source| Breach::new(source, 1, "opens without `//!`")).collect());
}

#[test]
fn an_exception_is_expected_not_allowed() {
    let allows = |source: &Source| {
        let lines = source.code.lines().enumerate();
        let allowed = lines.filter(|(_, line)| line.contains("#[allow(") || line.contains("#![allow("));
        allowed.map(|(n, _)| Breach::new(source, n + 1, "`allow`; use `expect` with a reason")).collect::<Vec<_>>()
    };
    assert_none(program().iter().flat_map(allows).collect());
    assert_eq!(allows(&Source::of("domain/x.rs", "//! x\n#[allow(dead_code)]\nfn f() {}\n")).len(), 1);
}
