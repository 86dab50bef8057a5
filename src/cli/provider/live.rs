//! `claviger provider test --live`: walks the real flow with a developer's own client, on this machine alone.
//! Tokens are used and shown by their length; nothing is kept.

mod device;
mod introspect;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use tokio::sync::mpsc;
use url::form_urlencoded;

use crate::adapters::outbound::{EgressPolicy, Loopback, ReqwestOutbound};
use crate::adapters::system::{SystemClock, SystemEntropy};
use crate::cli::failure::Failure;
use crate::cli::out;
use crate::domain::call::{HttpAnswer, HttpCall};
use crate::domain::connection::Tokens;
use crate::domain::link::TemporaryCredentials;
use crate::domain::provider::request::ClientSecret;
use crate::domain::provider::{GrantType, NeededBy, Provider, RefreshClass, RefreshWith, SettledParams};
use crate::domain::secret::{ExposeSecret as _, SecretString};
use crate::domain::tokens::{FailureClass, ProviderFailure, TokenAnswer};
use crate::oauth::authorize_url::{self, AuthorizeInput};
use crate::oauth::callback::{self, ValidCallback};
use crate::oauth::client::{Client, Moment, NOTHING};
use crate::oauth::id_token;
use crate::oauth::oauth1;
use crate::oauth::pkce::Pkce;
use crate::oauth::token_request::{self, Authorization};
use crate::oauth::token_response::{judge_exchange, judge_extend, judge_refresh, judge_revoke};
use crate::ports::clock::Clock as _;
use crate::ports::entropy::random;
use crate::ports::outbound::Outbound as _;

/// What the developer brings.
pub struct Live {
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    pub listen: SocketAddr,
    /// As it is registered at the provider, where it is not the address this listens on.
    pub redirect_uri: Option<String>,
    pub scopes: Vec<String>,
    pub params: BTreeMap<String, String>,
    /// How long the browser may take.
    pub patience: Duration,
    pub revoke: bool,
}

type Pairs = Vec<(String, String)>;

/// One step after the other; each says what it did. The first that fails ends the walk.
pub async fn walk(provider: &Provider, live: Live) -> Result<(), Failure> {
    let outbound = ReqwestOutbound::new(EgressPolicy { loopback: Loopback::Allowed, allow: Vec::new() }, None)
        .map_err(|cause| Failure::Failed(cause.to_string()))?;
    let provider = &provider
        .clone()
        .deployed(&live.params)?
        .ok_or_else(|| Failure::Failed("this provider needs a param of the deployment: give it with --param".to_owned()))?;
    let given = of(provider, &live.params, |by| by != NeededBy::Deployment);
    let mut settled = provider.settle_params(&given, NeededBy::Integration, &BTreeMap::new())?;
    // What a link would give is asked for here as well.
    let of_link = of(provider, &live.params, |by| by == NeededBy::Link);
    settled.public.extend(provider.settle_params(&of_link, NeededBy::Link, &settled.public)?.public);
    if provider.client_secret() == ClientSecret::Required && live.client_secret.is_none() {
        let why = format!("{} hands out a secret with each client id: give it with --secret-file", provider.name());
        return Err(Failure::Failed(why));
    }
    if provider.grant().is_minted() {
        return Walk::new(provider, (outbound, live), settled, String::new()).mint().await;
    }
    let (address, callbacks) = listen(live.listen)?;
    let redirect_uri = live.redirect_uri.clone().unwrap_or_else(|| format!("http://{address}/callback"));
    let walk = Walk::new(provider, (outbound, live), settled, redirect_uri);
    let mut answer = if provider.by_device_code() {
        walk.on_device().await?
    } else {
        out::line(&format!(
            "redirect URI  {}  (register it at the provider; any path of {address} is heard)",
            walk.redirect_uri
        ))?;
        walk.exchange(&walk.consent(callbacks).await?).await?
    };
    walk.look_up(&mut answer, false).await?;
    walk.refresh(answer).await
}

/// The params that whoever `by` names would give; those that the file does not know count as the integration's.
fn of(provider: &Provider, params: &BTreeMap<String, String>, by: impl Fn(NeededBy) -> bool) -> BTreeMap<String, String> {
    let wanted = |name: &String| by(provider.spec().params.get(name).map_or(NeededBy::Integration, |param| param.needed_by));
    params.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What came of the browser's part.
struct Consent {
    valid: ValidCallback,
    pkce: Option<Pkce>,
    nonce: Option<String>,
    temporary: Option<TemporaryCredentials>,
}

struct Walk<'a> {
    provider: &'a Provider,
    outbound: ReqwestOutbound,
    clock: SystemClock,
    params: BTreeMap<String, String>,
    secret_params: BTreeMap<String, SecretString>,
    redirect_uri: String,
    live: Live,
}

impl<'a> Walk<'a> {
    fn new(
        provider: &'a Provider,
        (outbound, live): (ReqwestOutbound, Live),
        settled: SettledParams,
        redirect_uri: String,
    ) -> Self {
        let (params, secret_params) = (settled.public, settled.secret);
        Self { provider, outbound, clock: SystemClock::start(), params, secret_params, redirect_uri, live }
    }

    /// For one call: what is signed is good for no other.
    fn client(&self) -> Result<Client<'_>, Failure> {
        let moment = Moment { now: self.clock.now(), random: random(&SystemEntropy)? };
        Ok(Client {
            client_id: &self.live.client_id,
            client_secret: self.live.client_secret.as_ref(),
            params: &self.params,
            secret_params: &self.secret_params,
            redirect_uri: &self.redirect_uri,
            scopes: &self.live.scopes,
            metadata: &NOTHING,
            moment: Some(moment),
        })
    }

    /// Where no end user is asked: a token, what belongs to it, and another.
    async fn mint(&self) -> Result<(), Failure> {
        let call = token_request::mint(self.provider, &self.client()?);
        let started = self.clock.now();
        let answer = self.call("token", call.map_err(|cause| Failure::Failed(cause.to_string()))?).await?;
        let mut answer = judge_exchange(self.provider, &answer, started).map_err(refused("token"))?;
        said("token", &answer)?;
        self.look_up(&mut answer, false).await?;
        self.refresh(answer).await
    }

    /// The browser's part: out to the provider, and back to this machine.
    async fn consent(&self, mut callbacks: mpsc::Receiver<Pairs>) -> Result<Consent, Failure> {
        let pkce = Pkce::for_use(self.provider.pkce(), random(&SystemEntropy)?);
        let state = hex::encode(random::<16>(&SystemEntropy)?);
        let nonce = self.provider.wants_nonce().then(|| state.clone());
        let temporary = self.temporary_credentials(&state).await?;
        let input = AuthorizeInput {
            provider: self.provider,
            client_id: &self.live.client_id,
            redirect_uri: &self.redirect_uri,
            scopes: &self.live.scopes,
            state: &state,
            pkce_challenge: pkce.as_ref().map(|pkce| pkce.challenge.as_str()),
            nonce: nonce.as_deref(),
            params: &self.params,
        };
        let url = match &temporary {
            Some(temporary) => authorize_url::of_oauth1(&input, temporary.token.expose_secret()),
            None => authorize_url::build(&input),
        };
        let url = url.map_err(|cause| Failure::Failed(format!("the authorize URL cannot be built: {cause}")))?;
        out::line(&format!("open this     {url}"))?;
        let late = || Failure::Failed(format!("nobody came back within {} s", self.live.patience.as_secs()));
        let pairs = loop {
            let came = tokio::time::timeout(self.live.patience, callbacks.recv()).await.map_err(|_| late())?;
            let pairs = came.ok_or_else(late)?;
            if pairs.iter().any(|(name, value)| name == "state" && *value == state) {
                break pairs;
            }
            out::warn("a callback without this walk's state was not heeded");
        };
        let valid = match &temporary {
            Some(temporary) => oauth1::validate(self.provider, temporary.token.expose_secret(), &pairs),
            None => callback::validate(self.provider, self.live.client_secret.as_ref(), &pairs),
        };
        let valid = valid.map_err(|cause| Failure::Failed(cause.to_string()))?;
        let what = if temporary.is_some() { "verifier" } else { "code" };
        out::line(&format!("callback      a {what} of {} bytes{}", valid.code().expose_secret().len(), kept(valid.kept())))?;
        Ok(Consent { valid, pkce, nonce, temporary })
    }

    /// Where a flow begins with a call.
    async fn temporary_credentials(&self, state: &str) -> Result<Option<TemporaryCredentials>, Failure> {
        if self.provider.grant() != GrantType::Oauth1 {
            return Ok(None);
        }
        let client = self.client()?;
        let call = oauth1::callback_url(&self.redirect_uri, state)
            .and_then(|callback| oauth1::request_token(self.provider, &client, &callback, &self.live.scopes));
        let call = call.map_err(|cause| Failure::Failed(cause.to_string()))?;
        let started = self.clock.now();
        let raw = self.call("request-token", call).await?;
        let judged = oauth1::judge_request_token(self.provider, &raw, started).map_err(refused("request-token"))?;
        out::line(&format!("request-token a token of {} bytes", judged.token.expose_secret().len()))?;
        Ok(Some(judged))
    }

    async fn exchange(&self, consent: &Consent) -> Result<TokenAnswer, Failure> {
        let Consent { valid, pkce, nonce, temporary } = consent;
        let (verifier, temporary) = (pkce.as_ref().map(|pkce| &pkce.verifier), temporary.as_ref());
        let (code, kept, state, scopes) = (valid.code(), valid.kept(), valid.state(), self.live.scopes.as_slice());
        let flow = Authorization { code, kept, redirect_uri: &self.redirect_uri, verifier, state, scopes, temporary };
        let call = token_request::exchange(self.provider, &self.client()?, &flow);
        let started = self.clock.now();
        let raw = self.call("exchange", call.map_err(|cause| Failure::Failed(cause.to_string()))?).await?;
        let mut answer = judge_exchange(self.provider, &raw, started).map_err(refused("exchange"))?;
        if let Some(nonce) = nonce {
            id_token::check_nonce(&raw, nonce).map_err(|cause| Failure::Failed(cause.to_string()))?;
        }
        said("exchange", &answer)?;
        answer.metadata.extend(kept.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
        self.look_up(&mut answer, true).await?;
        let call = token_request::extend(self.provider, &self.client()?, &answer);
        let Some(call) = call.map_err(|cause| Failure::Failed(cause.to_string()))? else { return Ok(answer) };
        let started = self.clock.now();
        let longer = judge_extend(self.provider, &self.call("extend", call).await?, started).map_err(refused("extend"))?;
        said("extend", &longer)?;
        Ok(answer.extended(longer))
    }

    /// Those that come before `[extend]`, or the others.
    async fn look_up(&self, answer: &mut TokenAnswer, first: bool) -> Result<(), Failure> {
        for step in self.provider.spec().after_connect.iter().filter(|step| step.first == first) {
            let lookup = token_request::look_up(self.provider, step, &self.client()?, answer);
            let Some(lookup) = lookup.map_err(|cause| Failure::Failed(cause.to_string()))? else { continue };
            let started = self.clock.now();
            let raw = self.call(lookup.name(), lookup.call.clone()).await?;
            match lookup.read(&raw, started) {
                Ok(found) => {
                    let names: Vec<&str> = found.metadata.keys().map(String::as_str).collect();
                    let subject = found.subject.map(|_| ", and who connected").unwrap_or_default();
                    out::line(&format!("look-up       {}: {}{subject}", lookup.name(), names.join(", ")))?;
                    answer.metadata.extend(found.metadata);
                }
                Err(failure) if lookup.is_optional() => {
                    out::line(&format!("look-up       {}: {} (optional)", lookup.name(), failure.code))?
                }
                Err(failure) => return Err(refused(lookup.name())(failure)),
            }
        }
        Ok(())
    }

    /// Once for each token set that can be, then the revocation that was asked for.
    async fn refresh(&self, answer: TokenAnswer) -> Result<(), Failure> {
        self.introspect(&answer).await?;
        let client = self.client()?.knowing(&answer.metadata);
        for (name, issued) in answer.sets {
            let mut tokens = Tokens::issued(issued, None, self.clock.now(), "live");
            if !self.provider.refresh().refreshes(&tokens) {
                let why = match self.provider.refresh().class() {
                    RefreshClass::None => "there is none: a token is served while it lives",
                    _ => "there is no refresh token",
                };
                out::line(&format!("refresh       {name}: {why}"))?;
            } else {
                let call = token_request::refresh(self.provider, &client, &name, &tokens);
                let started = self.clock.now();
                let raw = self.call("refresh", call.map_err(|cause| Failure::Failed(cause.to_string()))?).await?;
                let mut next = judge_refresh(self.provider, &name, &raw, started).map_err(refused("refresh"))?;
                said("refresh", &next)?;
                if let Some(issued) = next.sets.remove(&name) {
                    let rotated = issued
                        .refresh_token
                        .as_ref()
                        .is_some_and(|new| tokens.refresh.as_ref().is_none_or(|old| old.expose_secret() != new.expose_secret()));
                    if self.provider.refresh().with() == RefreshWith::RefreshToken {
                        out::line(&format!(
                            "              {name}: the refresh token {}",
                            if rotated { "rotated" } else { "stayed the same" }
                        ))?;
                    }
                    let refresh = issued.refresh_token.clone().or(tokens.refresh.take());
                    tokens = Tokens { refresh, ..Tokens::issued(issued, None, started, "live") };
                }
            }
            if self.live.revoke {
                self.revoke(&client, &tokens).await?;
            }
        }
        Ok(())
    }

    async fn revoke(&self, client: &Client<'_>, tokens: &Tokens) -> Result<(), Failure> {
        let call = token_request::revoke(self.provider, client, tokens);
        match call.map_err(|cause| Failure::Failed(cause.to_string()))? {
            None => out::line("revoke        the provider's file has no call for it"),
            Some(call) => {
                let raw = self.call("revoke", call).await?;
                judge_revoke(self.provider, &raw, self.clock.now()).map_err(refused("revoke"))?;
                out::line("revoke        done")
            }
        }
    }

    async fn call(&self, step: &str, call: HttpCall) -> Result<HttpAnswer, Failure> {
        const DEADLINE: Duration = Duration::from_secs(20);
        self.outbound.call(call, DEADLINE).await.map_err(|cause| Failure::Failed(format!("{step}: {cause}")))
    }
}

fn refused(step: &str) -> impl FnOnce(ProviderFailure) -> Failure {
    move |ProviderFailure { status, code, class, .. }| {
        Failure::Failed(format!("{step}: the provider answered {status} {code}: {}", meaning(class)))
    }
}

/// What a refusal means, and so where to look.
fn meaning(class: FailureClass) -> &'static str {
    match class {
        FailureClass::DeadGrant => "this grant is over, or never was; a real connection would need its end user again",
        FailureClass::IntegrationBroken => "it refuses the client; look at its id, its secret or key, and `client_auth`",
        FailureClass::Misconfigured => {
            "it does not understand the request; look at what the file sends, and at --scope and --param"
        }
        FailureClass::SubjectRefused => {
            "it issues no token for this subject; look at --param, at the key, and at what was granted there"
        }
        FailureClass::Throttled => "it was asked too often; try again later",
        FailureClass::NotSent | FailureClass::InDoubt => {
            "that is no answer that the file understands; look at the URL and at `[response]`"
        }
    }
}

/// What an answer held: names, lengths and times, never a token.
fn said(step: &str, answer: &TokenAnswer) -> Result<(), Failure> {
    for (name, set) in &answer.sets {
        let refresh = set
            .refresh_token
            .as_ref()
            .map_or("no refresh token".to_owned(), |token| format!("a refresh token of {} bytes", token.expose_secret().len()));
        let ends = set.expires_at.map_or("no end named".to_owned(), |end| format!("until {end}"));
        let scopes = set.scopes.as_ref().map(|scopes| format!(", scopes {}", scopes.join(" "))).unwrap_or_default();
        let access = set.access_token.expose_secret().len();
        let with =
            set.token_secret.as_ref().map_or(refresh, |secret| format!("its secret of {} bytes", secret.expose_secret().len()));
        out::line(&format!("{step:<13} {name}: an access token of {access} bytes, {ends}, {with}{scopes}"))?;
    }
    let metadata: Vec<&str> = answer.metadata.keys().map(String::as_str).collect();
    if !metadata.is_empty() {
        out::line(&format!("              metadata: {}", metadata.join(", ")))?;
    }
    Ok(())
}

fn kept(kept: &BTreeMap<String, String>) -> String {
    let names: Vec<&str> = kept.keys().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("; kept: {}", names.join(", ")) }
}

/// Hears whatever comes back, by GET or by POST (`form_post`).
fn listen(address: SocketAddr) -> Result<(SocketAddr, mpsc::Receiver<Pairs>), Failure> {
    let (tell, heard) = mpsc::channel(8);
    let tell = Arc::new(tell);
    let server = HttpServer::new(move || {
        let tell = tell.clone();
        App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| hear(tell.clone(), request, body)))
    });
    let server =
        server.workers(1).disable_signals().bind(address).map_err(Failure::from_io(format!("{address} is not to be had")))?;
    let address = server.addrs().first().copied().unwrap_or(address);
    tokio::spawn(server.run());
    Ok((address, heard))
}

async fn hear(tell: Arc<mpsc::Sender<Pairs>>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let decoded = |bytes: &[u8]| form_urlencoded::parse(bytes).into_owned().collect::<Pairs>();
    let pairs = if request.query_string().is_empty() { decoded(&body) } else { decoded(request.query_string().as_bytes()) };
    if pairs.is_empty() {
        return HttpResponse::NotFound().body("Nothing came with this request.");
    }
    // A walk that has ended hears nothing more.
    let heard = tell.send(pairs).await.is_ok();
    HttpResponse::Ok().body(if heard { "Heard. Look at the terminal." } else { "The walk has ended." })
}

/// Reads the client secret from a file, without the line end that editors add.
pub fn secret_of(path: &std::path::Path) -> io::Result<SecretString> {
    Ok(SecretString::from(std::fs::read_to_string(path)?.trim_end_matches(['\n', '\r'])))
}
