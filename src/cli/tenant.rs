//! `claviger tenant create`: through the server where one runs on the folder, else on the store
//! itself.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::adapters::system::SystemEntropy;
use crate::app::admin::{Ask, Told};
use crate::ports::entropy::random;

use super::failure::Failure;
use super::operate::{self, Alone, PlaceArgs};
use super::out;

const PASSWORD_FILE_MAX: u64 = 4096;

const AFTER: &str = "\
Works while a server runs on the same folder, and while none does. The password is asked for on the
terminal or read as one line from a pipe, unless it comes from a file or is generated.

Examples:
  claviger tenant create dev@example.com --generate
  claviger tenant create dev@example.com --password-file ./password --data ./data

Exit codes: 0 the tenant is there, 1 it could not be made, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct CreateArgs {
    /// Mail address of the tenant.
    email: String,
    /// File that holds the password.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    password_file: Option<PathBuf>,
    /// Make a password and show it, once.
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub fn create(args: CreateArgs) -> Result<(), Failure> {
    let settings = args.place.settings()?;
    let password = password(&args)?;
    let ask = Ask::CreateTenant { email: args.email.clone(), password: password.expose_secret().to_owned() };
    match operate::ask(settings, ask, Alone::Opens)? {
        Told::TenantCreated { id, was_there: true } => {
            out::warn("there is a verified tenant with this address already; it keeps its password");
            out::line(&id)
        }
        Told::TenantCreated { id, was_there: false } => {
            out::line(&id)?;
            if args.generate { out::line(password.expose_secret()) } else { Ok(()) }
        }
        _ => Err(Failure::odd_answer()),
    }
}

fn password(args: &CreateArgs) -> Result<SecretString, Failure> {
    if args.generate {
        return Ok(URL_SAFE_NO_PAD.encode(random::<18>(&SystemEntropy)?).into());
    }
    if let Some(path) = &args.password_file {
        let text = read_small(path).map_err(Failure::from_io(path.display()))?;
        return Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])));
    }
    prompt().map_err(Failure::from_io("no password can be read"))
}

fn read_small(path: &PathBuf) -> io::Result<Zeroizing<String>> {
    if std::fs::metadata(path)?.len() > PASSWORD_FILE_MAX {
        return Err(io::Error::other("is too long for a password"));
    }
    std::fs::read_to_string(path).map(Zeroizing::new)
}

/// One line of stdin, not shown where that is a terminal.
fn prompt() -> io::Result<SecretString> {
    let stdin = io::stdin();
    let mut line = Zeroizing::new(String::new());
    if !stdin.is_terminal() {
        stdin.lock().read_line(&mut line)?;
        return Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])));
    }
    out::warn("password (not shown):");
    let before = tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    read?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}
