//! The demo's HTTP: each call of the tenant is shown as the `curl` it stands for.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::adapters::outbound::{EgressPolicy, Loopback, ReqwestOutbound};
use crate::domain::call::{HttpAnswer, HttpCall, Method};
use crate::ports::outbound::Outbound as _;

use super::super::failure::Failure;
use super::super::out;
use super::terminal::{fields, shortened};

const PATIENCE: Duration = Duration::from_secs(10);
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub struct Wire {
    outbound: ReqwestOutbound,
    url: String,
    api_key: SecretString,
}

pub struct Reply {
    answer: HttpAnswer,
    body: Value,
}

impl Reply {
    fn of(answer: HttpAnswer) -> Self {
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self { answer, body }
    }

    pub fn status(&self) -> u16 {
        self.answer.status
    }

    pub fn text(&self, field: &str) -> Result<&str, Failure> {
        self.body[field].as_str().ok_or_else(|| Failure::Failed(format!("the answer has no {field}")))
    }

    pub fn location(&self) -> Result<Url, Failure> {
        let url = self.answer.header("location").and_then(|url| url.parse().ok());
        url.ok_or_else(|| Failure::Failed(format!("a redirect was expected, not status {}", self.status())))
    }

    /// What a browser would send back of the cookie it was given.
    pub fn cookie(&self) -> Option<&str> {
        self.answer.header("set-cookie")?.split(';').next()
    }
}

impl Wire {
    pub fn new(url: &str, api_key: SecretString) -> Result<Self, Failure> {
        let policy = EgressPolicy { loopback: Loopback::Allowed, allow: Vec::new() };
        let outbound = ReqwestOutbound::new(policy, None).map_err(|cause| Failure::Failed(cause.to_string()))?;
        Ok(Self { outbound, url: url.to_owned(), api_key })
    }

    /// A call of the tenant's backend, shown with some fields of its answer.
    pub async fn shown(&self, path: &str, form: &[(&str, &str)], show: &[&str]) -> Result<Reply, Failure> {
        let data: Vec<String> = form.iter().map(|(name, value)| format!("-d {name}={value}")).collect();
        out::line(&format!("  $ curl -H \"$auth\" {}{path} {}", self.url, data.join(" ")))?;
        let authorization = format!("Bearer {}", self.api_key.expose_secret());
        let reply = self.post(&format!("{}{path}", self.url), form, vec![("authorization", authorization)]).await?;
        if reply.status() != 200 {
            return Err(Failure::Failed(format!("{path} answered {}: {}", reply.status(), reply.body)));
        }
        out::line(&format!("  {}", fields(&reply.body, show)))?;
        Ok(reply)
    }

    /// Uses a token at the provider, as the tenant would.
    pub async fn use_token(&self, userinfo: &str, token: &Reply, expected: u16) -> Result<(), Failure> {
        let token = token.text("access_token")?;
        let headers = vec![("authorization", format!("Bearer {token}"))];
        let reply = self.call(Method::Get, userinfo, headers, Vec::new()).await?;
        out::line(&format!("  $ curl -H \"Authorization: Bearer {}\" {userinfo}", token.get(..12).unwrap_or_default()))?;
        let said = if reply.status() == 200 { reply.body.to_string() } else { String::new() };
        out::line(&format!("  {} {}", reply.status(), shortened(&said)))?;
        if reply.status() == expected { Ok(()) } else { Err(Failure::Failed(format!("{expected} was expected at the provider"))) }
    }

    /// Opens a page that must be there.
    pub async fn page(&self, url: &str) -> Result<(), Failure> {
        match self.visit(url, None).await?.status() {
            200 => Ok(()),
            other => Err(Failure::Failed(format!("a page answered {other}"))),
        }
    }

    pub async fn visit(&self, url: &str, cookie: Option<&str>) -> Result<Reply, Failure> {
        let headers = cookie.map(|cookie| ("cookie", cookie.to_owned())).into_iter().collect();
        let reply = self.call(Method::Get, url, headers, Vec::new()).await?;
        if reply.status() < 400 { Ok(reply) } else { Err(Failure::Failed(format!("a page answered {}", reply.status()))) }
    }

    /// A button of a page, as a browser presses it.
    pub async fn press(&self, url: &str, form: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.post(url, form, vec![("sec-fetch-site", "same-origin".to_owned())]).await
    }

    async fn post(&self, url: &str, form: &[(&str, &str)], mut headers: Vec<(&str, String)>) -> Result<Reply, Failure> {
        headers.push((FORM.0, FORM.1.to_owned()));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.call(Method::Post, url, headers, body.into_bytes()).await
    }

    async fn call(&self, method: Method, url: &str, headers: Vec<(&str, String)>, body: Vec<u8>) -> Result<Reply, Failure> {
        let url = Url::parse(url).map_err(|cause| Failure::Failed(cause.to_string()))?;
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let answer = self.outbound.call(HttpCall { method, url, headers, body }, PATIENCE).await;
        answer.map(Reply::of).map_err(|cause| Failure::Failed(cause.to_string()))
    }
}
