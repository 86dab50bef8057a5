//! `claviger provider list|show|check`, as they are typed.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::provider::{self, Outcome};

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
