//! The house rules that a machine can hold, over the text of `src/`: who may use whom, how long a
//! file and a function may be, and that code knows no provider. Each rule is also shown a wrong
//! sample, so that a rule that catches nothing fails. And what the catalogue must have.

mod forty;
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

#[test]
fn the_program_denies_what_only_tests_may_do() {
    let denied =
        ["disallowed_methods", "disallowed_types", "expect_used", "panic", "print_stderr", "print_stdout", "unwrap_used"];
    let lax = |source: &Source| {
        let head = source.code.split_once("#![deny(").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(list, _)| list);
        denied.iter().any(|lint| !head.contains(&format!("clippy::{lint},")))
    };
    let roots: Vec<_> = program().into_iter().filter(|source| matches!(source.path.as_str(), "lib.rs" | "main.rs")).collect();
    assert_eq!(roots.len(), 2);
    assert_none(roots.iter().filter(|root| lax(root)).map(|root| Breach::new(root, 1, "denies too little")).collect());
    assert!(lax(&Source::of("lib.rs", "#![deny(clippy::unwrap_used, clippy::panic,)]")));
}
