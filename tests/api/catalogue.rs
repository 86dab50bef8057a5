//! The catalogue as a tenant sees it: searched, filtered, and asked again without being sent again.

use serde_json::{Value, json};

use crate::world::{TestApp, client};

async fn found(app: &TestApp, query: &str) -> (u16, Value) {
    let answer = client().get(format!("{}/providers{query}", app.url)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn ids(list: &Value) -> Vec<&str> {
    list["providers"].as_array().unwrap().iter().map(|provider| provider["id"].as_str().unwrap()).collect()
}

/// Every provider is found by its own id and name, in any case; every category holds what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_search_finds_by_id_name_and_category() {
    let app = TestApp::usual().await;
    let (_, all) = found(&app, "").await;
    let everything = ids(&all).len();
    for provider in all["providers"].as_array().unwrap().iter().step_by(7) {
        let (id, name) = (provider["id"].as_str().unwrap(), provider["name"].as_str().unwrap());
        for part in [id.to_owned(), name.to_uppercase()] {
            let query = format!("?q={}", part.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>());
            let (_, some) = found(&app, &query).await;
            assert!(ids(&some).contains(&id), "{part}");
            assert!(ids(&some).len() < everything, "{part}");
        }
    }
    for (category, count) in all["categories"].as_object().unwrap() {
        let (_, some) = found(&app, &format!("?category={}", category.replace(' ', "+"))).await;
        assert_eq!(ids(&some).len() as u64, count.as_u64().unwrap(), "{category}");
        assert!(
            some["providers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["categories"].as_array().unwrap().contains(&category.as_str().into()))
        );
    }
    assert_eq!(ids(&found(&app, "?q=there-is-no-such").await.1).len(), 0);
    assert_eq!(ids(&found(&app, "?category=none").await.1).len(), 0);
    for (length, status) in [(99, 200), (100, 200), (101, 400)] {
        assert_eq!(found(&app, &format!("?q={}", "x".repeat(length))).await.0, status, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unchanged_answer_is_not_sent_again() {
    let app = TestApp::usual().await;
    for path in ["/providers", "/providers?q=s", "/providers/sandbox"] {
        let url = format!("{}{path}", app.url);
        let first = client().get(&url).send().await.unwrap();
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(!first.bytes().await.unwrap().is_empty());
        let with = |value: String| client().get(&url).header("if-none-match", value).send();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = with(known.clone()).await.unwrap();
            assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()), "{known}");
            assert!(again.bytes().await.unwrap().is_empty());
        }
        assert_eq!(with("\"other\"".to_owned()).await.unwrap().status(), 200);
    }
    let tag_of = async |path: &str| {
        client().get(format!("{}{path}", app.url)).send().await.unwrap().headers()["etag"].to_str().unwrap().to_owned()
    };
    assert_ne!(tag_of("/providers").await, tag_of("/providers?q=s").await);
}

/// What a tenant plans by.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_card_says_how_tokens_live_and_what_revoking_does() {
    let app = TestApp::usual().await;
    let day = 86_400;
    for (id, place, expected) in [
        ("salesforce", "/access_token", json!({ "default_seconds": 7_200, "introspected": true })),
        ("github", "/access_token", json!({ "introspected": false })),
        ("salesforce", "/revoke", json!({ "token": "refresh_token", "ends": "grant" })),
        ("github", "/revoke", json!({ "token": "access_token", "ends": "access_token" })),
        ("zoom", "/revoke", json!({ "token": "access_token" })),
        ("clickup", "/revoke", Value::Null),
        ("facebook", "/refresh/min_age_seconds", json!(day)),
        ("linkedin", "/refresh/max_age_seconds", json!(365 * day)),
        ("xero", "/refresh/idle_max_seconds", json!(60 * day)),
    ] {
        let (_, card) = found(&app, &format!("/{id}")).await;
        assert_eq!(card.pointer(place).unwrap_or(&Value::Null), &expected, "{id} {place}");
    }
}

/// Of a provider that a tenant defined nobody else knows anything; and where a code is entered on another device, nobody
/// comes back and the client has no secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_card_and_its_integration_say_what_is_so() {
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let definition = json!({
        "name": "Gadget", "grant": "device_code", "known": "docs", "device": { "url": "https://gadget.example/device" },
        "token": { "url": "https://gadget.example/token", "client_auth": "none" },
        "refresh": { "class": "rotate_plain", "rate": "100/m" },
    });
    let defined = tenant.ok("/define-provider", json!({ "provider": "gadget", "definition": definition })).await;
    let (_, card) = tenant.get("/providers/gadget").await;
    for said in [&defined, &card] {
        assert_eq!((&said["known"], &said["refresh"]["rate"]), (&json!("own"), &json!({ "count": 100, "per_seconds": 60 })));
        assert_eq!(said.get("redirect_uri").unwrap_or(&Value::Null), &Value::Null);
    }
    let enabled = async |body: Value| {
        let enabled = tenant.ok("/enable-provider", body).await;
        assert_eq!(enabled["redirect_uri"], Value::Null, "{enabled}");
        enabled["warnings"].to_string().contains("takes no client secret")
    };
    assert!(enabled(json!({ "provider": "gadget", "client_id": "c", "client_secret": "s" })).await);
    assert!(!enabled(json!({ "provider": "gadget", "client_id": "c" })).await);
    let (_, listed) = tenant.get("/enabled-providers").await;
    assert_eq!(listed["enabled_providers"][0]["redirect_uri"], Value::Null, "{listed}");
}
