//! The walk with a device's code: it is shown here, and asked after until it was entered.

use super::{Walk, refused, said};
use crate::cli::failure::Failure;
use crate::cli::out;
use crate::domain::tokens::TokenAnswer;
use crate::oauth::device::{self, INTERVAL, Polled};
use crate::ports::clock::Clock as _;

impl Walk<'_> {
    pub(super) async fn on_device(&self) -> Result<TokenAnswer, Failure> {
        let unbuilt = |cause: crate::oauth::request::BuildError| Failure::Failed(cause.to_string());
        let call = device::ask(self.provider, &self.client()?, &self.live.scopes).map_err(unbuilt)?;
        let answer = self.call("device", call).await?;
        let offer = device::judge_offer(self.provider, &answer, self.clock.now()).map_err(refused("device"))?;
        out::line(&format!("enter         {}", offer.user_code))?;
        out::line(&format!("at            {}", offer.verification_uri_complete.unwrap_or(offer.verification_uri)))?;
        let give_up = self.clock.monotonic() + offer.life.min(self.live.patience);
        let mut interval = offer.interval;
        while self.clock.monotonic() < give_up {
            self.clock.sleep(interval).await;
            let call = device::poll(self.provider, &self.client()?, &offer.device_code, &self.live.scopes).map_err(unbuilt)?;
            let started = self.clock.now();
            match device::judge_poll(self.provider, &self.call("exchange", call).await?, started) {
                Polled::Granted(answer) => return said("exchange", &answer).map(|()| answer),
                Polled::NotYet => {}
                Polled::SlowDown => interval += INTERVAL,
                Polled::Unclear(after) => interval = interval.max(after.unwrap_or_default()),
                Polled::Denied => return Err(Failure::Failed("the end user declined".to_owned())),
                Polled::Expired => break,
                Polled::Refused(failure) => return Err(refused("exchange")(failure)),
            }
        }
        Err(Failure::Failed("nobody entered the code in time".to_owned()))
    }
}
