//! The part of a walk that asks how long a token lives, where its answer does not say.

use crate::cli::failure::Failure;
use crate::cli::out;
use crate::domain::tokens::{Lifetime, TokenAnswer};
use crate::oauth::introspection::{self, Untold};
use crate::ports::clock::Clock as _;

use super::{Walk, refused};

impl Walk<'_> {
    pub(super) async fn introspect(&self, answer: &TokenAnswer) -> Result<(), Failure> {
        for tokens in answer.sets.values().filter(|tokens| tokens.lifetime == Lifetime::Assumed) {
            let call = introspection::request(self.provider, &self.client()?, tokens, &answer.metadata);
            let Some(call) = call.map_err(|cause| Failure::Failed(cause.to_string()))? else { continue };
            let asked_at = self.clock.now();
            let raw = self.call("introspect", call).await?;
            match introspection::judge(self.provider, &raw, asked_at, asked_at) {
                Ok(Some(life)) => out::line(&format!("introspect    the token lives {} s", life.as_secs()))?,
                Ok(None) => out::line("introspect    does not say how long the token lives")?,
                Err(Untold::Inactive) => return Err(Failure::Failed("introspect: the token is not active".to_owned())),
                Err(Untold::Failed(failure)) => return Err(refused("introspect")(failure)),
            }
        }
        Ok(())
    }
}
