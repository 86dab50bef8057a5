//! Accounts and API keys through HTTP, as programs and browsers use them; and the mail adapters.

mod api_keys;
#[path = "../support/clock.rs"]
mod clock;
mod codes;
mod harness;
mod limits;
mod mail;
mod pages;
mod reset;
mod secrets;
mod sign_in;
mod signup;
