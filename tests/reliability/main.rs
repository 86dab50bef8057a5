//! Refresh tokens under fire: real `claviger serve` processes on loopback, killed, stopped and starved,
//! with a provider that keeps books of what it issued and what it was shown. Each program prints its
//! figures; docs/reliability.md tells what they mean and how to run the large sizes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/ledger/mod.rs"]
mod ledger;
#[path = "../support/provider_file.rs"]
mod provider_file;
#[path = "../support/redis.rs"]
mod redis;

mod crash;
mod disk;
mod group;
mod herd;
mod load;
mod node;
mod outage;
mod pauses;
mod proxy;
mod restore;
mod sentinel;
mod size;
mod throughput;
mod wire;
mod world;
