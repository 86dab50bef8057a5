//! `claviger config check`: the settings as they hold, and whether `serve` could start with them.

use clap::Args;

use crate::settings::{Layers, Mode, Settings, effective};

use super::ConfigArgs;
use super::failure::Failure;
use super::out;

const AFTER: &str = "\
Nothing is started and nothing is written; secrets are not shown.

Example:
  claviger config check --config /etc/claviger/claviger.toml

Exit codes: 0 `serve` would take them, 2 something must be mended (all of it is listed).";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: CheckArgs) -> Result<(), Failure> {
    let layers = Layers::of_process(args.config.config);
    for shown in effective(&layers)? {
        out::line(&format!("{:<28} {:<40} {}", shown.name, shown.value, shown.origin))?;
    }
    Settings::load(&layers, Mode::Serve)?;
    out::line("`claviger serve` would start with these settings.")
}
