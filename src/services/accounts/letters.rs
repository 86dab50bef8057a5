//! What the mails say. Each URL is built from the configured public one, never from a request.

use secrecy::ExposeSecret as _;

use crate::domain::tenant::Email;
use crate::ports::mail::MailMessage;

use super::codes::{CODE_LIFE, NewCode};

pub fn verify_address(public_url: &str, to: &Email, new: &NewCode) -> MailMessage {
    let (code, token, minutes) = (new.code.expose_secret(), new.token.expose_secret(), CODE_LIFE.as_secs() / 60);
    letter(
        to,
        "Confirm your address",
        format!(
            "Somebody, we hope you, signed up at {public_url} with this address.\n\n\
             Your code: {code}\n\n\
             Or open this page and press its button:\n{public_url}/verify-email?token={token}\n\n\
             Code and page work once, for {minutes} minutes.\n\n\
             If you did not sign up just now, do nothing: whoever did chose the password, and without you the account stays shut.\n"
        ),
    )
}

pub fn already_there(public_url: &str, to: &Email) -> MailMessage {
    letter(
        to,
        "You already have an account",
        format!(
            "Somebody, perhaps you, tried to sign up at {public_url} with this address. It has an account already, and nothing was changed.\n\n\
             If you do not know its password any more, ask for a new one:\n  curl {public_url}/forgot-password -d username={to}\n",
            to = to.as_str()
        ),
    )
}

pub fn reset_password(public_url: &str, to: &Email, new: &NewCode) -> MailMessage {
    let (code, token, minutes) = (new.code.expose_secret(), new.token.expose_secret(), CODE_LIFE.as_secs() / 60);
    letter(
        to,
        "Choose a new password",
        format!(
            "Somebody, we hope you, asked for a new password at {public_url}.\n\n\
             Your code: {code}\n\n\
             Or open this page:\n{public_url}/reset-password?token={token}\n\n\
             Code and page work once, for {minutes} minutes.\n\n\
             If it was not you, do nothing: your password stays as it is. Never tell this code to anybody.\n"
        ),
    )
}

pub fn password_changed(public_url: &str, to: &Email) -> MailMessage {
    letter(
        to,
        "Your password was changed",
        format!(
            "The password of your account at {public_url} was changed just now, by a code mailed to this address.\n\n\
             If it was not you, somebody reads your mail: secure your mailbox, then choose a new password, and look through your API keys.\n"
        ),
    )
}

fn letter(to: &Email, subject: &str, text: String) -> MailMessage {
    MailMessage { to: to.as_str().to_owned(), subject: subject.to_owned(), text }
}
