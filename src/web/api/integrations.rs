//! Integrations over HTTP: enable, list, disable. No answer holds a secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::integration::Confirm;
use crate::domain::refusal::Refusal;
use crate::services::integrations::{EnableProvider, Enabled};
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

use super::health::Nothing;

#[derive(Deserialize, ToSchema)]
pub struct EnableProviderBody {
    #[schema(example = "sandbox")]
    provider: String,
    /// Your name for it; the provider's id when left out. Another name enables the provider a second time.
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
    /// As the provider gave it to you. On an update, what is left out stays.
    #[serde(default, deserialize_with = "lenient::text")]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = Password)]
    client_secret: Option<String>,
    /// For providers that hand out a second pair.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = Password)]
    api_key: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = Password)]
    api_secret: Option<String>,
    /// What to ask end users for: a list, or text with spaces or commas.
    #[serde(default, deserialize_with = "lenient::list")]
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<String>>,
    /// Where end users go when they are done.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(example = "https://app.example.com/connected")]
    user_redirect_url: Option<String>,
    /// Every other place that a link may name as `return_url`.
    #[serde(default, deserialize_with = "lenient::list")]
    #[schema(value_type = Option<Vec<String>>)]
    return_urls: Option<Vec<String>>,
    /// Who finishes a connection: `page` (default) or `tenant` (recommended in production).
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(example = "page")]
    confirm: Option<String>,
    /// A page of yours to which end users are sent who begin at the provider (an install in its app store): its query
    /// says `status=install`, and what the provider named. Nothing is connected by it: make a link there. `off`: none.
    #[serde(default, deserialize_with = "lenient::text")]
    install_url: Option<String>,
    /// The provider's own settings, by name; `GET /providers/{id}` lists them.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    params: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IntegrationView {
    provider: String,
    integration: String,
    integration_id: String,
    client_id: String,
    scopes: Vec<String>,
    user_redirect_url: Option<String>,
    return_urls: Vec<String>,
    /// `page` or `tenant`.
    #[schema(value_type = String)]
    confirm: Confirm,
    /// Where installs that begin at the provider go; without it they are refused.
    install_url: Option<String>,
    /// The provider's own settings, those that are no secrets.
    settings: BTreeMap<String, String>,
    /// Register exactly this at the provider; null where no end user is sent back: with `device_code`, and where nobody is asked.
    redirect_uri: Option<String>,
    warnings: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IntegrationList {
    enabled_providers: Vec<IntegrationView>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct DisableProvider {
    provider: String,
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderDisabled {
    provider: String,
    integration: String,
    enabled: bool,
}

/// Enable a provider with your own client. Again: updates it. The answer names the redirect URI to
/// register at the provider, and warns of what will not work.
#[utoipa::path(post, path = "/enable-provider", tag = "integrations", request_body = EnableProviderBody, responses((status = 200, body = IntegrationView)))]
pub async fn enable(state: Shared, caller: Caller, body: EnableProviderBody) -> Result<Answer, Refusal> {
    let enabled = state.integrations.enable(&caller, command(body)?).await?;
    Answer::ok(&IntegrationView::from(enabled))
}

/// List the providers you have enabled.
#[utoipa::path(get, path = "/enabled-providers", tag = "integrations", responses((status = 200, body = IntegrationList)))]
pub async fn list(state: Shared, caller: Caller, _nothing: Nothing) -> Result<Answer, Refusal> {
    let enabled = state.integrations.list(&caller).await?;
    Answer::ok(&IntegrationList { enabled_providers: enabled.into_iter().map(IntegrationView::from).collect() })
}

/// Disable a provider: no new links, no tokens. Credentials and connections are kept, so that enabling
/// it again brings them back.
#[utoipa::path(post, path = "/disable-provider", tag = "integrations", request_body = DisableProvider, responses((status = 200, body = ProviderDisabled)))]
pub async fn disable(state: Shared, caller: Caller, body: DisableProvider) -> Result<Answer, Refusal> {
    let disabled = state.integrations.disable(&caller, &body.provider, body.integration.as_deref()).await?;
    Answer::ok(&ProviderDisabled {
        provider: disabled.provider.to_string(),
        integration: disabled.name.to_string(),
        enabled: false,
    })
}

fn command(body: EnableProviderBody) -> Result<EnableProvider, Refusal> {
    Ok(EnableProvider {
        provider: body.provider,
        integration: body.integration,
        client_id: body.client_id,
        client_secret: body.client_secret.map(SecretString::from),
        api_key: body.api_key.map(SecretString::from),
        api_secret: body.api_secret.map(SecretString::from),
        scopes: body.scopes,
        user_redirect_url: body.user_redirect_url,
        return_urls: body.return_urls,
        confirm: body.confirm.as_deref().map(confirm).transpose()?,
        install_url: body.install_url,
        params: texts(body.params)?,
    })
}

fn confirm(text: &str) -> Result<Confirm, Refusal> {
    match text {
        "page" => Ok(Confirm::Page),
        "tenant" => Ok(Confirm::Tenant),
        _ => Err(Refusal::field("confirm", "must be `page` or `tenant`")),
    }
}

/// A provider's own settings are text; an empty one counts as not given.
pub(super) fn texts(fields: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut params = BTreeMap::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => {
                params.insert(name, text);
            }
            Value::Number(number) => {
                params.insert(name, number.to_string());
            }
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(Refusal::field(&name, "must be text, given once")),
        }
    }
    Ok(params)
}

impl From<Enabled> for IntegrationView {
    fn from(enabled: Enabled) -> Self {
        let integration = enabled.integration.as_ref().clone();
        Self {
            provider: integration.provider.into(),
            integration: integration.name.into(),
            integration_id: integration.id.into(),
            client_id: integration.client_id,
            scopes: integration.scopes,
            user_redirect_url: integration.user_redirect_url,
            return_urls: integration.return_urls,
            confirm: integration.confirm,
            install_url: integration.install_url,
            settings: integration.params,
            redirect_uri: enabled.redirect_uri,
            warnings: enabled.warnings,
            created_at: integration.created_at,
            updated_at: integration.updated_at,
        }
    }
}
