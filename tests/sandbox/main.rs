//! The sandbox provider, over HTTP as its clients and browsers meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the tests call the server with a plain client")]

mod authorize;
#[path = "../support/clock.rs"]
mod clock;
mod faults;
mod pages;
mod races;
mod rotation;
mod rough_kv;
mod tokens;
mod world;
