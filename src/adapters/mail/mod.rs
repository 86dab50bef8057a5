//! Outgoing mail: by SMTP, into a folder, or into the log, as the setting `mail.url` says.

mod folder;
mod log;
mod none;
mod smtp;

use std::sync::Arc;

use async_trait::async_trait;
use lettre::Message;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::ports::clock::Clock;
use crate::ports::entropy::Entropy;
use crate::ports::mail::{Mail, MailError, MailMessage};

pub use folder::FolderMail;
pub use log::LogMail;
pub use none::NoMail;
pub use smtp::SmtpMail;

/// What is wrong with a setting. Never quotes the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingError {
    #[error("`mail.url` must be smtps://HOST, smtp://HOST, dir:PATH or log:")]
    UnknownKind,
    #[error("`mail.url`: {0}")]
    Url(&'static str),
    #[error("`mail.url` names a folder that cannot be used: {0}")]
    Folder(String),
    #[error("`mail.from` must be a mail address such as `Claviger <no-reply@example.com>`")]
    From,
}

/// What the adapters need of the world.
#[derive(Clone)]
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The mail the settings `mail.url` and `mail.from` ask for.
pub fn open(url: &SecretString, from: &str, world: World) -> Result<Arc<dyn Mail>, MailSettingError> {
    let from: Mailbox = from.parse().map_err(|_| MailSettingError::From)?;
    let text = url.expose_secret();
    if text == "log:" {
        return Ok(Arc::new(LogMail));
    }
    if let Some(path) = text.strip_prefix("dir:") {
        return Ok(Arc::new(FolderMail::open(path.into(), from, world)?));
    }
    if text.starts_with("smtp://") || text.starts_with("smtps://") {
        return Ok(Arc::new(SmtpMail::open(url, from)?));
    }
    Err(MailSettingError::UnknownKind)
}

/// Each mail to each of them: for `dev`, which has a folder and the log.
pub struct EachMail(pub Vec<Arc<dyn Mail>>);

#[async_trait]
impl Mail for EachMail {
    async fn send(&self, message: MailMessage) -> Result<(), MailError> {
        for mail in &self.0 {
            mail.send(message.clone()).await?;
        }
        Ok(())
    }
}

/// The message as RFC 5322 wants it. Addresses and subject are encoded, so that nothing in them can
/// begin a header of its own; RFC 3834's header keeps automatic answers away.
fn written(message: &MailMessage, from: &Mailbox) -> Result<Message, MailError> {
    let to = message.to.parse().map_err(|_| MailError("the recipient's address cannot be written in a mail".to_owned()))?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(message.subject.clone())
        .message_id(None)
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(message.text.clone())
        .map_err(|cause| MailError(cause.to_string()))
}
