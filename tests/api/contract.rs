//! What programs rely on: the API's document, the shape of errors, the headers of every answer.

use claviger::domain::error_code::ErrorCode;
use claviger::web::endpoint::Access;
use claviger::web::{openapi, table};
use serde_json::{Value, json};

use crate::world::{TestApp, client, text};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// An API change is a visible diff: `UPDATE_OPENAPI=1 cargo test --test api contract` writes the file.
#[test]
fn the_document_is_the_one_in_the_repository() {
    let found = openapi::document() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(GOLDEN, &found).unwrap();
    }
    let kept = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(found == kept, "docs/openapi.json is not what the code says; see this test for how to write it");
}

#[test]
fn the_document_names_every_route_of_the_api() {
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let api = table().into_iter().filter(|endpoint| endpoint.access != Access::Browser);
    let mut served: Vec<String> = api.map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
    described.sort();
    served.sort();
    assert_eq!(described, served);
    for code in ErrorCode::ALL {
        assert!(text(&document["info"]["description"]).contains(&format!("`{}`", code.as_str())), "{}", code.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_reader_works_without_the_network() {
    let app = TestApp::usual().await;
    let page = client().get(format!("{}/docs/", app.url)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let html = page.text().await.unwrap();
    assert!(!html.contains("https://"), "{html}");
    for file in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let answer = client().get(format!("{}/docs/{file}", app.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{file}");
    }
    assert_eq!(client().get(format!("{}/docs/nothing", app.url)).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_has_the_headers_that_keep_it_private() {
    let app = TestApp::usual().await;
    for path in [
        "/healthz",
        "/readyz",
        "/nothing",
        "/providers",
        "/authorize-sandbox?link=x",
        "/authorization-success/x?state=y",
        "/docs/",
    ] {
        let answer = client().get(format!("{}{path}", app.url)).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-request-id").len(), 16, "{path}");
        if !path.starts_with("/docs") {
            let kept = if path == "/providers" { "private, no-cache" } else { "no-store" };
            assert_eq!(header("cache-control"), kept, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bad_requests_are_told_what_is_wrong() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let url = format!("{}/get-access-token", app.url);
    let post =
        |kind: &'static str, body: Vec<u8>| client().post(&url).bearer_auth(&tenant.key).header("content-type", kind).body(body);
    let form = "application/x-www-form-urlencoded";
    let long = |bytes: usize| format!("provider=sandbox&end_user_id=a&pad={}", "x".repeat(bytes)).into_bytes();
    let overhead = long(0).len();
    for (name, request, status, code) in [
        ("no body", post("application/json", Vec::new()), 400, "invalid_request"),
        ("cut JSON", post("application/json", b"{\"provider\":".to_vec()), 400, "invalid_request"),
        ("a JSON list", post("application/json", b"[]".to_vec()), 400, "invalid_request"),
        ("text", post("text/plain", b"provider=sandbox".to_vec()), 415, "unsupported_media_type"),
        ("a missing field", post(form, b"provider=sandbox".to_vec()), 400, "invalid_request"),
        ("a field twice", post(form, b"provider=sandbox&end_user_id=a&end_user_id=b".to_vec()), 400, "invalid_request"),
        ("an id with a line break", post(form, b"provider=sandbox&end_user_id=a%0ab".to_vec()), 400, "invalid_request"),
        (
            "an id of 200 bytes",
            post(form, format!("provider=sandbox&end_user_id={}", "x".repeat(200)).into_bytes()),
            404,
            "integration_not_found",
        ),
        (
            "an id of 201 bytes",
            post(form, format!("provider=sandbox&end_user_id={}", "x".repeat(201)).into_bytes()),
            400,
            "invalid_request",
        ),
        ("an unknown provider", post(form, b"provider=nobody&end_user_id=a".to_vec()), 404, "provider_not_found"),
        ("a body below the limit", post(form, long(65_536 - overhead - 1)), 404, "integration_not_found"),
        ("a body at the limit", post(form, long(65_536 - overhead)), 404, "integration_not_found"),
        ("a body above the limit", post(form, long(65_537 - overhead)), 413, "payload_too_large"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            if answer.status().is_success() { "application/json" } else { "application/problem+json" }
        );
        let (found, id) = (answer.status().as_u16(), text(&json!(answer.headers()["x-request-id"].to_str().unwrap())));
        let said: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((found, said["code"].as_str()), (status, Some(code)), "{name}: {said}");
        assert_eq!(
            (said["request_id"].as_str(), said["status"].as_u64()),
            (Some(id.as_str()), Some(u64::from(status))),
            "{name}"
        );
        assert!(said["detail"].as_str().unwrap().ends_with('.'), "{name}: {said}");
    }
    let wrong_method = client().get(&url).send().await.unwrap();
    assert_eq!(wrong_method.status(), 405);
}
