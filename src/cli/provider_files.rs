//! `claviger provider …`, as it is typed.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::provider::{self, Outcome, Pages};
use crate::adapters::system::SystemClock;
use crate::ports::clock::Clock as _;

const LIST: &str = "\
Example:
  claviger provider list --dir ./my-providers

Exit codes: 0 listed, 1 a file has faults, 2 wrong usage.";

const SHOW: &str = "\
Example:
  claviger provider show sandbox

Exit codes: 0 shown, 1 its file has faults, 2 there is none, or wrong usage.";

const CHECK: &str = "\
Each file is held to the rules and to the test vectors that it carries.

Example:
  claviger provider check ./my-providers/acme.toml

Exit codes: 0 nothing to mend, 1 something to mend, 2 there is no such file, or wrong usage.";

const NEW: &str = "\
Example:
  claviger provider new acme --dir ./my-providers

Exit codes: 0 written, 1 there is one already, 2 not an id, or wrong usage.";

const DOCS: &str = "\
The pages say what a tenant has to do, step by step, for each provider; the index lists them by category.

Example:
  claviger provider docs docs/providers

Exit codes: 0 written or current, 1 not current (with --check) or a file has faults, 2 wrong usage.";

const COMPARE: &str = "\
FILE is JSON: {\"providers\": [{\"name\": \"acme\", \"authorize_url\": …, \"token_url\": …, \"revoke_url\": …,
\"scope_separator\": …, \"token_auth\": \"client_secret_basic\", …}]}. What it does not say is not compared.

Example:
  claviger provider compare --against facts.json

Exit codes: 0 nothing differs, 1 something does, 2 the file cannot be used, or wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = LIST)]
pub struct ListArgs {
    /// Folder of files that add to the built-in ones (the setting `providers.dir`).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW)]
pub struct ShowArgs {
    /// Id of the provider.
    id: String,
    /// Folder of files that add to the built-in ones (the setting `providers.dir`).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = CHECK)]
pub struct CheckArgs {
    /// File or folder.
    path: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = NEW)]
pub struct NewArgs {
    /// Id of the provider: lower-case letters, digits, `-`, `_`, `.`.
    name: String,
    /// Folder for the file.
    #[arg(long, value_name = "DIR", default_value = "providers")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = DOCS)]
pub struct DocsArgs {
    /// Folder of the pages. Pages of providers that are gone are removed from it.
    folder: PathBuf,
    /// Write nothing; say which pages are not current.
    #[arg(long)]
    check: bool,
    /// Folder of files that add to the built-in ones (the setting `providers.dir`).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = COMPARE)]
pub struct CompareArgs {
    /// File of facts.
    #[arg(long, value_name = "FILE")]
    against: PathBuf,
    /// Also name the providers that only the facts have.
    #[arg(long)]
    missing: bool,
    /// Folder of files that add to the built-in ones (the setting `providers.dir`).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn new(args: NewArgs) -> Result<ExitCode, Failure> {
    let today = SystemClock::start().now().strftime("%Y-%m-%d").to_string();
    ended(provider::start(&args.name, &today, &args.dir, &mut io::stdout().lock()))
}

pub fn docs(args: DocsArgs) -> Result<ExitCode, Failure> {
    let how = if args.check { Pages::Compared } else { Pages::Written };
    ended(provider::pages(&args.folder, args.dir.as_deref(), how, &mut io::stdout().lock()))
}

pub fn compare(args: CompareArgs) -> Result<ExitCode, Failure> {
    ended(provider::compare(&args.against, args.dir.as_deref(), args.missing, &mut io::stdout().lock()))
}

pub fn list(args: ListArgs) -> Result<ExitCode, Failure> {
    ended(provider::list(args.dir.as_deref(), &mut io::stdout().lock()))
}

pub fn show(args: ShowArgs) -> Result<ExitCode, Failure> {
    ended(provider::show(&args.id, args.dir.as_deref(), &mut io::stdout().lock()))
}

pub fn check(args: CheckArgs) -> Result<ExitCode, Failure> {
    ended(provider::check(&args.path, &mut io::stdout().lock()))
}

/// A reader that went away is no fault of the files.
fn ended(outcome: io::Result<Outcome>) -> Result<ExitCode, Failure> {
    match outcome {
        Ok(outcome) => Ok(ExitCode::from(outcome.exit_code())),
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(cause) => Err(Failure::from_io("nothing can be printed")(cause)),
    }
}
