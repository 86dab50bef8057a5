//! Accounts: who a tenant is.

use std::net::IpAddr;

use secrecy::SecretString;

use crate::domain::caller::Caller;
use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;

use super::Core;

pub struct Accounts {
    #[expect(dead_code, reason = "the skeleton comes first; passwords follow in their own change")]
    core: Core,
}

impl Accounts {
    pub fn new(core: Core) -> Self {
        Self { core }
    }

    /// Who calls with this address and password.
    pub async fn authenticate(&self, _from: Option<IpAddr>, _username: &str, _password: SecretString) -> Result<Caller, Refusal> {
        Err(Refusal::new(ErrorCode::Unauthenticated, "Passwords are not accepted yet; use an API key."))
    }
}
