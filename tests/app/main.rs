//! The application as a whole, in this process: starts, serves, stops, starts again on what it left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "../support/app.rs"]
mod app;
#[path = "../support/clock.rs"]
mod clock;
mod lifecycle;
