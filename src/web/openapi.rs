//! The API's own description: OpenAPI 3.1 from the handlers, and a reader for it that needs no network.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::Config;

use crate::domain::error_code::ErrorCode;

use super::api;
use super::endpoint::Shared;
use super::error::status_of;

/// The reader brings its own scripts; it styles elements inline and shows images from data.
const READER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Claviger",
        description = "A self-hosted OAuth token broker. A body may be a form or JSON with the same field names; errors are `application/problem+json` with a stable `code`."
    ),
    paths(
        api::accounts::sign_up,
        api::accounts::verify_email,
        api::accounts::resend_verification,
        api::accounts::forgot_password,
        api::accounts::reset_password,
        api::api_keys::create,
        api::api_keys::list,
        api::api_keys::revoke,
        api::providers::list,
        api::providers::show,
        api::defined::define,
        api::defined::list,
        api::defined::remove,
        api::integrations::enable,
        api::integrations::list,
        api::integrations::disable,
        api::links::create,
        api::links::finish,
        api::tokens::get,
        api::connections::list,
        api::connections::show,
        api::connections::revoke,
        api::connections::forget,
        api::connections::import,
        api::health::live,
        api::health::ready,
    ),
    components(schemas(super::error::Problem)),
    modifiers(&Credentials, &ErrorCodes, &Refusals),
    security(("api_key" = []), ("password" = [])),
)]
struct Document;

struct Credentials;
struct ErrorCodes;
struct Refusals;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let api_key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key, `clv_…`.")).build();
        let password = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("Email and password; in a POST also as the fields `username` and `password`."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(api_key));
        components.add_security_scheme("password", SecurityScheme::Http(password));
    }
}

/// The table of codes stands in the document's description, from the one table in the code.
impl Modify for ErrorCodes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut text = document.info.description.take().unwrap_or_default();
        text.push_str("\n\n| status | code | meaning |\n|---|---|---|\n");
        for code in ErrorCode::ALL {
            text.push_str(&format!("| {} | `{}` | {} |\n", status_of(*code).as_u16(), code.as_str(), code.title()));
        }
        document.info.description = Some(text);
    }
}

/// Every call can be refused, in one shape, whatever the call says of single refusals.
impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let refused = ResponseBuilder::new().description("Refused").content("application/problem+json", content).build();
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.responses.responses.entry("default".to_owned()).or_insert_with(|| refused.clone().into());
            }
        }
    }
}

/// The document, as it is served and as `docs/openapi.json` holds it.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

pub async fn json(_state: Shared, _request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    static JSON: LazyLock<String> = LazyLock::new(document);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(JSON.as_str())
}

pub async fn reader_root(_state: Shared, _request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

pub async fn reader(_state: Shared, request: HttpRequest, _payload: web::Payload) -> HttpResponse {
    let config = Arc::new(Config::from("/openapi.json"));
    let file = request.match_info().query("file");
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(found)) => {
            let mut answer = HttpResponse::Ok();
            answer.insert_header((CONTENT_SECURITY_POLICY, READER_POLICY)).insert_header((CACHE_CONTROL, "max-age=3600"));
            if found.gzpipped {
                answer.insert_header((CONTENT_ENCODING, "gzip"));
            }
            answer.insert_header((CONTENT_TYPE, found.content_type)).body(found.bytes.into_owned())
        }
        Ok(None) | Err(_) => super::nothing_here(request).await,
    }
}
