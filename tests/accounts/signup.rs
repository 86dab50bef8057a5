use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use claviger::services::accounts::{Signup, Verification};
use serde_json::json;

use crate::harness::{PASSWORD, Setup, World, send};

const DEV: &str = "dev@example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_signup_to_a_first_api_key() {
    let world = World::start().await;
    let letter = world.sign_up(DEV).await;
    assert_eq!((letter.0.to.as_str(), letter.0.subject.as_str()), (DEV, "Confirm your address"));
    world.sign_in(DEV, PASSWORD).await.refused(403, "email_not_verified");
    let answer = world.post("/verify-email", &[("username", DEV), ("code", &letter.code())]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    let form = [("username", DEV), ("password", PASSWORD), ("name", "first")];
    let made = world.post("/create-api-key", &form).await;
    assert_eq!(made.status, 201, "{made:?}");
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let listed = send(world.get("/api-keys").bearer_auth(&key)).await;
    assert_eq!(listed.json()["api_keys"][0]["name"], "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_and_json_are_alike() {
    let world = World::start().await;
    let answer = world.post_json("/signup", &json!({"username": DEV, "password": PASSWORD})).await;
    assert_eq!(answer.status, 202);
    let code = world.one_mail().await.code();
    let answer = world.post_json("/verify-email", &json!({"username": DEV, "code": code})).await;
    assert_eq!(answer.json(), json!({"verified": true}));
}

/// Each of the three that mail, for an address that is verified, waits, or was never seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_tells_whether_an_address_is_known_and_the_mail_tells_its_owner() {
    let world = World::start().await;
    world.verified("verified@example.com").await;
    world.sign_up("waiting@example.com").await;
    let addresses = ["verified@example.com", "waiting@example.com", "unknown@example.com"];
    let subjects = [
        ("/resend-verification", [None, Some("Confirm your address"), None]),
        ("/forgot-password", [Some("Choose a new password"), Some("Choose a new password"), None]),
        ("/signup", [Some("You already have an account"), Some("Confirm your address"), Some("Confirm your address")]),
    ];
    for (path, expected) in subjects {
        world.clock.advance(Duration::from_secs(3600));
        let mut answers = Vec::new();
        for (address, subject) in addresses.into_iter().zip(expected) {
            let mut fields = vec![("username", address)];
            fields.extend((path == "/signup").then_some(("password", PASSWORD)));
            let answer = world.post(path, &fields).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            answers.push(answer.comparable());
            let mails = world.mails().await;
            let found: Vec<_> = mails.iter().map(|mail| (mail.to.as_str(), mail.subject.as_str())).collect();
            assert_eq!(found, subject.map(|subject| (address, subject)).into_iter().collect::<Vec<_>>(), "{path} {address}");
        }
        assert_eq!(answers[0], answers[1], "{path}");
        assert_eq!(answers[0], answers[2], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_up_for_a_verified_address_changes_nothing() {
    let world = World::start().await;
    world.verified(DEV).await;
    world.post("/signup", &[("username", DEV), ("password", "another password")]).await;
    world.mails().await;
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    world.sign_in(DEV, "another password").await.refused(401, "unauthenticated");
}

/// Whoever signs up for another's address and waits gains nothing: the owner's own signup chooses the
/// password, and the stranger's code is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_signup_before_verification_chooses_the_password() {
    let world = World::start().await;
    world.post("/signup", &[("username", DEV), ("password", "the stranger's own")]).await;
    let strangers = world.one_mail().await;
    let owners = world.sign_up(DEV).await;
    let answer = world.post("/verify-email", &[("token", &strangers.token())]).await;
    answer.refused(400, "code_invalid");
    assert_eq!(world.post("/verify-email", &[("token", &owners.token())]).await.status, 200);
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    world.sign_in(DEV, "the stranger's own").await.refused(401, "unauthenticated");
}

/// Also when two signups overtake each other: the first has chosen its password and has no code yet
/// while the second gets both. Then the first one's code is the last, and its password counts.
/// Addresses differ in case here, so that the mail tells the signup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_password_is_that_of_the_signup_whose_code_comes_back() {
    let world = World::start().await;
    world.sign_up("Dev@example.com").await;
    let go = world.kv.hold_read(b"verify/");
    world.post("/signup", &[("username", "DEV@example.com"), ("password", "the owner's choice")]).await;
    while !world.kv.is_holding() {
        tokio::task::yield_now().await;
    }
    world.post("/signup", &[("username", DEV), ("password", "the stranger's own")]).await;
    while world.mail.count() == 0 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    let letters = world.mails().await;
    let last = crate::harness::Letter(letters.into_iter().next_back().unwrap());
    assert_eq!(last.0.to, "DEV@example.com");
    assert_eq!(world.post("/verify-email", &[("token", &last.token())]).await.status, 200);
    world.sign_in(DEV, "the stranger's own").await.refused(401, "unauthenticated");
    assert_eq!(world.sign_in(DEV, "the owner's choice").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_signup_is_not_open_nothing_happens() {
    for signup in [Signup::Closed, Signup::Invite] {
        let world = World::with(Setup { signup, ..Setup::default() }).await;
        let before = world.kv.bytes().len();
        world.post("/signup", &[("username", DEV), ("password", PASSWORD)]).await.refused(403, "signup_closed");
        assert!(world.mails().await.is_empty());
        assert_eq!(world.kv.bytes().len(), before, "{signup:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_is_not_acceptable_is_named() {
    let world = World::start().await;
    let of_length = |length: usize| "abcdefghij".chars().cycle().take(length).collect::<String>();
    let (short, longest, long) = (of_length(9), of_length(1024), of_length(1025));
    for (password, status) in [("", 400), (short.as_str(), 400), (&of_length(10), 202), (&longest, 202), (&long, 400)] {
        let username = format!("length{}@example.com", password.len());
        let answer = world.post("/signup", &[("username", &username), ("password", password)]).await;
        assert_eq!(answer.status, status, "{} bytes: {answer:?}", password.len());
        if status == 400 {
            assert_eq!(answer.json()["field"], "password");
        }
    }
    for username in ["", "dev", "@", "a@b@c", "dev@example.com\r\nBcc: x@example.com"] {
        let answer = world.post("/signup", &[("username", username), ("password", PASSWORD)]).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.json()["field"], "username", "{username:?}");
    }
    for fields in [&[("username", DEV)][..], &[("password", PASSWORD)], &[]] {
        world.post("/signup", fields).await.refused(400, "invalid_request");
    }
    world.post_json("/signup", &json!({"username": DEV, "password": 1_234_567_890})).await.refused(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_sign_up_at_once_make_one_account() {
    let world = World::start().await;
    let signups = (0..3).map(|_| world.post("/signup", &[("username", DEV), ("password", PASSWORD)]));
    for answer in futures::future::join_all(signups).await {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let letters = world.mails().await;
    assert_eq!(letters.len(), 3);
    let taken = world.kv.taken.lock().unwrap().clone();
    let accounts = taken.iter().filter(|write| write.key().name == b"account").map(|write| write.key().clone());
    assert_eq!(accounts.collect::<BTreeSet<_>>().len(), 1);
    let mut verified = 0;
    for letter in letters {
        let token = crate::harness::Letter(letter).token();
        verified += u32::from(world.post("/verify-email", &[("token", &token)]).await.status == 200);
    }
    assert_eq!(verified, 1, "the code that was issued last");
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_nothing_is_promised() {
    let world = World::start().await;
    world.verified("verified@example.com").await;
    world.kv.away.store(true, Ordering::SeqCst);
    for path in ["/signup", "/resend-verification", "/forgot-password"] {
        let mut answers = Vec::new();
        for username in ["verified@example.com", "unknown@example.com"] {
            let answer = world.post(path, &[("username", username), ("password", PASSWORD)]).await;
            answer.refused(503, "store_unavailable");
            assert!(answer.headers.contains_key("retry-after"));
            answers.push(answer.comparable());
        }
        assert_eq!(answers[0], answers[1], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_name_the_configured_url_whatever_the_request_says() {
    let world = World::start().await;
    let spoofed = |path: &str| {
        let form = world.form(path, &[("username", DEV), ("password", PASSWORD)]);
        form.header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example")
            .header("origin", "https://evil.example")
            .header("referer", "https://evil.example/")
    };
    for path in ["/signup", "/resend-verification", "/forgot-password"] {
        assert_eq!(send(spoofed(path)).await.status, 202);
        let letter = world.one_mail().await;
        assert!(!letter.0.text.contains("evil.example"), "{path}: {}", letter.0.text);
        assert!(letter.link().starts_with("/"), "the link leads to the public URL");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_is_not_taken_is_offered_again_and_then_given_up() {
    for (refusals, arrives) in [(2, 1), (3, 0)] {
        let world = World::start().await;
        world.mail.refuse(refusals);
        assert_eq!(world.post("/signup", &[("username", DEV), ("password", PASSWORD)]).await.status, 202);
        let pass_time = async {
            loop {
                world.clock.advance(Duration::from_secs(20));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            mails = world.mails() => assert_eq!(mails.len(), arrives, "{refusals} refusals"),
            () = pass_time => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_makes_an_account_as_often_as_he_likes() {
    let world = World::with(Setup { signup: Signup::Closed, ..Setup::default() }).await;
    let create = |password: &str, verification| world.state.accounts.create_tenant(DEV, password.into(), verification);
    let first = create(PASSWORD, Verification::Vouched).await.unwrap();
    assert!(!first.was_there);
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    let second = create("another password", Verification::Vouched).await.unwrap();
    assert_eq!((second.id, second.was_there), (first.id, true));
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200, "the password stays");
    assert!(world.mails().await.is_empty());
    assert!(create("short", Verification::Vouched).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_may_leave_the_proof_to_the_mail() {
    let world = World::with(Setup { signup: Signup::Closed, ..Setup::default() }).await;
    let created = world.state.accounts.create_tenant(DEV, PASSWORD.into(), Verification::ByMail).await.unwrap();
    let letter = world.one_mail().await;
    world.sign_in(DEV, PASSWORD).await.refused(403, "email_not_verified");
    assert_eq!(world.post("/verify-email", &[("token", &letter.token())]).await.status, 200);
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200);
    let again = world.state.accounts.create_tenant(DEV, PASSWORD.into(), Verification::ByMail).await.unwrap();
    assert_eq!((again.id, again.was_there), (created.id, true));
}
