//! The part of `convert` that reads how a flow begins: at an authorize URL, on another device, or at the provider.

use crate::domain::provider::{AuthorizeSpec, InstallParam, InstallSpec, PkceUse, RequestSpec, ScopeSpec};

use super::convert::Convert;
use super::convert_grant::grant;
use super::shape::{FileShape, GrantShape, InstallParamShape, InstallShape, PkceShape};

/// Whether the end user's code is entered on another device.
pub(super) fn by_device(file: &FileShape) -> bool {
    matches!(file.grant, Some(GrantShape::DeviceCode))
}

impl Convert {
    pub(super) fn authorize(&mut self, file: &FileShape) -> Option<AuthorizeSpec> {
        let shape = &file.authorize;
        let minted = grant(file.grant).is_minted();
        if minted {
            self.unasked(file);
        }
        // Nobody's browser is sent to a provider whose code is entered on another device, or who asks nobody.
        let unsent = minted || by_device(file);
        let url = match &shape.url {
            _ if minted => None,
            None if unsent => None,
            url => Some(self.url("authorize.url", url.as_deref())?),
        };
        let params = shape
            .params
            .iter()
            .filter_map(|(name, text)| Some((name.clone(), self.template(&format!("authorize.params.{name}"), text)?)));
        let params = params.collect();
        let pkce = self.needed("authorize.pkce", shape.pkce.or(unsent.then_some(PkceShape::Off)));
        let scopes = &shape.scopes;
        Some(AuthorizeSpec {
            url,
            params,
            rename: shape.rename.clone(),
            drop: shape.drop.clone(),
            scopes: ScopeSpec {
                none: scopes.none,
                separator: scopes.separator.clone().unwrap_or_else(|| " ".to_owned()),
                default: scopes.default.clone(),
                always: scopes.always.clone(),
                lists: scopes.lists.clone(),
                examples: scopes.examples.clone(),
            },
            pkce: match pkce? {
                PkceShape::Required => PkceUse::Required,
                PkceShape::Optional => PkceUse::Optional,
                PkceShape::Plain => PkceUse::Plain,
                PkceShape::Off => PkceUse::Off,
            },
            nonce: shape.nonce,
            fragment: shape.fragment.clone(),
            params_in_fragment: shape.params_in_fragment,
        })
    }

    pub(super) fn device(&mut self, file: &FileShape, token: Option<&RequestSpec>) -> Option<RequestSpec> {
        let (device, token) = file.device.as_ref().zip(token)?;
        self.beside("device", device.clone(), token)
    }
}

pub(super) fn install_spec(shape: &InstallShape) -> InstallSpec {
    let param = |(name, shape): (&String, &InstallParamShape)| {
        let from = shape.from.clone().unwrap_or_else(|| name.clone());
        (name.clone(), InstallParam { from, suffix: shape.suffix.clone().unwrap_or_default() })
    };
    InstallSpec { params: shape.params.iter().map(param).collect() }
}
