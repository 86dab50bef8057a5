//! What is understood of answers: those of the standard, those of files, and any others.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::secret::ExposeSecret;
use crate::domain::tokens::FailureClass::{self, DeadGrant, InDoubt, IntegrationBroken, Misconfigured, Throttled};
use crate::oauth::provider_file::testing::acme;

fn started() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

fn judged(changes: &str, body: &Value) -> Result<TokenAnswer, ProviderFailure> {
    judge_exchange(&acme(changes), &answer(200, &body.to_string()), started())
}

fn tokens(changes: &str, body: &Value) -> IssuedTokens {
    judged(changes, body).unwrap().sets.into_values().next().unwrap()
}

fn failure(changes: &str, status: u16, body: &str) -> (FailureClass, String) {
    let failure = judge_refresh(&acme(changes), &TokenSetName::default_set(), &answer(status, body), started()).unwrap_err();
    assert_eq!(failure.status, status);
    (failure.class, failure.code)
}

#[test]
fn the_least_that_is_a_success() {
    for status in [200, 201, 204, 299] {
        let got = judge_exchange(&acme(""), &answer(status, "access_token=t"), started()).unwrap();
        let tokens = got.sets.values().next().unwrap();
        assert_eq!((tokens.access_token.expose_secret(), tokens.token_type.as_str()), ("t", "Bearer"));
        assert!(
            tokens.refresh_token.is_none() && tokens.expires_at.is_none() && tokens.scopes.is_none() && got.subject.is_none()
        );
    }
}

#[test]
fn what_a_token_may_be() {
    let ok = |token: Value| judged("", &json!({"access_token": token})).is_ok();
    assert!(ok(json!("a b~")) && ok(json!("x".repeat(TOKEN_MAX))));
    for odd in [json!(""), json!(null), json!(7), json!(["t"]), json!("a\nb"), json!("é"), json!("x".repeat(TOKEN_MAX + 1))] {
        assert!(!ok(odd.clone()), "{odd}");
    }
    let without = tokens("", &json!({"access_token": "t", "refresh_token": "", "token_type": 5}));
    assert!(without.refresh_token.is_none() && without.token_type == "Bearer");
    assert_eq!(tokens("", &json!({"access_token": "t", "token_type": "bEARER"})).token_type, "Bearer");
    assert_eq!(tokens("", &json!({"access_token": "t", "token_type": "mac"})).token_type, "mac");
}

#[test]
fn scopes_are_read_however_they_are_written() {
    let scopes = |scope: Value| tokens("", &json!({"access_token": "t", "scope": scope})).scopes;
    let ab = Some(vec!["a".to_owned(), "b".to_owned()]);
    for scope in [json!("a b"), json!("a,b"), json!("a, b"), json!(" a  b "), json!(["a", "b"]), json!(["a", 5, "", "b"])] {
        assert_eq!(scopes(scope.clone()), ab, "{scope}");
    }
    for nothing in [json!(null), json!(""), json!([]), json!({}), json!(7)] {
        assert_eq!(scopes(nothing), None);
    }
}

#[test]
fn places_have_fallbacks_and_envelopes() {
    let changes = "response = { at = [\"/data\", \"/items/0\"], access_token = [\"/token\", \"/access_token\"], expires_in = \"/ttl\", keep = { shop = \"/data/shop\", tid = \"id_token:/tid\" }, subject = [\"/none\", \"/data/user\"] }";
    let got = judged(
        changes,
        &json!({"data": {"access_token": "t", "ttl": "60", "shop": {"id": 1}, "user": 77}, "id_token": "e30.eyJ0aWQiOiJ4In0.s"}),
    )
    .unwrap();
    let set = got.sets.values().next().unwrap();
    assert_eq!(set.expires_at, Some("2026-11-21T12:01:00Z".parse().unwrap()));
    assert_eq!(got.metadata, BTreeMap::from([("shop".to_owned(), json!({"id": 1})), ("tid".to_owned(), json!("x"))]));
    assert_eq!(got.subject.as_deref(), Some("77"));
    assert_eq!(tokens(changes, &json!({"items": [{"token": "u"}]})).access_token.expose_secret(), "u");
}

#[test]
fn kept_values_are_bounded() {
    let kept = |len: usize| {
        judged("response.keep = { a = \"/a\" }", &json!({"access_token": "t", "a": "x".repeat(len)})).unwrap().metadata.len()
    };
    assert_eq!((kept(KEPT_MAX - 2), kept(KEPT_MAX - 1)), (1, 0));
    let nested = |depth: usize| {
        (0..depth).fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) })
    };
    let kept = |depth: usize| {
        judged("response.keep = { a = \"/a\" }", &json!({"access_token": "t", "a": nested(depth)})).unwrap().metadata.len()
    };
    assert_eq!([0, 1, KEPT_DEPTH_MAX, KEPT_DEPTH_MAX + 1, 100].map(kept), [1, 1, 1, 0, 0]);
}

#[test]
fn a_broken_id_token_is_no_claim_and_no_fault() {
    for token in ["", "a", "a.b", "a..c", "a.e30=.c", "a.bnVsbA.c", "a.WzFd.c"] {
        let got = judged("", &json!({"access_token": "t", "id_token": token})).unwrap();
        assert_eq!(got.subject, None, "{token}");
    }
}

#[test]
fn a_longer_life_takes_the_place_of_the_first() {
    let changes =
        "response = { at = \"/data\", keep = { id = \"/id\" }, subject = \"/id\" }\nrefresh.response = { at = \"\", keep = {} }";
    let first = judged(changes, &json!({"data": {"access_token": "short", "expires_in": 60, "scope": "a"}, "id": "7"})).unwrap();
    let second = judge_extend(&acme(changes), &answer(200, r#"{"access_token":"long","expires_in":600}"#), started()).unwrap();
    let both = first.extended(second);
    let tokens = both.sets.values().next().unwrap();
    assert_eq!((tokens.access_token.expose_secret(), tokens.scopes.as_deref()), ("long", Some(["a".to_owned()].as_slice())));
    assert_eq!(tokens.expires_at, Some("2026-11-21T12:10:00Z".parse().unwrap()));
    assert_eq!((both.subject.as_deref(), both.metadata["id"].as_str()), (Some("7"), Some("7")));
}

#[test]
fn a_refresh_brings_its_own_set_alone() {
    let changes = "response.sets = { bot = \"\", user = \"/user\" }\nrefresh.response.sets = { user = [\"/user\", \"\"] }";
    let provider = acme(changes);
    let of = |name: &str, body: Value| {
        let answer = judge_refresh(&provider, &TokenSetName::parse(name).unwrap(), &answer(200, &body.to_string()), started());
        answer.map(|answer| {
            answer
                .sets
                .into_iter()
                .map(|(name, set)| (name.to_string(), set.access_token.expose_secret().to_owned()))
                .collect::<Vec<_>>()
        })
    };
    let both = json!({"access_token": "b", "user": {"access_token": "u"}});
    assert_eq!(of("bot", both.clone()).unwrap(), [("bot".to_owned(), "b".to_owned())]);
    assert_eq!(of("user", both).unwrap(), [("user".to_owned(), "u".to_owned())]);
    assert_eq!(of("user", json!({"access_token": "t"})).unwrap(), [("user".to_owned(), "t".to_owned())]);
    assert!(of("bot", json!({"user": {"access_token": "u"}})).is_err());
    assert!(of("other", json!({"access_token": "t"})).is_err());
}

/// Status, body, class, code.
const FAILURES: &[(u16, &str, FailureClass, &str)] = &[
    (400, r#"{"error":"invalid_grant"}"#, DeadGrant, "invalid_grant"),
    (401, r#"{"error":"invalid_grant"}"#, DeadGrant, "invalid_grant"),
    (200, r#"{"error":"bad_refresh_token"}"#, DeadGrant, "bad_refresh_token"),
    (200, "error=bad_verification_code&error_description=x", DeadGrant, "bad_verification_code"),
    (400, r#"{"error":{"code":"invalid_grant","message":"x"}}"#, DeadGrant, "invalid_grant"),
    (400, r#"{"error":"Invalid_Grant"}"#, DeadGrant, "Invalid_Grant"),
    (401, r#"{"error":"invalid_client"}"#, IntegrationBroken, "invalid_client"),
    (400, r#"{"error":"unauthorized_client"}"#, IntegrationBroken, "unauthorized_client"),
    (401, "", IntegrationBroken, "invalid_client"),
    (401, "<html>", IntegrationBroken, "invalid_client"),
    (400, r#"{"error":"invalid_scope"}"#, Misconfigured, "invalid_scope"),
    (400, r#"{"error":"unsupported_grant_type"}"#, Misconfigured, "unsupported_grant_type"),
    (400, r#"{"error":"invalid_request"}"#, Misconfigured, "invalid_request"),
    (
        401,
        r#"{"error":"invalid_request","message":"The refresh token is invalid.","hint":"Token has been revoked"}"#,
        DeadGrant,
        "invalid_request",
    ),
    (400, r#"{"error":"invalid_request","error_description":"Invalid refresh token."}"#, DeadGrant, "invalid_request"),
    (
        400,
        r#"{"error":"invalid_request","error_description":"The refresh token parameter is missing"}"#,
        Misconfigured,
        "invalid_request",
    ),
    (500, r#"{"error":"invalid_request","message":"The refresh token is invalid."}"#, InDoubt, "invalid_request"),
    (400, r#"{"error":"invalid_scope","message":"The refresh token is invalid."}"#, Misconfigured, "invalid_scope"),
    (400, r#"{"error":"something_new"}"#, Misconfigured, "something_new"),
    (404, r#"{"message":"no"}"#, Misconfigured, "refused"),
    (400, r#"{"error":"<script>alert(1)</script>"}"#, Misconfigured, "refused"),
    (400, r#"{"message":"Bad Request","error":400}"#, Misconfigured, "400"),
    (429, "", Throttled, "too_many_requests"),
    (429, r#"{"error":"invalid_grant"}"#, Throttled, "invalid_grant"),
    (400, r#"{"error":"slow_down"}"#, Throttled, "slow_down"),
    (503, r#"{"error":"temporarily_unavailable"}"#, Throttled, "temporarily_unavailable"),
    (500, r#"{"error":"invalid_grant"}"#, InDoubt, "invalid_grant"),
    (500, "", InDoubt, "server_error"),
    (502, "<html>bad gateway</html>", InDoubt, "server_error"),
    (599, "x", InDoubt, "server_error"),
    (408, "", InDoubt, "request_timeout"),
    (302, "", InDoubt, "redirected"),
    (307, r#"{"access_token":"t"}"#, InDoubt, "redirected"),
    (200, "", InDoubt, "empty_answer"),
    (200, "<html>", InDoubt, "html_answer"),
    (400, "<html>", InDoubt, "html_answer"),
    (200, r#"{"access_token":"t""#, InDoubt, "unreadable_answer"),
    (200, "Service temporarily unavailable", InDoubt, "unreadable_answer"),
    (200, "{}", InDoubt, "no_access_token"),
    (200, "[]", InDoubt, "no_access_token"),
    (200, r#"{"access_token":null,"error":null}"#, InDoubt, "no_access_token"),
    (200, r#"{"error":"server_error"}"#, InDoubt, "server_error"),
    (100, "{}", InDoubt, "no_access_token"),
];

#[test]
fn every_failure_has_its_class() {
    for (status, body, class, code) in FAILURES {
        assert_eq!(failure("", *status, body), (*class, (*code).to_owned()), "{status} {body}");
    }
}

#[test]
fn the_file_has_the_first_word() {
    let changes = "errors = { when = [{ pointer = \"/ok\", equals = false }], code = [\"/reason\", \"/error\"], dead_grant = [{ status = 418 }, { error = \"gone\" }, { pointer = \"/n\", equals = 7 }], integration_broken = [{ error = \"invalid_grant\", pointer = \"/hint\", contains = \"SECRET\" }], throttled = [{ status = 500, error = \"busy\" }] }";
    for (status, body, class) in [
        (418, "", DeadGrant),
        (200, r#"{"access_token":"t","ok":false,"reason":"gone"}"#, DeadGrant),
        (400, r#"{"n":7}"#, DeadGrant),
        (400, r#"{"n":"7"}"#, Misconfigured),
        (400, r#"{"error":"invalid_grant","hint":"your secret expired"}"#, IntegrationBroken),
        (400, r#"{"error":"invalid_grant","hint":"x"}"#, DeadGrant),
        (500, r#"{"error":"busy"}"#, Throttled),
        (502, r#"{"error":"busy"}"#, InDoubt),
        (200, r#"{"ok":false}"#, InDoubt),
    ] {
        assert_eq!(failure(changes, status, body).0, class, "{status} {body}");
    }
    assert!(judged(changes, &json!({"access_token": "t", "ok": true})).is_ok());
}

#[test]
fn retry_after_is_seconds_or_a_date_and_has_a_limit() {
    let wait = |value: &str| {
        let answer = HttpAnswer { status: 429, headers: vec![("retry-after".to_owned(), value.to_owned())], body: Vec::new() };
        judge_exchange(&acme(""), &answer, started()).unwrap_err().retry_after.map(|wait| wait.as_secs())
    };
    assert_eq!(
        (wait("30"), wait("0"), wait("3600"), wait("3601"), wait("99999999999999999999999")),
        (Some(30), Some(0), Some(3600), Some(3600), Some(3600))
    );
    assert_eq!(wait("Sat, 21 Nov 2026 12:05:00 GMT"), Some(300));
    assert_eq!(wait("Sat, 21 Nov 2026 11:05:00 GMT"), Some(0));
    assert_eq!((wait("soon"), wait(""), wait("-1")), (None, None, None));
}

#[test]
fn a_revocation_of_what_is_gone_is_a_success() {
    let judge = |status, body| {
        judge_revoke(&acme("errors.when = [{ pointer = \"/ok\", equals = false }]"), &answer(status, body), started())
    };
    for (status, body) in [
        (200, ""),
        (204, ""),
        (200, "{}"),
        (200, "<html>"),
        (400, r#"{"error":"invalid_token"}"#),
        (200, r#"{"ok":false,"error":"token_revoked"}"#),
    ] {
        assert!(judge(status, body).is_ok(), "{status} {body}");
    }
    for (status, body, class) in
        [(401, "", IntegrationBroken), (503, "", InDoubt), (200, r#"{"ok":false,"error":"ratelimited"}"#, Throttled)]
    {
        assert_eq!(judge(status, body).unwrap_err().class, class);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "(error|invalid_grant|bearer|[0-9]{1,20}|a b)".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        let key = "(access_token|refresh_token|expires_in|scope|error|code|data|[a-z]{0,3})";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| json!(map))
        ]
    })
}

const ODD: &str = "response = { at = [\"\", \"/data\"], keep = { a = \"/a\", s = \"id_token:/s\" }, expires_unit = \"ms\", expires_default = \"1h\" }\nerrors = { code = [\"/error\", \"/code\"], when = [{ pointer = \"/error\" }], dead_grant = [{ pointer = \"/data\", contains = \"a\" }] }";

static PROVIDERS: LazyLock<[Provider; 2]> = LazyLock::new(|| [acme(""), acme(ODD)]);

proptest! {
    #[test]
    fn no_bytes_make_it_panic(status: u16, body in prop::collection::vec(any::<u8>(), 0..600), retry in "\\PC{0,40}") {
        for provider in PROVIDERS.iter() {
            let answer = HttpAnswer { status, headers: vec![("retry-after".to_owned(), retry.clone())], body: body.clone() };
            if let Err(failure) = judge_exchange(provider, &answer, started()) {
                prop_assert!(!failure.code.is_empty() && failure.code.len() <= 64);
                prop_assert!(failure.code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)));
            }
            _ = judge_revoke(provider, &answer, started());
        }
    }

    #[test]
    fn no_json_makes_it_panic(status in prop_oneof![Just(200_u16), Just(400), any::<u16>()], body in any_json()) {
        for provider in PROVIDERS.iter() {
            let judged = judge_exchange(provider, &answer(status, &body.to_string()), started());
            prop_assert!(judged.is_err() || (200..300).contains(&status));
        }
    }

    /// A received token is never thrown away, whatever stands beside it.
    #[test]
    fn a_token_that_came_is_kept(beside in prop::collection::btree_map("(token_type|expires_in|expires_at|scope|id_token|error|error_description|refresh_token_expires_in|x)", any_json(), 0..8)) {
        let mut body = json!(beside);
        body["access_token"] = json!("at");
        body["refresh_token"] = json!("rt");
        let judged = judge_exchange(&PROVIDERS[0], &answer(200, &body.to_string()), started());
        let tokens = judged.unwrap().sets.into_values().next().unwrap();
        prop_assert_eq!(tokens.access_token.expose_secret(), "at");
        prop_assert_eq!(tokens.refresh_token.as_ref().map(ExposeSecret::expose_secret), Some("rt"));
    }
}

/// The largest bodies that make a reader work hardest: each is judged in linear time, so all of
/// them together take no longer than a test may.
#[test]
fn the_largest_bodies_are_judged() {
    let fill = |piece: &str| piece.repeat(super::super::answer::BODY_MAX / piece.len());
    for body in [
        fill("["),
        fill("{\"a\":"),
        fill("\\\""),
        fill("1e999,"),
        fill("&a=b"),
        fill("%"),
        fill("=&"),
        fill("\u{feff}"),
        fill(" "),
        fill("\0"),
        format!("[{}1]", fill("1e999,").get(2..262_000).unwrap_or_default()),
        format!("{{\"access_token\":\"{}", fill("\\u0000")),
    ] {
        for provider in PROVIDERS.iter() {
            _ = judge_exchange(provider, &answer(200, &body), started());
        }
    }
}
