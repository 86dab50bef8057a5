//! The choice to take installs that begin at the provider: where they go, and how they find the integration.

use super::checks::check_return;
use super::{Integrations, RedirectStyle};
use crate::domain::integration::Integration;
use crate::domain::link::InstallAddress;
use crate::domain::provider::Provider;
use crate::domain::refusal::Refusal;
use crate::store::{Change, StoreError, keys};

/// In the place of an `install_url`: none.
const OFF: &str = "off";

/// What was asked for; what is left out stays.
pub(super) fn settled(asked: Option<String>, before: Option<&Integration>) -> Option<String> {
    match asked {
        Some(off) if off == OFF => None,
        asked => asked.or_else(|| before.and_then(|old| old.install_url.clone())),
    }
}

impl Integrations {
    /// Where an install finds the integration. Another partition, so it goes first: it says nothing by itself, and
    /// one without an integration that takes installs leads nowhere.
    pub(super) async fn note_installs(&self, integration: &Integration) -> Result<(), Refusal> {
        if integration.install_url.is_none() {
            return Ok(());
        }
        let key = keys::install(&integration.id);
        let address = InstallAddress {
            tenant: integration.tenant.clone(),
            provider: integration.provider.clone(),
            integration: integration.name.clone(),
        };
        if self.core.store.read(&key).await?.is_none() {
            let mut change = Change::new();
            change.create(&key, &address, None)?;
            match self.core.store.commit(change).await {
                Ok(()) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn check_installs(&self, integration: &Integration, provider: &Provider) -> Result<(), Refusal> {
        let Some(url) = &integration.install_url else { return Ok(()) };
        if provider.spec().install.is_none() {
            return Err(Refusal::field("install_url", format!("must be left out: no install begins at {}", provider.name())));
        }
        if self.redirect == RedirectStyle::Shared {
            let rule = "needs a redirect URI of the integration's own; the setting `connect.redirect` of this server is `shared`";
            return Err(Refusal::field("install_url", rule));
        }
        check_return("install_url", url)
    }
}
