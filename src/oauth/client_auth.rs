//! How a client proves itself at an endpoint (RFC 6749 2.3): in the body, by Basic, by what it signs (RFC 7521,
//! 7523), or by its id alone.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Url, form_urlencoded};

use crate::domain::provider::request::{BasicEncoding, ClientAuth};
use crate::domain::provider::template::{Template, Values};
use crate::domain::provider::{Provider, RequestSpec};
use crate::domain::secret::ExposeSecret;

use super::client::Client;
use super::request::BuildError;
use super::signed;

/// What the proof adds to a call.
pub(super) struct Proof<'a> {
    pub params: Vec<(&'static str, Cow<'a, str>)>,
    pub authorization: Option<String>,
}

/// RFC 7523 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `url` is where the call goes.
pub(super) fn prove<'a>(
    (provider, spec): (&Provider, &RequestSpec),
    client: &Client<'a>,
    values: &Values<'_>,
    url: &Url,
) -> Result<Proof<'a>, BuildError> {
    let id = ("client_id", Cow::from(client.client_id));
    let secret = client.client_secret.map(ExposeSecret::expose_secret);
    let (params, authorization) = match (spec.client_auth, secret) {
        (ClientAuth::Off, _) => (Vec::new(), None),
        (ClientAuth::Public, _) | (ClientAuth::Post | ClientAuth::Basic | ClientAuth::ClientSecretJwt, None) => (vec![id], None),
        (ClientAuth::Post, Some(secret)) => (vec![id, ("client_secret", secret.into())], None),
        (ClientAuth::PrivateKeyJwt, _) | (ClientAuth::ClientSecretJwt, Some(_)) => {
            let assertion = signed::client_assertion(provider, client, values, url)?;
            (vec![id, ("client_assertion_type", ASSERTION_TYPE.into()), ("client_assertion", assertion.into())], None)
        }
        (ClientAuth::Basic, Some(secret)) => {
            let params = if spec.client_id_in_body { vec![id] } else { Vec::new() };
            let half = |own: &Option<Template>, standard: &str| match own {
                Some(template) => template.render(values),
                None => Ok(standard.to_owned()),
            };
            let (user, pass) = (half(&spec.basic_user, client.client_id)?, half(&spec.basic_pass, secret)?);
            (params, Some(basic(spec.basic, &user, &pass)?))
        }
    };
    Ok(Proof { params, authorization })
}

fn basic(encoding: BasicEncoding, id: &str, secret: &str) -> Result<String, BuildError> {
    let pair = match encoding {
        BasicEncoding::Form => format!("{}:{}", form_encoded(id), form_encoded(secret)),
        // The first colon ends the user name (RFC 7617 2), so an id with one would be read as another client.
        BasicEncoding::Raw if id.contains(':') => return Err(BuildError::BadHeader("authorization".to_owned())),
        BasicEncoding::Raw => format!("{id}:{secret}"),
    };
    Ok(format!("Basic {}", STANDARD.encode(pair)))
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
