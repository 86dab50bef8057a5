//! Accounts: who a tenant is. Signing up, proving an address, choosing a new password, signing in.
//!
//! No answer here tells whether an address has an account: what differs happens after the answer
//! (`clerk`), or costs the same either way (`records`, `passwords`).

mod clerk;
mod codes;
mod errands;
mod letters;
mod limits;
mod passwords;
mod proofs;
mod records;

use std::net::IpAddr;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;

use crate::domain::caller::Caller;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::TenantId;
use crate::domain::refusal::Refusal;
use crate::domain::scope::Scopes;
use crate::domain::tenant::{Email, NewPassword, PASSWORD_MAX, Tenant};
use crate::ports::entropy::random;
use crate::ports::mail::Mail;
use crate::store::StoreError;

use super::Core;
use super::api_keys::Trust;

use clerk::Clerk;
use codes::{Grant, Purpose};
use errands::Errands;
use limits::{AccountKey, Limits};
use passwords::{Passwords, Turn};
use proofs::Proofs;

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signup {
    /// Anybody with a mail address.
    Open,
    /// Whom the operator invites, by `claviger tenant create`.
    Invite,
    /// Nobody.
    Closed,
}

#[derive(Debug, Clone, Copy)]
pub struct AccountSettings {
    pub signup: Signup,
    pub trust: Trust,
    /// Passwords proved right that are kept at hand; 0 hashes each time.
    pub proofs: u64,
    /// Passwords hashed at a time: half the processors is a good choice, since the rest serve tokens.
    pub hashes_at_once: usize,
}

/// What came by mail: the code, with the address it was sent to, or the token of the link.
#[derive(Debug)]
pub enum MailProof {
    Code { username: String, code: SecretString },
    Link { token: SecretString },
}

/// How an account made by the operator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The operator vouches for the address.
    Vouched,
    /// A mail is sent, as after a signup.
    ByMail,
}

/// An account the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsuredTenant {
    pub id: TenantId,
    /// There was a verified account with this address; it keeps its password.
    pub was_there: bool,
}

pub struct Accounts {
    core: Core,
    signup: Signup,
    limits: Limits,
    passwords: Passwords,
    proofs: Proofs,
    clerk: Clerk,
    errands: Errands,
}

impl Accounts {
    /// `runtime`: where passwords are hashed and mails sent, aside from the requests.
    pub fn new(core: Core, mail: Arc<dyn Mail>, settings: AccountSettings, runtime: Handle) -> Self {
        Self {
            signup: settings.signup,
            limits: Limits::new(&core.clock),
            passwords: Passwords::new(settings.hashes_at_once, runtime.clone()),
            proofs: Proofs::new(core.clone(), settings.trust, settings.proofs),
            clerk: Clerk::new(core.clone(), mail),
            errands: Errands::new(runtime),
            core,
        }
    }

    /// Asks for an account. The mail tells the address's owner what came of it.
    pub async fn sign_up(&self, from: Option<IpAddr>, username: &str, password: SecretString) -> Result<(), Refusal> {
        if self.signup != Signup::Open {
            return Err(Refusal::new(ErrorCode::SignupClosed, "Ask the operator of this server for an account."));
        }
        let email = Email::parse(username)?;
        let password = NewPassword::parse("password", password, Some(&email))?;
        let place = self.place_for_mail(from, &email).await?;
        let hash = self.hash(self.passwords.turn().await?, password).await?;
        place.run(self.clerk.clone().sign_up(email, hash));
        Ok(())
    }

    pub async fn resend_verification(&self, from: Option<IpAddr>, username: &str) -> Result<(), Refusal> {
        let email = Email::parse(username)?;
        self.place_for_mail(from, &email).await?.run(self.clerk.clone().resend_verification(email));
        Ok(())
    }

    pub async fn forgot_password(&self, from: Option<IpAddr>, username: &str) -> Result<(), Refusal> {
        let email = Email::parse(username)?;
        self.place_for_mail(from, &email).await?.run(self.clerk.clone().forgot_password(email));
        Ok(())
    }

    /// The account takes the password of the signup that the code is for. Two partitions: first the
    /// code is taken, then the account is verified; cut short in between, another code is asked for.
    pub async fn verify_email(&self, from: Option<IpAddr>, proof: MailProof) -> Result<(), Refusal> {
        self.admit(from, &proof)?;
        let grant = self.redeem(Purpose::Verification, &proof).await?;
        let verified = self.verify(&grant.tenant, grant.password_hash.as_deref());
        verified.await?.ok_or_else(code_invalid).map(drop)
    }

    /// Sets the password, and verifies the address, since whoever has the code reads its mail. The
    /// turn comes first, so that no code is spent when there is none.
    pub async fn reset_password(&self, from: Option<IpAddr>, proof: MailProof, new: SecretString) -> Result<(), Refusal> {
        let new = NewPassword::parse("new_password", new, None)?;
        self.admit(from, &proof)?;
        let turn = self.passwords.turn().await?;
        let grant = self.redeem(Purpose::PasswordReset, &proof).await?;
        let hash = self.hash(turn, new).await?;
        let now = self.core.clock.now();
        let changed = records::update(&self.core, &grant.tenant, |tenant| {
            tenant.password_hash.clone_from(&hash);
            tenant.verified_at.get_or_insert(now);
        });
        let account = changed.await?.ok_or_else(code_invalid)?;
        self.proofs.forget(&self.key_of(&account.email)).await;
        if let Ok(place) = self.errands.place() {
            place.run(self.clerk.clone().tell_password_changed(account.email));
        }
        Ok(())
    }

    /// Who calls with this address and password; such a caller may do everything. One answer for an
    /// unknown address and a wrong password; only the right password learns that the address is not
    /// verified.
    pub async fn authenticate(&self, from: Option<IpAddr>, username: &str, password: SecretString) -> Result<Caller, Refusal> {
        let email = Email::parse(username).map_err(|_| wrong())?;
        if password.expose_secret().len() > PASSWORD_MAX {
            return Err(wrong());
        }
        let key = self.key_of(&email);
        if let Some(tenant) = self.proofs.holds(&key, &password).await? {
            return Ok(Caller::authenticated(tenant, Scopes::admin()));
        }
        let _flight = self.proofs.flight(&key, &password).await;
        if let Some(tenant) = self.proofs.holds(&key, &password).await? {
            return Ok(Caller::authenticated(tenant, Scopes::admin()));
        }
        self.limits.sign_in(from, &key)?;
        let turn = self.passwords.turn().await?;
        let read_at = self.core.clock.monotonic();
        let found = records::find(&self.core, &key).await?;
        let account = check(turn, &password, found).await?;
        self.limits.signed_in(from, &key).await;
        if account.verified_at.is_none() {
            return Err(unverified());
        }
        self.proofs.remember(&key, &password, &account, read_at).await;
        Ok(Caller::authenticated(account.id, Scopes::admin()))
    }

    /// For the operator: an account with this address, whoever asks how often. A verified one stays
    /// as it is; one that nobody verified takes this password.
    pub async fn create_tenant(
        &self,
        username: &str,
        password: SecretString,
        verification: Verification,
    ) -> Result<EnsuredTenant, Refusal> {
        let email = Email::parse(username)?;
        let password = NewPassword::parse("password", password, Some(&email))?;
        let hash = self.hash(self.passwords.turn().await?, password).await?;
        let new = records::unverified(&self.core, email.clone(), hash.clone())?;
        let (account, _) = records::ensure(&self.core, &self.key_of(&email), new).await?;
        if account.verified_at.is_some() {
            return Ok(EnsuredTenant { id: account.id, was_there: true });
        }
        match verification {
            Verification::ByMail => self.errands.place()?.run(self.clerk.clone().sign_up(email, hash)),
            Verification::Vouched => self.verify(&account.id, Some(&hash)).await.map(drop)?,
        }
        Ok(EnsuredTenant { id: account.id, was_there: false })
    }

    /// Returns when every mail that was promised is sent or given up: before the process ends.
    pub async fn finish(&self) {
        self.errands.finish().await;
    }

    /// Nothing changes where it was verified before.
    async fn verify(&self, tenant: &TenantId, password_hash: Option<&str>) -> Result<Option<Tenant>, StoreError> {
        let now = self.core.clock.now();
        let verify = |tenant: &mut Tenant| {
            if tenant.verified_at.is_none() {
                tenant.verified_at = Some(now);
                tenant.password_hash = password_hash.map_or_else(|| tenant.password_hash.clone(), str::to_owned);
            }
        };
        records::update(&self.core, tenant, verify).await
    }

    /// The same for each address: limits, a word with the store, a place in the queue.
    async fn place_for_mail(&self, from: Option<IpAddr>, email: &Email) -> Result<errands::Place, Refusal> {
        self.limits.mail(from, &self.key_of(email))?;
        self.core.store.ping().await?;
        self.errands.place()
    }

    fn admit(&self, from: Option<IpAddr>, proof: &MailProof) -> Result<(), Refusal> {
        match proof {
            MailProof::Code { username, .. } => self.limits.code(from, &self.key_of(&Email::parse(username)?)),
            MailProof::Link { .. } => self.limits.token(from),
        }
    }

    async fn redeem(&self, purpose: Purpose, proof: &MailProof) -> Result<Grant, Refusal> {
        let grant = match proof {
            MailProof::Code { username, code } => {
                let address = self.key_of(&Email::parse(username)?);
                codes::redeem_code(&self.core, purpose, &address, code).await?
            }
            MailProof::Link { token } => codes::redeem_token(&self.core, purpose, token).await?,
        };
        grant.ok_or_else(code_invalid)
    }

    async fn hash(&self, turn: Turn, password: NewPassword) -> Result<String, Refusal> {
        let salt = random(self.core.entropy.as_ref()).map_err(StoreError::from)?;
        turn.hash(password.expose().clone(), salt).await
    }

    fn key_of(&self, email: &Email) -> AccountKey {
        records::key_of(&self.core, email)
    }
}

/// The account, if the password is its own.
async fn check(turn: Turn, password: &SecretString, found: Option<Tenant>) -> Result<Tenant, Refusal> {
    let hash = found.as_ref().map(|account| account.password_hash.clone());
    let matches = turn.matches(password.clone(), hash).await?;
    found.filter(|_| matches).ok_or_else(wrong)
}

fn wrong() -> Refusal {
    let detail = "Address or password is wrong; `POST /forgot-password` mails you a way to a new one.";
    Refusal::new(ErrorCode::Unauthenticated, detail)
}

fn unverified() -> Refusal {
    let detail = "Confirm your address first, with the code that was mailed to you; `POST /resend-verification` mails another.";
    Refusal::new(ErrorCode::EmailNotVerified, detail)
}

fn code_invalid() -> Refusal {
    let detail = "This code or link is wrong, was used, or has expired; ask for another.";
    Refusal::new(ErrorCode::CodeInvalid, detail)
}
