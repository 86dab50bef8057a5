//! `claviger key`: master keys.

use clap::Args;
use secrecy::ExposeSecret as _;

use crate::adapters::system::SystemEntropy;
use crate::store::MasterKey;

use super::failure::Failure;
use super::out;

const AFTER: &str = "\
The key goes to stdout, alone on a line. Whoever has it and the store has every token; without it the
store cannot be opened by anybody. Keep a copy apart from the data.

Example:
  (umask 077; claviger key generate > master.key)

Exit codes: 0 printed, 1 the operating system gave no random bytes.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct GenerateArgs {}

pub fn generate(_args: GenerateArgs) -> Result<(), Failure> {
    out::line(MasterKey::generate(&SystemEntropy)?.expose_secret())
}
