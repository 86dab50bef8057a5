//! Accounts over HTTP: for programs. The pages behind mailed links are in `web/account_pages`.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::refusal::Refusal;
use crate::domain::secret::{sealed_option, sealed_text};
use crate::services::accounts::MailProof;
use crate::web::answer::Answer;
use crate::web::endpoint::{Origin, Shared};
use crate::web::lenient;

#[derive(Deserialize, ToSchema)]
pub struct SignUp {
    /// Your mail address.
    #[schema(example = "dev@example.com", max_length = 254)]
    username: String,
    #[serde(deserialize_with = "sealed_text::deserialize")]
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 1024)]
    password: SecretString,
}

/// Either `username` and `code`, or `token`.
#[derive(Deserialize, ToSchema)]
pub struct VerifyEmail {
    #[serde(flatten)]
    proof: Proof,
}

/// Either `username` and `code`, or `token`; and the new password.
#[derive(Deserialize, ToSchema)]
pub struct ResetPassword {
    #[serde(flatten)]
    proof: Proof,
    #[serde(deserialize_with = "sealed_text::deserialize")]
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 1024)]
    new_password: SecretString,
}

/// What came by mail.
#[derive(Deserialize, ToSchema)]
pub struct Proof {
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = Option<String>, example = "dev@example.com")]
    username: Option<String>,
    /// The six digits of the mail.
    #[serde(default, deserialize_with = "sealed_option::deserialize")]
    #[schema(value_type = Option<String>, example = "012345")]
    code: Option<SecretString>,
    /// The token of the mail's link, in place of address and code.
    #[serde(default, deserialize_with = "sealed_option::deserialize")]
    #[schema(value_type = Option<String>)]
    token: Option<SecretString>,
}

#[derive(Deserialize, ToSchema)]
pub struct Address {
    /// Your mail address.
    #[schema(example = "dev@example.com", max_length = 254)]
    username: String,
}

/// The same whether or not the address has an account.
#[derive(Serialize, ToSchema)]
pub struct MailPromised {
    #[schema(example = "accepted")]
    status: &'static str,
    detail: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct EmailVerified {
    verified: bool,
}

#[derive(Serialize, ToSchema)]
pub struct PasswordChanged {
    password_changed: bool,
}

impl TryFrom<Proof> for MailProof {
    type Error = Refusal;

    fn try_from(proof: Proof) -> Result<Self, Refusal> {
        match proof {
            Proof { token: Some(token), .. } => Ok(MailProof::Link { token }),
            Proof { username: Some(username), code: Some(code), .. } => Ok(MailProof::Code { username, code }),
            Proof { username: None, .. } => Err(Refusal::field("username", "and `code` are needed, or else `token`")),
            Proof { code: None, .. } => Err(Refusal::field("code", "is needed beside `username`, or else `token`")),
        }
    }
}

/// Ask for an account. The answer is the same whether the address was known or not; the mail tells.
#[utoipa::path(post, path = "/signup", tag = "accounts", security(()), request_body = SignUp, responses((status = 202, body = MailPromised)))]
pub async fn sign_up(state: Shared, origin: Origin, body: SignUp) -> Result<Answer, Refusal> {
    state.accounts.sign_up(origin.0, &body.username, body.password).await?;
    Answer::accepted(&MailPromised { status: "accepted", detail: "A mail is on its way; its code goes to `POST /verify-email`." })
}

/// Confirm your address with the mailed code, or with the token of the mailed link.
#[utoipa::path(post, path = "/verify-email", tag = "accounts", security(()), request_body = VerifyEmail, responses((status = 200, body = EmailVerified)))]
pub async fn verify_email(state: Shared, origin: Origin, body: VerifyEmail) -> Result<Answer, Refusal> {
    state.accounts.verify_email(origin.0, body.proof.try_into()?).await?;
    Answer::ok(&EmailVerified { verified: true })
}

/// Have another code mailed; earlier ones stop working.
#[utoipa::path(post, path = "/resend-verification", tag = "accounts", security(()), request_body = Address, responses((status = 202, body = MailPromised)))]
pub async fn resend_verification(state: Shared, origin: Origin, body: Address) -> Result<Answer, Refusal> {
    state.accounts.resend_verification(origin.0, &body.username).await?;
    let detail = "If this address waits to be confirmed, a mail is on its way; its code goes to `POST /verify-email`.";
    Answer::accepted(&MailPromised { status: "accepted", detail })
}

/// Have a code mailed with which to choose a new password.
#[utoipa::path(post, path = "/forgot-password", tag = "accounts", security(()), request_body = Address, responses((status = 202, body = MailPromised)))]
pub async fn forgot_password(state: Shared, origin: Origin, body: Address) -> Result<Answer, Refusal> {
    state.accounts.forgot_password(origin.0, &body.username).await?;
    let detail = "If this address has an account, a mail is on its way; its code goes to `POST /reset-password`.";
    Answer::accepted(&MailPromised { status: "accepted", detail })
}

/// Choose a new password with the mailed code, or with the token of the mailed link. API keys stay.
#[utoipa::path(post, path = "/reset-password", tag = "accounts", security(()), request_body = ResetPassword, responses((status = 200, body = PasswordChanged)))]
pub async fn reset_password(state: Shared, origin: Origin, body: ResetPassword) -> Result<Answer, Refusal> {
    state.accounts.reset_password(origin.0, body.proof.try_into()?, body.new_password).await?;
    Answer::ok(&PasswordChanged { password_changed: true })
}
