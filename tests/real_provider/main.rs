//! Against a provider that nobody here wrote. First of all the provider itself: that it is as strict
//! as the tests that stand on it believe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod fixture;
#[path = "../support/oidc.rs"]
mod oidc;
