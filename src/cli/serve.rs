//! `claviger serve`: production.

use clap::Args;

use crate::app::folder::NodeFolder;
use crate::app::{Application, Parts, process};
use crate::settings::{Layers, Mode, Settings};

use super::failure::Failure;
use super::{ConfigArgs, block_on};

const AFTER: &str = "\
Needs at least a master key, a public https URL and a durable store, and says which of them is missing.
No secret has a default.

Example:
  claviger key generate > /etc/claviger/master.key
  CLAVIGER__KEYS__MASTER_FILE=/etc/claviger/master.key \\
  CLAVIGER__SERVER__PUBLIC_URL=https://auth.example.com \\
  CLAVIGER__STORE__URL=sqlite:/var/lib/claviger/claviger.db \\
  CLAVIGER__NODE__DATA=/var/lib/claviger  claviger serve

A store that was put back to an earlier state is noticed, and nothing is refreshed until `claviger resume`. A
snapshot of the whole machine cannot be told from the original: start it with --restored.

SIGTERM and SIGINT stop it: it accepts no more, finishes what is under way, and ends.

Exit codes: 0 stopped on request, 1 could not start or broke down, 2 wrong usage or settings.";

#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct ServeArgs {
    /// The store was restored from a backup or copied: send no refresh until `claviger resume`.
    #[arg(long)]
    restored: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = Settings::load(&Layers::of_process(args.config.config), Mode::Serve)?;
    process::start_log(&settings.telemetry);
    process::harden().map_err(Failure::from_io("the process cannot be closed to core dumps"))?;
    let folder = NodeFolder::claim(&settings.node.data)?;
    block_on(async {
        let stop = process::stop_signal().map_err(Failure::from_io("signals"))?;
        let app = Application::build(settings, folder, Parts { restored: args.restored, ..Parts::default() }).await?;
        app.run_until_stopped(stop).await.map_err(Failure::from_io("the server broke down"))
    })
}
