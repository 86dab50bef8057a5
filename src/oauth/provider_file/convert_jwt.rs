//! The part of `convert` that reads what is signed: `[jwt.NAME]` and `[client_assertion]`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::provider::jwt::{ASSERTION_TTL_MAX, Algorithm, AssertionSpec, Audience, ClaimValue, JwtKey, JwtSpec};
use crate::domain::provider::template::Template;

use super::convert::Convert;
use super::shape::{FileShape, Scalar};
use super::shape_jwt::{AlgShape, AssertionShape, ClaimShape, JwtShape};
use super::shape_request::ClientAuthShape;

/// Of a JWT that says nothing else.
const TTL: Duration = Duration::from_secs(300);
/// The param that signs unless the file names another.
const PRIVATE_KEY: &str = "private_key";

impl Convert {
    pub(super) fn jwts(&mut self, file: &FileShape) -> BTreeMap<String, JwtSpec> {
        file.jwt.iter().filter_map(|(name, shape)| Some((name.clone(), self.jwt(&format!("jwt.{name}"), shape)?))).collect()
    }

    fn jwt(&mut self, at: &str, shape: &JwtShape) -> Option<JwtSpec> {
        Some(JwtSpec {
            algorithm: shape.alg.map(algorithm),
            key: key(shape.key.as_deref().unwrap_or(PRIVATE_KEY)),
            header: self.header(at, &shape.header),
            claims: self.claims(at, &shape.claims),
            ttl: match &shape.ttl {
                Some(ttl) => self.duration(&format!("{at}.ttl"), Some(ttl))?,
                None => TTL,
            },
            backdate: match &shape.backdate {
                Some(backdate) => self.duration(&format!("{at}.backdate"), Some(backdate))?,
                None => Duration::ZERO,
            },
            drop: shape.drop.clone(),
        })
    }

    pub(super) fn client_assertion(&mut self, file: &FileShape) -> Option<AssertionSpec> {
        let AssertionShape { audience, alg, key, header, claims, ttl } = file.client_assertion.clone()?;
        let shared = matches!(file.token.client_auth, Some(ClientAuthShape::ClientSecretJwt));
        let key = key.unwrap_or_else(|| if shared { "client_secret" } else { PRIVATE_KEY }.to_owned());
        let ttl = ttl.or_else(|| Some(format!("{}s", ASSERTION_TTL_MAX.as_secs())));
        let shape = JwtShape { alg, key: Some(key), header, claims, ttl, ..JwtShape::default() };
        let audience = match audience.as_deref() {
            Some("endpoint") => Audience::Endpoint,
            issuer => Audience::Issuer(self.url("client_assertion.audience", issuer)?),
        };
        Some(AssertionSpec { jwt: self.jwt("client_assertion", &shape)?, audience })
    }

    fn header(&mut self, at: &str, header: &BTreeMap<String, String>) -> BTreeMap<String, Template> {
        let filled = header.iter();
        filled.filter_map(|(name, text)| Some((name.clone(), self.template(&format!("{at}.header.{name}"), text)?))).collect()
    }

    fn claims(&mut self, at: &str, claims: &BTreeMap<String, ClaimShape>) -> BTreeMap<String, ClaimValue> {
        claims
            .iter()
            .filter_map(|(name, shape)| Some((name.clone(), self.claim(&format!("{at}.claims.{name}"), shape)?)))
            .collect()
    }

    fn claim(&mut self, at: &str, shape: &ClaimShape) -> Option<ClaimValue> {
        Some(match shape {
            ClaimShape::One(Scalar::Text(text)) => ClaimValue::Text(self.template(at, text)?),
            ClaimShape::One(Scalar::Integer(number)) => ClaimValue::Integer(*number),
            ClaimShape::One(Scalar::Bool(flag)) => ClaimValue::Bool(*flag),
            ClaimShape::Several(texts) => {
                ClaimValue::List(texts.iter().map(|text| self.template(at, text)).collect::<Option<_>>()?)
            }
        })
    }
}

fn key(name: &str) -> JwtKey {
    if name == "client_secret" { JwtKey::ClientSecret } else { JwtKey::Param(name.to_owned()) }
}

fn algorithm(shape: AlgShape) -> Algorithm {
    match shape {
        AlgShape::Hs256 => Algorithm::Hs256,
        AlgShape::Hs384 => Algorithm::Hs384,
        AlgShape::Hs512 => Algorithm::Hs512,
        AlgShape::Rs256 => Algorithm::Rs256,
        AlgShape::Rs384 => Algorithm::Rs384,
        AlgShape::Rs512 => Algorithm::Rs512,
        AlgShape::Ps256 => Algorithm::Ps256,
        AlgShape::Es256 => Algorithm::Es256,
        AlgShape::Es384 => Algorithm::Es384,
        AlgShape::EdDsa => Algorithm::EdDsa,
    }
}
