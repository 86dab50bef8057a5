//! The binary as people run it: what it prints, what it refuses, how it stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

mod commands;
mod dev;
mod journal;
mod live;
mod nodes;
mod redis;
#[path = "../support/redis.rs"]
mod redis_server;
mod refusals;
mod running;
mod serve;
