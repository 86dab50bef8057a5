//! `claviger provider …`, as it is typed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::failure::Failure;
use super::provider::{self, Live, Outcome, Pages};
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
  claviger provider new acme-machine --grant client_credentials

Exit codes: 0 written, 1 there is one already, 2 not an id, or wrong usage.";

const TEST: &str = "\
Without --live the file's vectors are run, one line each. With --live the real flow is walked on this machine: a
browser consents, the code is exchanged, looked up with, refreshed once, and revoked if you say so. Where no end user
is asked (client credentials, JWT bearer) a token is minted, and then another. Nothing is kept.

Examples:
  claviger provider test providers/acme.toml
  claviger provider test providers/acme.toml --live MY_CLIENT_ID --secret-file secret.txt --scope read --param shop=acme
  claviger provider test providers/robot.toml --live MY_CLIENT_ID --param-file private_key=key.pem

Exit codes: 0 all holds, 1 something does not, 2 there is no such file, or wrong usage.";

const DOCS: &str = "\
The pages say what a tenant has to do, step by step, for each provider; the index lists them by category.

Example:
  claviger provider docs docs/providers

Exit codes: 0 written or current, 1 not current (with --check) or a file has faults, 2 wrong usage.";

const COMPARE: &str = "\
FILE is JSON: {\"providers\": [{\"name\": \"acme\", \"auth_mode\": \"oauth2\", \"authorize_url\": …, \"token_url\": …,
\"revoke_url\": …, \"scope_separator\": …, \"token_auth\": \"client_secret_basic\", \"pkce\": \"S256\", …}]}.
docs/provider-file.md names every key. Differences stand under their provider, each with its key: where both say
something, where only the facts do, and where only our file does and it is not the usual. The end counts them by key.

Example:
  claviger provider compare --against facts.json

Exit codes: 0 the facts say nothing that our files do not, 1 they do, 2 the file cannot be used, or wrong usage.";

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
    /// How its tokens are had.
    #[arg(long, default_value = provider::GRANTS[0], value_parser = PossibleValuesParser::new(provider::GRANTS))]
    grant: String,
}

#[derive(Debug, Args)]
#[command(after_help = TEST)]
pub struct TestArgs {
    /// The provider's file.
    file: PathBuf,
    /// Walk the real flow with this client.
    #[arg(long, value_name = "CLIENT_ID")]
    live: Option<String>,
    /// File that holds the client secret; none for a public client.
    #[arg(long, value_name = "FILE", requires = "live")]
    secret_file: Option<PathBuf>,
    /// A scope to ask for; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE", requires = "live")]
    scopes: Vec<String>,
    /// One of the provider's own settings; may be given several times.
    #[arg(long = "param", value_name = "NAME=VALUE", requires = "live", value_parser = pair)]
    params: Vec<(String, String)>,
    /// One of them that is the text of a file, such as a private key; may be given several times.
    #[arg(long = "param-file", value_name = "NAME=FILE", requires = "live", value_parser = pair)]
    param_files: Vec<(String, String)>,
    /// Where to hear the callback.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8765", requires = "live")]
    listen: SocketAddr,
    /// The redirect URI as it is registered, where a tunnel leads here.
    #[arg(long, value_name = "URL", requires = "live")]
    redirect_uri: Option<String>,
    /// Seconds the browser may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "live", value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Revoke at the provider in the end.
    #[arg(long, requires = "live")]
    revoke: bool,
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
    ended(provider::start(&args.name, &args.grant, &today, &args.dir, &mut io::stdout().lock()))
}

pub fn test(args: TestArgs) -> Result<ExitCode, Failure> {
    let Some(client_id) = args.live else { return ended(provider::test(&args.file, &mut io::stdout().lock())) };
    let client_secret = args.secret_file.map(|path| provider::secret_of(&path).map_err(Failure::from_io(path.display())));
    let mut params: BTreeMap<String, String> = args.params.into_iter().collect();
    for (name, path) in args.param_files {
        params.insert(name, std::fs::read_to_string(&path).map_err(Failure::from_io(path))?);
    }
    let live = Live {
        client_id,
        client_secret: client_secret.transpose()?,
        listen: args.listen,
        redirect_uri: args.redirect_uri,
        scopes: args.scopes,
        params,
        patience: Duration::from_secs(args.patience),
        revoke: args.revoke,
    };
    match provider::load(&args.file, &mut io::stdout().lock()) {
        Ok(Some(file)) => super::block_on(provider::walk(&file.provider, live)).map(|()| ExitCode::SUCCESS),
        Ok(None) => Ok(ExitCode::from(Outcome::Faulty.exit_code())),
        Err(cause) => Err(Failure::from_io("nothing can be printed")(cause)),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must have the form NAME=…")?;
    Ok((name.to_owned(), value.to_owned()))
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
