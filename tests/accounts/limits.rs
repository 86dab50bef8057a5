use std::time::Duration;

use crate::harness::{Answer, PASSWORD, Setup, World};

const DEV: &str = "dev@example.com";
/// What one network may try at one account.
const SIGN_IN_BURST: usize = 10;
const MAIL_BURST: usize = 5;
const MAIL_NETWORK_BURST: usize = 20;

#[track_caller]
fn is_limited(answer: &Answer) {
    answer.refused(429, "rate_limited");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_from_one_network_ends_and_waiting_helps() {
    let world = World::start().await;
    world.verified(DEV).await;
    for guess in 0..SIGN_IN_BURST {
        world.sign_in(DEV, &format!("guess number {guess}")).await.refused(401, "unauthenticated");
    }
    is_limited(&world.sign_in(DEV, "one guess more").await);
    is_limited(&world.sign_in(DEV, PASSWORD).await);
    assert_eq!(world.sign_in_from("198.51.100.1", DEV, PASSWORD).await.status, 200, "its owner is elsewhere");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.sign_in(DEV, PASSWORD).await.status, 200, "a minute later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_address_is_limited_as_a_known_one() {
    let world = World::start().await;
    world.verified(DEV).await;
    for guess in 0..=SIGN_IN_BURST {
        let known = world.sign_in_from("192.0.2.1", DEV, "not the password").await;
        let unknown = world.sign_in_from("192.0.2.2", "unknown@example.com", "not the password").await;
        assert_eq!(known.comparable(), unknown.comparable(), "guess {guess}");
    }
}

/// Each address of a /64 is the same party.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ipv6_network_is_one_party() {
    let world = World::start().await;
    for guess in 0..SIGN_IN_BURST {
        world.sign_in_from(&format!("2001:db8::{guess:x}:1"), DEV, "not the password").await.refused(401, "unauthenticated");
    }
    is_limited(&world.sign_in_from("2001:db8::ffff", DEV, "not the password").await);
    world.sign_in_from("2001:db8:0:1::1", DEV, "not the password").await.refused(401, "unauthenticated");
}

/// From a peer that is no trusted proxy, `X-Forwarded-For` says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_forwarding_header_is_no_way_round() {
    let world = World::with(Setup { proxied: false, ..Setup::default() }).await;
    for guess in 0..SIGN_IN_BURST {
        world.sign_in_from(&format!("10.0.0.{guess}"), DEV, "not the password").await.refused(401, "unauthenticated");
    }
    is_limited(&world.sign_in_from("10.0.1.1", DEV, "not the password").await);
}

/// Strangers from many networks use up what the account bears; its owner, who signed in before from
/// where he is, does not notice, even where nothing is remembered of his password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_keep_the_owner_out() {
    let world = World::with(Setup { proofs: 0, ..Setup::default() }).await;
    world.verified(DEV).await;
    assert_eq!(world.sign_in_from("192.0.2.1", DEV, PASSWORD).await.status, 200);
    let mut limited = 0;
    for n in 0..60 {
        limited += u32::from(world.sign_in_from(&format!("10.0.0.{n}"), DEV, "not the password").await.status == 429);
    }
    assert!(limited > 0);
    is_limited(&world.sign_in_from("10.0.1.1", DEV, PASSWORD).await);
    assert_eq!(world.sign_in_from("192.0.2.1", DEV, PASSWORD).await.status, 200);
}

/// So many mails to one address, whoever asks, known or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_gets_so_many_mails_and_no_more() {
    let world = World::start().await;
    world.verified(DEV).await;
    world.clock.advance(Duration::from_secs(86_400));
    for (username, mails) in [(DEV, MAIL_BURST), ("unknown@example.com", 0)] {
        for n in 0..MAIL_BURST {
            let answer = world.post_from(&format!("10.0.0.{n}"), "/forgot-password", &[("username", username)]).await;
            assert_eq!(answer.status, 202, "{username}, mail {n}");
        }
        for path in ["/forgot-password", "/resend-verification", "/signup"] {
            let fields = [("username", username), ("password", PASSWORD)];
            is_limited(&world.post_from("10.0.1.1", path, &fields).await);
        }
        assert_eq!(world.mails().await.len(), mails);
    }
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(world.forgot(DEV).await.0.to, DEV);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_network_asks_for_so_many_mails_and_no_more() {
    let world = World::start().await;
    for n in 0..MAIL_NETWORK_BURST {
        let username = format!("user{n}@example.com");
        assert_eq!(world.post_from("10.0.0.1", "/forgot-password", &[("username", &username)]).await.status, 202);
    }
    is_limited(&world.post_from("10.0.0.1", "/forgot-password", &[("username", "more@example.com")]).await);
    let elsewhere = world.post_from("10.0.0.2", "/forgot-password", &[("username", "more@example.com")]).await;
    assert_eq!(elsewhere.status, 202);
}

/// Over many codes too the guesses at one account end, and the mailed link still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_codes_ends_over_many_codes_and_the_link_still_works() {
    let world = World::start().await;
    world.verified(DEV).await;
    world.clock.advance(Duration::from_secs(86_400));
    let mut guesses = 0;
    let letter = 'guessing: loop {
        let letter = world.forgot(DEV).await;
        for _ in 0..5 {
            let fields = [("username", DEV), ("code", &letter.wrong_code()), ("new_password", "an altogether new one")];
            let answer = world.post_from(&format!("10.0.0.{guesses}"), "/reset-password", &fields).await;
            if answer.status == 429 {
                break 'guessing letter;
            }
            answer.refused(400, "code_invalid");
            guesses += 1;
        }
    };
    assert!((5..=20).contains(&guesses), "{guesses}");
    let fields = [("token", letter.token()), ("new_password", "an altogether new one".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.post("/reset-password", &fields).await.status, 200);
}

/// A proxy appends what it saw. Some write the port behind the address; what stands before that was
/// written by anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_appended_counts_and_nothing_before_it() {
    for appended in ["192.0.2.77:4711", "[2001:db8::77]:4711", "unknown", "_hidden", "\u{e9}"] {
        let world = World::start().await;
        for guess in 0..SIGN_IN_BURST {
            let forged = format!("10.0.0.{guess}, {appended}");
            world.sign_in_from(&forged, DEV, "not the password").await.refused(401, "unauthenticated");
        }
        is_limited(&world.sign_in_from(&format!("10.0.1.1, {appended}"), DEV, "not the password").await);
    }
    let world = World::start().await;
    for guess in 0..SIGN_IN_BURST {
        let seen = if guess % 2 == 0 { "192.0.2.77:1" } else { "\u{e9}, ::ffff:192.0.2.77" };
        world.sign_in_from(seen, DEV, "not the password").await.refused(401, "unauthenticated");
    }
    is_limited(&world.sign_in_from("192.0.2.77, ::ffff:127.0.0.1", DEV, "not the password").await);
    world.sign_in_from("192.0.2.77, 192.0.2.78", DEV, "not the password").await.refused(401, "unauthenticated");
}
