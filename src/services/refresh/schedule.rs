//! When to try again. Pure: time and the die are handed in.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::connection::Tokens;
use crate::domain::provider::RefreshClass;
use crate::domain::tokens::FailureClass;

use super::RefreshPolicy;

/// A provider's `Retry-After` is honoured up to this (docs/refresh.md, classification).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// No attempt follows another more closely.
const STEP_MIN: Duration = Duration::from_millis(250);

/// What a failure was, as far as the schedule cares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    pub class: FailureClass,
    pub retry_after: Option<Duration>,
    /// In a row, this one included.
    pub failures: u32,
    pub rotation: RefreshClass,
    pub tokens: &'a Tokens,
}

/// How long to wait after a failure. `die` is a random number that spreads those who failed together
/// (full jitter).
pub(super) fn wait(failure: &Failure<'_>, policy: &RefreshPolicy, now: Timestamp, die: u64) -> Duration {
    let jittered = jitter(failure.failures, policy, die);
    match failure.class {
        FailureClass::DeadGrant => policy.confirm_after,
        FailureClass::Throttled => failure.retry_after.unwrap_or(jittered).clamp(STEP_MIN, RETRY_AFTER_MAX),
        FailureClass::InDoubt => {
            rest_of_family(failure.rotation, failure.tokens, now).map_or(jittered, |rest| rest.max(jittered))
        }
        FailureClass::IntegrationBroken | FailureClass::Misconfigured => policy.breaker,
        FailureClass::NotSent => jittered,
    }
}

/// Where a replay would kill the family, the access token is served to its end first. If the
/// provider did rotate, the next token is gone either way, and a retry can only cost the living one.
pub(super) fn rest_of_family(rotation: RefreshClass, tokens: &Tokens, now: Timestamp) -> Option<Duration> {
    let risky = rotation == RefreshClass::RotateStrict && tokens.is_alive(now);
    risky.then(|| tokens.left(now).unwrap_or_default().saturating_sub(tokens.floor()))
}

fn jitter(failures: u32, policy: &RefreshPolicy, die: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let ceiling = policy.backoff_base.saturating_mul(1 << doublings).min(policy.backoff_cap);
    let span = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(die % span).max(STEP_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(life: i64) -> Tokens {
        Tokens {
            access: "a".into(),
            refresh: Some("r".into()),
            token_type: "Bearer".into(),
            obtained_at: Timestamp::UNIX_EPOCH,
            expires_at: Some(Timestamp::from_second(life).unwrap()),
            refresh_expires_at: None,
            scopes: vec![],
            from_generation: 0,
            received_by: "n".into(),
        }
    }

    #[test]
    fn waits_grow_to_the_cap_and_never_vanish() {
        let policy = RefreshPolicy::default();
        for failures in 1..64 {
            for die in [0, 1, 999, u64::MAX] {
                let span = jitter(failures, &policy, die);
                assert!(span >= STEP_MIN && span <= policy.backoff_cap, "{failures} {die} {span:?}");
            }
        }
        assert!(jitter(30, &policy, 899_999) > Duration::from_secs(800));
    }

    #[test]
    fn a_strict_family_is_not_risked_while_its_access_token_lives() {
        let (policy, tokens) = (RefreshPolicy::default(), tokens(3600));
        let at = |second| Timestamp::from_second(second).unwrap();
        let failure =
            |rotation| Failure { class: FailureClass::InDoubt, retry_after: None, failures: 1, rotation, tokens: &tokens };
        assert_eq!(wait(&failure(RefreshClass::RotateStrict), &policy, at(600), 0), Duration::from_secs(3000 - 60));
        assert!(wait(&failure(RefreshClass::RotateStrict), &policy, at(3601), 0) <= policy.backoff_base);
        assert!(wait(&failure(RefreshClass::RotatePlain), &policy, at(600), 0) <= policy.backoff_base);
    }

    #[test]
    fn a_throttle_is_honoured_up_to_an_hour() {
        let (policy, tokens) = (RefreshPolicy::default(), tokens(3600));
        let after = |seconds| Failure {
            class: FailureClass::Throttled,
            retry_after: Some(Duration::from_secs(seconds)),
            failures: 1,
            rotation: RefreshClass::Nonrotating,
            tokens: &tokens,
        };
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(wait(&after(7), &policy, now, 0), Duration::from_secs(7));
        assert_eq!(wait(&after(3600), &policy, now, 0), RETRY_AFTER_MAX);
        assert_eq!(wait(&after(3601), &policy, now, 0), RETRY_AFTER_MAX);
    }
}
