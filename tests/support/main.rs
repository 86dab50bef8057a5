//! What other tests stand on is tested itself.

mod fake_provider;
mod fake_provider_test;
