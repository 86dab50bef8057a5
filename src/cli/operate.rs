//! Commands for the operator of a deployment: they ask the server that runs on the node's folder, or,
//! where none does, open the store themselves.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::mpsc;

use crate::app::admin::{self, Ask, Told};
use crate::app::folder::{FolderError, NodeFolder, admin_socket};
use crate::app::operator;
use crate::settings::{Layers, Mode, Settings};

use super::failure::Failure;
use super::{ConfigArgs, block_on, dev, out};

/// Which deployment.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Folder of `claviger dev`, instead of the settings of `serve`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a command does where no server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    Opens,
    /// It makes sense with a server only.
    Refuses,
}

impl PlaceArgs {
    pub fn settings(&self) -> Result<Settings, Failure> {
        let layers = Layers::of_process(self.config.config.clone());
        Ok(match &self.data {
            Some(data) => Settings::load(&dev::layers(layers, data), Mode::Dev)?,
            None => Settings::load(&layers, Mode::Serve)?,
        })
    }
}

/// The last answer; progress goes to the terminal. A refusal is a failure.
pub fn ask(settings: Settings, ask: Ask, alone: Alone) -> Result<Told, Failure> {
    let told = block_on(async { printing(|progress| perform(settings, ask, alone, progress)).await? })?;
    match told {
        Told::Refused { detail } => Err(Failure::Failed(detail)),
        told => Ok(told),
    }
}

/// Prints what is said while the work goes on.
pub async fn printing<W: Future>(work: impl FnOnce(mpsc::Sender<String>) -> W) -> Result<W::Output, Failure> {
    let (progress, mut said) = mpsc::channel::<String>(16);
    let printing = tokio::spawn(async move {
        while let Some(text) = said.recv().await {
            out::warn(&text);
        }
    });
    let done = work(progress).await;
    printing.await.map_err(|cause| Failure::Failed(cause.to_string()))?;
    Ok(done)
}

async fn perform(settings: Settings, ask: Ask, alone: Alone, progress: mpsc::Sender<String>) -> Result<Told, Failure> {
    let socket = admin_socket(&settings.node.data);
    match NodeFolder::claim(&settings.node.data) {
        Ok(_) if alone == Alone::Refuses => {
            let folder = settings.node.data.display();
            Err(Failure::Failed(format!("no server runs on {folder}: start it first, it then does what is asked")))
        }
        Ok(folder) => {
            let services = crate::app::services(settings, &folder).await?;
            Ok(operator::perform(&services, ask, &progress).await)
        }
        Err(FolderError::Taken(path)) => {
            let what = format!("the server that runs on {path} does not answer at {}", socket.display());
            admin::ask(&socket, &ask, &progress).await.map_err(Failure::from_io(what))
        }
        Err(other) => Err(other.into()),
    }
}

/// Goes on only with a yes typed at the terminal, or `--yes`.
pub fn confirmed(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    out::warn(&format!("{question} Type yes to go on:"));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Failure::from_io("no answer can be read"))?;
    if line.trim() == "yes" { Ok(()) } else { Err(Failure::Failed("nothing was done".to_owned())) }
}
