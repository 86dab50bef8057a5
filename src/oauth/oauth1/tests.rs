//! Published vectors: RFC 5849 1.2, the test cases of the OAuth community, and one provider's guide; and whole calls.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use url::Url;

use super::*;
use crate::domain::call::{HttpCall, Method};
use crate::domain::provider::oauth1::{ParamsIn, SignatureMethod};

const CLIENT: (&str, &str) = ("dpf43f3p2l4k3l03", "kd94hf93k423kf44");
const FORM: &str = "application/x-www-form-urlencoded";

/// The signature over a call with these protocol params.
fn sign(method: SignatureMethod, key: &Key<'_>, (verb, url): (&str, &str), protocol: &[(&str, &str)]) -> String {
    let mut protocol = protocol.to_vec();
    protocol.extend([("oauth_consumer_key", CLIENT.0), ("oauth_signature_method", method.as_str())]);
    signature(method, key, &base_string(verb, &Url::parse(url).unwrap(), &protocol, b"")).unwrap()
}

/// RFC 5849 1.2: temporary credentials, token credentials, a photo.
#[test]
fn the_three_calls_of_the_rfc_are_signed_as_it_says() {
    let hmac = SignatureMethod::HmacSha1;
    let key = |token| Key::Secrets { client: CLIENT.1, token };
    let first =
        [("oauth_timestamp", "137131200"), ("oauth_nonce", "wIjqoS"), ("oauth_callback", "http://printer.example.com/ready")];
    let initiate = ("POST", "https://photos.example.net/initiate");
    assert_eq!(sign(hmac, &key(""), initiate, &first), "74KNZJeDHnMBp0EMJ9ZHt/XKycU=");
    let second = [
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "walatlh"),
        ("oauth_token", "hh5s93j4hdidpola"),
        ("oauth_verifier", "hfdp7dh39dks9884"),
    ];
    let token = ("POST", "https://photos.example.net/token");
    assert_eq!(sign(hmac, &key("hdhd0244k9j7ao03"), token, &second), "gKgrFCywp7rO0OXSjdot/IHF7IU=");
    let third = [("oauth_timestamp", "137131202"), ("oauth_nonce", "chapoH"), ("oauth_token", "nnch734d00sl2jdk")];
    let photo = ("GET", "http://photos.example.net/photos?file=vacation.jpg&size=original");
    assert_eq!(sign(hmac, &key("pfkkdhi9sl3r4s00"), photo, &third), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
}

/// The key of the community's RSA-SHA1 case: public, and good for nothing else.
pub(crate) const RSA_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBALRiMLAh9iimur8V
A7qVvdqxevEuUkW4K+2KdMXmnQbG9Aa7k7eBjK1S+0LYmVjPKlJGNXHDGuy5Fw/d
7rjVJ0BLB+ubPK8iA/Tw3hLQgXMRRGRXXCn8ikfuQfjUS1uZSatdLB81mydBETlJ
hI6GH4twrbDJCR2Bwy/XWXgqgGRzAgMBAAECgYBYWVtleUzavkbrPjy0T5FMou8H
X9u2AC2ry8vD/l7cqedtwMPp9k7TubgNFo+NGvKsl2ynyprOZR1xjQ7WgrgVB+mm
uScOM/5HVceFuGRDhYTCObE+y1kxRloNYXnx3ei1zbeYLPCHdhxRYW7T0qcynNmw
rn05/KO2RLjgQNalsQJBANeA3Q4Nugqy4QBUCEC09SqylT2K9FrrItqL2QKc9v0Z
zO2uwllCbg0dwpVuYPYXYvikNHHg+aCWF+VXsb9rpPsCQQDWR9TT4ORdzoj+Nccn
qkMsDmzt0EfNaAOwHOmVJ2RVBspPcxt5iN4HI7HNeG6U5YsFBb+/GZbgfBT3kpNG
WPTpAkBI+gFhjfJvRw38n3g/+UeAkwMI2TJQS4n8+hid0uus3/zOjDySH3XHCUno
cn1xOJAyZODBo47E+67R4jV1/gzbAkEAklJaspRPXP877NssM5nAZMU0/O/NGCZ+
3jPgDUno6WbJn5cqm8MqWhW1xGkImgRk+fkDBquiq4gPiT898jusgQJAd5Zrr6Q8
AO/0isr/3aa6O6NLQxISLKcPDk2NOccAfS/xOtfOz4sJYM3+Bs4Io9+dZGSDCA54
Lw03eHTNQghS0A==
-----END PRIVATE KEY-----
";

/// Of 512 bits, made for this.
const SHORT_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIIBVgIBADANBgkqhkiG9w0BAQEFAASCAUAwggE8AgEAAkEA8KhZT2ScTeNo/SRE
i32dMZgN2YerCQeLuffhMoLRz0QoKB+Lv/Szze2l25CL4qCPqSotumq0saAVtEud
Ao3sqQIDAQABAkEA0OmT/jPc7FCKB5bAWkdFepQBEeGQPFpslZf1yp99+2oEbsiA
BF8vdFiPtYs1VvpiJUfJyB6TnpF0W5327II1wQIhAPmWQx2dLmMdNqtr2i1+erNb
bPweMp3fBHKbnioI+GC9AiEA9tdZ3unrW6LD9I8pWfi7I6vY4WgzSNrUJA31Kex+
aF0CIBI3HDjaEtua8zV5jpfJZk0WvBJ+ZbVN5HY000tAEliFAiEAg/fyhmkNebp1
hWScuQtwEcwocaph8Mt9q6ECt91GX8kCIQDhreK6LoxrHHGB2Mht5PKQ9pUqL8h7
uLmlw5buvPcUgw==
-----END PRIVATE KEY-----
";

#[test]
fn the_communitys_rsa_case_is_signed_as_it_says() {
    let key = PrivateKey::from_pem(RSA_KEY).unwrap();
    let url = "http://photos.example.net/photos?file=vacaction.jpg&size=original";
    let protocol = [("oauth_timestamp", "1196666512"), ("oauth_nonce", "13917289812797014437"), ("oauth_version", "1.0")];
    assert_eq!(
        sign(SignatureMethod::RsaSha1, &Key::Private(&key), ("GET", url), &protocol),
        "jvTp/wX1TYtByB1m+Pbyo0lnCOLIsyGCH7wke8AUs3BpnwZJtAuEJkvQL2/9n4s5wUmUl4aCI4BwpraNx4RtEXMe5qg5T1LVTGliMRpKasKsW//e+RinhejgCuzoH26dyF8iY2ZZ/5D1ilgeijhV/vBka5twt399mXwaYdCwFYE="
    );
    assert_eq!(format!("{key:?}"), "PrivateKey");
    let (empty, damaged) = ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", RSA_KEY.replace("MIIC", "MIIB"));
    for bad in ["", empty, &damaged, SHORT_KEY] {
        assert_eq!(PrivateKey::from_pem(bad).unwrap_err(), SignError::BadKey, "{bad}");
    }
}

/// RFC 5849 3.4.4: both halves are encoded first.
#[test]
fn plaintext_is_the_two_secrets() {
    let key = Key::Secrets { client: "djr9rjt0jd78jf88", token: "jjd999tj88uiths3" };
    assert_eq!(signature(SignatureMethod::Plaintext, &key, "").unwrap(), "djr9rjt0jd78jf88&jjd999tj88uiths3");
    let odd = Key::Secrets { client: "a&b c", token: "" };
    assert_eq!(signature(SignatureMethod::Plaintext, &odd, "x").unwrap(), "a%26b%20c&");
}

#[test]
fn a_key_of_the_other_kind_signs_nothing() {
    let private = PrivateKey::from_pem(RSA_KEY).unwrap();
    let secrets = || Key::Secrets { client: "c", token: "t" };
    for method in [SignatureMethod::RsaSha1, SignatureMethod::RsaSha256] {
        assert_eq!(signature(method, &secrets(), ""), Err(SignError::WrongKey));
    }
    for method in [SignatureMethod::HmacSha1, SignatureMethod::HmacSha256, SignatureMethod::Plaintext] {
        assert_eq!(signature(method, &Key::Private(&private), ""), Err(SignError::WrongKey));
    }
}

fn signer(params_in: ParamsIn) -> Signer<'static> {
    Signer {
        method: SignatureMethod::HmacSha1,
        params_in,
        realm: "",
        consumer_key: "xvz1evFS4wEEPTGEFPHBog",
        key: Key::Secrets {
            client: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        },
        token: "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
        nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        timestamp: 1_318_622_958,
    }
}

fn update(content_type: &str, body: &str) -> HttpCall {
    HttpCall {
        method: Method::Post,
        url: Url::parse("https://api.example.com/1.1/statuses/update.json?include_entities=true").unwrap(),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

const STATUS: &str = "status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21";

fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}

/// The protocol's params, wherever they are.
fn protocol(call: &HttpCall) -> BTreeMap<String, String> {
    let header = call.headers.iter().find(|(name, _)| name == "authorization");
    let in_header = header.map(|(_, value)| value.trim_start_matches("OAuth ").replace(", ", "&").replace('"', ""));
    let all = [in_header.unwrap_or_default().into_bytes(), call.url.query().unwrap_or_default().into(), call.body.clone()];
    all.iter().flat_map(|text| pairs(text)).filter(|(name, _)| name.starts_with("oauth_")).collect()
}

/// A large provider's guide to signing, whose host stands for itself.
#[test]
fn a_providers_guide_is_followed() {
    let mut call = update(FORM, STATUS);
    call.url.set_host(Some("api.twitter.com")).unwrap();
    let signed = signer(ParamsIn::Header).sign(call, &[]).unwrap();
    assert_eq!(protocol(&signed)["oauth_signature"], "hCtSmYh+iHYCEqBWrE7C7hYmtUk=");
}

/// Wherever the params stand, the same is signed, and what the call had is still there.
#[test]
fn params_stand_where_the_provider_wants_them() {
    let header = signer(ParamsIn::Header).sign(update(FORM, STATUS), &[]).unwrap();
    assert_eq!(header.body, STATUS.as_bytes());
    let (_, value) = header.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert!(value.starts_with("OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", oauth_nonce="), "{value}");
    assert!(value.contains(", oauth_signature=\"") && value.contains("%3D\", oauth_signature_method=\"HMAC-SHA1\""), "{value}");
    let query = signer(ParamsIn::Query).sign(update(FORM, STATUS), &[]).unwrap();
    let body = signer(ParamsIn::Body).sign(update(FORM, STATUS), &[]).unwrap();
    assert!(pairs(&body.body).contains_key("status") && body.url.query() == Some("include_entities=true"));
    assert!(
        query.url.query().unwrap().starts_with("include_entities=true&oauth_consumer_key=") && query.body == STATUS.as_bytes()
    );
    for call in [&query, &body] {
        assert_eq!(protocol(call), protocol(&header));
        assert!(call.headers.iter().all(|(name, _)| name != "authorization"));
    }
    // A call that has no body has them in its query.
    let get = HttpCall { method: Method::Get, body: Vec::new(), ..update("text/plain", "") };
    let get = signer(ParamsIn::Body).sign(get, &[]).unwrap();
    assert!(get.body.is_empty() && get.url.query().unwrap().contains("oauth_signature="));
    let empty = HttpCall { headers: Vec::new(), ..update("", "") };
    let empty = signer(ParamsIn::Body).sign(empty, &[]).unwrap();
    assert!(empty.body.starts_with(b"oauth_consumer_key=") && empty.headers == [("content-type".to_owned(), FORM.to_owned())]);
}

/// A call has one `authorization` header (RFC 9110 5.3), and before there is a token nothing is said of one (RFC 5849 3.1).
#[test]
fn the_protocol_alone_says_who_calls() {
    let own = ("authorization".to_owned(), "Bearer other".to_owned());
    let mut call = update(FORM, STATUS);
    call.headers.push(own.clone());
    let signed = Signer { token: "", ..signer(ParamsIn::Header) }.sign(call, &[]).unwrap();
    let headers: Vec<_> = signed.headers.iter().filter(|(name, _)| name == "authorization").collect();
    assert!(headers.len() == 1 && !headers.contains(&&own), "{headers:?}");
    let names: Vec<_> = protocol(&signed).into_keys().collect();
    let expected = ["consumer_key", "nonce", "signature", "signature_method", "timestamp", "version"];
    assert_eq!(names, expected.map(|name| format!("oauth_{name}")));
}

/// RFC 5849 3.4.1.3.1: only a form is signed with the rest.
#[test]
fn a_body_that_is_no_form_is_not_signed() {
    let signed = |kind: &str, body: &str| protocol(&signer(ParamsIn::Header).sign(update(kind, body), &[]).unwrap());
    assert_eq!(signed("application/json", "{\"a\":1}"), signed("application/json", "{}"));
    assert_ne!(signed(FORM, "a=1"), signed(FORM, "a=2"));
}

#[test]
fn a_realm_stands_in_front_and_cannot_leave_its_quotes() {
    let with = |realm| Signer { realm, ..signer(ParamsIn::Header) }.sign(update(FORM, ""), &[]);
    let call = with("123 SB1").unwrap();
    let (_, value) = call.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    assert!(value.starts_with("OAuth realm=\"123 SB1\", oauth_consumer_key="));
    assert_eq!(protocol(&call), protocol(&signer(ParamsIn::Header).sign(update(FORM, ""), &[]).unwrap()), "it is not signed");
    for odd in ["a\"b", "a\\b", "a\r\nb", "é"] {
        assert!(with(odd).is_err(), "{odd:?}");
    }
}

proptest! {
    /// Whatever stands in a call, signing keeps it and does not panic, and one byte more is another signature.
    #[test]
    fn any_call_is_signed(query in "\\PC{0,30}", body: Vec<u8>, token in "\\PC{0,20}", place in 0..3_usize) {
        let place = [ParamsIn::Header, ParamsIn::Query, ParamsIn::Body][place];
        let mut call = update(FORM, "");
        call.url.set_query(Some(&query));
        call.body = body.clone();
        let signed = Signer { token: &token, ..signer(place) }.sign(call.clone(), &[("oauth_callback", &query)]).unwrap();
        prop_assert!(signed.body.starts_with(&body));
        prop_assert!(signed.url.query().unwrap().starts_with(call.url.query().unwrap()));
        let found = protocol(&signed);
        prop_assert!(STANDARD.decode(&found["oauth_signature"]).unwrap().len() == 20 || body.windows(6).any(|part| part == b"oauth_"));
        let other = Signer { token: &token, ..signer(place) }.sign(call, &[("oauth_callback", &format!("{query}x"))]).unwrap();
        prop_assert_ne!(&protocol(&other)["oauth_signature"], &found["oauth_signature"]);
    }
}
