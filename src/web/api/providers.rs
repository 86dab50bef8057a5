//! The catalogue over HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::refusal::Refusal;
use crate::services::catalogue::card::{ProviderCard, ProviderSummary};
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderList {
    providers: Vec<ProviderSummary>,
    /// How many providers each category has, over the whole catalogue.
    categories: BTreeMap<String, usize>,
}

#[derive(Debug, Deserialize)]
pub struct Search {
    /// Part of an id or a name.
    #[serde(default, deserialize_with = "lenient::text")]
    q: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    category: Option<String>,
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

/// The catalogue, or the part of it that a search finds.
#[utoipa::path(get, path = "/providers", tag = "catalogue", security((), ("api_key" = [])), params(
    ("q" = Option<String>, Query, description = "Part of an id or a name; case does not matter. At most 100 bytes"),
    ("category" = Option<String>, Query, description = "One of `categories`"),
    ("if-none-match" = Option<String>, Header, description = "The `ETag` of an earlier answer: 304 while nothing has changed"),
), responses((status = 200, body = ProviderList), (status = 304, description = "As it was")))]
pub async fn list(state: Shared, _caller: Option<Caller>, search: Search) -> Result<Answer, Refusal> {
    let found = state.catalogue.search(search.q.as_deref(), search.category.as_deref())?;
    Answer::revalidated(&ProviderList {
        providers: found.iter().map(|provider| ProviderSummary::from(provider.as_ref())).collect(),
        categories: state.catalogue.categories(),
    })
}

/// What one provider needs, and how its tokens live.
#[utoipa::path(get, path = "/providers/{id}", tag = "catalogue", security((), ("api_key" = [])), params(("id" = String, Path), ("integration" = Option<String>, Query, description = "Your name for it, where you choose one")), responses((status = 200, body = ProviderView)))]
pub async fn show(state: Shared, caller: Option<Caller>, query: OneProvider) -> Result<Answer, Refusal> {
    let provider = match &caller {
        Some(caller) => state.integrations.provider(caller.tenant(), &query.id).await?,
        None => state.integrations.listed(&query.id)?,
    };
    let redirect_uri = match &caller {
        Some(caller) => state.integrations.redirect_uri_of(caller, &provider, query.integration.as_deref())?,
        None => None,
    };
    Answer::revalidated(&ProviderView { card: ProviderCard::from(provider.as_ref()), redirect_uri })
}
