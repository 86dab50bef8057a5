//! `/authorization-success/{integration_id}`: the provider's redirect, as GET or, for form_post, POST; and what a
//! provider sends there without a flow of ours.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::services::connect::Callback;
use crate::web::endpoint::Shared;

use super::{body_pairs, cookies, landing, query_pairs};

pub async fn complete(state: Shared, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let pairs = if request.method() == Method::POST { body_pairs(&request, payload).await } else { Ok(query_pairs(&request)) };
    let pairs = match pairs {
        Ok(pairs) => pairs,
        Err(refusal) => return landing::refused(&request, &refusal),
    };
    let integration = request.match_info().get("integration_id").map(str::to_owned);
    let cookies = cookies::halves(&state, &request);
    let callback = Callback { integration, pairs, cookies };
    match state.connect.arrive(&callback).await {
        Some(Ok(arrived)) => landing::arrive(&arrived),
        Some(Err(refusal)) => landing::refused(&request, &refusal),
        None => landing::land(&state, &request, state.connect.complete(callback).await),
    }
}
