//! Runs the test vectors of a provider file: whether what would be sent and what is understood are
//! what the file's author says. Pure; the fixed words below stand for a client and its tokens.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::domain::call::{HttpAnswer, HttpCall, Method};
use crate::domain::connection::Tokens;
use crate::domain::ids::TokenSetName;
use crate::domain::provider::request::ClientSecret;
use crate::domain::provider::{NeededBy, ParamKind, PkceUse, Provider};
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::domain::tokens::{FailureClass, IssuedTokens, ProviderFailure, TokenAnswer};

use super::authorize_url::{self, AuthorizeInput};
use super::callback::{self, CallbackError};
use super::client::Client;
use super::provider_file::{Expectation, ProviderFile, RequestVector, Step, VectorShape};
use super::token_request::{self, Authorization};
use super::token_response::{judge_exchange, judge_refresh, judge_revoke};

const CLIENT_ID: &str = "CLIENT";
const REDIRECT_URI: &str = "https://broker.example/cb";

/// A vector that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The step, and the vector's name where it has one.
    pub vector: String,
    pub message: String,
}

/// Runs all of a file's vectors; what does not hold is told.
pub fn run(file: &ProviderFile) -> Vec<Mismatch> {
    let provider = match deployed(&file.provider) {
        Ok(provider) => provider,
        Err(message) => return vec![Mismatch { vector: "all".to_owned(), message }],
    };
    let failing = file.vectors.iter().filter_map(|vector| Some((vector, run_one(&provider, vector).err()?)));
    failing.map(|(vector, message)| Mismatch { vector: title(vector), message }).collect()
}

/// What a vector is called in messages.
pub fn title(vector: &VectorShape) -> String {
    match &vector.name {
        Some(name) => format!("{} ({name})", vector.step.as_str()),
        None => vector.step.as_str().to_owned(),
    }
}

/// With each deployment param at its example.
fn deployed(provider: &Provider) -> Result<Provider, String> {
    let params = provider.spec().params.values();
    let values = params.filter_map(|param| Some((param.name.clone(), param.example.clone()?))).collect();
    provider
        .clone()
        .deployed(&values)
        .map_err(|refusal| refusal.detail)?
        .ok_or_else(|| "a deployment param has no example".to_owned())
}

type Outcome = Result<(), String>;

fn run_one(provider: &Provider, vector: &VectorShape) -> Outcome {
    if vector.answer.is_some() && vector.expect.is_none() {
        return Err("has an `answer` but no `expect`".to_owned());
    }
    let bench = Bench::new(provider, vector);
    match vector.step {
        Step::Authorize => bench.authorize(),
        Step::Callback => bench.callback(),
        Step::Exchange => bench.exchange(),
        Step::Refresh => bench.refresh(),
        Step::Revoke => bench.revoke(),
        Step::AfterConnect => bench.after_connect(),
    }
}

/// A vector with the client and the tokens that it plays with.
struct Bench<'a> {
    provider: &'a Provider,
    vector: &'a VectorShape,
    secret: Option<SecretString>,
    params: BTreeMap<String, String>,
    secret_params: BTreeMap<String, SecretString>,
}

impl<'a> Bench<'a> {
    fn new(provider: &'a Provider, vector: &'a VectorShape) -> Self {
        let has_secret = !vector.public_client && provider.client_secret() != ClientSecret::Unused;
        let (mut params, mut secret_params) = (BTreeMap::new(), BTreeMap::new());
        for param in provider.spec().params.values().filter(|param| param.needed_by != NeededBy::Deployment) {
            let first_option = match &param.kind {
                ParamKind::Enum(options) => options.keys().next(),
                _ => None,
            };
            let given = vector.params.get(&param.name).or(param.default.as_ref()).or(param.example.as_ref()).or(first_option);
            match given {
                Some(value) if param.secret => _ = secret_params.insert(param.name.clone(), value.as_str().into()),
                Some(value) => _ = params.insert(param.name.clone(), value.clone()),
                None => {}
            }
        }
        Self { provider, vector, secret: has_secret.then(|| "SECRET".into()), params, secret_params }
    }

    fn client(&self) -> Client<'_> {
        Client {
            client_id: CLIENT_ID,
            client_secret: self.secret.as_ref(),
            params: &self.params,
            secret_params: &self.secret_params,
        }
    }

    fn started() -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn tokens(&self) -> Tokens {
        Tokens {
            access: "ACCESS".into(),
            refresh: Some("REFRESH".into()),
            token_type: "Bearer".to_owned(),
            obtained_at: Self::started(),
            expires_at: None,
            refresh_expires_at: None,
            scopes: self.vector.scopes.clone(),
            from_generation: 1,
            received_by: "test".to_owned(),
        }
    }

    fn token_set(&self) -> Result<TokenSetName, String> {
        match &self.vector.token_set {
            Some(name) => TokenSetName::parse(name).map_err(|refusal| refusal.detail),
            None => {
                self.provider.spec().response.sets.first().map(|set| set.name.clone()).ok_or_else(|| "no token set".to_owned())
            }
        }
    }

    fn answer(&self) -> Option<HttpAnswer> {
        let headers = self.vector.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let body = self.vector.answer.as_ref()?.clone().into_bytes();
        Some(HttpAnswer { status: self.vector.status.unwrap_or(200), headers, body })
    }

    fn authorize(&self) -> Outcome {
        let expected = self.vector.url.as_deref().ok_or("has no `url`")?;
        let url = authorize_url::build(&AuthorizeInput {
            provider: self.provider,
            client_id: CLIENT_ID,
            redirect_uri: REDIRECT_URI,
            scopes: &self.vector.scopes,
            state: "STATE",
            pkce_challenge: (self.provider.pkce() != PkceUse::Off).then_some("CHALLENGE"),
            nonce: self.provider.wants_nonce().then_some("NONCE"),
            params: &self.params,
        });
        same_url(expected, &url.map_err(|error| error.to_string())?)
    }

    fn callback(&self) -> Outcome {
        let pairs = form_urlencoded::parse(self.vector.callback.as_deref().ok_or("has no `callback`")?.as_bytes());
        let pairs: Vec<_> = pairs.into_owned().collect();
        let expect = self.vector.expect.as_ref().ok_or("has no `expect`")?;
        match (callback::validate(self.provider, &pairs), &expect.failure) {
            (Ok(callback), None) => {
                differ("code", expect.code.as_deref(), Some(callback.code().expose_secret()))?;
                let kept = callback.kept().iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
                same_metadata(expect, &kept)
            }
            (Err(error), Some(wanted)) => {
                let (word, code) = callback_failure(&error);
                differ("failure", Some(wanted.as_str()), Some(word))?;
                differ("code", expect.code.as_deref(), code)
            }
            (Ok(_), Some(wanted)) => Err(format!("expected {wanted}, but the callback is accepted")),
            (Err(error), None) => Err(format!("is refused: {error}")),
        }
    }

    fn exchange(&self) -> Outcome {
        let kept = match &self.vector.callback {
            None => BTreeMap::new(),
            Some(query) => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        };
        let verifier = (self.provider.pkce() != PkceUse::Off).then(|| SecretString::from("VERIFIER"));
        let flow = Authorization { code: &"CODE".into(), kept: &kept, redirect_uri: REDIRECT_URI, verifier: verifier.as_ref() };
        let call = token_request::exchange(self.provider, &self.client(), &flow).map_err(|error| error.to_string())?;
        same_call(self.vector.request.as_ref(), &call)?;
        match self.answer() {
            Some(answer) => self.judged(judge_exchange(self.provider, &answer, Self::started())),
            None => Ok(()),
        }
    }

    fn refresh(&self) -> Outcome {
        let set = self.token_set()?;
        let call =
            token_request::refresh(self.provider, &self.client(), &set, &self.tokens()).map_err(|error| error.to_string())?;
        same_call(self.vector.request.as_ref(), &call)?;
        match self.answer() {
            Some(answer) => self.judged(judge_refresh(self.provider, &set, &answer, Self::started())),
            None => Ok(()),
        }
    }

    fn revoke(&self) -> Outcome {
        let call = token_request::revoke(self.provider, &self.client(), &self.tokens()).map_err(|error| error.to_string())?;
        same_call(self.vector.request.as_ref(), &call.ok_or("the file has no `[revoke]`")?)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(judge_revoke(self.provider, &answer, Self::started()), |_, ()| Ok(())),
        }
    }

    /// The first look-up, or the one that the vector's name names.
    fn after_connect(&self) -> Outcome {
        let issued = IssuedTokens {
            access_token: "ACCESS".into(),
            refresh_token: None,
            token_type: "Bearer".to_owned(),
            expires_at: None,
            refresh_expires_at: None,
            scopes: None,
        };
        let sets = self.provider.spec().response.sets.iter().map(|set| (set.name.clone(), issued.clone())).collect();
        let answer = TokenAnswer { sets, metadata: BTreeMap::new(), subject: None };
        let lookups = token_request::after_connect(self.provider, &self.client(), &answer).map_err(|error| error.to_string())?;
        let named = lookups.iter().find(|lookup| self.vector.name.as_deref() == Some(lookup.name()));
        let lookup = named.or(lookups.first()).ok_or("the file has no `[[after_connect]]`")?;
        same_call(self.vector.request.as_ref(), &lookup.call)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(lookup.read(&answer, Self::started()), |expect, found| {
                same_metadata(expect, &found.metadata)?;
                differ("subject", expect.subject.as_deref(), found.subject.as_deref())
            }),
        }
    }

    fn judged(&self, judged: Result<TokenAnswer, ProviderFailure>) -> Outcome {
        self.outcome(judged, same_answer)
    }

    /// A success goes to `compare`; a failure must be the one that is expected.
    fn outcome<T>(&self, judged: Result<T, ProviderFailure>, compare: impl Fn(&Expectation, T) -> Outcome) -> Outcome {
        let expect = self.vector.expect.as_ref().ok_or("has no `expect`")?;
        match (judged, &expect.failure) {
            (Ok(found), None) => compare(expect, found),
            (Ok(_), Some(wanted)) => Err(format!("expected {wanted}, but the answer is a success")),
            (Err(failure), None) => Err(format!("is a failure: {} ({})", class_word(failure.class), failure.code)),
            (Err(failure), Some(wanted)) => {
                differ("failure", Some(wanted.as_str()), Some(class_word(failure.class)))?;
                differ("code", expect.code.as_deref(), Some(&failure.code))?;
                differ("retry_after", expect.retry_after, failure.retry_after.map(|wait| wait.as_secs()))
            }
        }
    }
}

/// What the expectation does not name is not compared.
fn differ<T: PartialEq + std::fmt::Debug>(what: &str, expected: Option<T>, found: Option<T>) -> Outcome {
    if expected.is_none() || expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

fn same_answer(expect: &Expectation, answer: TokenAnswer) -> Outcome {
    let names: Vec<String> = answer.sets.keys().map(|name| name.as_str().to_owned()).collect();
    differ("sets", expect.sets.clone(), Some(names))?;
    let tokens = match &expect.token_set {
        Some(wanted) => answer.sets.iter().find(|(name, _)| name.as_str() == wanted).map(|(_, tokens)| tokens),
        None => answer.sets.values().next(),
    };
    let tokens = tokens.ok_or("the token set did not come")?;
    let refresh = tokens.refresh_token.as_ref().map(ExposeSecret::expose_secret);
    let life = |end: Option<Timestamp>| end.map(|end| end.duration_since(Bench::started()).as_secs());
    differ("access_token", expect.access_token.as_deref(), Some(tokens.access_token.expose_secret()))?;
    differ("refresh_token", expect.refresh_token.as_deref(), refresh)?;
    differ("no_refresh_token", expect.no_refresh_token, Some(refresh.is_none()))?;
    differ("token_type", expect.token_type.as_deref(), Some(&tokens.token_type))?;
    differ("expires_in", expect.expires_in, life(tokens.expires_at))?;
    differ("never_expires", expect.never_expires, Some(tokens.expires_at.is_none()))?;
    differ("refresh_expires_in", expect.refresh_expires_in, life(tokens.refresh_expires_at))?;
    differ("scopes", expect.scopes.as_ref(), tokens.scopes.as_ref())?;
    differ("subject", expect.subject.as_deref(), answer.subject.as_deref())?;
    same_metadata(expect, &answer.metadata)
}

fn same_metadata(expect: &Expectation, found: &BTreeMap<String, Value>) -> Outcome {
    let Some(wanted) = &expect.metadata else { return Ok(()) };
    let wanted = serde_json::to_value(wanted).map_err(|error| error.to_string())?;
    let found = serde_json::to_value(found).map_err(|error| error.to_string())?;
    differ("metadata", Some(wanted), Some(found))
}

/// The same but for the order of the query.
fn same_url(expected: &str, found: &Url) -> Outcome {
    let expected = Url::parse(expected).map_err(|error| format!("the expected URL cannot be read: {error}"))?;
    let pairs = |url: &Url| {
        let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
        pairs.sort();
        pairs
    };
    let base = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.path().to_owned());
    if base(&expected) == base(found) && pairs(&expected) == pairs(found) {
        return Ok(());
    }
    Err(format!("url:\n      expected {expected}\n      found    {found}"))
}

fn same_call(expected: Option<&RequestVector>, call: &HttpCall) -> Outcome {
    let Some(expected) = expected else { return Ok(()) };
    same_url(&expected.url, &call.url)?;
    let wanted = expected.method.as_deref().unwrap_or("POST");
    differ("method", Some(wanted), Some(method_word(call.method)))?;
    for (name, value) in &expected.headers {
        let name = name.to_ascii_lowercase();
        let found = call.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        differ(&format!("header {name}"), Some(value.as_str()), Some(found.unwrap_or("(not sent)")))?;
    }
    same_body(expected, call)
}

fn same_body(expected: &RequestVector, call: &HttpCall) -> Outcome {
    if let Some(form) = &expected.form {
        let found = form_urlencoded::parse(&call.body).into_owned().collect();
        return differ("form", Some(form.clone()), Some(found));
    }
    if let Some(json) = &expected.json {
        let wanted = serde_json::to_value(json).map_err(|error| error.to_string())?;
        let found = serde_json::from_slice::<Value>(&call.body).map_err(|error| format!("the body is not JSON: {error}"))?;
        return differ("json", Some(wanted), Some(found));
    }
    if call.body.is_empty() { Ok(()) } else { Err("has a body; compare it by `form` or `json`".to_owned()) }
}

fn method_word(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    }
}

fn class_word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::NotSent => "not_sent",
        FailureClass::DeadGrant => "dead_grant",
        FailureClass::IntegrationBroken => "integration_broken",
        FailureClass::Misconfigured => "misconfigured",
        FailureClass::Throttled => "throttled",
        FailureClass::InDoubt => "in_doubt",
    }
}

fn callback_failure(error: &CallbackError) -> (&'static str, Option<&str>) {
    match error {
        CallbackError::Denied => ("denied", None),
        CallbackError::ProviderError(code) => ("provider_error", Some(code)),
        CallbackError::Malformed(_) => ("malformed", None),
        CallbackError::WrongIssuer => ("wrong_issuer", None),
    }
}
