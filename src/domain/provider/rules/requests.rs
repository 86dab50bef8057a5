//! Which requests a file has, by its grant and its refresh, and what each may be made of.

use std::collections::BTreeSet;

use super::super::names::{EXCHANGE, EXTEND, INTROSPECT, MINT, OAUTH1_EXCHANGE, POLL, REFRESH, REVOKE};
use super::super::{GrantType, RefreshClass, RefreshWith};
use super::{Check, Kept};

impl Check<'_> {
    pub(super) fn requests(&mut self) {
        let spec = self.spec;
        let callback: BTreeSet<&str> = spec.callback.keep.iter().map(String::as_str).collect();
        if spec.grant == GrantType::JwtBearer && !spec.token.params.contains_key("assertion") {
            self.fault("token.params.assertion", "is missing: with this `grant` it is what a token is given for");
        }
        let names = match spec.grant {
            GrantType::DeviceCode => POLL,
            GrantType::Oauth1 => OAUTH1_EXCHANGE,
            grant if grant.is_minted() => MINT,
            _ => EXCHANGE,
        };
        self.request("token", &spec.token, names, &Kept { callback: &callback, metadata: &BTreeSet::new() });
        let kept = Kept { callback: &callback, metadata: &spec.kept().collect() };
        if spec.refresh.class() != RefreshClass::None {
            let absent: &[&str] = match spec.refresh.with() {
                RefreshWith::RefreshToken => &[],
                RefreshWith::AccessToken => &["refresh_token"],
                RefreshWith::Client => &["refresh_token", "access_token"],
            };
            let names: Vec<&str> = REFRESH.iter().copied().filter(|name| !absent.contains(name)).collect();
            self.request("refresh", &spec.refresh.request, &names, &kept);
        }
        if let Some(extend) = &spec.extend {
            let first = spec.after_connect.iter().filter(|step| step.first).flat_map(|step| step.keep.keys());
            let answered = spec.response.keep.keys().chain(first).map(String::as_str).chain(callback.iter().copied()).collect();
            self.request("extend", extend, EXTEND, &Kept { callback: &callback, metadata: &answered });
        }
        if spec.refresh.with() == RefreshWith::AccessToken && spec.refresh.class() == RefreshClass::None {
            self.fault("refresh.with", "says with what a refresh is made, where the class says that there is none");
        }
        if spec.response.sets.len() > 1 && (spec.extend.is_some() || spec.refresh.with() != RefreshWith::RefreshToken) {
            self.fault("response.sets", "must be one where tokens extend themselves or are minted anew");
        }
        if let Some(introspect) = &spec.introspect {
            self.request("introspect", &introspect.request, INTROSPECT, &kept);
            if spec.response.expiry.default.is_none() {
                let rule = "is missing: a token's life must be known though the provider does not answer `[introspect]`";
                self.fault("response.expires_default", rule);
            }
        }
        if let Some(revoke) = &spec.revoke {
            self.request("revoke", &revoke.request, REVOKE, &kept);
        }
    }
}
