//! When to try again, and when a token that is in doubt may be sent again. Time and the die are handed in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::connection::Tokens;
use crate::domain::provider::RefreshClass;
use crate::domain::tokens::FailureClass;

use super::plan::Policy;

/// A provider's `Retry-After` is honoured up to this (docs/refresh.md, "What an answer means").
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// No attempt follows another more closely.
const STEP_MIN: Duration = Duration::from_millis(250);
/// Backoffs stop doubling here; the cap holds long before.
const DOUBLINGS_MAX: u32 = 20;

/// What a failure was, as far as the schedule cares.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    pub class: FailureClass,
    pub retry_after: Option<Duration>,
    /// In a row, this one included.
    pub failures: u32,
    pub rotation: RefreshClass,
    /// What is in doubt of this generation, this failure included.
    pub doubt: Doubt,
    pub tokens: &'a Tokens,
}

/// What is not known of one generation's token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubt {
    /// How often it was sent without anybody knowing what became of it.
    pub count: u32,
    pub since: Option<Timestamp>,
}

/// How long to wait after a failure. `die` is a random number that spreads those who failed together
/// (full jitter).
pub fn wait(failure: &Failure<'_>, policy: &Policy, now: Timestamp, die: u64) -> Duration {
    let jittered = jitter(failure.failures, policy, die);
    match failure.class {
        FailureClass::DeadGrant if failure.failures <= 1 => policy.confirm_after,
        FailureClass::DeadGrant => jittered.max(policy.confirm_after),
        FailureClass::Throttled => failure.retry_after.unwrap_or(jittered).clamp(STEP_MIN, RETRY_AFTER_MAX),
        FailureClass::InDoubt => jittered.max(rest_in_doubt(failure.rotation, failure.doubt, failure.tokens, now)),
        FailureClass::IntegrationBroken | FailureClass::Misconfigured | FailureClass::SubjectRefused => policy.breaker,
        FailureClass::NotSent => jittered,
    }
}

/// For how long a token that is in doubt must not be sent again (docs/refresh.md, "In doubt"). If the provider did
/// rotate, the next token is gone whatever we do: a retry can only cost the access token that still lives, and
/// once that has ended it can cost nothing.
pub fn rest_in_doubt(rotation: RefreshClass, doubt: Doubt, tokens: &Tokens, now: Timestamp) -> Duration {
    let life_left = tokens.left(now).unwrap_or_default();
    match (rotation, doubt.count) {
        (_, 0) | (RefreshClass::Nonrotating | RefreshClass::None, _) => Duration::ZERO,
        (RefreshClass::RotatePlain | RefreshClass::Unknown, 1) => Duration::ZERO,
        // What its provider promises to forgive it forgives however often; and after the window nothing helps.
        (RefreshClass::RotateGrace(window), _) if is_within(window, doubt.since, now) => Duration::ZERO,
        (RefreshClass::RotateGrace(_) | RefreshClass::RotateStrict, 1) => life_left.saturating_sub(tokens.floor()),
        _ => life_left,
    }
}

/// Whether a grace window that began at `since`, at the earliest, is still open.
pub fn is_within(window: Duration, since: Option<Timestamp>, now: Timestamp) -> bool {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
    since.is_some_and(|since| now.duration_since(since) < window)
}

fn jitter(failures: u32, policy: &Policy, die: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let ceiling = policy.backoff_base.saturating_mul(1 << doublings).min(policy.backoff_cap);
    let span = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(die % span).max(STEP_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: RefreshClass = RefreshClass::RotateGrace(Duration::from_secs(30));

    fn tokens(life: i64) -> Tokens {
        Tokens {
            access: "a".into(),
            refresh: Some("r".into()),
            secret: None,
            token_type: "Bearer".into(),
            obtained_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(at(life)),
            refresh_expires_at: None,
            scopes: vec![],
            from_generation: 0,
            received_by: "n".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn waits_grow_to_the_cap_and_never_vanish() {
        let policy = Policy::default();
        for failures in 1..64 {
            for die in [0, 1, 999, u64::MAX] {
                let span = jitter(failures, &policy, die);
                assert!(span >= STEP_MIN && span <= policy.backoff_cap, "{failures} {die} {span:?}");
            }
        }
        assert!(jitter(30, &policy, 899_999) > Duration::from_secs(800));
    }

    /// The whole rule, for a token that lives from 0 to 3600 with its floor at 3540, sent at 600.
    #[test]
    fn a_token_in_doubt_rests_by_its_class() {
        let rest = |rotation, count, now| {
            let doubt = Doubt { count, since: Some(at(600)) };
            rest_in_doubt(rotation, doubt, &tokens(3600), at(now)).as_secs()
        };
        for (rotation, count, now, expected) in [
            (RefreshClass::Nonrotating, 9, 601, 0),
            (GRACE, 0, 601, 0),
            (GRACE, 1, 629, 0),
            (GRACE, 1, 630, 2910),
            (GRACE, 1, 3540, 0),
            (GRACE, 2, 629, 0),
            (GRACE, 9, 629, 0),
            (GRACE, 2, 630, 2970),
            (RefreshClass::Unknown, 1, 3000, 0),
            (RefreshClass::Unknown, 2, 3000, 600),
            (RefreshClass::RotatePlain, 1, 601, 0),
            (RefreshClass::RotatePlain, 2, 3599, 1),
            (RefreshClass::RotateStrict, 0, 601, 0),
            (RefreshClass::RotateStrict, 1, 600, 2940),
            (RefreshClass::RotateStrict, 1, 3540, 0),
            (RefreshClass::RotateStrict, 2, 3540, 60),
            (RefreshClass::RotateStrict, 5, 3600, 0),
        ] {
            assert_eq!(rest(rotation, count, now), expected, "{rotation:?} {count} {now}");
        }
        let endless = Tokens { expires_at: None, ..tokens(0) };
        let doubt = Doubt { count: 3, since: Some(at(0)) };
        assert!(rest_in_doubt(RefreshClass::RotateStrict, doubt, &endless, at(1)).is_zero(), "nothing known to protect");
    }

    #[test]
    fn a_throttle_is_honoured_up_to_an_hour_and_a_refusal_asked_again() {
        let (policy, tokens) = (Policy::default(), tokens(3600));
        let wait_after = |class, seconds, failures| {
            let failure = Failure {
                class,
                retry_after: Some(Duration::from_secs(seconds)),
                failures,
                rotation: RefreshClass::Nonrotating,
                doubt: Doubt::default(),
                tokens: &tokens,
            };
            wait(&failure, &policy, Timestamp::UNIX_EPOCH, u64::MAX)
        };
        assert_eq!(wait_after(FailureClass::Throttled, 7, 1), Duration::from_secs(7));
        assert_eq!(wait_after(FailureClass::Throttled, 3600, 1), RETRY_AFTER_MAX);
        assert_eq!(wait_after(FailureClass::Throttled, 3601, 1), RETRY_AFTER_MAX);
        assert_eq!(wait_after(FailureClass::DeadGrant, 0, 1), policy.confirm_after);
        assert!((2..40).all(|failures| wait_after(FailureClass::DeadGrant, 0, failures) >= policy.confirm_after));
        assert_eq!(wait_after(FailureClass::IntegrationBroken, 0, 3), policy.breaker);
    }
}
