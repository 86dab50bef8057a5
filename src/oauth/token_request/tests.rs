//! What goes over the wire, for each way in which a file asks for it.

use super::*;
use crate::domain::call::Method;
use crate::domain::tokens::{IssuedTokens, Lifetime};
use crate::oauth::client::{Moment, NOTHING};
use crate::oauth::provider_file::testing::{acme, alone};

struct Tenant {
    secret: Option<SecretString>,
    id: &'static str,
    params: BTreeMap<String, String>,
}

impl Tenant {
    fn client(&self) -> Client<'_> {
        static NO_SECRETS: BTreeMap<String, SecretString> = BTreeMap::new();
        Client {
            client_id: self.id,
            client_secret: self.secret.as_ref(),
            params: &self.params,
            secret_params: &NO_SECRETS,
            redirect_uri: "https://broker.example/cb",
            scopes: &[],
            metadata: &NOTHING,
            moment: None,
        }
    }
}

fn tenant(params: &[(&str, &str)]) -> Tenant {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Tenant { secret: Some("s:e c/r%t+é".into()), id: "my client", params }
}

fn try_exchange(changes: &str, tenant: &Tenant, kept: &[(&str, &str)]) -> Result<HttpCall, BuildError> {
    let kept = kept.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flow = Authorization {
        code: &"c&d=".into(),
        kept: &kept,
        redirect_uri: "https://broker.example/cb",
        verifier: Some(&"v".into()),
        state: "st",
        scopes: &["r".to_owned(), "w".to_owned()],
        temporary: None,
    };
    exchange(&acme(changes), &tenant.client(), &flow)
}

fn tokens(refresh: Option<&str>) -> Tokens {
    Tokens {
        access: "at".into(),
        refresh: refresh.map(Into::into),
        secret: None,
        token_type: "Bearer".to_owned(),
        obtained_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        refresh_expires_at: None,
        scopes: vec!["a".to_owned(), "b".to_owned()],
        from_generation: 0,
        received_by: "n".to_owned(),
    }
}

fn form(call: &HttpCall) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&call.body).into_owned().collect()
}

fn header<'a>(call: &'a HttpCall, name: &str) -> Option<&'a str> {
    call.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn the_client_proves_itself_as_the_file_says() {
    let post = try_exchange("", &tenant(&[]), &[]).unwrap();
    assert_eq!(form(&post)["client_secret"], "s:e c/r%t+é");
    assert_eq!((form(&post)["client_id"].as_str(), header(&post, "authorization")), ("my client", None));
    // RFC 6749 2.3.1: each half form-encoded, then Base64 of "my+client:s%3Ae+c%2Fr%25t%2B%C3%A9".
    let basic = try_exchange("token.client_auth = \"basic\"", &tenant(&[]), &[]).unwrap();
    assert_eq!(header(&basic, "authorization"), Some("Basic bXkrY2xpZW50OnMlM0FlK2MlMkZyJTI1dCUyQiVDMyVBOQ=="));
    assert!(!form(&basic).contains_key("client_id") && !form(&basic).contains_key("client_secret"));
    let raw = try_exchange("token = { client_auth = \"basic\", basic = \"raw\", client_id_in_body = true }", &tenant(&[]), &[])
        .unwrap();
    assert_eq!(header(&raw, "authorization"), Some("Basic bXkgY2xpZW50OnM6ZSBjL3IldCvDqQ=="));
    assert_eq!(form(&raw)["client_id"], "my client");
    let none = try_exchange("token.client_auth = \"none\"", &tenant(&[]), &[]).unwrap();
    assert!(form(&none).contains_key("client_id") && !form(&none).contains_key("client_secret"));
    let off = try_exchange("token.client_auth = \"off\"", &tenant(&[]), &[]).unwrap();
    assert!(!form(&off).contains_key("client_id"));
    let colon = Tenant { id: "a:b", ..tenant(&[]) };
    assert!(try_exchange("token = { client_auth = \"basic\", basic = \"raw\" }", &colon, &[]).is_err());
}

#[test]
fn a_basic_header_may_hold_other_halves() {
    let changes = "token = { client_auth = \"basic\", basic = \"raw\", basic_user = \"{client_secret}\", basic_pass = \"\" }";
    let secret = Tenant { secret: Some("sk_1".into()), ..tenant(&[]) };
    let call = try_exchange(changes, &secret, &[]).unwrap();
    assert_eq!(header(&call, "authorization"), Some("Basic c2tfMTo="));
    // A colon would end the user name early, wherever it comes from.
    assert!(try_exchange(changes, &tenant(&[]), &[]).is_err());
}

#[test]
fn a_missing_secret_is_an_error_unless_the_client_may_be_public() {
    let public = Tenant { secret: None, ..tenant(&[]) };
    assert_eq!(try_exchange("", &public, &[]), Err(BuildError::MissingClientSecret));
    for auth in ["post", "basic"] {
        let call =
            try_exchange(&format!("token = {{ client_auth = \"{auth}\", client_secret = \"optional\" }}"), &public, &[]).unwrap();
        assert_eq!((form(&call)["client_id"].as_str(), header(&call, "authorization")), ("my client", None));
    }
}

#[test]
fn params_stand_where_the_provider_wants_them() {
    let changes = "token = { body = \"json\", params = { n = 5, b = true, t = \"{client_id}!\", code = \"<{code}>\" }, rename = { client_id = \"app_id\" }, drop = [\"grant_type\"] }\nrefresh.params = {}";
    let json: serde_json::Value = serde_json::from_slice(&try_exchange(changes, &tenant(&[]), &[]).unwrap().body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"code": "<c&d=>", "redirect_uri": "https://broker.example/cb", "code_verifier": "v", "app_id": "my client",
            "client_secret": "s:e c/r%t+é", "n": 5, "b": true, "t": "my client!"})
    );
    let query = try_exchange(
        "token = { method = \"get\", body = \"query\", url = \"https://acme.example/token?v=1\" }",
        &tenant(&[]),
        &[],
    )
    .unwrap();
    assert!(query.body.is_empty() && header(&query, "content-type").is_none());
    let pairs: BTreeMap<_, _> = query.url.query_pairs().into_owned().collect();
    assert_eq!((pairs["v"].as_str(), pairs["code"].as_str()), ("1", "c&d="));
    let form_call = try_exchange("", &tenant(&[]), &[]).unwrap();
    assert_eq!((form(&form_call)["code"].as_str(), form_call.url.query()), ("c&d=", None));
}

#[test]
fn what_the_callback_brought_can_be_sent_on() {
    let changes = "callback.keep = [\"realm\"]\ntoken.params = { realm = \"{callback.realm}\" }\nrefresh.params = {}";
    assert_eq!(form(&try_exchange(changes, &tenant(&[]), &[("realm", "r1")]).unwrap())["realm"], "r1");
    assert!(!form(&try_exchange(changes, &tenant(&[]), &[]).unwrap()).contains_key("realm"));
}

#[test]
fn what_the_flow_was_begun_with_can_be_sent_again() {
    let changes =
        "authorize.scopes.separator = \",\"\ntoken.params = { state = \"{state}\", scope = \"{scope}\" }\nrefresh.params = {}";
    let sent = form(&try_exchange(changes, &tenant(&[]), &[]).unwrap());
    assert_eq!((sent["state"].as_str(), sent["scope"].as_str()), ("st", "r,w"));
}

#[test]
fn a_call_has_its_moment() {
    let changes = "token = { headers = { X-Time = \"{now} {now_ms}\", X-Id = \"{uuid} {random}\" }, params = { sign = \"{hmac_sha256(client_secret, join(now, code))}\" } }\nrefresh = { params = {}, headers = {} }";
    let (provider, tenant) = (acme(changes), Tenant { secret: Some("key".into()), ..tenant(&[]) });
    let scopes: [String; 0] = [];
    let (code, kept) = ("c".into(), BTreeMap::new());
    let flow =
        Authorization { code: &code, kept: &kept, redirect_uri: "", verifier: None, state: "", scopes: &scopes, temporary: None };
    let moment = Moment { now: Timestamp::from_millisecond(1_795_000_000_123).unwrap(), random: [7; 16] };
    let call = exchange(&provider, &tenant.client().at(moment), &flow).unwrap();
    assert_eq!(header(&call, "x-time"), Some("1795000000 1795000000123"));
    assert_eq!(header(&call, "x-id"), Some("07070707-0707-4707-8707-070707070707 07070707070707070707070707070707"));
    assert_eq!(form(&call)["sign"], "f8e6af9add6cc8b957b5d1004e4513246651a19b4868ed1e2f35034924456c7a");
    assert_eq!(exchange(&provider, &tenant.client(), &flow), Err(BuildError::MissingParam("now".to_owned())));
}

#[test]
fn a_host_that_the_callback_names_is_the_providers() {
    let changes = "callback = { keep = [\"server\"], hosts = { server = [\"acme.example\"] } }\ntoken.url = \"https://{callback.server}/token\"";
    let at = |server: &str| try_exchange(changes, &tenant(&[]), &[("server", server)]).map(|call| call.url.to_string());
    assert_eq!(at("https://eu.acme.example").as_deref(), Ok("https://eu.acme.example/token"));
    for odd in ["", "evil.example", "https://acme.example.evil.example", "https://acme.example@evil.example"] {
        assert_eq!(at(odd), Err(BuildError::BadUrl), "{odd}");
    }
    // The same holds of what was stored with the connection.
    let (provider, tenant, set) = (acme(changes), tenant(&[]), TokenSetName::default_set());
    for (server, host) in [("https://eu.acme.example", Some("eu.acme.example")), ("https://evil.example", None)] {
        let known = BTreeMap::from([("server".to_owned(), server.into())]);
        let call = refresh(&provider, &tenant.client().knowing(&known), &set, &tokens(Some("rt")));
        assert_eq!(call.ok().and_then(|call| call.url.host_str().map(str::to_owned)).as_deref(), host);
    }
}

#[test]
fn what_is_known_of_a_connection_can_be_sent_on() {
    let changes = "callback.keep = [\"realm\"]\nresponse.keep = { account = \"/a\" }\ntoken.params = { realm = \"{callback.realm}\" }\n\
        refresh = { params = { realm = \"{callback.realm}\", account = \"{metadata.account}\", uri = \"{redirect_uri}\" } }\n\
        revoke = { url = \"https://acme.example/{metadata.account}/revoke\" }";
    let (provider, tenant) = (acme(changes), tenant(&[]));
    let known = BTreeMap::from([("realm".to_owned(), "r/1".into()), ("account".to_owned(), 7.into())]);
    let client = tenant.client().knowing(&known);
    let set = TokenSetName::default_set();
    let sent = form(&refresh(&provider, &client, &set, &tokens(Some("rt"))).unwrap());
    assert_eq!(
        (sent["realm"].as_str(), sent["account"].as_str(), sent["uri"].as_str()),
        ("r/1", "7", "https://broker.example/cb")
    );
    assert_eq!(revoke(&provider, &client, &tokens(None)).unwrap().unwrap().url.path(), "/7/revoke");
    // What is not known is left out of params; a path without it would be another one.
    let sent = form(&refresh(&provider, &tenant.client(), &set, &tokens(Some("rt"))).unwrap());
    assert!(!sent.contains_key("realm") && !sent.contains_key("account"));
    assert_eq!(revoke(&provider, &tenant.client(), &tokens(None)), Err(BuildError::BadUrl));
    for odd in ["..", "a/../b", "%2e%2e"] {
        let known = BTreeMap::from([("account".to_owned(), odd.into())]);
        let client = tenant.client().knowing(&known);
        let called = revoke(&provider, &client, &tokens(None)).map(|call| call.unwrap().url.path().to_owned());
        assert!(called.clone().is_err() || called.unwrap().matches('/').count() == 2, "{odd}");
    }
}

#[test]
fn a_look_up_uses_what_those_before_it_brought() {
    let changes = "response.keep = { id = \"/id\" }\n\
        after_connect = [{ name = \"a\", url = \"https://acme.example/{metadata.id}\", keep = { org = \"/org\" } },\n\
        { name = \"b\", url = \"https://acme.example/orgs/{metadata.org}\", subject = \"/id\", optional = true }]";
    let (provider, tenant) = (acme(changes), tenant(&[]));
    let [first, second] = provider.spec().after_connect.as_slice() else { panic!() };
    let mut answer = answered(&[("id", "u1")]);
    let path = |step, answer: &TokenAnswer| {
        look_up(&provider, step, &tenant.client(), answer).map(|lookup| lookup.map(|lookup| lookup.call.url.path().to_owned()))
    };
    assert_eq!(path(first, &answer), Ok(Some("/u1".to_owned())));
    assert_eq!(path(second, &answer), Ok(None), "an optional one whose value did not come is left out");
    answer.metadata.insert("org".to_owned(), 5.into());
    assert_eq!(path(second, &answer), Ok(Some("/orgs/5".to_owned())));
    assert_eq!(path(first, &answered(&[])), Err(BuildError::BadUrl));
}

fn answered(metadata: &[(&str, &str)]) -> TokenAnswer {
    let issued = IssuedTokens {
        access_token: "at".into(),
        refresh_token: None,
        token_secret: None,
        token_type: "Bearer".to_owned(),
        expires_at: None,
        lifetime: Lifetime::Named,
        refresh_expires_at: None,
        scopes: None,
    };
    let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    TokenAnswer { sets: [(TokenSetName::default_set(), issued)].into(), metadata, subject: None }
}

#[test]
fn settings_are_checked_again_and_cannot_begin_a_header() {
    let changes = "params.key = { title = \"K\", kind = \"text\", needed_by = \"integration\", example = \"x\" }\ntoken.headers = { X-Key = \"k {key}\" }";
    assert_eq!(header(&try_exchange(changes, &tenant(&[("key", "v")]), &[]).unwrap(), "x-key"), Some("k v"));
    assert_eq!(try_exchange(changes, &tenant(&[("key", "v\r\nX: y")]), &[]), Err(BuildError::BadParam("key".to_owned())));
    assert_eq!(try_exchange(changes, &tenant(&[("key", "é")]), &[]), Err(BuildError::BadHeader("x-key".to_owned())));
    let split = Tenant { secret: Some("a\r\nb".into()), ..tenant(&[]) };
    let bearer = try_exchange("token.headers = { X-Secret = \"{client_secret}\" }\nrefresh.headers = {}", &split, &[]);
    assert_eq!(bearer, Err(BuildError::BadHeader("x-secret".to_owned())));
    assert_eq!(try_exchange(changes, &tenant(&[]), &[]), Err(BuildError::MissingParam("key".to_owned())));
}

#[test]
fn an_option_stands_for_its_value() {
    let changes = "params.region = { title = \"R\", kind = \"enum\", needed_by = \"link\", default = \"us\", options = { us = \"api.acme.example\", eu = \"api.eu.acme.example\" } }\ntoken.url = \"https://{region}/token\"";
    assert_eq!(try_exchange(changes, &tenant(&[]), &[]).unwrap().url.as_str(), "https://api.acme.example/token");
    assert_eq!(
        try_exchange(changes, &tenant(&[("region", "eu")]), &[]).unwrap().url.as_str(),
        "https://api.eu.acme.example/token"
    );
    assert_eq!(
        try_exchange(changes, &tenant(&[("region", "evil.example")]), &[]),
        Err(BuildError::BadParam("region".to_owned()))
    );
}

#[test]
fn one_choice_stands_for_what_differs_together() {
    let changes = "params.site = { title = \"S\", kind = \"enum\", needed_by = \"link\", default = \"live\", options = { \
        live = { host = \"acme.example\", v = \"1\" }, test = { host = \"test.acme.example\", v = \"2\" } } }\n\
        token = { url = \"https://{site.host}/{site.v}/token\", params = { site = \"{site.v}\" } }";
    let live = try_exchange(changes, &tenant(&[]), &[]).unwrap();
    assert_eq!(live.url.as_str(), "https://acme.example/1/token");
    let test = try_exchange(changes, &tenant(&[("site", "test")]), &[]).unwrap();
    assert_eq!((test.url.as_str(), form(&test)["site"].as_str()), ("https://test.acme.example/2/token", "2"));
}

#[test]
fn a_refresh_is_the_exchange_with_its_own_words() {
    let tenant = tenant(&[]);
    let client = tenant.client();
    let set = TokenSetName::default_set();
    let inherited = refresh(&acme("token.headers = { X-A = \"1\" }"), &client, &set, &tokens(Some("rt"))).unwrap();
    assert_eq!((form(&inherited)["grant_type"].as_str(), form(&inherited)["refresh_token"].as_str()), ("refresh_token", "rt"));
    assert_eq!(header(&inherited, "x-a"), Some("1"));
    let changes = "refresh = { url = \"https://acme.example/refresh\", body = \"json\", client_auth = \"basic\", params = { scope = \"{scope}\", old = \"{access_token}\" } }";
    let own = refresh(&acme(changes), &client, &set, &tokens(Some("rt"))).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
    assert_eq!(json, serde_json::json!({"grant_type": "refresh_token", "refresh_token": "rt", "scope": "a b", "old": "at"}));
    assert_eq!(own.url.path(), "/refresh");
    let other = TokenSetName::parse("other").unwrap();
    let unknown = refresh(&acme(""), &client, &other, &tokens(Some("rt")));
    assert_eq!(unknown, Err(BuildError::UnknownTokenSet("other".to_owned())));
    assert_eq!(refresh(&acme(""), &client, &set, &tokens(None)), Err(BuildError::NoRefreshToken));
    assert_eq!(refresh(&acme("refresh.class = \"none\""), &client, &set, &tokens(Some("rt"))), Err(BuildError::NotRefreshable));
}

#[test]
fn an_access_token_may_extend_itself() {
    let changes = "response.keep = { id = \"/id\" }\n\
        extend = { url = \"https://acme.example/extend\", params = { token = \"{access_token}\", id = \"{metadata.id}\" } }\n\
        refresh = { with = \"access_token\", min_age = \"24h\", client_auth = \"off\", params = { grant_type = \"extend\", token = \"{access_token}\" } }";
    let (provider, tenant, set) = (acme(changes), tenant(&[]), TokenSetName::default_set());
    let sent = form(&refresh(&provider, &tenant.client(), &set, &tokens(None)).unwrap());
    let expected = [("grant_type", "extend"), ("token", "at")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(sent, BTreeMap::from(expected));
    let sent = form(&extend(&provider, &tenant.client(), &answered(&[("id", "7")])).unwrap().unwrap());
    assert_eq!((sent["token"].as_str(), sent["id"].as_str(), sent["client_id"].as_str()), ("at", "7", "my client"));
    assert!(!sent.contains_key("grant_type"));
    assert_eq!(extend(&acme(""), &tenant.client(), &answered(&[])), Ok(None));
    assert_eq!(provider.refresh().min_age().map(|age| age.as_secs()), Some(86_400));
    let refreshes = |changes: &str, refresh| acme(changes).refresh().refreshes(&tokens(refresh));
    assert!(refreshes(changes, None) && refreshes(changes, Some("rt")));
    assert!(!refreshes("", None) && refreshes("", Some("rt")));
    assert!(!refreshes("refresh.class = \"none\"", Some("rt")));
}

#[test]
fn the_client_itself_is_given_a_token_and_the_next_is_asked_for_alike() {
    let changes = "grant = \"client_credentials\"\n\
        authorize = { scopes = { separator = \",\", always = [\"x\"] } }\n\
        token = { url = \"https://acme.example/token\", params = { audience = \"{scope}!\" } }\n";
    let tests = "test = [{ step = \"exchange\", request = { url = \"https://acme.example/token\" }, answer = \"{}\", expect = { failure = \"in_doubt\" } }]";
    let papers = "name = \"M\"\ndocs = \"https://m.example/\"\nchecked = 2026-01-02\nknown = \"docs\"\ncategories = [\"c\"]\ncredentials = \"C\"\n";
    let provider = alone(&format!("{papers}{changes}{tests}"));
    let (tenant, set) = (tenant(&[]), TokenSetName::default_set());
    let asked = ["r".to_owned(), "w".to_owned()];
    let client = tenant.client().asking(&asked);
    let sent = form(&mint(&provider, &client).unwrap());
    assert_eq!((sent["grant_type"].as_str(), sent["scope"].as_str()), ("client_credentials", "r,w,x"));
    assert_eq!((sent["audience"].as_str(), sent["client_id"].as_str()), ("r,w,x!", "my client"));
    assert!(!sent.contains_key("redirect_uri"));
    // What was issued is not sent, whatever it was.
    assert_eq!(form(&refresh(&provider, &client, &set, &tokens(Some("rt"))).unwrap()), sent);
    assert!(authorize_url_of(&provider, &tenant).is_err());
}

/// There is nothing of an end user that could be sent to the authorize endpoint, since there is none.
fn authorize_url_of(provider: &Provider, tenant: &Tenant) -> Result<url::Url, BuildError> {
    crate::oauth::authorize_url::build(&crate::oauth::authorize_url::AuthorizeInput {
        provider,
        client_id: tenant.id,
        redirect_uri: "https://broker.example/cb",
        scopes: &[],
        state: "s",
        pkce_challenge: None,
        nonce: None,
        params: &tenant.params,
    })
}

#[test]
fn a_token_may_be_minted_anew_for_who_consented() {
    let changes = "refresh = { with = \"client\", class = \"nonrotating\", url = \"https://acme.example/mint/{metadata.id}\", client_auth = \"off\" }\nresponse.keep = { id = \"/id\" }";
    let (tenant, set) = (tenant(&[]), TokenSetName::default_set());
    let known = BTreeMap::from([("id".to_owned(), serde_json::json!(7))]);
    let call = refresh(&acme(changes), &tenant.client().knowing(&known), &set, &tokens(Some("rt"))).unwrap();
    assert_eq!((call.url.path(), form(&call).len()), ("/mint/7", 0));
}

#[test]
fn a_revocation_takes_the_token_that_there_is() {
    let tenant = tenant(&[]);
    let client = tenant.client();
    assert_eq!(revoke(&acme(""), &client, &tokens(Some("rt"))).unwrap(), None);
    let provider = acme("revoke = { url = \"https://acme.example/revoke\", hint = true }");
    let of = |refresh| form(&revoke(&provider, &client, &tokens(refresh)).unwrap().unwrap());
    assert_eq!((of(Some("rt"))["token"].as_str(), of(Some("rt"))["token_type_hint"].as_str()), ("rt", "refresh_token"));
    assert_eq!((of(None)["token"].as_str(), of(None)["token_type_hint"].as_str()), ("at", "access_token"));
    assert!(!of(None).contains_key("grant_type"));
    let bearer = acme(
        "revoke = { url = \"https://acme.example/revoke\", client_auth = \"off\", token = \"access_token\", drop = [\"token\"], headers = { Authorization = \"Bearer {token}\" } }",
    );
    let call = revoke(&bearer, &client, &tokens(Some("rt"))).unwrap().unwrap();
    assert_eq!((header(&call, "authorization"), call.body.len()), (Some("Bearer at"), 0));
}

/// Whatever the exchange is: what a file leaves unsaid puts no token into a URL.
#[test]
fn what_stands_beside_the_exchange_is_a_form_unless_it_says_otherwise() {
    let tenant = tenant(&[]);
    let client = tenant.client();
    let beside = |token: &str, own: &str| {
        let provider = acme(&format!(
            "token = {{ {token} }}\nrevoke = {{ url = \"https://acme.example/revoke\"{own} }}\n\
            extend = {{ url = \"https://acme.example/extend\", params = {{ token = \"{{access_token}}\" }}{own} }}"
        ));
        let revoked = revoke(&provider, &client, &tokens(Some("rt"))).unwrap().unwrap();
        [(revoked, "rt"), (extend(&provider, &client, &answered(&[])).unwrap().unwrap(), "at")]
    };
    for token in ["method = \"get\", body = \"query\"", "method = \"put\"", "body = \"json\"", "body = \"query\"", ""] {
        for (call, sent) in beside(token, "") {
            let form_type = Some("application/x-www-form-urlencoded");
            assert_eq!(
                (call.method, call.url.query(), header(&call, "content-type")),
                (Method::Post, None, form_type),
                "{token}"
            );
            assert_eq!(form(&call)["token"], sent, "{token}");
        }
    }
    for (call, sent) in beside("", ", method = \"get\", body = \"query\"") {
        assert_eq!((call.method, call.body.len()), (Method::Get, 0));
        assert!(call.url.query_pairs().any(|pair| pair == ("token".into(), sent.into())), "{call:?}");
    }
}
