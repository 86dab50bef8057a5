//! The rules of flows that do not begin with an authorize URL: on another device, or at the provider.

use std::collections::BTreeSet;

use super::{Check, Kept};
use crate::domain::provider::GrantType;
use crate::domain::provider::names::DEVICE;
use crate::domain::provider::param::NeededBy;

/// What the tenant's place is told of an install besides its settings.
const TOLD: [&str; 3] = ["status", "provider", "integration"];

impl Check<'_> {
    pub(super) fn device(&mut self) {
        let nothing = Kept { callback: &BTreeSet::new(), metadata: &BTreeSet::new() };
        match (&self.spec.device, self.spec.grant) {
            (Some(device), GrantType::DeviceCode) => self.request("device", device, DEVICE, &nothing),
            (Some(_), _) => self.fault("device", "is for `grant = \"device_code\"` alone"),
            (None, GrantType::DeviceCode) => self.fault("device", "is missing: say where a code for the end user is had"),
            (None, _) => {}
        }
    }

    pub(super) fn install(&mut self) {
        let Some(install) = &self.spec.install else { return };
        if self.spec.grant != GrantType::AuthorizationCode {
            self.fault("install", "is for `grant = \"authorization_code\"` alone");
        }
        for (name, param) in &install.params {
            let at = format!("install.params.{name}");
            let of_link = |known: &super::ParamSpec| known.needed_by == NeededBy::Link && !known.secret;
            if !self.spec.params.get(name).is_some_and(of_link) {
                self.fault(&at, "is not a param that is `needed_by = \"link\"`");
            }
            if TOLD.contains(&name.as_str()) {
                self.fault(&at, "is a name that the engine uses itself");
            }
            if param.from.is_empty() || [self.spec.callback.code_param.as_str(), "state", "error"].contains(&param.from.as_str())
            {
                self.fault(format!("{at}.from"), "must name a param of the provider's request that is not the flow's own");
            }
        }
    }
}
