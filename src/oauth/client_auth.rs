//! How a client proves itself at an endpoint (RFC 6749 2.3): in the body, by Basic, or by its id alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use crate::domain::provider::RequestSpec;
use crate::domain::provider::request::{BasicEncoding, ClientAuth};
use crate::domain::provider::template::{Template, Values};
use crate::domain::secret::ExposeSecret;

use super::client::Client;
use super::request::BuildError;

/// What the proof adds to a call.
pub(super) struct Proof<'a> {
    pub params: Vec<(&'static str, &'a str)>,
    pub authorization: Option<String>,
}

pub(super) fn prove<'a>(spec: &RequestSpec, client: &Client<'a>, values: &Values<'_>) -> Result<Proof<'a>, BuildError> {
    let id = ("client_id", client.client_id);
    let secret = client.client_secret.map(ExposeSecret::expose_secret);
    let (params, authorization) = match (spec.client_auth, secret) {
        (ClientAuth::Off, _) => (Vec::new(), None),
        (ClientAuth::Public, _) | (ClientAuth::Post | ClientAuth::Basic, None) => (vec![id], None),
        (ClientAuth::Post, Some(secret)) => (vec![id, ("client_secret", secret)], None),
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
