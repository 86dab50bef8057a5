//! Whether the server lives, and whether it can do its work.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::refusal::Refusal;
use crate::web::answer::Answer;
use crate::web::endpoint::{Origin, Shared};

/// A call without fields.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ok`, or what is wrong.
    pub status: &'static str,
    /// What the operator should know though the server works: what the store can lose, and how to change
    /// that. Mostly empty.
    pub notes: Vec<String>,
}

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = 200, body = Health)))]
pub async fn live(_state: Shared, _origin: Origin, _nothing: Nothing) -> Result<Answer, Refusal> {
    Answer::ok(&Health { status: "ok" })
}

/// The store can be reached and the server is not stopping. In restore mode it is ready, since it serves what is valid, and says so.
#[utoipa::path(get, path = "/readyz", tag = "server", security(()), responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn ready(state: Shared, _origin: Origin, _nothing: Nothing) -> Result<Answer, Refusal> {
    let readiness = |status| Readiness { status, notes: state.services.notes() };
    match state.services.readiness().await {
        Ok(()) => Answer::ok(&readiness("ok")),
        Err(what) => Answer::unavailable(&readiness(what)),
    }
}
