//! The catalogue over HTTP.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::refusal::Refusal;
use crate::services::catalogue::card::{ProviderCard, ProviderSummary};
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

use super::health::Nothing;

#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderList {
    providers: Vec<ProviderSummary>,
}

#[derive(Debug, Deserialize)]
pub struct OneProvider {
    id: String,
    /// The integration whose redirect URI you want to know, where you name it yourself.
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    #[serde(flatten)]
    card: ProviderCard,
    /// With your credentials: what to register at the provider, known before you enable it.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
}

/// The catalogue.
#[utoipa::path(get, path = "/providers", tag = "catalogue", security((), ("api_key" = [])), responses((status = 200, body = ProviderList)))]
pub async fn list(state: Shared, _caller: Option<Caller>, _nothing: Nothing) -> Result<Answer, Refusal> {
    Answer::ok(&ProviderList {
        providers: state.catalogue.list().map(|provider| ProviderSummary::from(provider.as_ref())).collect(),
    })
}

/// What one provider needs, and how its tokens live.
#[utoipa::path(get, path = "/providers/{id}", tag = "catalogue", security((), ("api_key" = [])), params(("id" = String, Path), ("integration" = Option<String>, Query, description = "Your name for it, where you choose one")), responses((status = 200, body = ProviderView)))]
pub async fn show(state: Shared, caller: Option<Caller>, query: OneProvider) -> Result<Answer, Refusal> {
    let provider = state.integrations.provider(&query.id)?;
    let redirect_uri = match &caller {
        Some(caller) => Some(state.integrations.redirect_uri_of(caller, &provider, query.integration.as_deref())?),
        None => None,
    };
    Answer::ok(&ProviderView { card: ProviderCard::from(provider.as_ref()), redirect_uri })
}
