//! Mail into the log, for trying things out: who reads the log can read the codes.

use async_trait::async_trait;

use crate::ports::mail::{Mail, MailError, MailMessage};

pub struct LogMail;

#[async_trait]
impl Mail for LogMail {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        let MailMessage { to, subject, text } = message;
        tracing::info!(target: "claviger::mail", to, subject, text, "mail");
        Ok(())
    }
}
