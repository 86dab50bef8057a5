//! Runs the test vectors of a provider file: whether what would be sent and what is understood are
//! what the file's author says. Pure; the fixed words below stand for a client and its tokens.

mod compare;
mod facts;
mod flows;
pub mod keys;
mod signed;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use url::form_urlencoded;

use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::connection::Tokens;
use crate::domain::ids::TokenSetName;
use crate::domain::link::TemporaryCredentials;
use crate::domain::provider::request::ClientSecret;
use crate::domain::provider::{GrantType, NeededBy, ParamKind, PkceUse, Provider};
use crate::domain::secret::{ExposeSecret, SecretString};
use crate::domain::tokens::{IssuedTokens, Lifetime, ProviderFailure, TokenAnswer};

use super::authorize_url::{self, AuthorizeInput};
use super::callback;
use super::client::{Client, Moment};
use super::introspection::{self, Untold};
use super::oauth1;
use super::provider_file::{Expectation, ProviderFile, Step, VectorShape};
use super::signed::key_of;
use super::token_request::{self, Authorization};
use super::token_response::{judge_exchange, judge_extend, judge_refresh, judge_revoke};
use compare::{callback_failure, class_word, differ, same_answer, same_call, same_metadata, same_url};

const CLIENT_ID: &str = "CLIENT";
/// Of the temporary credentials of OAuth 1.0a.
const OAUTH_TOKEN: &str = "TOKEN";
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

/// When every call of a vector begins.
fn started() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn run_one(provider: &Provider, vector: &VectorShape) -> Outcome {
    if vector.answer.is_some() && vector.expect.is_none() {
        return Err("has an `answer` but no `expect`".to_owned());
    }
    let bench = Bench::new(provider, vector);
    match vector.step {
        Step::Authorize => bench.authorize(),
        Step::Device => bench.device(),
        Step::Install => bench.install(),
        Step::RequestToken => bench.request_token(),
        Step::Callback => bench.callback(),
        Step::Exchange => bench.exchange(),
        Step::Refresh => bench.refresh(),
        Step::Extend => bench.extend(),
        Step::Introspect => bench.introspect(),
        Step::Revoke => bench.revoke(),
        Step::AfterConnect => bench.after_connect(),
        Step::Error => bench.error(),
        Step::Facts => facts::hold(provider, vector.facts.as_ref()),
    }
}

/// A vector with the client and the tokens that it plays with.
struct Bench<'a> {
    provider: &'a Provider,
    vector: &'a VectorShape,
    secret: Option<SecretString>,
    params: BTreeMap<String, String>,
    secret_params: BTreeMap<String, SecretString>,
    metadata: BTreeMap<String, Value>,
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
            if param.kind == ParamKind::PrivateKey {
                secret_params.insert(param.name.clone(), keys::of(provider, &param.name).into());
                continue;
            }
            let given = vector.params.get(&param.name).or(param.default.as_ref()).or(param.example.as_ref()).or(first_option);
            match given {
                Some(value) if param.secret => _ = secret_params.insert(param.name.clone(), value.as_str().into()),
                Some(value) => _ = params.insert(param.name.clone(), value.clone()),
                None => {}
            }
        }
        let known = vector.metadata.iter().filter_map(|(name, value)| Some((name.clone(), serde_json::to_value(value).ok()?)));
        Self { provider, vector, secret: has_secret.then(|| "SECRET".into()), params, secret_params, metadata: known.collect() }
    }

    fn client(&self) -> Client<'_> {
        Client {
            client_id: CLIENT_ID,
            client_secret: self.secret.as_ref(),
            params: &self.params,
            secret_params: &self.secret_params,
            redirect_uri: REDIRECT_URI,
            scopes: &self.vector.scopes,
            metadata: &self.metadata,
            moment: Some(Moment { now: started(), random: [7; 16] }),
        }
    }

    /// What is sent is as the vector has it, and what is signed is signed with the client's keys.
    fn same_call(&self, call: &HttpCall) -> Outcome {
        let Some(expected) = &self.vector.request else { return Ok(()) };
        let signed = self.provider.spec().signed();
        let signers: Vec<_> = signed.filter_map(|jwt| key_of(self.provider, &jwt.key, &self.client()).ok()).collect();
        same_call(expected, call, &signers)
    }

    fn tokens(&self) -> Tokens {
        Tokens {
            access: "ACCESS".into(),
            refresh: Some("REFRESH".into()),
            secret: self.token_secret(),
            token_type: "Bearer".to_owned(),
            obtained_at: started(),
            expires_at: None,
            refresh_expires_at: None,
            scopes: self.vector.scopes.clone(),
            from_generation: 1,
            received_by: "test".to_owned(),
        }
    }

    /// Only where calls are signed with it.
    fn token_secret(&self) -> Option<SecretString> {
        self.provider.spec().oauth1.as_ref().map(|_| "ACCESSSECRET".into())
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
        let input = AuthorizeInput {
            provider: self.provider,
            client_id: CLIENT_ID,
            redirect_uri: REDIRECT_URI,
            scopes: &self.vector.scopes,
            state: "STATE",
            pkce_challenge: (self.provider.pkce() != PkceUse::Off).then_some("CHALLENGE"),
            nonce: self.provider.wants_nonce().then_some("NONCE"),
            params: &self.params,
        };
        let url = match self.provider.grant() {
            GrantType::Oauth1 => authorize_url::of_oauth1(&input, OAUTH_TOKEN),
            _ => authorize_url::build(&input),
        };
        same_url(expected, &url.map_err(|error| error.to_string())?)
    }

    fn request_token(&self) -> Outcome {
        let callback = oauth1::callback_url(REDIRECT_URI, "STATE").map_err(|error| error.to_string())?;
        let call = oauth1::request_token(self.provider, &self.client(), &callback, &self.vector.scopes);
        self.same_call(&call.map_err(|error| error.to_string())?)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(oauth1::judge_request_token(self.provider, &answer, started()), |expect, found| {
                differ("oauth_token", expect.oauth_token.as_deref(), Some(found.token.expose_secret()))?;
                differ("token_secret", expect.token_secret.as_deref(), Some(found.secret.expose_secret()))
            }),
        }
    }

    fn callback(&self) -> Outcome {
        let pairs = form_urlencoded::parse(self.vector.callback.as_deref().ok_or("has no `callback`")?.as_bytes());
        let pairs: Vec<_> = pairs.into_owned().collect();
        let expect = self.vector.expect.as_ref().ok_or("has no `expect`")?;
        let valid = match self.provider.grant() {
            GrantType::Oauth1 => oauth1::validate(self.provider, OAUTH_TOKEN, &pairs),
            _ => callback::validate(self.provider, self.secret.as_ref(), &pairs),
        };
        match (valid, &expect.failure) {
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
        if self.provider.by_device_code() {
            return self.poll();
        }
        let kept = match &self.vector.callback {
            None => BTreeMap::new(),
            Some(query) => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        };
        let verifier = (self.provider.pkce() != PkceUse::Off).then(|| SecretString::from("VERIFIER"));
        let flow = Authorization {
            code: &"CODE".into(),
            kept: &kept,
            redirect_uri: REDIRECT_URI,
            verifier: verifier.as_ref(),
            state: "STATE",
            scopes: &self.vector.scopes,
            temporary: Some(&TemporaryCredentials { token: OAUTH_TOKEN.into(), secret: "TOKENSECRET".into() }),
        };
        let call = if self.provider.grant().is_minted() {
            token_request::mint(self.provider, &self.client())
        } else {
            token_request::exchange(self.provider, &self.client(), &flow)
        };
        let call = call.map_err(|error| error.to_string())?;
        self.same_call(&call)?;
        match self.answer() {
            Some(answer) => self.judged(judge_exchange(self.provider, &answer, started())),
            None => Ok(()),
        }
    }

    fn refresh(&self) -> Outcome {
        let set = self.token_set()?;
        let call =
            token_request::refresh(self.provider, &self.client(), &set, &self.tokens()).map_err(|error| error.to_string())?;
        self.same_call(&call)?;
        match self.answer() {
            Some(answer) => self.judged(judge_refresh(self.provider, &set, &answer, started())),
            None => Ok(()),
        }
    }

    fn introspect(&self) -> Outcome {
        let issued = self.issued();
        let tokens = issued.sets.values().next().ok_or("no token set")?;
        let call =
            introspection::request(self.provider, &self.client(), tokens, &self.metadata).map_err(|error| error.to_string())?;
        self.same_call(&call.ok_or("the file has no `[introspect]`")?)?;
        let Some(answer) = self.answer() else { return Ok(()) };
        let wanted = self.vector.expect.as_ref().and_then(|expect| expect.failure.as_deref());
        match introspection::judge(self.provider, &answer, started(), started()) {
            Err(Untold::Inactive) => differ("failure", Some(wanted.unwrap_or("none")), Some("inactive")),
            Err(Untold::Failed(failure)) => self.outcome(Err::<(), _>(failure), |_, ()| Ok(())),
            Ok(life) => self.outcome(Ok(life), |expect, life| {
                let seconds = life.and_then(|life| i64::try_from(life.as_secs()).ok());
                differ("expires_in", expect.expires_in, seconds)
            }),
        }
    }

    fn revoke(&self) -> Outcome {
        let call = token_request::revoke(self.provider, &self.client(), &self.tokens()).map_err(|error| error.to_string())?;
        self.same_call(&call.ok_or("the file has no `[revoke]`")?)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(judge_revoke(self.provider, &answer, started()), |_, ()| Ok(())),
        }
    }

    fn extend(&self) -> Outcome {
        let call = token_request::extend(self.provider, &self.client(), &self.issued()).map_err(|error| error.to_string())?;
        self.same_call(&call.ok_or("the file has no `[extend]`")?)?;
        match self.answer() {
            Some(answer) => self.judged(judge_extend(self.provider, &answer, started())),
            None => Ok(()),
        }
    }

    /// What an exchange brought, for the steps that come after it.
    fn issued(&self) -> TokenAnswer {
        let issued = IssuedTokens {
            access_token: "ACCESS".into(),
            refresh_token: None,
            token_secret: self.token_secret(),
            token_type: "Bearer".to_owned(),
            expires_at: None,
            lifetime: Lifetime::Assumed,
            refresh_expires_at: None,
            scopes: None,
        };
        let sets = self.provider.spec().response.sets.iter().map(|set| (set.name.clone(), issued.clone())).collect();
        TokenAnswer { sets, metadata: self.metadata.clone(), subject: None }
    }

    /// The first look-up, or the one that the vector's name names.
    fn after_connect(&self) -> Outcome {
        let steps = &self.provider.spec().after_connect;
        let named = steps.iter().find(|step| self.vector.name.as_deref() == Some(&step.name));
        let step = named.or(steps.first()).ok_or("the file has no `[[after_connect]]`")?;
        let lookup =
            token_request::look_up(self.provider, step, &self.client(), &self.issued()).map_err(|error| error.to_string())?;
        let lookup = lookup.ok_or("is left out: what it needs did not come; give `metadata`")?;
        self.same_call(&lookup.call)?;
        match self.answer() {
            None => Ok(()),
            Some(answer) => self.outcome(lookup.read(&answer, started()), |expect, found| {
                same_metadata(expect, &found.metadata)?;
                differ("subject", expect.subject.as_deref(), found.subject.as_deref())
            }),
        }
    }

    /// What the file's `[errors]` make of an answer.
    fn error(&self) -> Outcome {
        let answer = self.answer().ok_or("has no `answer`")?;
        self.judged(judge_exchange(self.provider, &answer, started()))
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
