//! Against a provider that nobody here wrote. First of all the provider itself: that it is as strict
//! as the tests that stand on it believe.

mod fixture;
#[path = "../support/oidc.rs"]
mod oidc;
