use std::sync::atomic::Ordering;
use std::time::Duration;

use claviger::domain::caller::Caller;
use claviger::domain::scope::Scope;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, TRUST, World, send};

const DEV: &str = "dev@example.com";

/// A verified tenant and an API key that may do everything.
async fn begun() -> (World, String) {
    let world = World::start().await;
    world.verified(DEV).await;
    let (_, key) = by_password(&world, DEV).await;
    (world, key)
}

async fn by_password(world: &World, username: &str) -> (Value, String) {
    let form = [("username", username), ("password", PASSWORD), ("name", "by password")];
    made(&world.post("/create-api-key", &form).await)
}

#[track_caller]
fn made(answer: &Answer) -> (Value, String) {
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let key = body["key"].as_str().unwrap().to_owned();
    (body, key)
}

async fn create(world: &World, key: &str, fields: &[(&str, &str)]) -> Answer {
    send(world.form("/create-api-key", fields).bearer_auth(key)).await
}

async fn list(world: &World, key: &str) -> Answer {
    send(world.get("/api-keys").bearer_auth(key)).await
}

async fn revoke(world: &World, key: &str, id: &str) -> Answer {
    send(world.form("/revoke-api-key", &[("id", id)]).bearer_auth(key)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_listed_without_itself() {
    let (world, admin) = begun().await;
    let fields = [("name", "backend"), ("scopes", "tokens:read links:write"), ("expires_in", "3600")];
    let (body, key) = made(&create(&world, &admin, &fields).await);
    assert!(key.starts_with(&format!("clv_{}_", body["id"].as_str().unwrap())), "{key}");
    let expected = json!({
        "id": body["id"], "name": "backend", "scopes": ["tokens:read", "links:write"], "key": key,
        "created_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z",
    });
    assert_eq!(body, expected);
    let listed = list(&world, &admin).await;
    assert_eq!(listed.status, 200);
    let mut expected = expected;
    expected.as_object_mut().unwrap().remove("key");
    assert!(listed.json()["api_keys"].as_array().unwrap().contains(&expected), "{}", listed.text);
    assert!(!listed.text.contains(&key[21..]), "no part of the secret");
}

/// A key of each scope may do what names that scope, and what concerns the account only as `admin`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_do_what_its_scopes_say_and_nothing_else() {
    let (world, admin) = begun().await;
    for scope in Scope::ALL {
        let (body, key) = made(&create(&world, &admin, &[("name", "k"), ("scopes", scope.as_str())]).await);
        assert_eq!(body["scopes"], json!([scope.as_str()]));
        let caller: Caller = world.state.api_keys.authenticate(&key.clone().into()).await.unwrap();
        for asked in Scope::ALL {
            let may = scope == asked || scope == Scope::Admin;
            assert_eq!(caller.require(asked).is_ok(), may, "{scope:?} asks for {asked:?}");
        }
        let own_id = body["id"].as_str().unwrap();
        for answer in [create(&world, &key, &[("name", "k")]).await, list(&world, &key).await, revoke(&world, &key, own_id).await]
        {
            match scope {
                Scope::Admin => assert!(answer.status < 300, "{answer:?}"),
                _ => answer.refused(403, "insufficient_scope"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_are_known_names_and_at_least_one() {
    let (world, admin) = begun().await;
    for scopes in ["everything", "tokens:read,everything", "TOKENS:READ", " , "] {
        let answer = create(&world, &admin, &[("name", "k"), ("scopes", scopes)]).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.json()["field"], "scopes", "{scopes}");
    }
    let all = Scope::ALL.map(Scope::as_str).join(",");
    let (body, _) = made(&create(&world, &admin, &[("name", "k"), ("scopes", &all)]).await);
    assert_eq!(body["scopes"], json!(Scope::ALL.map(Scope::as_str)));
    let post = world.json("/create-api-key", &json!({"name": "k", "scopes": ["events:read"]}));
    let (body, _) = made(&send(post.bearer_auth(&admin)).await);
    assert_eq!(body["scopes"], json!(["events:read"]));
    let (body, _) = made(&create(&world, &admin, &[("name", "k")]).await);
    assert_eq!(body["scopes"], json!(["admin"]), "where none is named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_and_a_life_have_limits() {
    let (world, admin) = begun().await;
    let names = [(String::new(), 400), ("n".repeat(100), 201), ("n".repeat(101), 400), ("a\nb".to_owned(), 400)];
    for (name, status) in names {
        assert_eq!(create(&world, &admin, &[("name", &name)]).await.status, status, "{name:?}");
    }
    let longest = 10 * 366 * 86_400_u64;
    for (life, status) in [(0, 400), (1, 201), (longest, 201), (longest + 1, 400), (u64::MAX, 400)] {
        let answer = create(&world, &admin, &[("name", "k"), ("expires_in", &life.to_string())]).await;
        assert_eq!(answer.status, status, "{life} seconds: {answer:?}");
        if status == 400 {
            assert_eq!(answer.json()["field"], "expires_in");
        }
    }
    for life in ["soon", "-1", "1.5"] {
        let answer = create(&world, &admin, &[("name", "k"), ("expires_in", life)]).await;
        answer.refused(400, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_so_many_keys_and_one_more_when_one_is_gone() {
    let (world, admin) = begun().await;
    for n in 1..100 {
        made(&create(&world, &admin, &[("name", &n.to_string())]).await);
    }
    create(&world, &admin, &[("name", "one more")]).await.refused(409, "limit_reached");
    let keys = list(&world, &admin).await.json();
    assert_eq!(keys["api_keys"].as_array().unwrap().len(), 100);
    let other = keys["api_keys"].as_array().unwrap().iter().find(|key| key["name"] == "7").unwrap()["id"].clone();
    assert_eq!(revoke(&world, &admin, other.as_str().unwrap()).await.status, 200);
    made(&create(&world, &admin, &[("name", "one more")]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_with_its_time() {
    let (world, admin) = begun().await;
    let (_, key) = made(&create(&world, &admin, &[("name", "k"), ("expires_in", "3600")]).await);
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(list(&world, &key).await.status, 200);
    world.clock.advance(Duration::from_secs(1));
    list(&world, &key).await.refused(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_dead_here_at_once_and_elsewhere_within_the_trust() {
    let (world, admin) = begun().await;
    let other = world.beside(Default::default()).await;
    let (body, key) = made(&create(&world, &admin, &[("name", "k")]).await);
    let id = body["id"].as_str().unwrap();
    assert_eq!((list(&world, &key).await.status, list(&other, &key).await.status), (200, 200));
    let revoked = revoke(&world, &admin, id).await;
    assert_eq!((revoked.status, revoked.json()), (200, json!({"id": id, "revoked": true})));
    list(&world, &key).await.refused(401, "unauthenticated");
    other.clock.advance(TRUST.trust);
    list(&other, &key).await.refused(401, "unauthenticated");
    assert!(!list(&world, &admin).await.text.contains(id));
    revoke(&world, &admin, id).await.refused(404, "api_key_not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_key_is_out_of_reach() {
    let (world, admin) = begun().await;
    world.verified("other@example.com").await;
    let (body, others) = by_password(&world, "other@example.com").await;
    let id = body["id"].as_str().unwrap();
    assert!(!list(&world, &admin).await.text.contains(id));
    revoke(&world, &admin, id).await.refused(404, "api_key_not_found");
    assert_eq!(list(&world, &others).await.status, 200);
    for odd in ["", "x", "../account", &"a".repeat(16), &"0".repeat(4000)] {
        revoke(&world, &admin, odd).await.refused(404, "api_key_not_found");
    }
}

/// One answer for a typo, a stranger's key and a key with a wrong secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_any_character_changed_is_no_key() {
    let (world, admin) = begun().await;
    let (_, other) = made(&create(&world, &admin, &[("name", "other")]).await);
    let refused = list(&world, "clv_x").await;
    refused.refused(401, "unauthenticated");
    let changed = (0..admin.len()).map(|at| {
        let other = if &admin[at..=at] == "0" { "1" } else { "0" };
        format!("{}{other}{}", &admin[..at], &admin[at + 1..])
    });
    // The id of one key with the secret of another, and a checksum that fits.
    let crossed = with_checksum(&format!("{}{}", &admin[..20], &other[20..other.len() - 6]));
    let longer = [format!("{admin}0"), admin[..admin.len() - 1].to_owned(), "clv_".to_owned(), "0".repeat(5000), crossed];
    for key in changed.chain(longer) {
        assert_eq!(list(&world, &key).await.comparable(), refused.comparable(), "{key}");
    }
    assert_eq!(list(&world, &admin).await.status, 200);
}

fn with_checksum(body: &str) -> String {
    use sha2::Digest as _;
    format!("{body}{}", hex::encode(&sha2::Sha256::digest(body.as_bytes())[..3]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_key_bridges_an_outage_of_the_store_and_no_more() {
    let (world, admin) = begun().await;
    assert_eq!(list(&world, &admin).await.status, 200);
    world.kv.away.store(true, Ordering::SeqCst);
    world.clock.advance(TRUST.cut_off - Duration::from_secs(1));
    assert!(world.state.api_keys.authenticate(&admin.clone().into()).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    list(&world, &admin).await.refused(503, "store_unavailable");
}
