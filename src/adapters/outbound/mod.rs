//! The [`Outbound`] port over reqwest: one fresh client per call, no redirect, retry, proxy, cookie
//! or compression, a size limit while reading, and the egress guard. It tells apart what was not
//! sent from what is in doubt; it knows nothing of OAuth.

mod address;
mod egress;
mod resolver;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use reqwest::{Client, Request, Response};
use rustls::{ClientConfig, RootCertStore};
use tower::BoxError;
use tower::util::MapResultLayer;

use self::egress::Destination;
pub use self::egress::{Allow, AllowError, EgressPolicy, Loopback};
use self::resolver::{Guard, Names, SystemNames};
use crate::domain::call::{HttpAnswer, HttpCall, Method};
use crate::ports::outbound::{ANSWER_MAX, CallError, Outbound};

/// Headers that belong to the connection; a caller that sets one could smuggle a second request.
const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// Who calls, where the caller does not say: many providers refuse or throttle who does not.
const PRODUCT: &str = concat!("claviger/", env!("CARGO_PKG_VERSION"));

/// The end of a deadline, kept for a process that was stopped until it was over: it finds the answer
/// waiting, and has so long to read it. The answer may hold the only copy of a rotated token.
const LAST_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("TLS for outgoing calls cannot be set up: {0}")]
pub struct TlsSetupError(#[from] rustls::Error);

/// Calls providers.
pub struct ReqwestOutbound {
    tls: ClientConfig,
    policy: Arc<EgressPolicy>,
    names: Arc<dyn Names>,
    user_agent: HeaderValue,
}

impl ReqwestOutbound {
    /// `contact` is where a provider finds out who runs this, if that can be reached at all: every call names it.
    pub fn new(policy: EgressPolicy, contact: Option<&str>) -> Result<Self, TlsSetupError> {
        let (policy, names) = (Arc::new(policy), Arc::new(SystemNames));
        Ok(Self { tls: tls()?, policy, names, user_agent: user_agent(contact) })
    }

    /// A client for one call. Building one costs microseconds, since the TLS settings are ready, and
    /// with its own guard and mark nothing of one call can reach another.
    fn client(&self, to: Destination, connected: &Connected) -> Result<Client, reqwest::Error> {
        let guard = Guard { names: self.names.clone(), policy: self.policy.clone(), to };
        let mark = connected.clone();
        #[expect(clippy::disallowed_methods, reason = "the one place that builds an HTTP client")]
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .dns_resolver(guard)
            .connector_layer(MapResultLayer::new(move |result: Result<_, BoxError>| {
                result.and_then(|connection| mark.set().map(|()| connection))
            }))
            .build()
    }
}

#[async_trait]
impl Outbound for ReqwestOutbound {
    async fn call(&self, call: HttpCall, deadline: Duration) -> Result<HttpAnswer, CallError> {
        let to = self.policy.admit(&call.url).map_err(|why| CallError::NotSent(why.to_string()))?;
        let mut request = request(call)?;
        // A provider's file may name itself otherwise, where the provider has its own idea of a good name.
        request.headers_mut().entry(http::header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let connected = Connected::until(deadline);
        let client = self.client(to, &connected).map_err(|why| CallError::NotSent(cause(why)))?;
        let mut exchange = std::pin::pin!(exchange(&client, request));
        let last = LAST_LOOK.min(deadline / 4);
        let answer = match tokio::time::timeout(deadline - last, exchange.as_mut()).await {
            Err(_) => tokio::time::timeout(last, exchange).await,
            answered => answered,
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => Err(connected.judge(why)),
            Err(_) => Err(connected.judge(format!("nothing whole within {} ms", deadline.as_millis()))),
        }
    }
}

/// Set once TCP and TLS stand. The request is written after that and never before, so while this
/// is unset the provider cannot have seen it. It is not set once the deadline has passed: a process that
/// was stopped while it connected must not send what nobody counts on any more.
#[derive(Clone)]
struct Connected {
    stands: Arc<AtomicBool>,
    until: Instant,
}

impl Connected {
    fn until(deadline: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "timeouts run on the same clock")]
        let now = Instant::now();
        Self { stands: Arc::default(), until: now + deadline }
    }

    fn set(&self) -> Result<(), BoxError> {
        #[expect(clippy::disallowed_methods, reason = "timeouts run on the same clock")]
        if Instant::now() > self.until {
            return Err("connected after the deadline".into());
        }
        self.stands.store(true, Ordering::Release);
        Ok(())
    }

    fn judge(&self, why: String) -> CallError {
        if self.stands.load(Ordering::Acquire) { CallError::InDoubt(why) } else { CallError::NotSent(why) }
    }
}

/// The system's roots, so that an operator's own authority counts and a distrusted one does not;
/// where the system has none (a bare container), the compiled-in set of Mozilla's.
fn tls() -> Result<ClientConfig, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if taken == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// RFC 9110 10.1.5: the product, and in a comment whom to turn to.
fn user_agent(contact: Option<&str>) -> HeaderValue {
    let named = contact.and_then(|contact| HeaderValue::from_str(&format!("{PRODUCT} (+{contact})")).ok());
    named.unwrap_or_else(|| HeaderValue::from_static(PRODUCT))
}

fn request(call: HttpCall) -> Result<Request, CallError> {
    let method = match call.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    };
    let mut request = Request::new(method, call.url);
    for (name, value) in call.headers {
        let (name, value) = header(&name, &value)?;
        request.headers_mut().append(name, value);
    }
    if !call.body.is_empty() {
        *request.body_mut() = Some(call.body.into());
    } else if matches!(call.method, Method::Post | Method::Put) {
        // RFC 9110 §8.6; some servers refuse a POST that does not say how long it is.
        request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), CallError> {
    let refused = || CallError::NotSent(format!("the header `{}` cannot be sent", name.escape_debug()));
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    if OURS.contains(&header.as_str()) {
        return Err(refused());
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok((header, value))
}

async fn exchange(client: &Client, request: Request) -> Result<HttpAnswer, String> {
    let mut response = client.execute(request).await.map_err(cause)?;
    let status = response.status().as_u16();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let body = body(&mut response).await?;
    Ok(HttpAnswer { status, headers, body })
}

/// The body, whole or not at all: a shortened one could still parse.
async fn body(response: &mut Response) -> Result<Vec<u8>, String> {
    let too_long = || format!("the answer is longer than {} KiB", ANSWER_MAX / 1024);
    if response.content_length().is_some_and(|length| length > ANSWER_MAX as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cause)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// What went wrong, without the URL, whose query can hold a secret.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut told = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        told = format!("{told}: {inner}");
        source = inner.source();
    }
    told
}
