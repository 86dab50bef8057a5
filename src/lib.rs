//! Claviger, a self-hosted OAuth token broker. ARCHITECTURE.md is the map.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod domain;
pub mod oauth;
pub mod ports;
pub mod services;
pub mod settings;
pub mod store;
pub mod web;
