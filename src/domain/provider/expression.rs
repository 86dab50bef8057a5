//! What stands between the braces of a template: a name, or a function of names and texts. No loops and no
//! state: evaluating is linear in what comes out, and the depth is bounded.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::utf8_percent_encode;
use sha2::{Digest as _, Sha256};

use super::template::{COMPONENT, RENDERED_MAX, RenderError, TemplateError, Values};

/// Functions may stand in one another so deep.
const DEPTH_MAX: usize = 4;
const NAME_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Name(String),
    Text(String),
    Call(Function, Vec<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    /// Of all that it is given, one after the other.
    Join,
    Lower,
    Upper,
    Base64,
    Base64Url,
    UrlEncode,
    Sha256,
    Sha256Base64Url,
    HmacSha256,
    HmacSha256Base64,
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("join", Function::Join),
    ("lower", Function::Lower),
    ("upper", Function::Upper),
    ("base64", Function::Base64),
    ("base64url", Function::Base64Url),
    ("urlencode", Function::UrlEncode),
    ("sha256", Function::Sha256),
    ("sha256_base64url", Function::Sha256Base64Url),
    ("hmac_sha256", Function::HmacSha256),
    ("hmac_sha256_base64", Function::HmacSha256Base64),
];

impl Function {
    fn takes(self, arguments: usize) -> bool {
        match self {
            Function::Join => arguments >= 2,
            Function::HmacSha256 | Function::HmacSha256Base64 => arguments == 2,
            _ => arguments == 1,
        }
    }

    fn of(self, arguments: &[String]) -> String {
        let first = arguments.first().map(String::as_str).unwrap_or_default();
        let second = arguments.get(1).map(String::as_str).unwrap_or_default();
        match self {
            Function::Join => arguments.concat(),
            Function::Lower => first.to_lowercase(),
            Function::Upper => first.to_uppercase(),
            Function::Base64 => STANDARD.encode(first),
            Function::Base64Url => URL_SAFE_NO_PAD.encode(first),
            Function::UrlEncode => utf8_percent_encode(first, COMPONENT).to_string(),
            Function::Sha256 => hex::encode(Sha256::digest(first)),
            Function::Sha256Base64Url => URL_SAFE_NO_PAD.encode(Sha256::digest(first)),
            Function::HmacSha256 => hex::encode(hmac_sha256(first, second)),
            Function::HmacSha256Base64 => STANDARD.encode(hmac_sha256(first, second)),
        }
    }
}

/// RFC 2104 with SHA-256; any key will do.
fn hmac_sha256(key: &str, text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let bad = || TemplateError::BadName(text.chars().take(NAME_MAX).collect());
        let (expression, rest) = read(text, 0)?.ok_or_else(bad)?;
        if rest.trim_start().is_empty() { Ok(expression) } else { Err(bad()) }
    }

    /// The names in it, however deep.
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Expression::Name(name) => [name.as_str()].into(),
            Expression::Text(_) => BTreeSet::new(),
            Expression::Call(_, arguments) => arguments.iter().flat_map(Expression::names).collect(),
        }
    }

    /// The names whose values what comes out tells: an HMAC tells nothing of what went into it (RFC 2104).
    pub fn told(&self) -> BTreeSet<&str> {
        match self {
            Expression::Call(Function::HmacSha256 | Function::HmacSha256Base64, _) => BTreeSet::new(),
            Expression::Call(_, arguments) => arguments.iter().flat_map(Expression::told).collect(),
            Expression::Name(_) | Expression::Text(_) => self.names(),
        }
    }

    pub fn is_name(&self) -> bool {
        matches!(self, Expression::Name(_))
    }

    pub fn value(&self, values: &Values<'_>) -> Result<String, RenderError> {
        Ok(match self {
            Expression::Name(name) => values.get(name)?.to_owned(),
            Expression::Text(text) => text.clone(),
            Expression::Call(function, arguments) => {
                let (mut given, mut room) = (Vec::new(), RENDERED_MAX);
                for argument in arguments {
                    let value = argument.value(values)?;
                    room = room.checked_sub(value.len()).ok_or(RenderError::TooLong)?;
                    given.push(value);
                }
                function.of(&given)
            }
        })
    }
}

type Read<'a> = Result<Option<(Expression, &'a str)>, TemplateError>;

/// One expression and what follows it; `None` where there is none.
fn read(text: &str, depth: usize) -> Read<'_> {
    if depth > DEPTH_MAX {
        return Err(TemplateError::TooDeep);
    }
    if depth > 0
        && let Some(quoted) = text.strip_prefix('\'')
    {
        return Ok(quoted.split_once('\'').map(|(text, rest)| (Expression::Text(text.to_owned()), rest)));
    }
    let end = text.find(|c: char| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.len() > NAME_MAX {
        return Ok(None);
    }
    match rest.strip_prefix('(') {
        None => Ok(Some((Expression::Name(name.to_owned()), rest))),
        Some(arguments) => read_call(name, arguments, depth),
    }
}

fn read_call<'a>(name: &str, mut rest: &'a str, depth: usize) -> Read<'a> {
    let unknown =
        || TemplateError::BadFunction(name.to_owned(), FUNCTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    let (_, function) = FUNCTIONS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
    let mut arguments = Vec::new();
    loop {
        let Some((argument, after)) = read(rest.trim_start(), depth + 1)? else { return Ok(None) };
        arguments.push(argument);
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix(')') {
            rest = after;
            break;
        }
        let Some(after) = rest.strip_prefix(',') else { return Ok(None) };
        rest = after;
    }
    if !function.takes(arguments.len()) {
        return Err(TemplateError::BadArguments(name.to_owned()));
    }
    Ok(Some((Expression::Call(*function, arguments), rest)))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A name by itself.
pub(super) fn checked_name(name: &str) -> Result<String, TemplateError> {
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_of_name) {
        return Err(TemplateError::BadName(name.chars().take(NAME_MAX).collect()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> String {
        let mut values = Values::default();
        values.set("key", "key");
        values.set("text", "The quick brown fox jumps over the lazy dog");
        values.set("odd", "a b/ü?");
        Expression::parse(text).unwrap().value(&values).unwrap()
    }

    /// Values of other programs: coreutils' sha256sum and base64, OpenSSL's dgst -hmac.
    #[test]
    fn functions_are_what_they_are_called() {
        for (text, expected) in [
            ("key", "key"),
            ("join(key, ':', key)", "key:key"),
            ("upper(lower('aBc'))", "ABC"),
            ("base64(odd)", "YSBiL8O8Pw=="),
            ("base64url(odd)", "YSBiL8O8Pw"),
            ("urlencode(odd)", "a%20b%2F%C3%BC%3F"),
            ("sha256('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("sha256_base64url('')", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
            ("hmac_sha256(key, text)", "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"),
            ("hmac_sha256_base64( key , text )", "97yD9DBThCSxMpjmqm+xQ+9NWaFJRhdZl0edvC0aPNg="),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found_however_deep() {
        let expression = Expression::parse("base64(join(a, ':', sha256(b.c)))").unwrap();
        assert_eq!(expression.names(), ["a", "b.c"].into());
        assert_eq!(expression.value(&Values::default()), Err(RenderError::Missing("a".to_owned())));
    }

    #[test]
    fn an_hmac_tells_none_of_its_names() {
        let told = |text: &str| Expression::parse(text).unwrap().told().into_iter().collect::<Vec<_>>().join(" ");
        for (text, expected) in [
            ("a", "a"),
            ("hmac_sha256(a, b)", ""),
            ("base64(hmac_sha256_base64(a, join(b, c)))", ""),
            ("sha256(a)", "a"),
            ("join(hmac_sha256(a, b), b)", "b"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "",
            " a",
            "a b",
            "'a'",
            "a(",
            "lower()",
            "lower(a",
            "lower(a,)",
            "lower(a) b",
            "lower(a))",
            "lower('a)",
            "md4(a)",
            "join(a)",
            "hmac_sha256(a)",
            "lower(a, b)",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        let nested = |depth: usize| format!("{}a{}", "lower(".repeat(depth), ")".repeat(depth));
        assert!(Expression::parse(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(Expression::parse(&nested(DEPTH_MAX + 1)), Err(TemplateError::TooDeep));
        assert_eq!(Expression::parse(&nested(100_000)), Err(TemplateError::TooDeep));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", made in "(lower|join|base64|hmac_sha256|a|'b'|,|\\(|\\)| ){0,20}") {
            for text in [text, made] {
                if let Ok(expression) = Expression::parse(&text) {
                    let mut values = Values::default();
                    for name in expression.names() {
                        values.set(name, "é");
                    }
                    prop_assert!(expression.value(&values).is_ok());
                }
            }
        }
    }
}
