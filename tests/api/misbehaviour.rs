//! Scripted misbehaviour of a provider's token endpoint: what the tenant is told, and that the
//! connection survives each of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fake_provider::{Act, Answer, FakeProvider, Gate, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Setup, Tenant, TestApp, text};

const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    app: TestApp,
    tenant: Tenant,
    provider: FakeProvider,
}

impl Scene {
    /// Connected, and the token has expired. A call to the provider is given up after a second.
    async fn expired(class: &str) -> Self {
        let provider = FakeProvider::start().await;
        let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), class))];
        let settings = vec![("refresh.call_deadline", "1s".to_owned())];
        let app = TestApp::with(Setup { providers, settings, ..Setup::default() }).await;
        let tenant = app.connected().await;
        app.clock.advance(HOUR);
        Self { app, tenant, provider }
    }

    async fn connection(&self) -> Value {
        let (_, list) = self.tenant.get("/connections").await;
        list["connections"][0].clone()
    }

    /// Once the provider behaves again, the same connection gives a token.
    async fn recovers(&self, what: &str) {
        self.app.clock.advance(HOUR);
        let (status, said) = self.tenant.try_token("fake", "alice").await;
        assert_eq!(status, 200, "after {what}: {said}");
        assert_eq!(self.connection().await["status"], "active", "after {what}");
    }
}

fn good(body: Value) -> Act {
    let mut answer = json!({ "access_token": "at", "refresh_token": "rt", "token_type": "Bearer" });
    answer.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    Act::json(200, &answer)
}

/// Name, act, and the status and code that the tenant sees.
fn failures() -> Vec<(&'static str, Act, u16, &'static str)> {
    let unavailable = (503, "provider_unavailable");
    let broken = (424, "integration_broken");
    let whole = || Answer::new(200, "application/json", r#"{"access_token":"at","token_type":"Bearer"}"#);
    let cases = [
        ("a closed connection", Act::Close, unavailable),
        ("silence", Act::Silence, unavailable),
        ("half a body", Act::Half(whole()), unavailable),
        ("no HTTP", Act::Raw(b"what?\r\n\r\n".to_vec()), unavailable),
        ("500", Act::json(500, &json!({ "error": "server_error" })), unavailable),
        ("502 with a page", Act::html(502, "<h1>Bad gateway</h1>"), unavailable),
        ("503 that claims a dead grant", Act::oauth_error(503, "invalid_grant"), unavailable),
        ("200 with a page", Act::html(200, "<html>Welcome</html>"), unavailable),
        ("200 with nothing", Answer::new(200, "application/json", "").into(), unavailable),
        ("200 with cut JSON", Answer::new(200, "application/json", r#"{"access_token":"a"#).into(), unavailable),
        ("200 with a list", Act::json(200, &json!([])), unavailable),
        ("200 without a token", Act::json(200, &json!({ "ok": true })), unavailable),
        ("200 with an error", Act::json(200, &json!({ "error": "temporarily_unavailable" })), unavailable),
        ("200 with a dead grant", Act::json(200, &json!({ "error": "invalid_grant" })), unavailable),
        ("400 with a dead grant", Act::oauth_error(400, "invalid_grant"), unavailable),
        ("429", Answer::new(429, "application/json", "{}").header("retry-after", "7").into(), unavailable),
        ("5 MB", Act::huge(5 * 1024 * 1024), unavailable),
        ("400 with a refused client", Act::oauth_error(400, "invalid_client"), broken),
        ("401", Act::oauth_error(401, "invalid_client"), broken),
        ("401 without a body", Answer::new(401, "text/plain", "").into(), broken),
        ("a refused scope", Act::oauth_error(400, "invalid_scope"), broken),
        ("an unknown grant type", Act::oauth_error(400, "unsupported_grant_type"), broken),
    ];
    cases.into_iter().map(|(name, act, (status, code))| (name, act, status, code)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_failure_is_told_and_survived() {
    let scene = Scene::expired("rotate_plain").await;
    for (name, act, status, code) in failures() {
        scene.app.clock.advance(HOUR);
        scene.provider.next(TOKEN, act);
        let (found, said) = scene.tenant.try_token("fake", "alice").await;
        assert_eq!((found, text(&said["code"]).as_str()), (status, code), "{name}: {said}");
        assert!(!said.to_string().contains("as the script says"), "the provider's own words: {said}");
        assert_ne!(scene.connection().await["status"], "needs_reauth", "{name}");
        scene.recovers(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_answer_within_the_deadline_is_an_answer() {
    let scene = Scene::expired("rotate_plain").await;
    let gate = Gate::new();
    scene.provider.next(TOKEN, good(json!({ "expires_in": 3600 })).held(&gate));
    let tenant = scene.tenant.clone();
    let asked = tokio::spawn(async move { tenant.try_token("fake", "alice").await });
    gate.reached_by(1).await;
    gate.open();
    assert_eq!(asked.await.unwrap().0, 200);
}

/// Nobody listens there: the request was never sent, so that nothing is in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_is_gone_leaves_the_connection_as_it_is() {
    let Scene { app, tenant, provider } = Scene::expired("rotate_strict").await;
    drop(provider);
    let (status, said) = tenant.try_token("fake", "alice").await;
    assert_eq!((status, said["code"].as_str()), (503, Some("provider_unavailable")), "{said}");
    let (_, list) = tenant.get("/connections").await;
    assert_eq!(list["connections"][0]["status"], "active");
    assert_eq!(list["connections"][0]["token_sets"]["default"]["last_error"], "not_reached");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redirect_is_not_followed() {
    let scene = Scene::expired("rotate_plain").await;
    let elsewhere = FakeProvider::start().await;
    for status in [301, 302, 303, 307, 308] {
        scene.app.clock.advance(HOUR);
        scene.provider.next(TOKEN, Act::redirect(status, &elsewhere.url(TOKEN)));
        let (found, said) = scene.tenant.try_token("fake", "alice").await;
        assert_eq!(found, 503, "{status}: {said}");
        scene.recovers("a redirect").await;
    }
    assert_eq!(elsewhere.count(TOKEN), 0);
}

/// What the provider says of the token's life, and what becomes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_life_is_understood_however_it_is_written() {
    let scene = Scene::expired("rotate_plain").await;
    for (name, life, expected) in [
        ("a number", json!({ "expires_in": 1800 }), json!(1800)),
        ("digits", json!({ "expires_in": "1800" }), json!(1800)),
        ("a fraction", json!({ "expires_in": 1800.5 }), json!(1800)),
        ("nothing", json!({}), Value::Null),
        ("null", json!({ "expires_in": null }), Value::Null),
        ("zero", json!({ "expires_in": 0 }), Value::Null),
        ("less than nothing", json!({ "expires_in": -5 }), Value::Null),
        ("a word", json!({ "expires_in": "soon" }), Value::Null),
    ] {
        scene.provider.next(TOKEN, good(life));
        let forced = json!({ "provider": "fake", "end_user_id": "alice", "force_refresh": true });
        scene.app.clock.advance(HOUR);
        let answer = scene.tenant.ok("/get-access-token", forced).await;
        assert_eq!(answer["expires_in"], expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_absolute_time_in_expires_in_is_one() {
    use claviger::ports::clock::Clock as _;

    let scene = Scene::expired("rotate_plain").await;
    let end = scene.app.clock.now().as_second() + 1800;
    scene.provider.next(TOKEN, good(json!({ "expires_in": end })));
    assert_eq!(scene.tenant.token("fake", "alice").await["expires_in"], 1800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_left_out_is_what_it_was() {
    let scene = Scene::expired("rotate_plain").await;
    let bare = json!({ "access_token": "at-bare", "expires_in": 3600 });
    scene.provider.next(TOKEN, Act::json(200, &bare));
    let answer = scene.tenant.token("fake", "alice").await;
    assert_eq!((answer["token_type"].as_str(), answer["scope"].as_str()), (Some("Bearer"), Some("read")));
    // The old refresh token was kept, and is what the next refresh presents.
    scene.app.clock.advance(HOUR);
    scene.tenant.token("fake", "alice").await;
    let presented: Vec<_> = scene.provider.seen(TOKEN).iter().filter_map(|seen| seen.field("refresh_token")).collect();
    assert_eq!(presented.len(), 2);
    assert_eq!(presented[0], presented[1]);
}

/// A provider that says "over" once may be wrong; twice, some time apart, it is believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_grant_is_over_when_the_provider_says_so_twice() {
    let scene = Scene::expired("rotate_plain").await;
    scene.provider.always(TOKEN, Act::oauth_error(400, "invalid_grant"));
    let (status, said) = scene.tenant.try_token("fake", "alice").await;
    assert_eq!((status, text(&said["code"]).as_str()), (503, "provider_unavailable"), "{said}");
    assert_eq!(scene.connection().await["status"], "in_doubt", "it may be over, and nobody knows yet");

    scene.app.clock.advance(Duration::from_secs(29));
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 503);
    assert_eq!(scene.provider.refreshes(), 1, "asked again too early");

    scene.app.clock.advance(Duration::from_secs(2));
    let (status, said) = scene.tenant.try_token("fake", "alice").await;
    assert_eq!((status, text(&said["code"]).as_str()), (409, "reauthorization_required"), "{said}");
    assert!(text(&said["authorize_url"]).contains("/authorize-fake?link="));
    let connection = scene.connection().await;
    assert_eq!(
        (connection["status"].as_str(), connection["status_reason"].as_str()),
        (Some("needs_reauth"), Some("invalid_grant"))
    );

    // From now on nobody is asked, and polling makes no new links.
    let (_, again) = scene.tenant.try_token("fake", "alice").await;
    assert_eq!(again["authorize_url"], said["authorize_url"]);
    assert_eq!(scene.provider.refreshes(), 2);

    // A new consent ends it.
    scene.provider.always(TOKEN, good(json!({ "expires_in": 3600 })));
    let done = Browser::default().connect_at_once(&text(&said["authorize_url"])).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(scene.tenant.token("fake", "alice").await["generation"], 1);
    assert_eq!(scene.connection().await["status"], "active");
}

/// New credentials help at once: the integration rests, not its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broken_integration_rests_until_it_is_mended() {
    let scene = Scene::expired("rotate_plain").await;
    scene.provider.next(TOKEN, Act::oauth_error(401, "invalid_client"));
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 424);
    scene.app.clock.advance(Duration::from_secs(5));
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 424);
    assert_eq!(scene.provider.refreshes(), 1, "the provider was asked while the integration rests");

    scene.app.clock.advance(Duration::from_secs(5));
    scene.tenant.enable("fake", "read").await;
    assert_eq!(scene.tenant.try_token("fake", "alice").await.0, 200);
}

/// A caller who sends half a body and then nothing does not hold a connection for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_never_ends_is_given_up() {
    let app = TestApp::usual().await;
    let address = app.url.strip_prefix("http://").expect("an origin");
    for path in
        ["/signup", "/verify-email/page", "/authorize-sandbox/decision", "/authorization-success/int_0", "/get-access-token"]
    {
        let mut caller = TcpStream::connect(address).await.expect("a connection");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{");
        caller.write_all(head.as_bytes()).await.expect("it takes the head");
        let (mut said, mut beat) = (Vec::new(), tokio::time::interval(Duration::from_millis(20)));
        let mut end = Box::pin(caller.read_to_end(&mut said));
        loop {
            // Time goes on until the server, whenever it began to count, has had enough.
            tokio::select! {
                read = &mut end => break assert!(read.is_ok(), "the connection ends"),
                _ = beat.tick() => app.clock.advance(Duration::from_secs(1)),
            }
        }
        drop(end);
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 400"), "{path}: {said}");
    }
}

/// One refusal of the client rests the connection that saw it and nobody else: it may hold somebody else's tokens. Two in a row
/// rest the integration, and new credentials end that at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_bad_import_does_not_stop_an_integration() {
    let provider = FakeProvider::start().await;
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "nonrotating"))];
    let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
    let tenant = app.tenant("dev@acme.example").await;
    tenant.enable("fake", "read").await;
    for end_user in ["bad", "good", "third", "fourth"] {
        let body =
            json!({ "provider": "fake", "end_user_id": end_user, "access_token": "a", "refresh_token": "r", "expires_in": 1 });
        assert_eq!(tenant.post("/import-connection", body).await.0, 201);
    }
    app.clock.advance(Duration::from_secs(2));
    provider.next(TOKEN, Act::oauth_error(401, "invalid_client"));
    let (status, said) = tenant.try_token("fake", "bad").await;
    assert_eq!((status, said["reason"].as_str()), (424, Some("invalid_client")), "{said}");
    assert_eq!(tenant.try_token("fake", "good").await.0, 200);
    app.clock.advance(Duration::from_secs(3));
    assert_eq!((tenant.try_token("fake", "bad").await.0, provider.refreshes()), (424, 2), "it rests by itself");
    app.clock.advance(Duration::from_secs(30));
    for end_user in ["bad", "third"] {
        provider.next(TOKEN, Act::oauth_error(401, "invalid_client"));
        assert_eq!(tenant.try_token("fake", end_user).await.0, 424);
    }
    assert_eq!((tenant.try_token("fake", "fourth").await.0, provider.refreshes()), (424, 4), "all rest");
    app.clock.advance(Duration::from_secs(1));
    tenant.enable("fake", "read").await;
    app.clock.advance(Duration::from_secs(2));
    assert_eq!((tenant.try_token("fake", "fourth").await.0, provider.refreshes()), (200, 5));
}

/// What a tenant sees while it is not known whether a grant lives, and once that is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_grant_in_doubt_says_why_since_when_and_what_to_do() {
    let provider = FakeProvider::start().await;
    let providers = vec![("fake", provider_file::of_class("Fake", &provider.url(""), "rotate_strict"))];
    let app = TestApp::with(Setup { providers, ..Setup::default() }).await;
    let tenant = app.connected().await;
    provider.next(TOKEN, Act::Close);
    let forced = json!({ "provider": "fake", "end_user_id": "alice", "force_refresh": true });
    app.clock.advance(Duration::from_secs(600));
    let (status, said) = tenant.post("/get-access-token", forced.clone()).await;
    assert_eq!(
        (status, said["warning"].as_str(), said["failing"]["reason"].as_str()),
        (200, Some("refresh_failing"), Some("no_answer"))
    );
    // A strict family is not risked while its access token lives: an hour, less its last minute.
    assert_eq!(said["failing"]["retry_at"], "2026-01-01T00:59:00Z", "{said}");
    let shown = async || {
        let (_, listed) = tenant.get("/connections").await;
        let (_, shown) = tenant.get(&format!("/connections/{}", text(&listed["connections"][0]["id"]))).await;
        assert_eq!(listed["connections"][0]["status"], shown["status"]);
        shown
    };
    let doubtful = shown().await;
    assert_eq!((&doubtful["status"], &doubtful["status_reason"]), (&json!("in_doubt"), &json!("no_answer")));
    assert_eq!(doubtful["status_since"], "2026-01-01T00:10:00Z");
    assert!(text(&doubtful["status_advice"]).starts_with("Nothing has to be done now"));
    assert_eq!(doubtful["token_sets"]["default"]["retry_at"], "2026-01-01T00:59:00Z");
    app.clock.advance(Duration::from_secs(3000 - 60));
    assert_eq!(tenant.try_token("fake", "alice").await.1["generation"], 2);
    let recovered = shown().await;
    assert_eq!((&recovered["status"], recovered.get("status_advice")), (&json!("active"), None));
    let kinds: Vec<_> = recovered["history"].as_array().unwrap().iter().map(|event| text(&event["kind"])).collect();
    for kind in ["connection.in_doubt", "connection.recovered", "connection.refreshed"] {
        assert_eq!(kinds.iter().filter(|known| *known == kind).count(), 1, "{kinds:?}");
    }

    provider.always(TOKEN, Act::oauth_error(400, "invalid_grant"));
    app.clock.advance(Duration::from_secs(3600));
    assert_eq!(tenant.try_token("fake", "alice").await.0, 503);
    app.clock.advance(Duration::from_secs(31));
    let (status, said) = tenant.try_token("fake", "alice").await;
    assert_eq!((status, said["reason"].as_str()), (409, Some("invalid_grant")), "{said}");
    let over = shown().await;
    assert_eq!((&over["status"], &over["status_reason"]), (&json!("needs_reauth"), &json!("invalid_grant")));
    assert!(text(&over["status_advice"]).contains("new authorize link"), "{over}");
    let (_, said) = tenant.try_token("fake", "alice").await;
    assert!(said["since"].is_string() && said["authorize_url"].is_string(), "{said}");
}
