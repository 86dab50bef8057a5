//! Outgoing mail: plain text, one recipient.

use async_trait::async_trait;

#[derive(Debug, Clone)]
pub struct MailMessage {
    pub to: String,
    pub subject: String,
    /// Plain text; may hold a one-time code or link, so it is never logged except by the log adapter,
    /// whose purpose that is.
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the mail could not be handed over: {0}")]
pub struct MailError(pub String);

#[async_trait]
pub trait Mail: Send + Sync + 'static {
    async fn send(&self, message: MailMessage) -> Result<(), MailError>;
}
