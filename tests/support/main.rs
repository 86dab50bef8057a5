//! What other tests stand on is tested itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the tests call the server with a plain client")]

mod fake_provider;
mod fake_provider_test;
mod ledger;
mod ledger_test;
mod provider_file;
