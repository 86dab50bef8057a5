//! The blocks of a provider file that have something signed, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shape::Scalar;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtShape {
    pub alg: Option<AlgShape>,
    pub key: Option<String>,
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimShape>,
    pub ttl: Option<String>,
    pub backdate: Option<String>,
    #[serde(default)]
    pub drop: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AssertionShape {
    pub audience: Option<String>,
    pub alg: Option<AlgShape>,
    pub key: Option<String>,
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimShape>,
    pub ttl: Option<String>,
}

/// One value, or a list of texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ClaimShape {
    One(Scalar),
    Several(Vec<String>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum AlgShape {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}
