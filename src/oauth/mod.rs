//! OAuth as pure functions, in pairs: build a request, judge its answer. No clock, no randomness, no
//! store and no await; a provider is data (`provider_file`), never a name in the code.

mod answer;
pub mod authorize_url;
pub mod callback;
pub mod client;
mod client_auth;
pub mod device;
pub mod discovery;
mod expiry;
pub mod id_token;
pub mod install;
pub mod introspection;
pub mod jwt;
pub mod oauth1;
pub mod pkce;
mod provider_error;
pub mod provider_file;
pub mod request;
pub mod signed;
pub mod token_request;
pub mod token_response;
pub mod vectors;
