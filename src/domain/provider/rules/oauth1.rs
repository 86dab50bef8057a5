//! The rules of a provider of OAuth 1.0a: what its calls are signed with, and what its file leaves to the engine.

use std::collections::BTreeSet;

use super::{Check, Kept, Place};
use crate::domain::call::Method;
use crate::domain::provider::names::REQUEST_TOKEN;
use crate::domain::provider::oauth1::{Oauth1Spec, PRIVATE_KEY, ParamsIn};
use crate::domain::provider::request::{ClientAuth, ClientSecret, PkceUse, RequestSpec};
use crate::domain::provider::{GrantType, NeededBy, ParamKind, ParamSpec, RefreshClass};

impl Check<'_> {
    pub(super) fn oauth1(&mut self) {
        let spec = self.spec;
        if (spec.grant == GrantType::Oauth1) != spec.oauth1.is_some() {
            self.fault("oauth1", "goes with `grant = \"oauth1\"`, and that with it");
        }
        let Some(oauth1) = &spec.oauth1 else { return };
        let nothing = Kept { callback: &BTreeSet::new(), metadata: &BTreeSet::new() };
        self.request("request_token", &oauth1.request_token, REQUEST_TOKEN, &nothing);
        self.realm(oauth1, &nothing);
        self.signed_with(oauth1);
        self.left_to_the_engine(oauth1);
    }

    fn realm(&mut self, oauth1: &Oauth1Spec, nothing: &Kept<'_>) {
        let Some(realm) = &oauth1.realm else { return };
        self.template("oauth1.realm", realm, &["client_id"], Place { kept: nothing, secrets: false, signed: false });
        if oauth1.params_in != ParamsIn::Header {
            self.fault("oauth1.realm", "stands in the header, so it needs `params_in = \"header\"`");
        }
    }

    /// With what a signature is made: a private key, or the client's secret.
    fn signed_with(&mut self, oauth1: &Oauth1Spec) {
        let declared = self.spec.params.get(PRIVATE_KEY);
        let is_key = |param: &ParamSpec| param.kind == ParamKind::PrivateKey && !param.optional;
        let fits = declared.is_some_and(|param| is_key(param) && param.needed_by == NeededBy::Integration);
        let rsa = oauth1.signature.is_rsa();
        if rsa && !fits {
            let rule = "needs the param `private_key`, of this kind, given when the provider is enabled";
            self.fault("oauth1.signature_method", rule);
        }
        if !rsa && self.spec.client_secret != ClientSecret::Required {
            self.fault("token.client_secret", "must be required: calls are signed with it");
        }
    }

    fn left_to_the_engine(&mut self, oauth1: &Oauth1Spec) {
        let spec = self.spec;
        let requests = [("request_token", Some(&oauth1.request_token)), ("token", Some(&spec.token))];
        let revoke = ("revoke", spec.revoke.as_ref().map(|revoke| &revoke.request));
        let requests: Vec<(&str, &RequestSpec)> =
            requests.into_iter().chain([revoke]).filter_map(|(at, request)| Some((at, request?))).collect();
        for (at, request) in requests {
            if request.client_auth != ClientAuth::Off {
                self.fault(format!("{at}.client_auth"), "is not for OAuth 1.0a, whose calls are signed");
            }
            if let Some(name) = request.params.keys().find(|name| name.starts_with("oauth_")) {
                self.fault(format!("{at}.params.{name}"), "is the protocol's own; the engine sends what begins with `oauth_`");
            }
            if request.method == Method::Delete && oauth1.params_in == ParamsIn::Body && !request.params.is_empty() {
                self.fault(format!("{at}.method"), "must be \"post\" or \"put\" where the params stand in the body");
            }
        }
        if spec.authorize.drop.iter().any(|name| name == "oauth_token") {
            self.fault("authorize.drop", "drops `oauth_token`, by which the provider knows the flow");
        }
        let foreign = [
            ("authorize.pkce", spec.authorize.pkce != PkceUse::Off),
            ("authorize.nonce", spec.authorize.nonce),
            ("callback.signature", spec.callback.signature.is_some()),
            ("callback.form_post", spec.callback.form_post),
            ("extend", spec.extend.is_some()),
            ("introspect", spec.introspect.is_some()),
            ("refresh.class", spec.refresh.class() != RefreshClass::None),
        ];
        for (at, _) in foreign.into_iter().filter(|(_, there)| *there) {
            self.fault(at, "is not of OAuth 1.0a, where a verifier comes back and tokens are not refreshed");
        }
    }
}
