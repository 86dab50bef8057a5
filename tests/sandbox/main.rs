//! The sandbox provider, over HTTP as its clients and browsers meet it.

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
