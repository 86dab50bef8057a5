//! Connections over HTTP: list, show, import, end. Never a token.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::caller::Caller;
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::{Account, EndUserId, ProviderId, TokenSetName};
use crate::domain::page::Limit;
use crate::domain::refusal::Refusal;
use crate::services::connections::{AtProvider, Filter, Import, Replace, Shown, Which};
use crate::services::integrations::integration_name;
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

use super::integrations::texts;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListConnections {
    provider: Option<String>,
    #[serde(alias = "end_user")]
    end_user_id: Option<String>,
    /// `active`, `in_doubt` or `needs_reauth`.
    status: Option<String>,
    /// 1 to 200; 50 when left out. A page may be shorter and still have a `next`.
    #[serde(default, deserialize_with = "lenient::number")]
    #[param(value_type = Option<u64>)]
    limit: Option<u64>,
    /// `next` of the answer before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct OneConnection {
    id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionView {
    id: String,
    provider: String,
    integration: String,
    end_user_id: String,
    account: String,
    /// `active`, `in_doubt` or `needs_reauth`.
    status: &'static str,
    /// Why, where it is not `active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    status_since: Option<Timestamp>,
    /// What you can do about it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_advice: Option<&'static str>,
    /// Whether your backend said whose consent it was (`confirm=tenant`, or an import).
    confirmed: bool,
    /// Who connected, in the provider's words, where it says.
    subject: Option<String>,
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, Value>,
    settings: BTreeMap<String, String>,
    token_sets: BTreeMap<String, TokenSetView>,
    /// When the end user must consent again, however well it is refreshed: by the provider's rule, counted from
    /// `connected_at`, or by the end it named for the refresh token. Null where it sets no such end.
    #[schema(value_type = Option<String>, format = DateTime)]
    grant_ends_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When a token was last fetched, to the day; tokens are refreshed in time for those who fetch them.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_fetched_at: Option<Timestamp>,
}

/// A token set without its tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenSetView {
    generation: u64,
    scope: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    refresh_expires_at: Option<Timestamp>,
    /// Whether there is anything with which it is refreshed.
    refreshable: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_refreshed_at: Option<Timestamp>,
    /// A code; null after a success.
    last_error: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_error_at: Option<Timestamp>,
    /// Where the last refresh failed: no attempt is made before.
    #[schema(value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionList {
    connections: Vec<ConnectionView>,
    /// For `cursor` of the next call; null at the end.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionWithHistory {
    #[serde(flatten)]
    connection: ConnectionView,
    /// The last 100 events of 90 days, newest first.
    history: Vec<EventView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(value_type = String, example = "connection.refreshed")]
    kind: EventKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct RevokeConnection {
    provider: String,
    /// Also accepted as `end_user`.
    #[serde(alias = "end_user")]
    end_user_id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    account: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionRevoked {
    revoked: bool,
    /// `revoked`, `not_supported` or `failed`: what became of the grant at the provider. Here it is gone in each case.
    at_provider: &'static str,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct ForgetEndUser {
    #[serde(alias = "end_user")]
    end_user_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EndUserForgotten {
    connections: Vec<ForgottenConnection>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ForgottenConnection {
    id: String,
    at_provider: &'static str,
}

#[derive(Deserialize, ToSchema)]
pub struct ImportConnection {
    provider: String,
    #[serde(alias = "end_user")]
    end_user_id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    integration: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    account: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    token_set: Option<String>,
    #[schema(format = Password)]
    access_token: String,
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = Password)]
    refresh_token: Option<String>,
    /// Of OAuth 1.0a (`oauth_token_secret`), there needed and nowhere else.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = Password)]
    token_secret: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    token_type: Option<String>,
    /// RFC 3339. Without it and without `expires_in` the token does not end.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// Seconds from now, instead of `expires_at`.
    #[serde(default, deserialize_with = "lenient::number")]
    #[schema(value_type = Option<u64>)]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "lenient::list")]
    #[schema(value_type = Option<Vec<String>>)]
    scope: Option<Vec<String>>,
    /// Kept with the connection and answered with its token.
    #[serde(default, deserialize_with = "lenient::object")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<BTreeMap<String, Value>>,
    /// Take the place of an existing connection.
    #[serde(default, deserialize_with = "lenient::flag")]
    #[schema(value_type = bool)]
    replace: bool,
    /// The provider's own settings for this connection (`shop`, `subdomain`, …).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    params: BTreeMap<String, Value>,
}

/// List connections, ordered by id.
#[utoipa::path(get, path = "/connections", tag = "connections", params(ListConnections), responses((status = 200, body = ConnectionList)))]
pub async fn list(state: Shared, caller: Caller, query: ListConnections) -> Result<Answer, Refusal> {
    let limit = Limit::parse(query.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))?;
    let filter = Filter {
        provider: query.provider.as_deref().map(ProviderId::parse).transpose()?,
        end_user: query.end_user_id.as_deref().map(EndUserId::parse).transpose()?,
        status: query.status.map(known_status).transpose()?,
    };
    let page = state.connections.list(&caller, &filter, limit, query.cursor.as_deref()).await?;
    Answer::ok(&ConnectionList { connections: page.items.into_iter().map(ConnectionView::from).collect(), next: page.next })
}

/// One connection and its history.
#[utoipa::path(get, path = "/connections/{id}", tag = "connections", params(("id" = String, Path)), responses((status = 200, body = ConnectionWithHistory)))]
pub async fn show(state: Shared, caller: Caller, path: OneConnection) -> Result<Answer, Refusal> {
    let (connection, history) = state.connections.show(&caller, &path.id).await?;
    Answer::ok(&ConnectionWithHistory {
        connection: connection.into(),
        history: history.into_iter().map(EventView::from).collect(),
    })
}

/// End a connection: here at once, and at the provider where that has a way.
#[utoipa::path(post, path = "/revoke-connection", tag = "connections", request_body = RevokeConnection, responses((status = 200, body = ConnectionRevoked)))]
pub async fn revoke(state: Shared, caller: Caller, body: RevokeConnection) -> Result<Answer, Refusal> {
    let which = which(&body.provider, body.integration.as_deref(), &body.end_user_id, body.account.as_deref())?;
    let at_provider = state.connections.revoke(&caller, which).await?;
    Answer::ok(&ConnectionRevoked { revoked: true, at_provider: word(at_provider) })
}

/// End all connections of an end user.
#[utoipa::path(post, path = "/forget-end-user", tag = "connections", request_body = ForgetEndUser, responses((status = 200, body = EndUserForgotten)))]
pub async fn forget(state: Shared, caller: Caller, body: ForgetEndUser) -> Result<Answer, Refusal> {
    let ended = state.connections.forget_end_user(&caller, EndUserId::parse(&body.end_user_id)?).await?;
    let view = |(id, at_provider)| ForgottenConnection { id: String::from(id), at_provider: word(at_provider) };
    Answer::ok(&EndUserForgotten { connections: ended.into_iter().map(view).collect() })
}

/// Bring a grant from elsewhere. From now on it must be refreshed here and nowhere else: many
/// providers end a grant whose refresh token is used twice.
#[utoipa::path(post, path = "/import-connection", tag = "connections", request_body = ImportConnection, responses((status = 201, body = ConnectionView)))]
pub async fn import(state: Shared, caller: Caller, body: ImportConnection) -> Result<Answer, Refusal> {
    let import = Import {
        which: which(&body.provider, body.integration.as_deref(), &body.end_user_id, body.account.as_deref())?,
        token_set: body.token_set.as_deref().map_or_else(|| Ok(TokenSetName::default_set()), TokenSetName::parse)?,
        access_token: SecretString::from(body.access_token),
        refresh_token: body.refresh_token.map(SecretString::from),
        token_secret: body.token_secret.map(SecretString::from),
        token_type: body.token_type,
        expiry: expiry(body.expires_at.as_deref(), body.expires_in)?,
        scopes: body.scope,
        metadata: body.metadata.unwrap_or_default(),
        params: texts(body.params)?,
        replace: if body.replace { Replace::Allowed } else { Replace::Refused },
    };
    let connection = state.connections.import(&caller, import).await?;
    Answer::created(&ConnectionView::from(connection))
}

fn which(provider: &str, integration: Option<&str>, end_user: &str, account: Option<&str>) -> Result<Which, Refusal> {
    let provider = ProviderId::parse(provider)?;
    Ok(Which {
        integration: integration_name(&provider, integration)?,
        provider,
        end_user: EndUserId::parse(end_user)?,
        account: account.map_or_else(|| Ok(Account::default_account()), Account::parse)?,
    })
}

fn known_status(status: String) -> Result<String, Refusal> {
    if ["active", "in_doubt", "needs_reauth"].contains(&status.as_str()) {
        return Ok(status);
    }
    Err(Refusal::field("status", "must be `active`, `in_doubt` or `needs_reauth`"))
}

fn expiry(at: Option<&str>, within: Option<u64>) -> Result<Option<crate::services::connections::Expiry>, Refusal> {
    use crate::services::connections::Expiry;
    match (at, within) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::field("expires_in", "must not be sent together with `expires_at`")),
        (Some(text), None) => {
            let at = text.parse().map_err(|_| Refusal::field("expires_at", "must be a time such as 2030-01-31T12:00:00Z"))?;
            Ok(Some(Expiry::At(at)))
        }
        (None, Some(seconds)) => {
            let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds <= 100 * 366 * 86_400);
            let seconds = seconds.ok_or_else(|| Refusal::field("expires_in", "must be at most a hundred years, in seconds"))?;
            Ok(Some(Expiry::Within(SignedDuration::from_secs(seconds))))
        }
    }
}

fn word(at_provider: AtProvider) -> &'static str {
    match at_provider {
        AtProvider::Revoked => "revoked",
        AtProvider::NotSupported => "not_supported",
        AtProvider::Failed => "failed",
    }
}

impl From<Shown> for ConnectionView {
    fn from(Shown { connection, grant_ends_at }: Shown) -> Self {
        let explained = connection.status.explained();
        let (status_reason, status_since) = explained.map(|status| (status.reason.to_owned(), status.since)).unzip();
        let status_advice = explained.map(|status| status.advice);
        let sets = connection.sets.into_iter().map(|(name, set)| {
            let view = TokenSetView {
                generation: set.generation,
                scope: set.current.scopes.join(" "),
                expires_at: set.current.expires_at,
                refresh_expires_at: set.current.refresh_expires_at,
                refreshable: connection.renewal.is_some_and(|with| with.is_in(&set.current)),
                last_refreshed_at: set.last_refreshed_at,
                last_error_at: set.last_error.as_ref().map(|error| error.at),
                retry_at: set.last_error.as_ref().and_then(|error| error.retry_at),
                last_error: set.last_error.map(|error| error.code),
            };
            (String::from(name), view)
        });
        Self {
            token_sets: sets.collect(),
            grant_ends_at,
            id: connection.id.into(),
            provider: connection.provider.into(),
            integration: connection.integration.into(),
            end_user_id: connection.end_user.into(),
            account: connection.account.into(),
            status: connection.status.as_str(),
            status_reason,
            status_since,
            status_advice,
            confirmed: connection.confirmed,
            subject: connection.subject,
            metadata: connection.metadata,
            settings: connection.params,
            connected_at: connection.connected_at,
            updated_at: connection.updated_at,
            last_fetched_at: connection.fetched_at,
        }
    }
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self { id: event.id, at: event.at, kind: event.kind, detail: event.detail }
    }
}
