//! Accounts and API keys through HTTP, as programs and browsers use them; and the mail adapters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod api_keys;
mod broker;
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
