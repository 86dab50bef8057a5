//! The binary as people run it: what it prints, what it refuses, how it stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod commands;
mod dev;
#[path = "../support/fake_provider.rs"]
mod fake_provider;
mod journal;
mod live;
mod nodes;
#[path = "../support/oauth1.rs"]
mod oauth1_server;
mod redis;
#[path = "../support/redis.rs"]
mod redis_server;
mod refusals;
mod running;
mod serve;
