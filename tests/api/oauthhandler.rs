//! The request forms of OAuthHandler, as its users send them, are accepted by the five verbs.

use crate::fake_provider::FakeProvider;
use crate::provider_file;
use crate::world::{Browser, PASSWORD, Setup, TestApp, code_in, read, text};

const EMAIL: &str = "dev@acme.example";

async fn send(app: &TestApp, path: &str, fields: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = crate::world::client().post(format!("{}{path}", app.url));
    read(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn its_five_verbs_take_its_forms_unchanged() {
    let provider = FakeProvider::start().await;
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "nonrotating"))];
    let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
    // Its login form is FastAPI's, which may send more than the two fields that count.
    let login = [("grant_type", "password"), ("username", EMAIL), ("password", PASSWORD), ("scope", "")];

    let (status, said) = send(&app, "/signup", &login).await;
    assert_eq!(status, 202, "{said}");
    let code = code_in(&app.outbox.mail_to(EMAIL).await.text);
    assert_eq!(send(&app, "/verify-email", &[("username", EMAIL), ("code", &code)]).await.0, 200);

    let mut form = login.to_vec();
    form.extend([
        ("provider", "fake"),
        ("api_key", "consumer key"),
        ("api_secret", "consumer secret"),
        ("user_redirect_url", "https://app.example/home"),
        ("client_id", "a client"),
        ("client_secret", "a secret"),
        ("scopes", "read write"),
    ]);
    let (status, enabled) = send(&app, "/enable-provider", &form).await;
    assert_eq!(status, 200, "{enabled}");
    assert_eq!(enabled["scopes"], serde_json::json!(["read", "write"]));
    assert_eq!(enabled["settings"], serde_json::json!({}));

    let mut form = login.to_vec();
    form.push(("end_user", "alice"));
    let (status, link) = send(&app, "/authorize-fake", &form).await;
    assert_eq!(status, 200, "{link}");
    let done = Browser::default().connect_at_once(&text(&link["authorize_url"])).await;
    let home = done.location();
    assert!(home.starts_with("https://app.example/home?") && home.contains("status=success"), "{home}");

    form.push(("provider", "fake"));
    let (status, token) = send(&app, "/get-access-token", &form).await;
    assert_eq!(status, 200, "{token}");
    assert!(text(&token["access_token"]).starts_with("at-"));
}
