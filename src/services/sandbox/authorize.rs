//! The authorization request and the decision on it (RFC 6749 4.1.1, 4.1.2; RFC 7636; RFC 9207).

use super::clients::{ClientId, RedirectUri};
use super::grants::{AccountName, Grant, Stage};
use super::issue::CodeRecord;
use super::records::{Change, Place, fingerprint};
use super::scopes::ScopeSet;
use super::{CODE_LIFE, CODE_MEMORY, Sandbox, SandboxError};
use crate::domain::secret::ExposeSecret;
use crate::ports::entropy::random;

/// Longest `state`, in bytes.
pub const STATE_MAX: usize = 2048;

/// The request as it came, each field once or not at all.
#[derive(Debug, Default)]
pub struct AuthorizeFields {
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub response_type: Option<String>,
    pub scope: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    /// A field other than the first two came more than once.
    pub repeated: bool,
}

/// A request that is in order; only [`Sandbox::check`] makes one.
#[derive(Debug)]
pub struct AuthorizationRequest {
    client: ClientId,
    redirect: RedirectUri,
    state: Option<String>,
    scopes: ScopeSet,
    challenge: String,
}

/// Why a request is not in order, and who can be told.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// Where to send the browser back to is not known: a page tells the person.
    Page(&'static str),
    /// The client is told: the browser goes to this address (RFC 6749 4.1.2.1).
    Return(String),
}

/// An error code of RFC 6749 4.1.2.1 and a sentence.
type Wrong = (&'static str, &'static str);

impl AuthorizationRequest {
    fn check_rest(fields: &AuthorizeFields) -> Result<(ScopeSet, String), Wrong> {
        let invalid = |why| Err(("invalid_request", why));
        if fields.repeated {
            return invalid("a parameter came more than once");
        }
        match fields.response_type.as_deref() {
            None => return invalid("response_type is missing"),
            Some("code") => {}
            Some(_) => return Err(("unsupported_response_type", "response_type must be code")),
        }
        let scopes = ScopeSet::parse(fields.scope.as_deref().unwrap_or_default());
        let scopes = scopes.map_err(|_| ("invalid_scope", "scope names something that the sandbox does not have"))?;
        let Some(challenge) = fields.code_challenge.as_deref() else {
            return invalid("code_challenge is missing: PKCE is required");
        };
        // RFC 7636 4.3: without a method it would be `plain`.
        if fields.code_challenge_method.as_deref() != Some("S256") {
            return invalid("code_challenge_method must be S256");
        }
        if !is_s256(challenge) {
            return invalid("code_challenge must be 43 characters of base64url");
        }
        Ok((scopes, challenge.to_owned()))
    }

    pub fn client(&self) -> &ClientId {
        &self.client
    }

    pub fn redirect(&self) -> &RedirectUri {
        &self.redirect
    }

    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    pub fn challenge(&self) -> &str {
        &self.challenge
    }
}

impl Sandbox {
    /// Judges a request to authorize.
    pub fn check(&self, fields: AuthorizeFields) -> Result<AuthorizationRequest, AuthorizeError> {
        let page = AuthorizeError::Page;
        let client = fields.client_id.as_deref().and_then(ClientId::parse);
        let client = client.ok_or(page("client_id must be given once and have 1 to 200 printable ASCII characters."))?;
        let redirect = fields.redirect_uri.as_deref().and_then(RedirectUri::parse);
        let redirect = redirect.ok_or(page(
            "redirect_uri must be given once and be an absolute https address (http on loopback), at most 2048 characters, \
             without fragment, user name or password.",
        ))?;
        // A state that cannot be echoed whole cannot be sent back at all.
        if fields.state.as_ref().is_some_and(|state| state.len() > STATE_MAX) {
            return Err(page("state must have at most 2048 bytes."));
        }
        let (scopes, challenge) = AuthorizationRequest::check_rest(&fields).map_err(|(error, why)| {
            let answer = [("error", error), ("error_description", why)];
            AuthorizeError::Return(self.back(&redirect, fields.state.as_deref(), &answer))
        })?;
        Ok(AuthorizationRequest { client, redirect, state: fields.state, scopes, challenge })
    }

    /// `account` says yes: makes the code, and answers where the browser goes with it.
    pub async fn allow(&self, request: AuthorizationRequest, account: AccountName) -> Result<String, SandboxError> {
        let code = self.secret("sbx_code_")?;
        let id = hex::encode(random::<16>(&*self.entropy)?);
        let expires_at = self.clock.now() + CODE_LIFE;
        let grant = Grant {
            client: request.client,
            account,
            scopes: request.scopes,
            stage: Stage::Coded { redirect_uri: request.redirect.as_str().to_owned(), challenge: request.challenge, expires_at },
            token_calls: 0,
            ends_at: Some(expires_at),
        };
        let mut change = Change::default();
        self.records.put(&mut change, (Place::Grant(&id), None), &grant, grant.memory())?;
        let hash = fingerprint(&code);
        self.records.put(&mut change, (Place::Code(&hash), None), &CodeRecord { grant: id.clone() }, Some(CODE_MEMORY))?;
        // Both keys are new and random.
        if !self.records.commit(change).await? {
            return Err(SandboxError::Contended);
        }
        Ok(self.back(&request.redirect, request.state.as_deref(), &[("code", code.expose_secret())]))
    }

    /// Says no: where the browser goes with that.
    pub fn deny(&self, request: &AuthorizationRequest) -> String {
        let denied = [("error", "access_denied"), ("error_description", "the user declined")];
        self.back(&request.redirect, request.state(), &denied)
    }

    fn back(&self, redirect: &RedirectUri, state: Option<&str>, answer: &[(&str, &str)]) -> String {
        let mut params = answer.to_vec();
        params.extend(state.map(|state| ("state", state)));
        params.push(("iss", &self.issuer));
        redirect.with(&params)
    }
}

/// 32 bytes in base64url without padding.
fn is_s256(challenge: &str) -> bool {
    challenge.len() == 43 && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
