//! An install that begins at the provider: a browser without a flow of ours. It connects nobody. Where the tenant has
//! chosen so, the browser is sent to the tenant's own place, whose backend knows who sits before it and makes a link,
//! as always; a code that came along is left to die.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::IntegrationId;
use crate::domain::refusal::Refusal;
use crate::oauth::install;
use crate::store::keys;

use super::complete::invalid_state;
use super::{Callback, Connect};

/// Where the browser goes, and what the tenant's place is told: nothing that anybody could not have made up.
pub struct Arrived {
    pub url: String,
    pub told: Vec<(String, String)>,
}

impl Connect {
    /// `None` for what is a callback, of whatever flow. One answer for every reason why an install is not taken.
    pub async fn arrive(&self, callback: &Callback) -> Option<Result<Arrived, Refusal>> {
        let id = callback.integration.as_deref().filter(|_| install::is_install(&callback.pairs))?;
        Some(self.arrive_at(id, &callback.pairs).await)
    }

    async fn arrive_at(&self, id: &str, pairs: &[(String, String)]) -> Result<Arrived, Refusal> {
        let id = IntegrationId::parse(id).map_err(|_| invalid_state())?;
        let address = self.core.store.read(&keys::install(&id)).await?.ok_or_else(invalid_state)?.value;
        let active = self.integrations.active(&address.tenant, &address.provider, &address.integration).await;
        let active = active.map_err(|refusal| match refusal.code {
            ErrorCode::StoreUnavailable => refusal,
            _ => invalid_state().with_cause(refusal),
        })?;
        let integration = &active.integration;
        let url = integration.install_url.clone().filter(|_| integration.id == id).ok_or_else(invalid_state)?;
        let settings = install::judge(&active.provider, integration.client_secret.as_ref(), pairs);
        let settings = settings.map_err(|why| invalid_state().with_cause(why))?;
        let told = [
            ("status", "install".to_owned()),
            ("provider", integration.provider.to_string()),
            ("integration", integration.name.to_string()),
        ];
        let told = told.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(settings).collect();
        Ok(Arrived { url, told })
    }
}
