//! API keys over HTTP.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::api_key::ApiKey;
use crate::domain::caller::Caller;
use crate::domain::refusal::Refusal;
use crate::domain::scope::{Scope, Scopes};
use crate::services::api_keys::NewApiKey;
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

use super::health::Nothing;

#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateApiKey {
    /// What the key is for, in your words.
    #[schema(example = "production backend", min_length = 1, max_length = 100)]
    name: String,
    /// What it may do; `admin` (everything) when left out.
    #[serde(default, deserialize_with = "lenient::list")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["tokens:read"]))]
    scopes: Option<Vec<String>>,
    /// Seconds until it ends; without it, it does not end.
    #[serde(default, deserialize_with = "lenient::number")]
    #[schema(value_type = Option<u64>)]
    expires_in: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyView {
    id: String,
    name: String,
    scopes: Vec<&'static str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The key itself: only in the answer that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ApiKeyList {
    api_keys: Vec<ApiKeyView>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct RevokeApiKey {
    id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyRevoked {
    id: String,
    revoked: bool,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        let scopes = key.scopes.iter().map(Scope::as_str).collect();
        Self { id: key.id, name: key.name, scopes, created_at: key.created_at, expires_at: key.expires_at, key: None }
    }
}

/// Make an API key. The answer is the only place where it is ever shown.
#[utoipa::path(post, path = "/create-api-key", tag = "accounts", request_body = CreateApiKey, responses((status = 201, body = ApiKeyView)))]
pub async fn create(state: Shared, caller: Caller, body: CreateApiKey) -> Result<Answer, Refusal> {
    let scopes = body.scopes.map_or_else(|| Ok(Scopes::admin()), |names| Scopes::parse(names.iter().map(String::as_str)))?;
    let new = NewApiKey { name: body.name, scopes, expires_in: body.expires_in.map(Duration::from_secs) };
    let (key, text) = state.api_keys.create(&caller, new).await?;
    Answer::created(&ApiKeyView { key: Some(text.expose_secret().to_owned()), ..key.into() })
}

/// List your API keys, without the keys themselves.
#[utoipa::path(get, path = "/api-keys", tag = "accounts", responses((status = 200, body = ApiKeyList)))]
pub async fn list(state: Shared, caller: Caller, _nothing: Nothing) -> Result<Answer, Refusal> {
    let keys = state.api_keys.list(&caller).await?;
    Answer::ok(&ApiKeyList { api_keys: keys.into_iter().map(ApiKeyView::from).collect() })
}

/// End an API key. Every node refuses it within a second.
#[utoipa::path(post, path = "/revoke-api-key", tag = "accounts", request_body = RevokeApiKey, responses((status = 200, body = ApiKeyRevoked)))]
pub async fn revoke(state: Shared, caller: Caller, body: RevokeApiKey) -> Result<Answer, Refusal> {
    state.api_keys.revoke(&caller, &body.id).await?;
    Answer::ok(&ApiKeyRevoked { id: body.id, revoked: true })
}
