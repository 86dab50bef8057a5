//! The part of `convert` that knows what the grant asks of the other blocks.

use crate::domain::provider::{GrantType, RefreshWith};

use super::convert::Convert;
use super::shape::{FileShape, GrantShape};
use super::shape_request::{ClassShape, WithShape};

pub(super) fn grant(shape: Option<GrantShape>) -> GrantType {
    match shape {
        None | Some(GrantShape::AuthorizationCode) => GrantType::AuthorizationCode,
        Some(GrantShape::Oauth1) => GrantType::Oauth1,
        Some(GrantShape::ClientCredentials) => GrantType::ClientCredentials,
        Some(GrantShape::JwtBearer) => GrantType::JwtBearer,
        Some(GrantShape::DeviceCode) => GrantType::DeviceCode,
    }
}

impl Convert {
    /// Where no end user is asked there is nowhere to send one, and nobody comes back.
    pub(super) fn unasked(&mut self, file: &FileShape) {
        let (authorize, callback) = (&file.authorize, &file.callback);
        let there = [
            ("authorize.url", authorize.url.is_some()),
            ("authorize.pkce", authorize.pkce.is_some()),
            ("authorize.params", !authorize.params.is_empty()),
            ("callback.keep", !callback.keep.is_empty()),
            ("callback.issuer", callback.issuer.is_some()),
            ("callback.signature", callback.signature.is_some()),
            ("extend", file.extend.is_some()),
        ];
        for (at, _) in there.iter().filter(|(_, there)| *there) {
            self.fault(*at, "has no use here: with this `grant` no end user is asked");
        }
    }

    /// What a refresh is made with, and its class where the grant leaves no choice.
    pub(super) fn renewal(&mut self, file: &FileShape) -> (RefreshWith, Option<ClassShape>) {
        let minted = grant(file.grant).is_minted();
        let with = match file.refresh.with {
            Some(WithShape::RefreshToken) => RefreshWith::RefreshToken,
            Some(WithShape::AccessToken) => RefreshWith::AccessToken,
            Some(WithShape::Client) => RefreshWith::Client,
            None if minted => RefreshWith::Client,
            None => RefreshWith::RefreshToken,
        };
        if minted && with != RefreshWith::Client {
            self.fault("refresh.with", "must be \"client\" with this `grant`: there is no other");
        }
        let class = file.refresh.class.or((with == RefreshWith::Client).then_some(ClassShape::Nonrotating));
        if with == RefreshWith::Client && class != Some(ClassShape::Nonrotating) {
            self.fault("refresh.class", "must be \"nonrotating\" where each token is minted anew");
        }
        (with, class)
    }
}
