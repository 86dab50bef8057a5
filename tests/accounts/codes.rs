use std::time::Duration;

use futures::future::join_all;

use crate::harness::{Answer, Letter, World};

const DEV: &str = "dev@example.com";
const NEW_PASSWORD: &str = "an altogether new one";
const CODE_LIFE: Duration = Duration::from_secs(600);
const TRIES_MAX: usize = 5;

/// The two things a mailed code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Verification,
    Reset,
}

const EACH: [Purpose; 2] = [Purpose::Verification, Purpose::Reset];

impl Purpose {
    /// A world in which such a code was just mailed.
    async fn begun(self) -> (World, Letter) {
        let world = World::start().await;
        let letter = world.sign_up(DEV).await;
        let letter = if self == Purpose::Reset { world.forgot(DEV).await } else { letter };
        (world, letter)
    }

    async fn again(self, world: &World) -> Letter {
        let path = if self == Purpose::Reset { "/forgot-password" } else { "/resend-verification" };
        assert_eq!(world.post(path, &[("username", DEV)]).await.status, 202);
        world.one_mail().await
    }

    async fn send(self, world: &World, from: &str, proof: &[(&str, &str)]) -> Answer {
        let (path, more) = match self {
            Purpose::Verification => ("/verify-email", None),
            Purpose::Reset => ("/reset-password", Some(("new_password", NEW_PASSWORD))),
        };
        world.post_from(from, path, &[proof, more.as_slice()].concat()).await
    }

    async fn code(self, world: &World, code: &str) -> Answer {
        self.send(world, "192.0.2.7", &[("username", DEV), ("code", code)]).await
    }

    async fn token(self, world: &World, from: &str, token: &str) -> Answer {
        self.send(world, from, &[("token", token)]).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_and_its_link_work_once_together() {
    for purpose in EACH {
        for first_by_code in [true, false] {
            let (world, letter) = purpose.begun().await;
            let (code, token) = (letter.code(), letter.token());
            let first =
                if first_by_code { purpose.code(&world, &code).await } else { purpose.token(&world, "10.0.0.1", &token).await };
            assert_eq!(first.status, 200, "{first:?}");
            purpose.code(&world, &code).await.refused(400, "code_invalid");
            purpose.token(&world, "10.0.0.1", &token).await.refused(400, "code_invalid");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_for_a_few_tries_and_then_dead() {
    for purpose in EACH {
        for wrong in [TRIES_MAX - 1, TRIES_MAX] {
            let (world, letter) = purpose.begun().await;
            for _ in 0..wrong {
                purpose.code(&world, &letter.wrong_code()).await.refused(400, "code_invalid");
            }
            let right = purpose.code(&world, &letter.code()).await;
            assert_eq!(right.status, if wrong < TRIES_MAX { 200 } else { 400 }, "{purpose:?} after {wrong} wrong ones");
            if wrong == TRIES_MAX {
                let letter = purpose.again(&world).await;
                assert_eq!(purpose.code(&world, &letter.code()).await.status, 200, "another code begins anew");
            }
        }
    }
}

/// The tries are counted before they are judged: guessing all at once is no better than in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_codes_at_the_same_moment_count_like_those_in_turn() {
    for purpose in EACH {
        let (world, letter) = purpose.begun().await;
        let wrong = letter.wrong_code();
        let answers = join_all((0..12).map(|_| purpose.code(&world, &wrong))).await;
        assert!(answers.iter().all(|answer| answer.status == 400));
        purpose.code(&world, &letter.code()).await.refused(400, "code_invalid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_have_the_link_one_gets_through() {
    for purpose in EACH {
        let (world, letter) = purpose.begun().await;
        let token = letter.token();
        let tries = (0..64).map(|n| {
            let (world, token) = (&world, &token);
            async move { purpose.token(world, &format!("10.1.0.{n}"), token).await }
        });
        let statuses: Vec<u16> = join_all(tries).await.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{purpose:?}: {statuses:?}");
        // With the one turn in two that hashes, some are told to come back; none gets through.
        assert!(statuses.iter().all(|status| matches!(status, 200 | 400 | 429)), "{statuses:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_who_have_the_code_one_gets_through() {
    for purpose in EACH {
        let (world, letter) = purpose.begun().await;
        let code = letter.code();
        let answers = join_all((0..64).map(|_| purpose.code(&world, &code))).await;
        let through = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(through, 1, "{purpose:?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400 | 429)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_and_its_link_end_with_their_time() {
    let second = Duration::from_secs(1);
    for purpose in EACH {
        for by_code in [true, false] {
            for (after, status) in [(CODE_LIFE - second, 200), (CODE_LIFE, 400), (CODE_LIFE + second, 400)] {
                let (world, letter) = purpose.begun().await;
                world.clock.advance(after);
                let answer = match by_code {
                    true => purpose.code(&world, &letter.code()).await,
                    false => purpose.token(&world, "10.0.0.1", &letter.token()).await,
                };
                assert_eq!(answer.status, status, "{purpose:?} after {after:?}: {answer:?}");
            }
        }
    }
}

/// Only our own clock judges; what the store still has is no argument.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_try_does_not_make_a_code_live_longer() {
    let (world, letter) = Purpose::Verification.begun().await;
    world.clock.advance(CODE_LIFE / 2);
    Purpose::Verification.code(&world, &letter.wrong_code()).await.refused(400, "code_invalid");
    world.clock.advance(CODE_LIFE / 2);
    Purpose::Verification.code(&world, &letter.code()).await.refused(400, "code_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_code_ends_the_one_before() {
    for purpose in EACH {
        let (world, old) = purpose.begun().await;
        let new = purpose.again(&world).await;
        purpose.token(&world, "10.0.0.1", &old.token()).await.refused(400, "code_invalid");
        if old.code() != new.code() {
            purpose.code(&world, &old.code()).await.refused(400, "code_invalid");
        }
        assert_eq!(purpose.code(&world, &new.code()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_for_its_purpose_and_its_address_alone() {
    let world = World::start().await;
    let verification = world.sign_up(DEV).await;
    let reset = world.forgot(DEV).await;
    let others = world.sign_up("other@example.com").await;
    Purpose::Reset.token(&world, "10.0.0.1", &verification.token()).await.refused(400, "code_invalid");
    Purpose::Verification.token(&world, "10.0.0.1", &reset.token()).await.refused(400, "code_invalid");
    if verification.code() != reset.code() && others.code() != verification.code() {
        Purpose::Reset.code(&world, &verification.code()).await.refused(400, "code_invalid");
        Purpose::Verification.code(&world, &reset.code()).await.refused(400, "code_invalid");
        Purpose::Verification.code(&world, &others.code()).await.refused(400, "code_invalid");
    }
    assert_eq!(Purpose::Verification.code(&world, &verification.code()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_with_any_character_changed_is_no_token() {
    let (world, letter) = Purpose::Verification.begun().await;
    let token = letter.token();
    for at in 0..token.len() {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        let answer = Purpose::Verification.token(&world, &format!("10.2.0.{at}"), &changed).await;
        answer.refused(400, "code_invalid");
    }
    for odd in ["", "x", &token[1..], &format!("{token}A"), &"A".repeat(10_000)] {
        assert_eq!(Purpose::Verification.token(&world, "10.3.0.1", odd).await.status, 400);
    }
    assert_eq!(Purpose::Verification.token(&world, "10.3.0.1", &token).await.status, 200);
}

/// Of an address without an account, of one whose mail nobody asked for, and of one with a code under
/// way, a wrong code says the same, also once the tries are used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_code_does_not_tell_whether_an_address_is_known() {
    let world = World::start().await;
    world.sign_up(DEV).await;
    world.forgot(DEV).await;
    world.post("/forgot-password", &[("username", "unknown@example.com")]).await;
    for path in ["/verify-email", "/reset-password"] {
        for round in 0..=TRIES_MAX {
            let mut answers = Vec::new();
            for username in [DEV, "unknown@example.com", "never-seen@example.com"] {
                let fields = [("username", username), ("code", "not one"), ("new_password", NEW_PASSWORD)];
                answers.push(world.post(path, &fields).await.comparable());
            }
            assert_eq!(answers[0].0, 400);
            assert!(answers[0] == answers[1] && answers[0] == answers[2], "{path}, round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named() {
    let world = World::start().await;
    for (fields, field) in [(&[("code", "123456")][..], "username"), (&[("username", DEV)], "code"), (&[], "username")] {
        let answer = world.post("/verify-email", fields).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.json()["field"], field);
    }
    world.post("/reset-password", &[("username", DEV), ("code", "123456")]).await.refused(400, "invalid_request");
}
