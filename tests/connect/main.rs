//! Connecting an end user, from link to grant, as tenants, browsers and providers meet it: over HTTP
//! with a cookie jar per browser, against providers that do as each test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "../support/clock.rs"]
mod clock;

mod browser;
mod confirmed;
mod device;
mod failures;
mod hostile;
mod installs;
mod journey;
mod links;
mod nonce;
mod pages;
mod provider;
#[path = "../support/provider_file.rs"]
mod provider_file;
#[path = "../support/switched_kv.rs"]
mod switched_kv;
mod world;
