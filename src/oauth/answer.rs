//! An answer's body, read whatever it calls itself: JSON, a form, or neither. Bounded in size and
//! depth; no bytes make it panic.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::domain::call::HttpAnswer;

/// A longer body is not read.
pub const BODY_MAX: usize = 256 * 1_024;
/// A form has at most so many pairs.
const PAIRS_MAX: usize = 200;

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Empty,
    Html,
    /// Too long, cut off, or of no known kind.
    Unreadable,
    /// A JSON value, or a form as an object of strings.
    Fields(Value),
}

impl Body {
    pub fn value(&self) -> Option<&Value> {
        match self {
            Body::Fields(value) => Some(value),
            _ => None,
        }
    }

    /// The content decides, since content types lie.
    pub fn read(answer: &HttpAnswer) -> Self {
        if answer.body.len() > BODY_MAX {
            return Body::Unreadable;
        }
        let text = String::from_utf8_lossy(&answer.body);
        let text = text.trim_start_matches('\u{feff}').trim();
        match text.as_bytes().first() {
            None => Body::Empty,
            Some(b'<') => Body::Html,
            Some(b'{' | b'[') => read_json(text).map_or(Body::Unreadable, Body::Fields),
            Some(_) => read_form(text).map_or(Body::Unreadable, Body::Fields),
        }
    }
}

/// serde_json bounds the depth at 128. A number that no float can hold would spoil the whole answer,
/// tokens included, so it is taken for `null`.
fn read_json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&without_huge_numbers(text)).ok())
}

fn without_huge_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut number = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if !in_string && (c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E') && (c == '-' || !number.is_empty())) {
            number.push(c);
            continue;
        }
        flush_number(&mut number, &mut out);
        out.push(c);
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
    }
    flush_number(&mut number, &mut out);
    out
}

fn flush_number(number: &mut String, out: &mut String) {
    if number.parse::<f64>().is_ok_and(f64::is_infinite) {
        out.push_str("null");
    } else {
        out.push_str(number);
    }
    number.clear();
}

/// A form is `name=value` with names that could be fields; anything else is a page or half of one.
fn read_form(text: &str) -> Option<Value> {
    let plausible = |b: u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'{' | b'}');
    if !text.bytes().all(plausible) || !text.contains('=') {
        return None;
    }
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()).take(PAIRS_MAX) {
        fields.entry(name.into_owned()).or_insert_with(|| Value::from(value.into_owned()));
    }
    Some(Value::from(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Body {
        Body::read(&HttpAnswer { status: 200, headers: Vec::new(), body: body.as_bytes().to_vec() })
    }

    #[test]
    fn the_content_decides() {
        assert_eq!(read(" \r\n"), Body::Empty);
        assert_eq!(read("\u{feff}<!doctype html>"), Body::Html);
        assert_eq!(read(r#"{"access_token":"t""#), Body::Unreadable);
        assert_eq!(read("Service Unavailable"), Body::Unreadable);
        assert_eq!(read("\u{feff} {\"a\":1}"), Body::Fields(serde_json::json!({"a": 1})));
        assert_eq!(
            read("access_token=a%2Bb&scope=x+y&scope=z"),
            Body::Fields(serde_json::json!({"access_token": "a+b", "scope": "x y"}))
        );
    }

    #[test]
    fn a_number_out_of_range_does_not_spoil_the_answer() {
        let read = read(r#"{"e":1e400,"n":[-1E999,2],"s":"1e400 \" 1e400","t":true}"#);
        assert_eq!(read, Body::Fields(serde_json::json!({"e": null, "n": [null, 2], "s": "1e400 \" 1e400", "t": true})));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let padded = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len - 8));
        assert!(matches!(read(&padded(BODY_MAX)), Body::Fields(_)));
        assert_eq!(read(&padded(BODY_MAX + 1)), Body::Unreadable);
        assert_eq!(read(&"[".repeat(100_000)), Body::Unreadable);
        assert!(matches!(read(&format!("{}{}", "[".repeat(100), "]".repeat(100))), Body::Fields(_)));
    }
}
