//! Signs a call that is built: adds the protocol's params where the provider wants them (RFC 5849 3.1, 3.5).

use url::Url;

use crate::domain::call::{HttpCall, Method};
use crate::domain::provider::oauth1::{ParamsIn, SignatureMethod};
use crate::oauth::request::BuildError;

use super::base_string::{base_string, encode};
use super::signature::{Key, signature};

const FORM: &str = "application/x-www-form-urlencoded";

/// What goes with every signature of one client.
pub struct Signer<'a> {
    pub method: SignatureMethod,
    pub params_in: ParamsIn,
    pub realm: &'a str,
    pub consumer_key: &'a str,
    pub key: Key<'a>,
    /// Empty before there is one.
    pub token: &'a str,
    /// Unlike that of any other call of this second.
    pub nonce: &'a str,
    /// Seconds since 1970.
    pub timestamp: i64,
}

impl Signer<'_> {
    /// `own`: what this step has besides (`oauth_callback`, `oauth_verifier`).
    pub fn sign(&self, mut call: HttpCall, own: &[(&str, &str)]) -> Result<HttpCall, BuildError> {
        let timestamp = self.timestamp.to_string();
        let mut protocol = vec![
            ("oauth_consumer_key", self.consumer_key),
            ("oauth_nonce", self.nonce),
            ("oauth_signature_method", self.method.as_str()),
            ("oauth_timestamp", timestamp.as_str()),
            ("oauth_version", "1.0"),
        ];
        protocol.extend((!self.token.is_empty()).then_some(("oauth_token", self.token)));
        protocol.extend_from_slice(own);
        let form: &[u8] = if is_form(&call) { &call.body } else { b"" };
        let signature = signature(self.method, &self.key, &base_string(call.method.as_str(), &call.url, &protocol, form))?;
        protocol.push(("oauth_signature", &signature));
        protocol.sort_unstable();
        match self.params_in {
            ParamsIn::Header => self.to_header(&mut call, &protocol)?,
            ParamsIn::Body if takes_form(&call) => to_body(&mut call, &protocol),
            ParamsIn::Query | ParamsIn::Body => to_query(&mut call.url, &protocol),
        }
        Ok(call)
    }

    /// 3.5.1. The realm is a quoted string (RFC 9110 5.6.4), so what would end it is not sent.
    fn to_header(&self, call: &mut HttpCall, protocol: &[(&str, &str)]) -> Result<(), BuildError> {
        let plain = |b: u8| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\';
        if !self.realm.bytes().all(plain) {
            return Err(BuildError::BadHeader("authorization".to_owned()));
        }
        let realm = (!self.realm.is_empty()).then(|| format!("realm=\"{}\"", self.realm));
        let params = protocol.iter().map(|(name, value)| format!("{name}=\"{}\"", encode(value)));
        let value = format!("OAuth {}", realm.into_iter().chain(params).collect::<Vec<_>>().join(", "));
        call.headers.retain(|(name, _)| name != "authorization");
        call.headers.push(("authorization".to_owned(), value));
        Ok(())
    }
}

/// 3.5.3, after what is there.
fn to_query(url: &mut Url, protocol: &[(&str, &str)]) {
    let query = url.query().filter(|query| !query.is_empty()).map(str::to_owned);
    url.set_query(Some(&query.into_iter().chain([encoded(protocol)]).collect::<Vec<_>>().join("&")));
}

/// 3.5.2, after what is there.
fn to_body(call: &mut HttpCall, protocol: &[(&str, &str)]) {
    if call.body.is_empty() {
        call.headers.retain(|(name, _)| name != "content-type");
        call.headers.push(("content-type".to_owned(), FORM.to_owned()));
    } else {
        call.body.push(b'&');
    }
    call.body.extend_from_slice(encoded(protocol).as_bytes());
}

fn encoded(protocol: &[(&str, &str)]) -> String {
    protocol.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// 3.4.1.3.1: only of a form are the body's params signed.
fn is_form(call: &HttpCall) -> bool {
    call.headers.iter().any(|(name, value)| name == "content-type" && value == FORM)
}

fn takes_form(call: &HttpCall) -> bool {
    matches!(call.method, Method::Post | Method::Put) && (call.body.is_empty() || is_form(call))
}
