//! No mail: where `mail.url` is not set, nothing is sent, and whoever wanted it is told.

use async_trait::async_trait;

use crate::ports::mail::{Mail, MailError, MailMessage};

pub struct NoMail;

#[async_trait]
impl Mail for NoMail {
    async fn send(&self, _message: MailMessage) -> Result<(), MailError> {
        Err(MailError("no mail is sent, since `mail.url` is not set".to_owned()))
    }
}
