//! The rules of what is signed: private keys, `[jwt.NAME]`, `[client_assertion]`.

use std::collections::BTreeSet;

use super::super::jwt::{ASSERTION_TTL_MAX, Audience, JWT_TTL_MAX, JwtKey, JwtSpec};
use super::super::names::SECRET;
use super::super::param::{NeededBy, ParamKind, ParamSpec};
use super::super::request::{ClientAuth, ClientSecret, RequestSpec};
use super::{Check, Kept, Place};

/// What the engine says in a header (RFC 7515 4.1), or what would have a receiver take the key from it.
const HEADER_OWN: &[&str] = &["alg", "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc"];
/// What is put into every JWT.
const CLAIMS_OWN: &[&str] = &["iat", "exp", "jti"];

impl Check<'_> {
    pub(super) fn private_key(&mut self, at: &str, param: &ParamSpec) {
        if param.needed_by != NeededBy::Integration {
            self.fault(format!("{at}.needed_by"), "must be `integration`: a private key is the tenant's own");
        }
        if param.example.is_some() || param.default.is_some() || param.pattern.is_some() {
            self.fault(at, "is a private key: it has no `example`, `default` or `pattern`");
        }
        let signs_calls = self.spec.oauth1.as_ref().is_some_and(|oauth1| oauth1.signs_with(&param.name));
        if !signs_calls && !self.spec.signed().any(|jwt| jwt.key == JwtKey::Param(param.name.clone())) {
            self.fault(at, "is a private key that signs nothing: name it as `key` of a `[jwt.NAME]` or of `[client_assertion]`");
        }
    }

    pub(super) fn signing(&mut self) {
        let spec = self.spec;
        let requests: Vec<_> = spec.requests().collect();
        for (name, jwt) in &spec.jwts {
            let at = format!("jwt.{name}");
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                self.fault(&at, "must be a name of letters, digits, '_' and '-'");
            }
            if !requests.iter().any(|(_, request)| request.jwts().contains(name.as_str())) {
                self.fault(&at, format!("is in no param and no header: write `{{jwt.{name}}}` where it is sent"));
            }
            self.jwt(&at, jwt, JWT_TTL_MAX);
        }
        let proofs: BTreeSet<&str> = requests.iter().filter_map(|(_, request)| request.client_auth.signs()).collect();
        match &spec.client_assertion {
            None => {
                for auth in &proofs {
                    let rule = format!("is missing: it says with which key `{auth}` signs, and for whom");
                    self.fault("client_assertion", rule);
                }
            }
            Some(assertion) => {
                self.jwt("client_assertion", &assertion.jwt, ASSERTION_TTL_MAX);
                let fits = if assertion.jwt.key == JwtKey::ClientSecret { "client_secret_jwt" } else { "private_key_jwt" };
                if proofs.is_empty() {
                    self.fault("client_assertion", "is used by no request: say `client_auth = \"private_key_jwt\"`");
                } else if proofs.iter().any(|auth| *auth != fits) {
                    self.fault("client_assertion.key", format!("is one for `client_auth = \"{fits}\"`"));
                }
                if assertion.jwt.claims.contains_key("aud") {
                    self.fault("client_assertion.claims.aud", "is what `client_assertion.audience` says");
                }
            }
        }
    }

    fn jwt(&mut self, at: &str, jwt: &JwtSpec, longest: std::time::Duration) {
        self.key(at, jwt);
        for name in jwt.header.keys().filter(|name| HEADER_OWN.contains(&name.as_str())) {
            self.fault(format!("{at}.header.{name}"), "is not for a file to say");
        }
        if jwt.ttl > longest {
            self.fault(format!("{at}.ttl"), format!("must be at most {}s", longest.as_secs()));
        }
        for name in jwt.drop.iter().filter(|name| !CLAIMS_OWN.contains(&name.as_str())) {
            self.fault(format!("{at}.drop"), format!("names `{name}`; what can be left out is {}", CLAIMS_OWN.join(", ")));
        }
    }

    fn key(&mut self, at: &str, jwt: &JwtSpec) {
        let at = format!("{at}.key");
        let shared = match &jwt.key {
            JwtKey::ClientSecret if self.spec.client_secret == ClientSecret::Unused => {
                return self
                    .fault(at, "is the client secret, which no tenant gives here: say `token.client_secret = \"required\"`");
            }
            JwtKey::ClientSecret => true,
            JwtKey::Param(name) => match self.spec.params.get(name) {
                Some(param) if param.kind == ParamKind::PrivateKey => false,
                Some(param) if param.kind == ParamKind::Text && param.secret => true,
                _ => {
                    let rule = format!(
                        "`{name}` is no key: declare `[params.{name}]` with `kind = \"private_key\"`, or say `client_secret`"
                    );
                    return self.fault(at, rule);
                }
            },
        };
        if jwt.algorithm.is_some_and(|algorithm| algorithm.is_symmetric() != shared) {
            let wanted = if shared {
                "a shared secret, which signs with HS256, HS384 or HS512"
            } else {
                "a private key, which does not sign with HS256 to HS512"
            };
            self.fault(at, format!("is {wanted}"));
        }
    }

    /// What a request has signed is made of what is known where it is sent, secrets apart: a JWT is read by whoever has it.
    pub(super) fn signed(&mut self, at: &str, request: &RequestSpec, names: &[&str], kept: &Kept<'_>) {
        let spec = self.spec;
        let names: Vec<&str> = names.iter().copied().filter(|name| !SECRET.contains(name)).collect();
        let mut used: Vec<(String, &JwtSpec)> = Vec::new();
        used.extend(request.jwts().into_iter().filter_map(|name| Some((format!("jwt.{name}"), spec.jwts.get(name)?))));
        let assertion = spec.client_assertion.as_ref().filter(|_| request.client_auth.signs().is_some());
        used.extend(assertion.map(|assertion| ("client_assertion".to_owned(), &assertion.jwt)));
        for (block, jwt) in used {
            for (part, template) in jwt.templates() {
                self.template(&format!("{block}.{part}"), template, &names, Place { kept, secrets: false, signed: false });
            }
        }
        if let Some(Audience::Issuer(issuer)) = assertion.map(|assertion| &assertion.audience) {
            self.url("client_assertion.audience", issuer, &names, Place { kept, secrets: false, signed: false });
        }
        let sends = |name: &str| request.drop.iter().any(|dropped| dropped == name);
        if assertion.is_some() && (sends("client_assertion") || sends("client_assertion_type")) {
            self.fault(format!("{at}.drop"), "drops the client's proof; say `client_auth = \"none\"`");
        }
    }
}

impl ClientAuth {
    /// Its name, where the client proves itself by something that it signs.
    pub fn signs(self) -> Option<&'static str> {
        matches!(self, ClientAuth::PrivateKeyJwt | ClientAuth::ClientSecretJwt).then(|| self.as_str())
    }
}
