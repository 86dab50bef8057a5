//! Authorize links and their confirmation, for tenants.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::caller::Caller;
use crate::domain::refusal::Refusal;
use crate::services::connect::{Asked, Begun};
use crate::web::answer::Answer;
use crate::web::endpoint::Shared;
use crate::web::lenient;

use super::connections::ConnectionView;
use super::integrations::texts;

#[derive(Debug, Deserialize, ToSchema)]
pub struct AuthorizeEndUser {
    /// The provider's id: in the path.
    #[schema(ignore)]
    provider: String,
    /// Your own name for the user who is to connect.
    #[serde(alias = "end_user")]
    #[schema(example = "user_1", min_length = 1, max_length = 200)]
    end_user_id: String,
    /// Your name for the integration, when you enabled the provider more than once.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = Option<String>)]
    integration: Option<String>,
    /// Tells apart several accounts that one end user connects; `default` when left out.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = Option<String>)]
    account: Option<String>,
    /// The integration's own scopes when left out.
    #[serde(default, deserialize_with = "lenient::list")]
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<Vec<String>>,
    /// Where the end user's browser goes afterwards: a registered URL, byte for byte.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(value_type = Option<String>)]
    return_url: Option<String>,
    /// The provider's own settings (`shop`, `subdomain`, …); `GET /providers/{id}` lists them.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    settings: BTreeMap<String, Value>,
}

#[derive(Serialize, ToSchema)]
pub struct AuthorizeLink {
    /// Send the end user's browser here. It can be used once.
    authorize_url: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

#[derive(Deserialize, ToSchema)]
pub struct FinishAuthorization {
    /// From the query of your return URL.
    ticket: String,
    /// The end user of your own session: never one that the browser sent.
    #[serde(alias = "end_user")]
    end_user_id: String,
}

/// Connect an end user. Answers a one-time link for their browser; where nobody has to be asked (`grant` of
/// `GET /providers/{id}` is `client_credentials` or `jwt_bearer`), the connection, made at once with your own credentials.
#[utoipa::path(post, path = "/authorize-{provider}", tag = "connections", params(("provider" = String, Path)), request_body = AuthorizeEndUser, responses(
    (status = 200, description = "Send the end user there", body = AuthorizeLink),
    (status = 201, description = "Connected: nobody had to be asked", body = ConnectionView),
))]
pub async fn create(state: Shared, caller: Caller, body: AuthorizeEndUser) -> Result<Answer, Refusal> {
    let asked = Asked {
        provider: body.provider,
        end_user_id: body.end_user_id,
        integration: body.integration,
        account: body.account,
        scopes: body.scopes.unwrap_or_default(),
        return_url: body.return_url,
        params: texts(body.settings)?,
    };
    match state.connect.authorize(&caller, asked).await? {
        Begun::Link(made) => Answer::ok(&AuthorizeLink { authorize_url: made.authorize_url, expires_at: made.expires_at }),
        Begun::Connected(connection) => Answer::created(&ConnectionView::from(state.connections.shown(*connection).await)),
    }
}

/// Confirm a held connection (`confirm=tenant`), with the end user of your own session.
#[utoipa::path(post, path = "/finish-authorization", tag = "connections", request_body = FinishAuthorization, responses((status = 200, body = ConnectionView)))]
pub async fn finish(state: Shared, caller: Caller, body: FinishAuthorization) -> Result<Answer, Refusal> {
    let connection = state.connect.finish(&caller, &body.ticket, &body.end_user_id).await?;
    Answer::ok(&ConnectionView::from(state.connections.shown(connection).await))
}
