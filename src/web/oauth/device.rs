//! `GET /authorize-{provider}/device?flow=…`: the page with a device's code, in the browser that pressed Connect.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::domain::error_code::ErrorCode;
use crate::domain::refusal::Refusal;
use crate::services::connect::{Shown, Watched};
use crate::web::endpoint::Shared;
use crate::web::pages::{self, DevicePage, Forms, shown};

use super::{cookies, landing, query_pairs, single};

/// The page looks again after so many seconds.
const AGAIN: u64 = 3;

pub async fn watch(state: Shared, request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    let pairs = query_pairs(&request);
    let Some(flow) = single(&pairs, "flow") else {
        let detail = "This address is not complete; open the link as you got it.";
        return landing::refused(&request, &Refusal::new(ErrorCode::LinkExpired, detail));
    };
    let halves = cookies::halves(&state, &request);
    match state.connect.watch(request.match_info().query("provider"), flow, &halves).await {
        Ok(Watched::Waits(waits)) => page(&waits),
        Ok(Watched::Ends(ended)) => landing::land(&state, &request, *ended),
        Err(refusal) => landing::refused(&request, &refusal),
    }
}

fn page(waits: &Shown) -> HttpResponse {
    let page = DevicePage {
        tenant: &shown(&waits.names.tenant),
        provider: &shown(&waits.names.provider),
        end_user: &shown(&waits.end_user),
        code: &shown(&waits.user_code),
        place: &shown(&waits.verification_uri),
        href: waits.verification_uri_complete.as_ref().unwrap_or(&waits.verification_uri),
        again: AGAIN,
    };
    pages::answer(StatusCode::OK, &page, &Forms::Absent)
}
