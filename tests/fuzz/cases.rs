//! One case each of what the outside sends: templates, answers, callbacks, provider files.

use claviger::domain::call::HttpAnswer;
use claviger::domain::ids::{ProviderId, TokenSetName};
use claviger::domain::provider::template::{RENDERED_MAX, Template, UrlTemplate, Values};
use claviger::domain::provider::{GrantType, Provider};
use claviger::domain::secret::ExposeSecret;
use claviger::domain::tokens::{ProviderFailure, TokenAnswer};
use claviger::oauth::callback::{self, CODE_MAX, ValidCallback};
use claviger::oauth::device::{self, LIFE_MAX};
use claviger::oauth::jwt::{self, SigningKey};
use claviger::oauth::provider_file::{Definition, Source, issuer_of, parse, parse_own};
use claviger::oauth::token_request::Authorization;
use claviger::oauth::token_response::{KEPT_MAX, judge_exchange, judge_refresh, judge_revoke};
use claviger::oauth::vectors::keys;
use claviger::oauth::{discovery, install, introspection, oauth1, token_request, vectors};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::dice::Dice;
use crate::scenery::{Scenery, client};

pub fn play(number: u64, scenery: &mut Scenery) {
    let mut dice = Dice::of(number);
    match dice.below(40) {
        0 => file(&mut dice, scenery),
        1..=13 => answer(&mut dice, scenery),
        14..=26 => callback(&mut dice, scenery),
        27 => key(&mut dice),
        _ => template(&mut dice),
    }
}

fn template(dice: &mut Dice) {
    let names = ["a", "b.c", "code", "callback.realm", "x-y_z"];
    let bases = [
        "",
        "https://acme.example",
        "https://{a}.acme.example/",
        "{a}/",
        "http://127.0.0.1:8/",
        "https://{x-y_z}/{code}?k={b.c}",
    ];
    let text = format!("{}{}", dice.pick(&bases), dice.shards(12));
    let text = if dice.one_in(2) { dice.damaged_text(&text) } else { text };
    let mut given: Vec<(&str, String)> = names.iter().map(|name| (*name, value_for(dice))).collect();
    given.retain(|_| !dice.one_in(6));
    let mut values = Values::default();
    for (name, value) in &given {
        values.set(*name, value);
    }
    let longest = given.iter().map(|(_, value)| value.len()).max().unwrap_or_default();
    if let Ok(template) = Template::parse(&text)
        && let Ok(rendered) = template.render(&values)
    {
        let plain = text.len() + text.matches('{').count() * longest;
        assert!(rendered.len() <= if text.contains('(') { RENDERED_MAX } else { plain }, "{text:?}");
    }
    if let Ok(url) = UrlTemplate::parse(&text) {
        assert_eq!(url.as_str(), text);
        if let Ok(rendered) = url.render(&values) {
            assert!(
                rendered.username().is_empty() && rendered.password().is_none() && rendered.fragment().is_none(),
                "{rendered}"
            );
            assert!(rendered.scheme() == "https" || url.is_loopback() || url.origin_name().is_some(), "{rendered}");
        }
    }
}

/// A private key, damaged: what is still read as one signs, and its own public half takes that.
fn key(dice: &mut Dice) {
    let pem = dice.pick(&[keys::RSA, keys::P256, keys::P384, keys::ED25519, "-----BEGIN PRIVATE KEY-----"]);
    let text = if dice.one_in(8) { pem.to_owned() } else { dice.damaged_text(pem) };
    let Ok(key) = SigningKey::from_pem(&text) else { return };
    let claims = object(dice).as_object().expect("an object").clone();
    if let Ok(token) = jwt::sign(&key, key.usual(), Map::new(), claims.clone()) {
        let (_, signed) = jwt::opened(&key, &token).expect("a signature that holds");
        assert_eq!(signed, claims);
    }
}

fn value_for(dice: &mut Dice) -> String {
    if dice.one_in(3) { "plain-1".to_owned() } else { dice.shards(6) }
}

fn callback(dice: &mut Dice, scenery: &Scenery) {
    const PARTS: [&str; 25] = [
        "code=c",
        "auth_code=c%20d",
        "state=s",
        "iss=https%3A%2F%2Facme.example",
        "error=access_denied",
        "error=%3Cx%3E",
        "realm=r%2F1",
        "x=1",
        "code=",
        "error_description=No+way",
        "iss=",
        "code=%F0%9F%92%A5",
        "oauth_token=TOKEN",
        "oauth_token=OTHER",
        "oauth_verifier=v",
        "oauth_verifier=",
        "denied=TOKEN",
        "oauth_problem=user_refused",
        "server=acme.example",
        "server=https%3A%2F%2Feu.acme.co.uk%2F",
        "server=acme.example.evil.example",
        "server=evil.example%23.acme.example",
        "realm=eu-1",
        "realm=eu.evil.example%2F",
        "hmac=00",
    ];
    let many = if dice.one_in(50) { 120 } else { 6 };
    let query: Vec<&str> = (0..dice.below(many)).map(|_| dice.pick(&PARTS)).collect();
    let query = dice.damaged(query.join("&"));
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&query).into_owned().collect();
    let secret = "s".into();
    let is_signed = dice.one_in(2);
    for provider in &scenery.providers {
        let mut pairs = pairs.clone();
        if let Some(name) = provider.spec().callback.signature.as_ref().filter(|_| is_signed) {
            sign(name, &mut pairs);
        }
        if let Ok(settings) = install::judge(provider, Some(&secret), &pairs) {
            let declared = &provider.spec().params;
            assert!(install::is_install(&pairs) && pairs.iter().all(|(name, _)| name != "error"));
            assert!(settings.iter().all(|(name, value)| declared[name].fault(value).is_none()));
        }
        let valid = match provider.grant() {
            GrantType::Oauth1 => oauth1::validate(provider, "TOKEN", &pairs),
            _ => callback::validate(provider, Some(&secret), &pairs),
        };
        let Ok(valid) = valid else { continue };
        let is_of_the_flow = pairs.iter().any(|(name, value)| name == "oauth_token" && value == "TOKEN");
        assert!(provider.grant() != GrantType::Oauth1 || is_of_the_flow, "another flow's token");
        let code = valid.code().expose_secret();
        assert!(!code.is_empty() && code.len() <= CODE_MAX && !code.chars().any(char::is_control));
        assert!(valid.kept().values().all(|kept| kept.len() <= callback::KEPT_MAX));
        assert!(pairs.iter().filter(|(name, _)| name == "state").count() <= 1, "two states");
        assert!(provider.spec().callback.signature.is_none() || is_signed, "nobody signed it");
        stays_at_home(provider, &valid);
    }
}

/// As the provider does with the client's secret; what stood there before is gone.
fn sign(name: &str, pairs: &mut Vec<(String, String)>) {
    pairs.retain(|(known, _)| known != name);
    let mut sorted = pairs.clone();
    sorted.sort();
    let message = form_urlencoded::Serializer::new(String::new()).extend_pairs(sorted).finish();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s").expect("a key");
    mac.update(message.as_bytes());
    pairs.push((name.to_owned(), hex::encode(mac.finalize().into_bytes())));
}

/// Whatever a callback names, the code and the secret go to a host that the file lists.
fn stays_at_home(provider: &Provider, callback: &ValidCallback) {
    let secret = "s".into();
    let flow = Authorization {
        code: callback.code(),
        kept: callback.kept(),
        redirect_uri: "https://broker.example/cb",
        verifier: None,
        state: "s",
        scopes: &[],
        temporary: None,
    };
    let Ok(call) = token_request::exchange(provider, &client(&secret), &flow) else { return };
    let host = call.url.host_str().expect("a host");
    let home = ["acme.example", "acme.co.uk"];
    assert!(home.iter().any(|home| host == *home || host.ends_with(&format!(".{home}"))), "{}", call.url);
    assert!(call.url.username().is_empty() && call.url.port().is_none(), "{}", call.url);
}

fn answer(dice: &mut Dice, scenery: &Scenery) {
    let said = said(dice);
    for provider in &scenery.providers {
        judge(provider, &said);
    }
    if let Ok(found) = discovery::judge("https://acme.example", &said) {
        let urls = [Some(&found.authorization_endpoint), Some(&found.token_endpoint), found.revocation_endpoint.as_ref()];
        for url in urls.into_iter().flatten() {
            assert!(url.starts_with("https://") || UrlTemplate::parse(url).is_ok_and(|url| url.is_loopback()), "{url}");
        }
    }
}

/// Every reader of answers.
fn judge(provider: &Provider, said: &HttpAnswer) {
    let (started, secret) = (Timestamp::UNIX_EPOCH, "s".into());
    match device::judge_offer(provider, said, started) {
        Err(failure) => check_failure(&failure, said),
        Ok(offer) => {
            assert!(offer.life <= LIFE_MAX && offer.interval.as_secs() > 0);
            assert!(!offer.user_code.is_empty() && !offer.user_code.chars().any(char::is_control));
            assert!(matches!(offer.verification_uri.scheme(), "https" | "http"), "{}", offer.verification_uri);
        }
    }
    _ = device::judge_poll(provider, said, started);
    match judge_exchange(provider, said, started) {
        Err(failure) => check_failure(&failure, said),
        Ok(answer) => {
            check_tokens(&answer, said);
            let steps = provider.spec().after_connect.iter();
            let look_ups = steps.filter_map(|step| token_request::look_up(provider, step, &client(&secret), &answer).ok()?);
            for lookup in look_ups {
                if let Ok(found) = lookup.read(said, started) {
                    assert!(found.metadata.values().all(|kept| kept.to_string().len() <= KEPT_MAX));
                }
            }
        }
    }
    match oauth1::judge_request_token(provider, said, started) {
        Ok(temporary) => {
            let token = temporary.token.expose_secret();
            assert!((200..300).contains(&said.status) && !token.is_empty() && token.len() <= said.body.len());
        }
        Err(failure) => check_failure(&failure, said),
    }
    for set in ["default", "bot", "user"] {
        match judge_refresh(provider, &TokenSetName::parse(set).unwrap(), said, started) {
            Ok(answer) => check_tokens(&answer, said),
            Err(failure) => check_failure(&failure, said),
        }
    }
    if let Ok(Some(life)) = introspection::judge(provider, said, started, started) {
        assert!((200..300).contains(&said.status) && !life.is_zero() && life.as_secs() <= 21 * 366 * 86_400);
    }
    if let Err(failure) = judge_revoke(provider, said, started) {
        check_failure(&failure, said);
    }
}

/// What is made of an answer is no more than was in it.
fn check_tokens(answer: &TokenAnswer, said: &HttpAnswer) {
    assert!((200..300).contains(&said.status) && !answer.sets.is_empty());
    for set in answer.sets.values() {
        let refresh = set.refresh_token.as_ref().map_or("", ExposeSecret::expose_secret);
        for token in [set.access_token.expose_secret(), refresh] {
            assert!(token.len() <= said.body.len() && token.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
        assert!(set.scopes.as_ref().is_none_or(|scopes| !scopes.is_empty() && scopes.len() <= 500));
    }
    assert!(answer.metadata.values().all(|kept| kept.to_string().len() <= KEPT_MAX));
    assert!(answer.subject.as_ref().is_none_or(|subject| !subject.is_empty() && subject.len() <= 500));
}

/// No word of a provider's leaves it but a plain code.
fn check_failure(failure: &ProviderFailure, said: &HttpAnswer) {
    assert_eq!(failure.status, said.status);
    assert!(!failure.code.is_empty() && failure.code.len() <= 64, "{}", failure.code);
    assert!(failure.code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')), "{}", failure.code);
    assert!(failure.retry_after.is_none_or(|wait| wait.as_secs() <= 3_600));
}

fn said(dice: &mut Dice) -> HttpAnswer {
    const STATUS: [u16; 14] = [200, 200, 200, 200, 201, 204, 302, 400, 400, 401, 403, 408, 429, 503];
    let body = if dice.one_in(4) { form(dice) } else { object(dice).to_string() };
    let body = if dice.one_in(2) { dice.damaged(body) } else { body.into_bytes() };
    let mut headers = vec![("content-type".to_owned(), dice.pick(&["application/json", "text/html", ""]).to_owned())];
    if dice.one_in(3) {
        let wait =
            ["60", "-1", "99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 0000 00:00:00 GMT", "", "soon"];
        headers.push(("retry-after".to_owned(), dice.pick(&wait).to_owned()));
    }
    HttpAnswer { status: STATUS[dice.below(STATUS.len())], headers, body }
}

const FIELDS: [&str; 35] = [
    "device_code",
    "user_code",
    "verification_uri",
    "interval",
    "access_token",
    "access_token",
    "token",
    "refresh_token",
    "token_type",
    "expires_in",
    "expires_at",
    "refresh_expires_in",
    "refresh_token_expires_at",
    "scope",
    "id_token",
    "error",
    "code",
    "message",
    "ok",
    "data",
    "user",
    "items",
    "x",
    "id",
    "shop",
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "code_challenge_methods_supported",
    "type",
    "oauth_token",
    "oauth_token_secret",
    "oauth_callback_confirmed",
    "é",
];

fn object(dice: &mut Dice) -> Value {
    let mut fields: Map<String, Value> = (0..dice.below(10)).map(|_| (dice.pick(&FIELDS).to_owned(), value(dice, 3))).collect();
    if dice.one_in(2) {
        fields.insert("access_token".to_owned(), json!("at-1"));
    }
    fields.into()
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    const TEXTS: [&str; 15] = [
        "t",
        "Bearer",
        "a b,c",
        "gone",
        "invalid_grant",
        "3600",
        "1e3",
        "2026-11-21T12:00:00Z",
        "e30.eyJzdWIiOiJ4In0.s",
        "a.b.c",
        "https://acme.example",
        "https://acme.example/t",
        "",
        "NaN",
        "true",
    ];
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(dice.one_in(2)),
        2 => json!([0_i64, 7, 3600, -1, i64::MAX, i64::MIN, 1_795_000_000, 1_795_000_000_000][dice.below(8)]),
        3 => json!([0.5, 1e300, -1e300, 3.6e3, 9e18][dice.below(5)]),
        4 => json!(dice.shards(4)),
        5 => json!(dice.pick(&TEXTS)),
        6 => (0..dice.below(4)).map(|_| value(dice, depth - 1)).collect(),
        _ => (0..dice.below(5)).map(|_| (dice.pick(&FIELDS).to_owned(), value(dice, depth - 1))).collect::<Map<_, _>>().into(),
    }
}

fn form(dice: &mut Dice) -> String {
    let pairs = (0..dice.below(8)).map(|_| (dice.pick(&FIELDS), dice.shards(3))).collect::<Vec<_>>();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A file of the catalogue with lines lost, doubled, changed or from another file.
fn file(dice: &mut Dice, scenery: &mut Scenery) {
    let text = rearranged(dice, &scenery.texts);
    let text = if dice.one_in(3) { dice.damaged_text(&text) } else { text };
    let id = ProviderId::parse("fuzzed").unwrap();
    scenery.shelf.insert(id.clone(), Source { file: "fuzzed.toml".to_owned(), text: text.clone() });
    let listed = parse(&id, &scenery.shelf);
    _ = issuer_of(&text);
    let own = parse_own(&Definition { id: &id, text: &text, today: "2026-11-22", discovered: None }, &scenery.short_shelf);
    let said = said(dice);
    for file in [listed, own] {
        match file {
            Err(faults) => assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.message.is_empty())),
            Ok(file) => {
                _ = vectors::run(&file);
                judge(&file.provider, &said);
            }
        }
    }
}

fn rearranged(dice: &mut Dice, texts: &[String]) -> String {
    const VALUES: [&str; 19] = [
        "\"\"",
        "7",
        "-1",
        "true",
        "[]",
        "{}",
        "[[]]",
        "\"{code}\"",
        "\"{jwt.proof}\"",
        "\"private_key_jwt\"",
        "\"HS512\"",
        "\"https://{a}.acme.example/{b}\"",
        "\"9999999d\"",
        "\"/a/~0/~2\"",
        "{ a = { b = 1 } }",
        "1979-05-27T00:00:00Z",
        "nan",
        "\"\\u0000\"",
        "['x', \"{callback.}\"]",
    ];
    let mut lines: Vec<&str> = texts[dice.below(texts.len())].lines().collect();
    let other: Vec<&str> = texts[dice.below(texts.len())].lines().collect();
    let mut changed = Vec::new();
    for _ in 0..dice.below(4) {
        let at = dice.below(lines.len());
        match dice.below(4) {
            0 if !lines.is_empty() => drop(lines.remove(at)),
            1 => lines.insert(at, other[dice.below(other.len())]),
            2 if !lines.is_empty() => lines.insert(dice.below(lines.len()), lines[at]),
            _ => changed.push((at, dice.pick(&VALUES))),
        }
    }
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    for (at, value) in changed {
        if let Some(line) = lines.get_mut(at)
            && let Some((key, _)) = line.split_once(" = ")
        {
            *line = format!("{key} = {value}");
        }
    }
    lines.join("\n")
}
