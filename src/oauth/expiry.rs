//! When a token ends, from whatever a provider wrote: seconds as a number, a float or digits in
//! quotes, milliseconds, an absolute time, zero for never, or nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::provider::response::{ExpirySpec, ExpiryUnit};
use crate::domain::tokens::after;

/// A "life" of more seconds than this (31 years) is a point in time.
const EPOCH_FROM: f64 = 1e9;
/// A point in time above this counts milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;
/// A longer life (20 years) is as good as none stated.
pub(super) const LIFE_MAX: f64 = 20.0 * 365.0 * 86_400.0;

/// The end of a token whose request began at `started`. `life` and `end` are what the answer has at
/// the two places; the first that makes sense counts.
pub(super) fn ends(spec: &ExpirySpec, life: Option<&Value>, end: Option<&Value>, started: Timestamp) -> Option<Timestamp> {
    match told(spec, life, end, started) {
        Some(Told::At(end)) => Some(end),
        Some(Told::Never) => None,
        None => spec.default.and_then(|life| after(started, life)),
    }
}

/// Whether the answer itself says when the token ends, or that it never does.
pub(super) fn is_named(spec: &ExpirySpec, life: Option<&Value>, end: Option<&Value>, started: Timestamp) -> bool {
    told(spec, life, end, started).is_some()
}

fn told(spec: &ExpirySpec, life: Option<&Value>, end: Option<&Value>, started: Timestamp) -> Option<Told> {
    let zero = life.or(end).and_then(number).is_some_and(|number| number == 0.0);
    if zero && spec.zero_means_never {
        return Some(Told::Never);
    }
    life.and_then(|life| from_life(spec.unit, life, started)).or_else(|| end.and_then(from_end))
}

/// The end of a refresh token: as above, without a default.
pub(super) fn refresh_ends(unit: ExpiryUnit, life: Option<&Value>, end: Option<&Value>, started: Timestamp) -> Option<Timestamp> {
    ends(&ExpirySpec { unit, default: None, zero_means_never: true }, life, end, started)
}

enum Told {
    At(Timestamp),
    Never,
}

/// Zero and less say nothing: believed, they would make every token stale at birth.
fn from_life(unit: ExpiryUnit, value: &Value, started: Timestamp) -> Option<Told> {
    let Some(number) = number(value) else { return from_end(value) };
    let seconds = match unit {
        ExpiryUnit::Seconds => number,
        ExpiryUnit::Milliseconds => number / 1_000.0,
    };
    if seconds <= 0.0 {
        None
    } else if number >= EPOCH_FROM && unit == ExpiryUnit::Seconds {
        from_epoch(number)
    } else if seconds > LIFE_MAX {
        Some(Told::Never)
    } else {
        after(started, Duration::from_secs_f64(seconds)).map(Told::At)
    }
}

fn from_end(value: &Value) -> Option<Told> {
    match number(value) {
        Some(number) => from_epoch(number),
        None => value.as_str()?.trim().parse().ok().map(Told::At),
    }
}

fn from_epoch(number: f64) -> Option<Told> {
    let seconds = if number >= MILLISECONDS_FROM { number / 1_000.0 } else { number };
    if seconds < EPOCH_FROM {
        return None;
    }
    // A cast from a float saturates, and a second beyond jiff's year 9999 is no time at all.
    Some(Timestamp::from_second(seconds as i64).map_or(Told::Never, Told::At))
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPEC: ExpirySpec = ExpirySpec { unit: ExpiryUnit::Seconds, default: None, zero_means_never: false };

    fn started() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn life(spec: &ExpirySpec, value: Value) -> Option<i64> {
        ends(spec, Some(&value), None, started()).map(|end| end.duration_since(started()).as_secs())
    }

    #[test]
    fn a_life_is_read_however_it_is_written() {
        for value in [json!(3600), json!(3600.9), json!("3600"), json!(" 3600 "), json!("3600.0"), json!(3.6e3)] {
            assert_eq!(life(&SPEC, value.clone()), Some(3600), "{value}");
        }
        let milliseconds = ExpirySpec { unit: ExpiryUnit::Milliseconds, ..SPEC };
        assert_eq!(life(&milliseconds, json!(3_600_000)), Some(3600));
        assert_eq!(life(&milliseconds, json!(5_184_000_000_i64)), Some(5_184_000));
    }

    #[test]
    fn an_absolute_time_is_known_by_its_size_or_shape() {
        let end = started().as_second() + 3600;
        for value in [
            json!(end),
            json!(end * 1000),
            json!(end.to_string()),
            json!("2026-11-21T13:00:00Z"),
            json!("2026-11-21T14:00:00+01:00"),
        ] {
            assert_eq!(life(&SPEC, value.clone()), Some(3600), "{value}");
            assert!(ends(&SPEC, None, Some(&value), started()).is_some(), "{value}");
        }
    }

    #[test]
    fn what_says_nothing_leaves_the_default() {
        let default = ExpirySpec { default: Some(Duration::from_secs(60)), ..SPEC };
        for value in [
            json!(null),
            json!(0),
            json!("0"),
            json!(-1),
            json!("-3600"),
            json!("soon"),
            json!([]),
            json!({}),
            json!(true),
            json!("NaN"),
            json!("inf"),
        ] {
            assert_eq!(life(&default, value.clone()), Some(60), "{value}");
            assert_eq!(life(&SPEC, value.clone()), None, "{value}");
        }
        assert_eq!(ends(&default, None, None, started()).unwrap().duration_since(started()).as_secs(), 60);
    }

    #[test]
    fn zero_means_never_where_the_file_says_so() {
        let never = ExpirySpec { default: Some(Duration::from_secs(60)), zero_means_never: true, ..SPEC };
        assert_eq!(life(&never, json!(0)), None);
        assert_eq!(life(&never, json!(-1)), Some(60));
    }

    #[test]
    fn absurd_lives_do_not_end_and_do_not_panic() {
        for value in [json!(9e8), json!(1e300), json!("1e308"), json!(i64::MAX), json!(u64::MAX), json!(f64::MIN)] {
            assert!(life(&SPEC, value.clone()).is_none_or(|life| life > 0), "{value}");
        }
    }
}
