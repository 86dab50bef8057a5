//! Claviger, a self-hosted OAuth token broker. ARCHITECTURE.md is the map.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::exit,
    clippy::expect_used,
    clippy::get_unwrap,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "the program neither panics nor prints, and reads time, randomness and the environment through ports"
)]

pub mod adapters;
pub mod app;
pub mod cli;
pub mod domain;
pub mod oauth;
pub mod ports;
pub mod refresh;
pub mod services;
pub mod settings;
pub mod store;
pub mod web;
