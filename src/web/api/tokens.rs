//! get-access-token over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::ids::{Account, EndUserId, ProviderId, TokenSetName};
use crate::domain::refusal::Refusal;
use crate::services::integrations::integration_name;
use crate::services::vault::{Refresh, Served, TokenQuery};
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

/// Longest `min_ttl` worth asking for: a year.
const MIN_TTL_MAX: u64 = 366 * 86_400;

#[derive(Debug, Deserialize, ToSchema)]
pub struct GetAccessToken {
    #[schema(example = "sandbox")]
    provider: String,
    /// Your own id of your user; also accepted as `end_user`.
    #[serde(alias = "end_user")]
    #[schema(example = "user-42", min_length = 1, max_length = 200)]
    end_user_id: String,
    /// Which integration, where you enabled the provider more than once.
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
    /// Which account, where the end user connected more than one; `default` when left out.
    #[serde(default, deserialize_with = "lenient::text")]
    account: Option<String>,
    /// Which token, where the provider issues several (`bot`, `user`).
    #[serde(default, deserialize_with = "lenient::text")]
    token_set: Option<String>,
    /// Seconds the token must still live; a shorter one is refreshed first.
    #[serde(default, deserialize_with = "lenient::number")]
    #[schema(value_type = Option<u64>)]
    min_ttl: Option<u64>,
    /// Refresh even though the token is good. Within 10 s of the last refresh (the operator's `refresh.force_interval`) it calls nobody.
    #[serde(default, deserialize_with = "lenient::flag")]
    #[schema(value_type = bool)]
    force_refresh: bool,
}

#[derive(Serialize, ToSchema)]
pub struct AccessToken<'a> {
    access_token: &'a str,
    /// Of OAuth 1.0a (`oauth_token_secret`): with it and your client secret each call is signed, as `signing` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Password)]
    token_secret: Option<&'a str>,
    #[schema(example = "Bearer")]
    token_type: &'a str,
    /// When it ends; null when it does not.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Seconds until then; null when it does not end.
    expires_in: Option<u64>,
    /// As granted, with spaces between.
    scope: String,
    provider: &'a str,
    integration: &'a str,
    end_user_id: &'a str,
    account: &'a str,
    token_set: &'a str,
    connection_id: &'a str,
    /// What the provider said besides (workspace, instance URL, …).
    #[schema(value_type = Object)]
    metadata: &'a BTreeMap<String, Value>,
    /// Grows by one with each refresh.
    generation: u64,
    /// When the end user must consent again, however well it is refreshed; left out where the provider sets no such end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    grant_ends_at: Option<Timestamp>,
    /// `recently_refreshed`, `refresh_failing`, `reauthorization_required`, `reauthorization_due` or `expires_soon`.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    /// Why, while the refresh fails: a code, since when, and when it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<Failing<'a>>,
    /// How your calls are signed, where the provider is one of OAuth 1.0a.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing: Option<Signing<'a>>,
}

#[derive(Serialize, ToSchema)]
pub struct Signing<'a> {
    /// `oauth_consumer_key`: the integration's client id.
    consumer_key: &'a str,
    /// `oauth_signature_method`.
    #[schema(example = "HMAC-SHA1")]
    signature_method: &'a str,
    /// `header`, `query` or `body`.
    params_in: &'a str,
    /// Stands in the header, unsigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
pub struct Failing<'a> {
    /// A plain code, the provider's where it gave one.
    #[schema(example = "temporarily_unavailable")]
    reason: &'a str,
    /// The last attempt that failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// No attempt is made before.
    #[schema(value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

/// A working access token for an end user. It is refreshed first when it is due; while the refresh
/// fails, a token that still works is answered with a `warning`.
#[utoipa::path(post, path = "/get-access-token", tag = "tokens", request_body = GetAccessToken, responses(
    (status = 200, body = AccessToken),
    (status = 404, description = "`connection_not_found`, with `authorize_url`; `integration_not_found`", body = crate::web::error::Problem, content_type = "application/problem+json"),
    (status = 409, description = "`reauthorization_required`, with `authorize_url`", body = crate::web::error::Problem, content_type = "application/problem+json"),
    (status = 424, description = "`integration_broken`: the provider refuses your client", body = crate::web::error::Problem, content_type = "application/problem+json"),
    (status = 503, description = "`provider_unavailable`, `store_unavailable` or `shutting_down`, with `Retry-After`; `restore_mode`: your operator has to let refreshes go on", body = crate::web::error::Problem, content_type = "application/problem+json"),
))]
pub async fn get(state: Shared, caller: Caller, body: GetAccessToken) -> Result<Answer, Refusal> {
    let served = state.vault.token(&caller, query(body)?).await?;
    view(&served)
}

fn query(body: GetAccessToken) -> Result<TokenQuery, Refusal> {
    if body.min_ttl.is_some_and(|seconds| seconds > MIN_TTL_MAX) {
        return Err(Refusal::field("min_ttl", format!("must be at most {MIN_TTL_MAX} seconds")));
    }
    let provider = ProviderId::parse(&body.provider)?;
    Ok(TokenQuery {
        integration: integration_name(&provider, body.integration.as_deref())?,
        provider,
        end_user: EndUserId::parse(&body.end_user_id)?,
        account: body.account.as_deref().map_or_else(|| Ok(Account::default_account()), Account::parse)?,
        token_set: body.token_set.as_deref().map(TokenSetName::parse).transpose()?,
        min_ttl: body.min_ttl.map(Duration::from_secs),
        refresh: if body.force_refresh { Refresh::Forced } else { Refresh::WhenDue },
    })
}

fn view(served: &Served) -> Result<Answer, Refusal> {
    let connection = &served.connection;
    let Some(set) = connection.set(&served.set) else {
        return Err(Refusal::field("token_set", "is not one that this connection has"));
    };
    let tokens = &set.current;
    Answer::ok(&AccessToken {
        access_token: tokens.access.expose_secret(),
        token_secret: tokens.secret.as_ref().map(ExposeSecret::expose_secret),
        token_type: &tokens.token_type,
        expires_at: tokens.expires_at,
        expires_in: tokens.left(served.now).map(|left| left.as_secs()),
        scope: tokens.scopes.join(" "),
        provider: connection.provider.as_str(),
        integration: connection.integration.as_str(),
        end_user_id: connection.end_user.as_str(),
        account: connection.account.as_str(),
        token_set: served.set.as_str(),
        connection_id: connection.id.as_str(),
        metadata: &connection.metadata,
        generation: set.generation,
        grant_ends_at: served.grant_ends_at,
        warning: served.warning.map(|warning| warning.as_str()),
        failing: served.failing.as_ref().map(|failing| Failing {
            reason: &failing.reason,
            at: failing.at,
            retry_at: failing.retry_at,
        }),
        signing: served.signing.as_ref().map(|signing| Signing {
            consumer_key: &signing.consumer_key,
            signature_method: signing.method,
            params_in: signing.params_in,
            realm: signing.realm.as_deref(),
        }),
    })
}
