//! What an end user is told about each code: not the API's words, which speak to programmers.

use crate::domain::error_code::ErrorCode;

pub struct Explained {
    pub title: &'static str,
    pub text: &'static str,
    pub next: &'static str,
}

const START_AGAIN: &str = "Go back to where you came from and start again.";

pub fn explained(code: ErrorCode) -> Explained {
    let (title, text, next) = match code {
        ErrorCode::LinkExpired => ("This link has ended", "It was used already, or it is too old.", START_AGAIN),
        ErrorCode::StateInvalid => {
            ("This sign-in has ended", "It was completed already, took too long, or was started in another browser.", START_AGAIN)
        }
        ErrorCode::AccessDenied => (
            "Nothing was connected",
            "You chose not to give access.",
            "You can close this window, or start again whenever you like.",
        ),
        ErrorCode::AccountMismatch => (
            "That is another account",
            "A different account of this service is connected already, and it was left as it is.",
            "Sign in with the account that you used before, or disconnect that one first.",
        ),
        ErrorCode::ExchangeFailed => {
            ("The service did not agree", "It refused what was asked for, so nothing was connected.", START_AGAIN)
        }
        ErrorCode::ProviderUnavailable => {
            ("The service does not answer", "Nothing was connected.", "Please wait a few minutes and start again.")
        }
        ErrorCode::IntegrationNotFound | ErrorCode::IntegrationBroken | ErrorCode::ProviderNotFound => (
            "This is not set up correctly",
            "The site that sent you here has to correct its settings. Nothing was connected.",
            "Please tell them, with the number below.",
        ),
        ErrorCode::StoreUnavailable | ErrorCode::RestoreMode | ErrorCode::ShuttingDown | ErrorCode::RateLimited => {
            ("Not available at the moment", "We could not do this just now.", "Please wait a moment and start again.")
        }
        ErrorCode::InvalidRequest | ErrorCode::PayloadTooLarge => {
            ("This did not come through", "What arrived here cannot be understood. Nothing was connected.", START_AGAIN)
        }
        _ => ("Something went wrong", "This did not work, and it is our fault, not yours.", "Please start again a little later."),
    };
    Explained { title, text, next }
}
