//! A `[[test]]` of a provider file: what is sent, what is understood. `vectors` runs them.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Value;

/// One test vector, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorShape {
    pub step: Step,
    /// Tells apart several vectors of one step.
    pub name: Option<String>,
    /// The provider's settings; by default each param's example.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The client has no secret.
    #[serde(default)]
    pub public_client: bool,
    /// What the tenant asks for (`authorize`), or what the tokens have (`refresh`).
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What is known of the connection (`refresh`, `introspect`, `revoke`, `after_connect`).
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
    /// The callback's pairs, as a query.
    pub callback: Option<String>,
    pub token_set: Option<String>,
    /// The expected authorize URL.
    pub url: Option<String>,
    pub request: Option<RequestVector>,
    /// The provider's answer.
    pub answer: Option<String>,
    pub status: Option<u16>,
    /// Headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub expect: Option<Expectation>,
    /// What the file says and no call shows, compared whole (`facts`).
    pub facts: Option<toml::Table>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Authorize,
    /// The request for a code that is entered on another device, and its answer.
    Device,
    /// An install that begins at the provider.
    Install,
    /// The call for the temporary credentials of OAuth 1.0a.
    RequestToken,
    Callback,
    Exchange,
    Refresh,
    /// The exchange of a new access token for one that lives longer.
    Extend,
    /// The question about a new access token.
    Introspect,
    Revoke,
    AfterConnect,
    /// A failed answer, whatever was asked.
    Error,
    /// What people are told, and what holds without being sent.
    Facts,
}

impl Step {
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Authorize => "authorize",
            Step::Device => "device",
            Step::Install => "install",
            Step::RequestToken => "request_token",
            Step::Callback => "callback",
            Step::Exchange => "exchange",
            Step::Refresh => "refresh",
            Step::Extend => "extend",
            Step::Introspect => "introspect",
            Step::Revoke => "revoke",
            Step::AfterConnect => "after_connect",
            Step::Error => "error",
            Step::Facts => "facts",
        }
    }
}

/// The expected call. Of the headers only those named are compared; everything else is exact.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestVector {
    pub method: Option<String>,
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers that are not sent.
    #[serde(default)]
    pub absent: Vec<String>,
    pub form: Option<BTreeMap<String, String>>,
    pub json: Option<Value>,
    /// What was signed, by the param or the header that it stands in; there it is `JWT`.
    #[serde(default)]
    pub jwt: BTreeMap<String, JwtVector>,
}

/// An expected JWT, compared whole; its `jti` is `JTI`. Whether its signature holds is looked at besides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtVector {
    pub header: BTreeMap<String, Value>,
    pub claims: BTreeMap<String, Value>,
}

/// What an answer must be understood as. What is not named is not compared, `failure` apart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    pub access_token: Option<String>,
    pub refresh_token: Option<String>,
    pub no_refresh_token: Option<bool>,
    /// Of temporary credentials (`request_token`).
    pub oauth_token: Option<String>,
    /// Of these, or of the token.
    pub token_secret: Option<String>,
    pub token_type: Option<String>,
    /// Seconds from the start of the request.
    pub expires_in: Option<i64>,
    pub never_expires: Option<bool>,
    pub refresh_expires_in: Option<i64>,
    pub scopes: Option<Vec<String>>,
    /// The set to which the keys above belong, and the names of all sets that must have come.
    pub token_set: Option<String>,
    pub sets: Option<Vec<String>>,
    pub metadata: Option<BTreeMap<String, Value>>,
    pub subject: Option<String>,
    /// What a `device` answer offers.
    pub user_code: Option<String>,
    pub verification_uri: Option<String>,
    pub verification_uri_complete: Option<String>,
    pub interval: Option<u64>,
    /// `dead_grant`, `integration_broken`, `misconfigured`, `subject_refused`, `throttled`, `in_doubt`; of a callback
    /// `denied`, `provider_error`, `malformed`, `wrong_issuer`, `bad_signature`, `other_token`; of an exchange with a device's
    /// code also `pending`, `slow_down`, `denied`, `expired`; of an introspection also `inactive`.
    pub failure: Option<String>,
    pub code: Option<String>,
    pub retry_after: Option<u64>,
}
