//! How a command fails: the sentence for people, and the exit code for programs.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::app::BuildError;
use crate::app::folder::FolderError;
use crate::domain::refusal::Refusal;
use crate::ports::entropy::EntropyError;
use crate::settings::Problems;

const FAILED: u8 = 1;
const USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error("{}", .0.detail)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// `what` could not be done: for `map_err`.
    pub fn from_io(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Failed(format!("{what}: {cause}"))
    }

    /// The server on the same folder did not answer what was asked.
    pub fn odd_answer() -> Self {
        Self::Failed("the running server answered something else; is it another version?".to_owned())
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Settings(_) => ExitCode::from(USAGE),
            _ => ExitCode::from(FAILED),
        }
    }
}
