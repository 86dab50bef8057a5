//! Who calls: a tenant and what its credential may do. Only authentication makes one.

use super::error_code::ErrorCode;
use super::ids::TenantId;
use super::refusal::Refusal;
use super::scope::{Scope, Scopes};

/// An authenticated tenant. Whatever touches a tenant's things takes the tenant from here, never
/// from the request.
#[derive(Debug, Clone)]
pub struct Caller {
    tenant: TenantId,
    scopes: Scopes,
}

impl Caller {
    /// For authentication alone: the credential was checked.
    pub fn authenticated(tenant: TenantId, scopes: Scopes) -> Self {
        Self { tenant, scopes }
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.allow(scope)
    }

    /// The first line of each service method.
    pub fn require(&self, scope: Scope) -> Result<&TenantId, Refusal> {
        if self.may(scope) {
            return Ok(&self.tenant);
        }
        let detail = format!("This call needs the scope `{}`; make an API key that has it.", scope.as_str());
        Err(Refusal::new(ErrorCode::InsufficientScope, detail))
    }
}
