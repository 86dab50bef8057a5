//! What happens after the answer: accounts are made, codes issued, mails sent. Here, and only here,
//! it shows whether an address was known.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::tenant::{Email, Tenant};
use crate::ports::mail::{Mail, MailMessage};
use crate::services::Core;
use crate::store::StoreError;

use super::codes::{self, Grant, Purpose};
use super::{letters, records};

/// An errand is begun again when somebody else wrote first.
const ATTEMPTS: usize = 4;
/// A mail that is not taken is offered again after these waits, then given up.
const MAIL_WAITS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];

#[derive(Clone)]
pub struct Clerk {
    core: Core,
    mail: Arc<dyn Mail>,
}

impl Clerk {
    pub fn new(core: Core, mail: Arc<dyn Mail>) -> Self {
        Self { core, mail }
    }

    pub async fn sign_up(self, email: Email, password_hash: String) {
        self.repeat(|| self.try_sign_up(&email, &password_hash)).await;
    }

    pub async fn resend_verification(self, email: Email) {
        self.repeat(|| self.try_resend(&email)).await;
    }

    pub async fn forgot_password(self, email: Email) {
        self.repeat(|| self.try_forgot(&email)).await;
    }

    pub async fn tell_password_changed(self, email: Email) {
        self.deliver(letters::password_changed(&self.core.public_url, &email)).await;
    }

    /// An account nobody has verified belongs to nobody yet: it takes the password of the signup whose
    /// code comes back.
    async fn try_sign_up(&self, email: &Email, password_hash: &str) -> Result<MailMessage, StoreError> {
        let address = records::key_of(&self.core, email);
        let new = records::unverified(&self.core, email.clone(), password_hash.to_owned())?;
        let (account, was_there) = records::ensure(&self.core, &address, new).await?;
        if account.verified_at.is_some() {
            codes::issue(&self.core, Purpose::Verification, &address, None).await?;
            return Ok(letters::already_there(&self.core.public_url, &account.email));
        }
        if was_there {
            let choose = |tenant: &mut Tenant| {
                if tenant.verified_at.is_none() {
                    tenant.password_hash = password_hash.to_owned();
                    tenant.email = email.clone();
                }
            };
            records::update(&self.core, &account.id, choose).await?;
        }
        let grant = Grant { tenant: account.id, password_hash: Some(password_hash.to_owned()) };
        let code = codes::issue(&self.core, Purpose::Verification, &address, Some(grant)).await?;
        Ok(letters::verify_address(&self.core.public_url, email, &code))
    }

    /// Only an account that is not verified yet gets a mail; a code is issued in each case.
    async fn try_resend(&self, email: &Email) -> Result<Option<MailMessage>, StoreError> {
        let address = records::key_of(&self.core, email);
        let account = records::find(&self.core, &address).await?.filter(|account| account.verified_at.is_none());
        let grant = account
            .as_ref()
            .map(|account| Grant { tenant: account.id.clone(), password_hash: Some(account.password_hash.clone()) });
        let code = codes::issue(&self.core, Purpose::Verification, &address, grant).await?;
        Ok(account.map(|account| letters::verify_address(&self.core.public_url, &account.email, &code)))
    }

    /// Whoever reads the address's mail may choose the password, verified or not; a code is issued in
    /// each case.
    async fn try_forgot(&self, email: &Email) -> Result<Option<MailMessage>, StoreError> {
        let address = records::key_of(&self.core, email);
        let account = records::find(&self.core, &address).await?;
        let grant = account.as_ref().map(|account| Grant { tenant: account.id.clone(), password_hash: None });
        let code = codes::issue(&self.core, Purpose::PasswordReset, &address, grant).await?;
        Ok(account.map(|account| letters::reset_password(&self.core.public_url, &account.email, &code)))
    }

    async fn repeat<F, Fut, M>(&self, attempt: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<M, StoreError>>,
        M: Into<Option<MailMessage>>,
    {
        for _ in 0..ATTEMPTS {
            match attempt().await {
                Ok(message) => {
                    if let Some(message) = message.into() {
                        self.deliver(message).await;
                    }
                    return;
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return tracing::error!(%error, "what was answered with 202 could not be done"),
            }
        }
        tracing::error!("what was answered with 202 could not be done: others wrote first each time");
    }

    async fn deliver(&self, message: MailMessage) {
        let mut waits = MAIL_WAITS.into_iter();
        while let Err(error) = self.mail.send(message.clone()).await {
            let Some(wait) = waits.next() else {
                return tracing::error!(%error, subject = message.subject, "a mail was given up");
            };
            tracing::warn!(%error, subject = message.subject, "a mail was not taken and is offered again");
            self.core.clock.sleep(wait).await;
        }
    }
}
