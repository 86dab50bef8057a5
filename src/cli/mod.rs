//! What the commands do, without how they are written: plain functions that write to what they are given.

pub mod provider;
