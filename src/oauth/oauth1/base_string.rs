//! What is signed: the signature base string (RFC 5849 3.4.1), and the one way in which OAuth 1.0a encodes (3.6).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use url::Url;

/// All but the unreserved characters of RFC 3986 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// RFC 5849 3.6: upper-case hex, and a space is `%20`.
pub fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

fn encode_bytes(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// The pairs of a query or a form, each half decoded and encoded anew. Bytes that are no UTF-8 stay what they are.
pub fn form_pairs(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    let pairs = form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || {
            let spaced: Vec<u8> =
                halves.next().unwrap_or_default().iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            encode_bytes(&percent_decode(&spaced).collect::<Vec<u8>>())
        };
        (half(), half())
    })
}

/// `method` and URL of the request, `protocol` the `oauth_` params without the signature (and without the realm),
/// `form` the body where it is a form, else nothing.
pub fn base_string(method: &str, url: &Url, protocol: &[(&str, &str)], form: &[u8]) -> String {
    let mut pairs: Vec<(String, String)> = form_pairs(url.query().unwrap_or_default().as_bytes())
        .chain(form_pairs(form))
        .chain(protocol.iter().map(|(name, value)| (encode(name), encode(value))))
        .collect();
    // 3.4.1.3.2: by name, then by value, both as they are encoded.
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    [method.to_ascii_uppercase(), encode(&base_uri(url)), encode(&pairs.join("&"))].join("&")
}

/// 3.4.1.2: scheme and host in lower case (a [`Url`] has no others), the port unless it is the scheme's own, the path.
fn base_uri(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 5849 3.4.1.1: a query and a body with names twice, odd encodings, empty values.
    #[test]
    fn the_base_string_is_that_of_the_rfc() {
        let url = Url::parse("http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b").unwrap();
        let protocol = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ];
        assert_eq!(
            base_string("post", &url, &protocol, b"c2&a3=2+q"),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D\
             %26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1\
             %26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    /// RFC 5849 3.4.1.2: the examples.
    #[test]
    fn the_base_uri_has_no_port_of_its_own_scheme_and_no_query() {
        for (url, base) in [
            ("http://EXAMPLE.COM:80/r%20v/X?id=123", "http://example.com/r%20v/X"),
            ("https://www.example.net:8080/?q=1", "https://www.example.net:8080/"),
            ("https://example.net:443#f", "https://example.net/"),
            ("https://[::1]:444/a", "https://[::1]:444/a"),
        ] {
            assert_eq!(base_uri(&Url::parse(url).unwrap()), base);
        }
    }

    #[test]
    fn encoding_keeps_the_unreserved_alone() {
        assert_eq!(
            encode("Ladies + Gentlemen, 100%~*!'()é☃"),
            "Ladies%20%2B%20Gentlemen%2C%20100%25~%2A%21%27%28%29%C3%A9%E2%98%83"
        );
        assert_eq!(encode("-._~09azAZ"), "-._~09azAZ");
        let pairs: Vec<_> = form_pairs(b"a=%ff&&b=+%zz&=c&d").collect();
        let wanted = [("a", "%FF"), ("b", "%20%25zz"), ("", "c"), ("d", "")];
        assert_eq!(pairs, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    proptest! {
        /// However the pairs are ordered, and wherever each of them stands, the same is signed.
        #[test]
        fn neither_order_nor_place_matters(
            pairs in prop::collection::vec(("\\PC{0,6}", "\\PC{0,6}"), 0..12),
            places in prop::collection::vec(0..3_u8, 12),
            turn in 0..12_usize,
        ) {
            let url = Url::parse("https://example.com/r").unwrap();
            let all: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let signed = base_string("GET", &url, &all, b"");
            let mut turned = all.clone();
            turned.rotate_left(turn.min(all.len()));
            let at = |place: u8| turned.iter().zip(&places).filter(move |(_, at)| **at == place).map(|(pair, _)| *pair);
            let form = |place: u8| form_urlencoded::Serializer::new(String::new()).extend_pairs(at(place)).finish();
            let mut spread = url.clone();
            spread.set_query(Some(&form(0)));
            prop_assert_eq!(base_string("get", &spread, &at(1).collect::<Vec<_>>(), form(2).as_bytes()), signed);
        }

        /// What is signed says every byte: no two different values are signed alike, and nothing makes it panic.
        #[test]
        fn nothing_is_lost_and_nothing_panics(one: Vec<u8>, other: Vec<u8>) {
            prop_assert_eq!(encode_bytes(&one) == encode_bytes(&other), one == other);
            prop_assert_eq!(percent_decode(encode_bytes(&one).as_bytes()).collect::<Vec<u8>>(), one.clone());
            let url = Url::parse("https://example.com/").unwrap();
            let text = base_string("POST", &url, &[("a", &String::from_utf8_lossy(&other))], &one);
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()) && text.bytes().filter(|b| *b == b'&').count() == 2);
        }
    }
}
