use super::*;

fn fill(template: &str, name: &str, value: &str) -> Result<String, RenderError> {
    let mut values = Values::default();
    values.set(name, value);
    UrlTemplate::parse(template).unwrap().render(&values).map(String::from)
}

#[test]
fn holes_are_filled_and_doubled_braces_are_themselves() {
    let mut values = Values::default();
    values.set("a", "1");
    values.set("b.c", "2");
    assert_eq!(Template::parse("x{a}{{y}}{b.c}").unwrap().render(&values).unwrap(), "x1{y}2");
    assert_eq!(Template::parse("Basic {base64(join(a, ':', b.c))}").unwrap().render(&values).unwrap(), "Basic MToy");
    assert_eq!(Template::parse("{z}").unwrap().render(&values), Err(RenderError::Missing("z".into())));
}

#[test]
fn a_template_that_cannot_be_meant_is_refused() {
    for text in ["{", "}", "{}", "{a b}", "a}b", "{a{b}}", "{md4(a)}", "{lower(a}"] {
        assert!(Template::parse(text).is_err(), "{text}");
    }
    assert!(Template::parse(&"x".repeat(TEMPLATE_MAX)).is_ok());
    assert_eq!(Template::parse(&"x".repeat(TEMPLATE_MAX + 1)), Err(TemplateError::TooLong));
    for text in [
        "http://a.example/",
        "ftp://a",
        "https://",
        "https:///x",
        "https://u@a/",
        "{o}x",
        "https://a/#f",
        "https://a/ b",
        "/x",
        "https://{lower(x)}.a.example/",
        "{lower(o)}/t",
    ] {
        assert!(UrlTemplate::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_value_stays_in_its_place() {
    assert_eq!(
        fill("https://a.example/{x}/t?k={x}", "x", "p/q?r#s&t").unwrap(),
        "https://a.example/p%2Fq%3Fr%23s%26t/t?k=p%2Fq%3Fr%23s%26t"
    );
    for escape in [".", "..", "%2e%2e"] {
        let filled = fill("https://a.example/v/{x}/t", "x", escape);
        assert!(filled.is_err() || filled.clone().unwrap().starts_with("https://a.example/v/%25"), "{filled:?}");
    }
    for escape in ["evil.example/", "a@b", "x?y", "x#", "a:1/b", "a\\b", "a b", ""] {
        assert!(fill("https://{x}.a.example/t", "x", escape).is_err(), "{escape}");
    }
}

#[test]
fn an_origin_is_a_whole_origin_and_no_more() {
    assert_eq!(fill("{o}/t", "o", "http://127.0.0.1:8/").unwrap(), "http://127.0.0.1:8/t");
    for origin in ["https://a.example/path", "https://u:p@a.example", "https://a.example?x", "a.example"] {
        assert!(fill("{o}/t", "o", origin).is_err(), "{origin}");
    }
}
