//! Providers of one's own over HTTP: define, list, remove.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::defined_provider::DefinedProvider;
use crate::domain::refusal::Refusal;
use crate::services::catalogue::card::ProviderCard;
use crate::services::defined::Own;
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::fields::TextBody;

use super::health::Nothing;

/// A definition may be the body itself; `provider` stands in the query then.
pub const TOML: TextBody = TextBody { media_type: "application/toml", field: "definition" };

#[derive(Deserialize, ToSchema)]
pub struct DefineProvider {
    /// Your name for it: lower-case letters, digits, `-`, `_`, `.`. None that the catalogue has.
    #[schema(example = "our-idp")]
    provider: String,
    /// What docs/provider-file.md describes: TOML as text, or an object with the same keys. With `issuer`, the URLs may be left out.
    #[schema(value_type = Object, example = json!({"name": "Our IdP", "issuer": "https://id.example.com"}))]
    definition: Value,
}

#[derive(Serialize, ToSchema)]
pub struct ProviderDefined {
    #[serde(flatten)]
    card: ProviderCard,
    /// Register exactly this at the provider; null where no end user is sent back: with `device_code`, and where nobody is asked.
    redirect_uri: Option<String>,
    /// As you sent it.
    definition: String,
}

#[derive(Serialize, ToSchema)]
pub struct DefinedSummary {
    provider: String,
    /// As you sent it.
    definition: String,
    #[schema(value_type = String, format = DateTime)]
    defined_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct DefinedList {
    defined_providers: Vec<DefinedSummary>,
}

#[derive(Deserialize, ToSchema)]
pub struct RemoveProvider {
    provider: String,
}

#[derive(Serialize, ToSchema)]
pub struct ProviderRemoved {
    provider: String,
    removed: bool,
}

/// Define a provider of your own. Again: replaces it. Everything that is wrong with it is said at once. While an integration of it is enabled or has connections, it may not change where secrets go.
#[utoipa::path(
    post,
    path = "/define-provider",
    tag = "catalogue",
    params(("provider" = Option<String>, Query, description = "Your name for it, where the body is TOML.")),
    request_body(
        content((DefineProvider = "application/json"), (String = "application/toml")),
        description = "As fields; or the TOML itself, with `provider` in the query."
    ),
    responses((status = 200, body = ProviderDefined))
)]
pub async fn define(state: Shared, caller: Caller, body: DefineProvider) -> Result<Answer, Refusal> {
    let definition = match body.definition {
        Value::String(text) => text,
        object => object.to_string(),
    };
    let Own { record, provider } = state.defined.define(&caller, &body.provider, definition).await?;
    let redirect_uri = state.integrations.redirect_uri_of(&caller, &provider, None)?;
    Answer::ok(&ProviderDefined {
        card: ProviderCard::from(provider.as_ref()),
        redirect_uri,
        definition: record.definition.clone(),
    })
}

/// List the providers you have defined.
#[utoipa::path(get, path = "/defined-providers", tag = "catalogue", responses((status = 200, body = DefinedList)))]
pub async fn list(state: Shared, caller: Caller, _nothing: Nothing) -> Result<Answer, Refusal> {
    let defined = state.defined.list(&caller).await?;
    Answer::ok(&DefinedList { defined_providers: defined.into_iter().map(DefinedSummary::from).collect() })
}

/// Forget a provider you have defined. Its connections must be ended and its integrations disabled before.
#[utoipa::path(post, path = "/remove-provider", tag = "catalogue", request_body = RemoveProvider, responses((status = 200, body = ProviderRemoved)))]
pub async fn remove(state: Shared, caller: Caller, body: RemoveProvider) -> Result<Answer, Refusal> {
    let id = state.defined.remove(&caller, &body.provider).await?;
    Answer::ok(&ProviderRemoved { provider: id.to_string(), removed: true })
}

impl From<DefinedProvider> for DefinedSummary {
    fn from(record: DefinedProvider) -> Self {
        Self {
            provider: record.id.to_string(),
            definition: record.definition,
            defined_at: record.defined_at,
            updated_at: record.updated_at,
        }
    }
}
