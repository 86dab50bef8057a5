use crate::harness::{World, log, send};

const PASSWORD: &str = "marked-9f1c2a password";
const NEW_PASSWORD: &str = "marked-77ab10 password";
const WRONG_PASSWORD: &str = "marked-c0ffee password";

/// One tenant's whole life, with each secret written down: none of them is in the log, however fine,
/// and none of them reaches the store in the open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_the_log_or_in_the_open_in_the_store() {
    let world = World::start().await;
    let username = "marked-5e77a1@example.com";
    let mut secrets = [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD].map(str::to_owned).to_vec();

    world.post("/signup", &[("username", username), ("password", PASSWORD)]).await;
    let letter = world.one_mail().await;
    secrets.extend([letter.token(), letter.code()]);
    send(world.get(&letter.link())).await;
    world.post("/verify-email", &[("username", username), ("code", &letter.wrong_code())]).await;
    world.post("/verify-email", &[("username", username), ("code", &letter.code())]).await;
    assert_eq!(world.sign_in(username, PASSWORD).await.status, 200);
    world.sign_in(username, WRONG_PASSWORD).await.refused(401, "unauthenticated");
    let form = [("username", username), ("password", PASSWORD), ("name", "k")];
    let made = world.post("/create-api-key", &form).await.json();
    let key = made["key"].as_str().unwrap().to_owned();
    secrets.push(key[21..].to_owned());
    send(world.get("/api-keys").bearer_auth(&key)).await;
    send(world.get("/api-keys").bearer_auth(&key[..key.len() - 1])).await;
    let letter = world.forgot(username).await;
    secrets.extend([letter.token(), letter.code()]);
    send(world.get(&letter.link())).await;
    let form = [("token", letter.token()), ("new_password", NEW_PASSWORD.to_owned())];
    let reset = world.post("/reset-password/page", &form.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!(reset.status, 200);
    world.post_json("/signup", &serde_json::json!({"username": username, "password": [PASSWORD]})).await;
    world.post_json("/signup", &serde_json::json!({"username": username, "password": {"is": PASSWORD}})).await;

    let logged = log().text();
    assert!(logged.contains("/create-api-key"), "the log is there");
    let stored = world.kv.bytes();
    assert!(stored.iter().any(|bytes| bytes.starts_with(b"email/")), "the store is there");
    let in_store =
        |needle: &str| stored.iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
    for secret in &secrets {
        // Six digits may stand anywhere by chance: they are looked for as a word.
        let is_code = secret.len() == 6;
        let in_log = if is_code {
            logged.split(|c: char| !c.is_alphanumeric()).any(|word| word == secret)
        } else {
            logged.contains(secret)
        };
        assert!(!in_log, "in the log: {secret}");
        assert!(is_code || !in_store(secret), "in the store: {secret}");
    }
    for private in [username, "marked-5e77a1", "argon2id"] {
        assert!(!in_store(private), "in the store: {private}");
    }
    assert!(!logged.contains("marked-"), "neither passwords nor addresses are logged");
}
