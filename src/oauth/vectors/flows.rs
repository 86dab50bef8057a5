//! The vectors of flows that do not begin with an authorize URL: on another device, or at the provider.

use serde_json::Value;
use url::form_urlencoded;

use super::compare::{callback_failure, class_word, differ, same_answer, same_metadata};
use super::{Bench, Outcome, started};
use crate::domain::secret::ExposeSecret as _;
use crate::oauth::device::{self, Offer, Polled};
use crate::oauth::install;
use crate::oauth::provider_file::Expectation;

impl Bench<'_> {
    pub(super) fn device(&self) -> Outcome {
        let call = device::ask(self.provider, &self.client(), &self.vector.scopes).map_err(|error| error.to_string())?;
        self.same_call(&call)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(device::judge_offer(self.provider, &answer, started()), same_offer),
        }
    }

    /// With a device's code an exchange is a question that is asked until it is answered.
    pub(super) fn poll(&self) -> Outcome {
        let call = device::poll(self.provider, &self.client(), &"CODE".into(), &self.vector.scopes);
        self.same_call(&call.map_err(|error| error.to_string())?)?;
        let Some(answer) = self.answer() else { return Ok(()) };
        let expect = self.vector.expect.as_ref().ok_or("has no `expect`")?;
        let (word, code) = match device::judge_poll(self.provider, &answer, started()) {
            Polled::Granted(tokens) if expect.failure.is_none() => return same_answer(expect, tokens),
            Polled::Granted(_) => ("success", None),
            Polled::NotYet => ("pending", None),
            Polled::SlowDown => ("slow_down", None),
            Polled::Denied => ("denied", None),
            Polled::Expired => ("expired", None),
            Polled::Unclear(_) => ("in_doubt", None),
            Polled::Refused(failure) => (class_word(failure.class), Some(failure.code)),
        };
        differ("failure", Some(expect.failure.as_deref().unwrap_or("none")), Some(word))?;
        differ("code", expect.code.as_ref(), code.as_ref())
    }

    pub(super) fn install(&self) -> Outcome {
        let pairs = form_urlencoded::parse(self.vector.callback.as_deref().ok_or("has no `callback`")?.as_bytes());
        let pairs: Vec<_> = pairs.into_owned().collect();
        let expect = self.vector.expect.as_ref().ok_or("has no `expect`")?;
        match (install::judge(self.provider, self.secret.as_ref(), &pairs), &expect.failure) {
            (Ok(settings), None) => {
                let settings = settings.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
                same_metadata(expect, &settings)
            }
            (Err(error), Some(wanted)) => differ("failure", Some(wanted.as_str()), Some(callback_failure(&error).0)),
            (Ok(_), Some(wanted)) => Err(format!("expected {wanted}, but the install is accepted")),
            (Err(error), None) => Err(format!("is refused: {error}")),
        }
    }
}

fn same_offer(expect: &Expectation, offer: Offer) -> Outcome {
    let complete = offer.verification_uri_complete.as_ref().map(url::Url::as_str);
    differ("code", expect.code.as_deref(), Some(offer.device_code.expose_secret()))?;
    differ("user_code", expect.user_code.as_deref(), Some(&offer.user_code))?;
    differ("verification_uri", expect.verification_uri.as_deref(), Some(offer.verification_uri.as_str()))?;
    differ("verification_uri_complete", expect.verification_uri_complete.as_deref(), complete)?;
    differ("expires_in", expect.expires_in, i64::try_from(offer.life.as_secs()).ok())?;
    differ("interval", expect.interval, Some(offer.interval.as_secs()))
}
