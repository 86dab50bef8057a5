//! The pages behind mailed links. A GET shows a form and touches nothing, since mail scanners open
//! links too; the form's POST does what the API does. No page says more than the API.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::domain::secret::sealed_text;
use crate::domain::tenant::PASSWORD_MIN;
use crate::services::accounts::MailProof;

use super::endpoint::{Origin, Shared};
use super::error;
use super::fields::Fields;
use super::middleware::request_id;
use super::pages::{self, Ask, Forms, Message, PasswordPage, Tone};

#[derive(Deserialize)]
struct Link {
    #[serde(deserialize_with = "sealed_text::deserialize")]
    token: SecretString,
}

#[derive(Deserialize)]
struct NewPassword {
    #[serde(deserialize_with = "sealed_text::deserialize")]
    token: SecretString,
    #[serde(deserialize_with = "sealed_text::deserialize")]
    new_password: SecretString,
}

/// `GET /verify-email?token=`
pub async fn verify_email(_state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let Link { token } = match read(&request, payload).await {
        Ok(link) => link,
        Err(refusal) => return refused(&refusal, &request),
    };
    let page = Ask {
        title: "Confirm your address",
        text: "Press the button if you signed up here just now. If you did not, close this page.",
        action: "/verify-email/page",
        fields: &[("token", token.expose_secret())],
        button: "Confirm",
    };
    pages::answer(StatusCode::OK, &page, &Forms::Ours)
}

/// `POST /verify-email/page`
pub async fn verify_email_post(state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let origin = Origin::of(&state, &request);
    let done = async {
        let Link { token } = read(&request, payload).await?;
        state.accounts.verify_email(origin.0, MailProof::Link { token }).await
    };
    match done.await {
        Ok(()) => good("Your address is confirmed", "You can sign in now with your address and password."),
        Err(refusal) => refused(&refusal, &request),
    }
}

/// `GET /reset-password?token=`
pub async fn reset_password(_state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    match read::<Link>(&request, payload).await {
        Ok(link) => ask_password(StatusCode::OK, &link.token, ""),
        Err(refusal) => refused(&refusal, &request),
    }
}

/// `POST /reset-password/page`
pub async fn reset_password_post(state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let origin = Origin::of(&state, &request);
    let form: NewPassword = match read(&request, payload).await {
        Ok(form) => form,
        Err(refusal) => return refused(&refusal, &request),
    };
    let proof = MailProof::Link { token: form.token.clone() };
    match state.accounts.reset_password(origin.0, proof, form.new_password).await {
        Ok(()) => good("Your password is changed", "Sign in with it from now on. Your API keys work as before."),
        Err(refusal) if refusal.field.is_some() => ask_password(error::status_of(refusal.code), &form.token, &refusal.detail),
        Err(refusal) => refused(&refusal, &request),
    }
}

async fn read<T: DeserializeOwned>(request: &HttpRequest, payload: web::Payload) -> Result<T, Refusal> {
    let fields = Fields::of(request, payload, None).await?;
    fields.read().map_err(|_| Refusal::new(ErrorCode::InvalidRequest, "The link is not whole; copy it from the mail once more."))
}

fn ask_password(status: StatusCode, token: &SecretString, wrong: &str) -> HttpResponse {
    let page = PasswordPage { action: "/reset-password/page", token: token.expose_secret(), minimum: PASSWORD_MIN, wrong };
    pages::answer(status, &page, &Forms::Ours)
}

fn good(title: &str, text: &str) -> HttpResponse {
    let page = Message { tone: Tone::Good, title, text, next: "You can close this page.", way_on: None, request_id: "" };
    pages::answer(StatusCode::OK, &page, &Forms::Absent)
}

fn refused(refusal: &Refusal, request: &HttpRequest) -> HttpResponse {
    let (status, id) = (error::status_of(refusal.code), request_id(request));
    error::log(refusal, status, &id);
    let page =
        Message { tone: Tone::Bad, title: refusal.code.title(), text: &refusal.detail, next: "", way_on: None, request_id: &id };
    let mut answer = pages::answer(status, &page, &Forms::Absent);
    if let Some(after) = refusal.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    answer
}
