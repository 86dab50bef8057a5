//! Providers that a tenant defines: the whole journey with one, what is refused, and who sees it.

use serde_json::{Value, json};

use crate::fake_provider::{Answer, FakeProvider, REVOKE, TOKEN};
use crate::provider_file;
use crate::world::{Browser, Setup, TestApp, client, read, text};

fn definition(provider: &FakeProvider) -> String {
    format!(
        "name = \"Ours\"\n[authorize]\nurl = \"{}\"\npkce = \"required\"\n[token]\nurl = \"{}\"\n[refresh]\nclass = \"rotate_plain\"\n[revoke]\nurl = \"{}\"\n",
        provider.url("/authorize"),
        provider.url(TOKEN),
        provider.url(REVOKE),
    )
}

/// Defined, enabled, connected, refreshed, revoked: by TOML and by JSON alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_of_ones_own_goes_the_whole_way() {
    let provider = FakeProvider::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let toml = definition(&provider);
    let json = json!({
        "name": "Ours", "docs": null, "authorize": { "url": provider.url("/authorize"), "pkce": "required" }, "token": { "url": provider.url(TOKEN) },
        "refresh": { "class": "rotate_plain" }, "revoke": { "url": provider.url(REVOKE) },
    });
    for (id, definition) in [("by-toml", json!(toml)), ("by-json", json), ("by-text", json!(serde_json::to_string(&json!({
        "name": "Ours", "authorize": { "url": provider.url("/authorize"), "pkce": "off" }, "token": { "url": provider.url(TOKEN) }, "refresh": { "class": "unknown" },
    })).unwrap()))] {
        let defined = tenant.ok("/define-provider", json!({ "provider": id, "definition": definition })).await;
        assert_eq!((defined["id"].as_str(), defined["name"].as_str()), (Some(id), Some("Ours")));
        let enabled = tenant.enable(id, "read").await;
        assert_eq!(enabled["redirect_uri"], defined["redirect_uri"], "the address to register is known before");
        let browser = Browser::default();
        let done = browser.connect_at_once(&tenant.link(id, "alice").await).await;
        assert!(done.status == 200 || done.status == 303, "{} {}", done.status, done.body);
        let before = provider.refreshes();
        let first = tenant.token(id, "alice").await;
        app.clock.advance(std::time::Duration::from_secs(7200));
        let second = tenant.token(id, "alice").await;
        assert_ne!(first["access_token"], second["access_token"]);
        assert_eq!(provider.refreshes(), before + 1);
        tenant.ok("/revoke-connection", json!({ "provider": id, "end_user_id": "alice" })).await;
    }
    assert!(provider.count(REVOKE) >= 2);
}

/// The file itself as the body, with its name in the query: the same provider, the same limits and the same refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_definition_may_be_the_body_itself() {
    let provider = FakeProvider::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let send = async |path: &str, media_type: &str, body: Vec<u8>| {
        let request = client().post(format!("{}{path}", app.url)).bearer_auth(&tenant.key);
        read(request.header("content-type", media_type).body(body)).await
    };
    let good = definition(&provider);
    for (id, media_type) in [("ours", "application/toml"), ("ours", "Application/TOML; charset=utf-8")] {
        let (status, defined) = send(&format!("/define-provider?provider={id}"), media_type, good.clone().into_bytes()).await;
        assert_eq!((status, &defined["id"], &defined["definition"]), (200, &json!(id), &json!(good)), "{defined}");
    }
    let by_field = tenant.ok("/define-provider", json!({ "provider": "fields", "definition": good })).await;
    assert_eq!(by_field["use"], tenant.get("/providers/ours").await.1["use"]);
    tenant.enable("ours", "read").await;
    Browser::default().connect_at_once(&tenant.link("ours", "alice").await).await;
    assert_eq!(provider.count(TOKEN), 1);

    let long = format!("# {}\n{good}", "x".repeat(64 * 1024));
    let toml = "application/toml";
    for (path, media_type, body, status, told) in [
        ("/define-provider", toml, good.as_bytes(), 400, "`provider`"),
        ("/define-provider?provider=No+Id", toml, good.as_bytes(), 400, "must be 1 to 64 lower-case letters"),
        ("/define-provider?provider=sandbox", toml, good.as_bytes(), 400, "the catalogue has a provider of that name"),
        ("/define-provider?provider=bad", toml, &b"name = ["[..], 400, "definition:1"),
        ("/define-provider?provider=bad", toml, &b""[..], 400, "name: is missing"),
        ("/define-provider?provider=bad", toml, &b"name = \"\xff\""[..], 400, "not UTF-8"),
        ("/define-provider?provider=bad", toml, long.as_bytes(), 413, "bytes"),
        ("/define-provider?provider=bad&username=a&password=b", toml, good.as_bytes(), 400, "a URL is no place for it"),
        ("/define-provider?provider=bad", "text/plain", good.as_bytes(), 415, "or here `application/toml`"),
        ("/define-provider?provider=bad", "application/json", &b"{}"[..], 400, "`provider`"),
        ("/remove-provider?provider=ours", toml, good.as_bytes(), 415, "application/json"),
    ] {
        let (found, said) = send(path, media_type, body.to_vec()).await;
        assert!(found == status && text(&said["detail"]).contains(told), "{path} {media_type}: {found} {said}");
    }
    let none = client().post(format!("{}/define-provider?provider=bad", app.url)).header("content-type", toml).body(good.clone());
    assert_eq!(read(none).await.0, 401);
    let listed = tenant.get("/defined-providers").await.1;
    let mut ids: Vec<_> = listed["defined_providers"].as_array().unwrap().iter().map(|one| text(&one["provider"])).collect();
    ids.sort();
    assert_eq!(ids, ["fields", "ours"]);
}

/// A tenant sees its own, and no other's; two may define the same name.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_definition_is_known_to_its_tenant_alone() {
    let (mine, theirs) = (FakeProvider::start().await, FakeProvider::start().await);
    let app = TestApp::usual().await;
    let (owner, other) = (app.tenant("owner@acme.example").await, app.tenant("other@rival.example").await);
    owner.ok("/define-provider", json!({ "provider": "ours", "definition": definition(&mine) })).await;
    let (_, listed) = owner.get("/defined-providers").await;
    assert_eq!(listed["defined_providers"][0]["definition"], json!(definition(&mine)));
    assert_eq!(owner.get("/providers/ours").await.0, 200);
    for (status, said) in [
        other.get("/providers/ours").await,
        other.post("/enable-provider", json!({ "provider": "ours", "client_id": "c", "client_secret": "s" })).await,
        other.post("/remove-provider", json!({ "provider": "ours" })).await,
    ] {
        assert_eq!((status, said["code"].as_str()), (404, Some("provider_not_found")), "{said}");
    }
    assert_eq!(client().get(format!("{}/providers/ours", app.url)).send().await.unwrap().status(), 404);
    assert_eq!(other.get("/defined-providers").await.1["defined_providers"], json!([]));
    other.ok("/define-provider", json!({ "provider": "ours", "definition": definition(&theirs) })).await;
    for tenant in [&owner, &other] {
        tenant.enable("ours", "read").await;
        Browser::default().connect_at_once(&tenant.link("ours", "alice").await).await;
    }
    assert_eq!((mine.count(TOKEN), theirs.count(TOKEN)), (1, 1), "each flow went to its own tenant's provider");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_in_use_is_not_removed() {
    let provider = FakeProvider::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    tenant.ok("/define-provider", json!({ "provider": "ours", "definition": definition(&provider) })).await;
    tenant.enable("ours", "read").await;
    let (status, said) = tenant.post("/remove-provider", json!({ "provider": "ours" })).await;
    assert!(status == 400 && text(&said["detail"]).contains("`ours` is enabled"), "{said}");
    Browser::default().connect_at_once(&tenant.link("ours", "alice").await).await;
    tenant.ok("/disable-provider", json!({ "provider": "ours" })).await;
    let (status, said) = tenant.post("/remove-provider", json!({ "provider": "ours" })).await;
    assert!(status == 400 && text(&said["detail"]).contains("it has connections"), "{said}");
    tenant.ok("/revoke-connection", json!({ "provider": "ours", "end_user_id": "alice" })).await;
    tenant.ok("/remove-provider", json!({ "provider": "ours" })).await;
    assert_eq!(tenant.get("/providers/ours").await.0, 404);
    assert_eq!(tenant.post("/remove-provider", json!({ "provider": "ours" })).await.0, 404);
}

/// Whoever may write definitions, and sees no secret, must not have one sent to himself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_given_for_one_place_does_not_go_to_another() {
    let (honest, evil) = (FakeProvider::start().await, FakeProvider::start().await);
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let good = definition(&honest);
    let define = async |text: &str| tenant.post("/define-provider", json!({ "provider": "ours", "definition": text })).await;
    let at_evil = |path: &str| good.replace(&honest.url(path), &evil.url(path));
    let with = |more: &str| format!("{good}{more}");
    let moves = [
        at_evil(TOKEN),
        at_evil(REVOKE),
        good.replace("[refresh]", &format!("[refresh]\nurl = \"{}\"", evil.url(TOKEN))),
        with(&format!("[[after_connect]]\nname = \"me\"\nurl = \"{}\"\nkeep = {{ id = \"/id\" }}\n", evil.url("/me"))),
        with("[response]\naccess_token = \"/refresh_token\"\n"),
    ];
    assert_eq!(define(&good).await.0, 200);
    tenant.enable("ours", "read").await;
    Browser::default().connect_at_once(&tenant.link("ours", "alice").await).await;
    let unused = tenant.link("ours", "bob").await;
    let refuse_all = async |why: &str| {
        for moved in &moves {
            let (status, said) = define(moved).await;
            assert_eq!((status, &said["field"]), (400, &json!("definition")), "{moved}: {said}");
            let detail = text(&said["detail"]);
            assert!(detail.contains("may not change where secrets go") && detail.contains(why), "{detail}");
        }
    };
    refuse_all("`ours` is enabled").await;
    let named_anew = with("[authorize.scopes]\ndefault = [\"read\"]\n").replace("Ours", "Ours too");
    assert_eq!(define(&named_anew).await.0, 200, "what sends nothing elsewhere may change");
    assert_eq!(define(&good).await.0, 200);
    tenant.ok("/disable-provider", json!({ "provider": "ours" })).await;
    refuse_all("it has connections").await;
    tenant.ok("/revoke-connection", json!({ "provider": "ours", "end_user_id": "alice" })).await;

    assert_eq!(define(&at_evil(TOKEN)).await.0, 200, "nothing is left that could go there");
    let (status, said) = tenant.post("/enable-provider", json!({ "provider": "ours", "client_id": "c" })).await;
    assert_eq!((status, &said["field"]), (400, &json!("client_secret")), "{said}");
    tenant.ok("/enable-provider", json!({ "provider": "ours", "client_id": "c", "client_secret": "another" })).await;
    assert_eq!(client().get(&unused).send().await.unwrap().status(), 410, "a link of before leads nowhere");
    // Back home it is no different: nobody knows what was given meanwhile.
    tenant.ok("/disable-provider", json!({ "provider": "ours" })).await;
    tenant.ok("/remove-provider", json!({ "provider": "ours" })).await;
    assert_eq!(define(&good).await.0, 200);
    assert_eq!(tenant.post("/enable-provider", json!({ "provider": "ours", "client_id": "c" })).await.0, 400);
    tenant.enable("ours", "read").await;
    Browser::default().connect_at_once(&tenant.link("ours", "alice").await).await;
    assert_eq!((honest.count(TOKEN), evil.count(TOKEN), evil.count(REVOKE), evil.count("/me")), (2, 0, 0, 0));
}

/// Each slip is told, with what it is, and nothing is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_wrong_with_a_definition_is_said() {
    let provider = FakeProvider::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let good = definition(&provider);
    let with = |more: &str| json!(format!("{good}{more}"));
    let long = format!("# {}\n{good}", "x".repeat(64 * 1024));
    for (name, id, definition, told) in [
        ("a name of the catalogue", "sandbox", json!(good), "the catalogue has a provider of that name"),
        ("no id", "No Id", json!(good), "must be 1 to 64 lower-case letters"),
        ("not TOML", "ours", json!("name = ["), "definition:1"),
        ("not JSON", "ours", json!("{\"name\":"), "is not JSON"),
        ("an unknown key", "ours", with("[redirects]\nx = 1\n"), "unknown key `redirects`; did you mean `redirect`?"),
        (
            "an unknown key, with its line",
            "ours",
            json!("name = \"N\"\n[refresh]\n\nklass = \"none\"\n"),
            "definition:4: unknown key `klass`",
        ),
        (
            "an unknown key in JSON",
            "ours",
            json!({ "name": "N", "refresh": { "klass": "none" } }),
            "definition: refresh.klass: unknown key",
        ),
        ("nothing", "ours", json!(""), "name: is missing"),
        ("http elsewhere", "ours", json!(good.replace("http://127.0.0.1", "http://192.0.2.1")), "must begin with https://"),
        (
            "a deployment's param",
            "ours",
            with("[params.x]\ntitle = \"X\"\nkind = \"text\"\nneeded_by = \"deployment\"\nexample = \"x\"\n"),
            "the deployment is not yours",
        ),
        ("a secret in a URL", "ours", json!(good.replace(TOKEN, "/token/{client_secret}")), "`{client_secret}` is not declared"),
        (
            "a broken test",
            "ours",
            with("[[test]]\nstep = \"exchange\"\nanswer = '{\"access_token\":\"a\"}'\nexpect = { access_token = \"b\" }\n"),
            "test exchange: access_token",
        ),
        ("a number", "ours", json!(7), "definition"),
    ] {
        let (status, said) = tenant.post("/define-provider", json!({ "provider": id, "definition": definition })).await;
        assert_eq!((status, said["code"].as_str()), (400, Some("invalid_request")), "{name}: {said}");
        assert!(text(&said["detail"]).contains(told), "{name}: {said}");
    }
    let (status, _) = tenant.post("/define-provider", json!({ "provider": "ours", "definition": long })).await;
    assert!(status == 400 || status == 413, "{status}");
    assert_eq!(tenant.get("/defined-providers").await.1["defined_providers"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_has_a_limit() {
    let provider = FakeProvider::start().await;
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    let define = async |n: usize| {
        tenant.post("/define-provider", json!({ "provider": format!("p{n}"), "definition": definition(&provider) })).await
    };
    for n in 0..100 {
        assert_eq!(define(n).await.0, 200, "{n}");
    }
    let (status, said) = define(100).await;
    assert_eq!((status, said["code"].as_str()), (409, Some("limit_reached")), "{said}");
    assert_eq!(define(7).await.0, 200, "one that is there can still be changed");
}

/// An operator may switch it off; with the one shared address it is always off.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_operator_decides() {
    for (setting, value) in [("providers.custom", "false"), ("connect.redirect", "shared")] {
        let app = TestApp::with(Setup { settings: vec![(setting, value.to_owned())], ..Setup::default() }).await;
        let tenant = app.tenant("dev@acme.example").await;
        let (status, said) = tenant.post("/define-provider", json!({ "provider": "ours", "definition": "name = \"x\"" })).await;
        assert_eq!((status, said["code"].as_str()), (403, Some("insufficient_scope")), "{said}");
    }
}

fn metadata(provider: &FakeProvider, issuer: &str) -> Value {
    json!({
        "issuer": issuer, "authorization_endpoint": provider.url("/authorize"), "token_endpoint": provider.url(TOKEN),
        "revocation_endpoint": provider.url(REVOKE), "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    })
}

const OIDC: &str = "/t/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server/t";

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

/// RFC 9207: an issuer that says it names itself in each callback must.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_callback_of_another_issuer_is_refused() {
    for (named, lands) in [(None, false), (Some("other"), false), (Some("t"), true)] {
        let provider = FakeProvider::start().await;
        let issuer = provider.url("/t");
        let mut said = metadata(&provider, &issuer);
        said["authorization_response_iss_parameter_supported"] = json!(true);
        provider.always(OIDC, json_answer(200, &said));
        let app = TestApp::usual().await;
        let tenant = app.tenant("dev@acme.example").await;
        tenant.ok("/define-provider", json!({ "provider": "idp", "definition": { "name": "I", "issuer": issuer } })).await;
        tenant.enable("idp", "openid").await;
        let browser = Browser::default();
        let authorize = browser.press_connect(&tenant.link("idp", "alice").await).await;
        let back = browser.get(&authorize).await.location();
        let iss = named.map(|path| format!("&iss={}", provider.url(&format!("/{path}")).replace('/', "%2F").replace(':', "%3A")));
        let landed = browser.get(&format!("{back}{}", iss.unwrap_or_default())).await;
        assert_eq!((provider.count(TOKEN), landed.status == 200), (usize::from(lands), lands), "{named:?}: {}", landed.body);
    }
}

/// The issuer's metadata stands in for URLs; it is asked again after a day, and what it said before stands when it is silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_issuer_speaks_for_itself() {
    for place in [OIDC, RFC8414] {
        let (provider, moved) = (FakeProvider::start().await, FakeProvider::start().await);
        let issuer = provider.url("/t");
        for each in [OIDC, RFC8414] {
            provider.always(each, json_answer(404, &json!({})));
        }
        provider.always(place, json_answer(200, &metadata(&provider, &issuer)));
        let app = TestApp::usual().await;
        let tenant = app.tenant("dev@acme.example").await;
        let body = json!({ "provider": "idp", "definition": { "name": "Our IdP", "issuer": issuer } });
        let defined = tenant.ok("/define-provider", body).await;
        assert_eq!((defined["pkce"].as_str(), defined["revokes_at_provider"].as_bool()), (Some("optional"), Some(true)));
        tenant.enable("idp", "openid").await;
        let connect = async || Browser::default().connect_at_once(&tenant.link("idp", "alice").await).await;
        connect().await;
        assert_eq!((provider.count(TOKEN), provider.count(place)), (1, 1), "asked once");

        app.clock.advance(std::time::Duration::from_secs(23 * 3600));
        connect().await;
        assert_eq!(provider.count(place), 1, "for a day it is not asked again");
        app.clock.advance(std::time::Duration::from_secs(2 * 3600));
        provider.always(place, json_answer(500, &json!({})));
        connect().await;
        assert_eq!((provider.count(TOKEN), provider.count(place)), (3, 2), "what it said before stands");
        connect().await;
        assert_eq!(provider.count(place), 2, "and it is left alone for an hour");
        app.clock.advance(std::time::Duration::from_secs(3700));
        provider.always(place, json_answer(200, &metadata(&moved, &issuer)));
        connect().await;
        assert_eq!((provider.count(TOKEN), moved.count(TOKEN)), (4, 1), "it moved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_issuer_that_cannot_be_believed_is_refused() {
    let provider = FakeProvider::start().await;
    let issuer = provider.url("/t");
    let app = TestApp::usual().await;
    let tenant = app.tenant("dev@acme.example").await;
    provider.always(RFC8414, json_answer(404, &json!({})));
    let mut without = metadata(&provider, &issuer);
    without.as_object_mut().unwrap().remove("token_endpoint");
    let mut elsewhere = metadata(&provider, &issuer);
    elsewhere["token_endpoint"] = json!("http://192.0.2.1/token");
    for (said, told) in [
        (json_answer(200, &metadata(&provider, &provider.url("/other"))), "names another issuer"),
        (json_answer(200, &without), "no usable `token_endpoint`"),
        (json_answer(200, &elsewhere), "no usable `token_endpoint`"),
        (json_answer(200, &json!([])), "not a JSON object"),
        (json_answer(404, &json!({})), "is not there (status 404)"),
    ] {
        provider.always(OIDC, said);
        let (status, refused) =
            tenant.post("/define-provider", json!({ "provider": "idp", "definition": { "name": "I", "issuer": issuer } })).await;
        assert!(status == 400 && text(&refused["detail"]).contains(told), "{told}: {refused}");
    }
    for bad in ["http://192.0.2.1", "https://x.example?y", "ftp://x"] {
        let (status, refused) =
            tenant.post("/define-provider", json!({ "provider": "idp", "definition": { "name": "I", "issuer": bad } })).await;
        assert!(status == 400 && text(&refused["detail"]).contains("must be an https URL"), "{bad}: {refused}");
    }
}

/// A catalogue that comes to know the same name does not take a tenant's integration over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_later_provider_of_the_same_name_changes_nothing() {
    let (own, listed) = (FakeProvider::start().await, FakeProvider::start().await);
    let app = TestApp::usual().await;
    let store_url = format!("sqlite:{}", app.folder.path().join("store.db").display());
    drop(app);
    let folder = tempfile::tempdir().unwrap();
    let store_url = store_url
        .replace(std::path::Path::new(&store_url[7..]).parent().unwrap().to_str().unwrap(), folder.path().to_str().unwrap());
    let setup = |providers| Setup { store_url: Some(store_url.clone()), providers, ..Setup::default() };
    let app = TestApp::with(setup(vec![])).await;
    let tenant = app.tenant("dev@acme.example").await;
    tenant.ok("/define-provider", json!({ "provider": "late", "definition": definition(&own) })).await;
    tenant.enable("late", "read").await;
    let app = app.restart(setup(vec![("late", provider_file::of_class("Late", &listed.url(""), "nonrotating"))])).await;
    let tenant = tenant.at(&app);
    Browser::default().connect_at_once(&tenant.link("late", "alice").await).await;
    assert_eq!((own.count(TOKEN), listed.count(TOKEN)), (1, 0));
}
