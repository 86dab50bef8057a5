//! The largest inputs there can be, each of the shape that costs its reader most.

use claviger::domain::call::HttpAnswer;
use claviger::domain::connection::Tokens;
use claviger::domain::ids::{ProviderId, TokenSetName};
use claviger::domain::provider::Provider;
use claviger::oauth::callback::{self, PAIRS_MAX};
use claviger::oauth::provider_file::{Definition, FILE_MAX, ProviderFile, Shelf, parse_own};
use claviger::oauth::token_response::{judge_exchange, judge_refresh, judge_revoke};
use claviger::oauth::{token_request, vectors};
use claviger::ports::outbound::ANSWER_MAX;
use jiff::Timestamp;

use crate::HANG;
use crate::scenery::{Scenery, client};
use crate::usage::{peak_mib, worked};

/// What one input may add to the memory of this process.
const MEMORY_MIB: u64 = 64;

/// What a tenant's definition needs.
const LEAST: &str = "name = \"N\"\nauthorize = { url = \"https://acme.example/a\", pkce = \"off\" }\nrefresh.class = \"unknown\"\ntoken.url = \"https://acme.example/t\"\n";

/// Does it within the limits of time and memory.
fn bounded<T>(what: &str, does: impl FnOnce() -> T) -> T {
    let (before, begun) = (peak_mib(), worked());
    let done = does();
    let (took, grown) = (worked() - begun, peak_mib().saturating_sub(before));
    assert!(took < HANG, "{what} took {took:?}");
    assert!(grown < MEMORY_MIB, "{what} took {grown} MiB");
    done
}

fn defined(text: &str) -> Result<ProviderFile, String> {
    let id = ProviderId::parse("acme").unwrap();
    let definition = Definition { id: &id, text, today: "2026-11-22", discovered: None };
    let read = parse_own(&definition, &Shelf::new());
    read.map_err(|faults| faults.iter().map(|fault| fault.to_string()).collect::<Vec<_>>().join("\n"))
}

/// As much of `part` as fits between the ends, `{n}` counting.
fn filled(begin: &str, part: &str, end: &str, most: usize) -> String {
    let mut text = begin.to_owned();
    for n in 0.. {
        let part = part.replace("{n}", &n.to_string());
        if text.len() + part.len() + end.len() > most {
            break;
        }
        text.push_str(&part);
    }
    text + end
}

fn judged(providers: &[Provider], status: u16, body: String) {
    assert!(body.len() <= ANSWER_MAX);
    let answer = HttpAnswer { status, headers: Vec::new(), body: body.into_bytes() };
    for provider in providers {
        _ = judge_exchange(provider, &answer, Timestamp::UNIX_EPOCH);
        _ = judge_refresh(provider, &TokenSetName::default_set(), &answer, Timestamp::UNIX_EPOCH);
        _ = judge_revoke(provider, &answer, Timestamp::UNIX_EPOCH);
    }
}

#[test]
fn an_answer_of_the_largest_size_takes_bounded_time() {
    let providers = Scenery::new().providers;
    for (begin, part, end) in [
        ("", "[", ""),
        ("", "{\"data\":", ""),
        ("[", "[],", "0]"),
        ("{\"access_token\":\"t\"", ",\"k{n}\":{n}", "}"),
        ("{\"access_token\":\"t\"", ",\"x\":{n}", "}"),
        ("{\"access_token\":\"t\",\"x\":[0", ",1e999", "]}"),
        ("{\"access_token\":\"t\",\"x\":1e999,\"expires_in\":", "9", "}"),
        ("{\"access_token\":\"t\",\"x\":1e999,\"expires_in\":\"", "9", "\"}"),
        ("{\"access_token\":\"t\",\"x\":-", "1", "e400}"),
        ("{\"access_token\":\"t\",\"x\":", "-", "1}"),
        ("{\"access_token\":\"t\",\"x\":\"", "\\\\", "\"}"),
        ("{\"access_token\":\"t\",\"x\":\"", "\\u0000", "\"}"),
        ("{\"access_token\":\"t\",\"message\":\"", "GON", "\"}"),
        ("{\"access_token\":\"", "t", "\"}"),
        ("{\"access_token\":\"t\",\"scope\":\"a", " a", "\"}"),
        ("{\"access_token\":\"t\",\"scope\":[\"a\"", ",\"a\"", "]}"),
        ("{\"access_token\":\"t\",\"x\":{\"a\":0", ",\"k{n}\":[[]]", "}}"),
        ("{\"access_token\":\"t\",\"id_token\":\"a.", "eyJh", ".c\"}"),
        ("{\"access_token\":\"t\",\"id_token\":\"", "a.", "c\"}"),
        ("{\"error\":\"", "x", "\"}"),
        ("access_token=t", "&x=1", ""),
        ("access_token=t", "&k{n}=%41", ""),
        ("access_token=", "%", ""),
        ("", "\u{feff}", ""),
        ("", " ", "{}"),
        ("", "<", ""),
        ("", "\u{0}", ""),
    ] {
        let body = filled(begin, part, end, ANSWER_MAX);
        for status in [200, 400] {
            bounded(&format!("{status}: {begin}{part}…{end}"), || judged(&providers, status, body.clone()));
        }
    }
}

/// A file that makes every answer as dear as it can.
#[test]
fn no_definition_makes_an_answer_take_unbounded_time() {
    let text = filled("{\"access_token\":\"t\",\"x\":\"", "ab", "\"}", ANSWER_MAX);
    let deep = filled("{\"access_token\":\"t\",\"x\":[0", ",1", "]}", ANSWER_MAX);
    for (begin, part, end) in [
        ("errors.dead_grant = [", "{pointer=\"/x\",contains=\"c\"},", "]"),
        ("errors.when = [", "{pointer=\"/x\",contains=\"c\"},", "]"),
        ("errors.code = [", "\"/x\",", "]"),
        ("[response.keep]\n", "k{n} = \"/x\"\n", ""),
        ("response.access_token = [", "\"/y\",", "\"/access_token\"]"),
        ("response.at = [", "\"/y\",", "\"\"]"),
        ("response.scope = [", "\"/y\",", "\"/x\"]"),
        ("response.subject = [", "\"/x\",", "\"/y\"]"),
        ("[response.sets]\n", "s{n} = \"\"\n", ""),
    ] {
        let definition = filled(&format!("{LEAST}{begin}"), part, end, FILE_MAX);
        let read = bounded(&format!("reading {begin}{part}…"), || defined(&definition));
        // As many as it lets pass.
        for most in [400, 1_000, 3_000, FILE_MAX] {
            let Ok(file) = defined(&filled(&format!("{LEAST}{begin}"), part, end, LEAST.len() + most)) else { continue };
            bounded(&format!("an answer to {most} bytes of {part}"), || {
                judged(std::slice::from_ref(&file.provider), 200, text.clone());
                judged(std::slice::from_ref(&file.provider), 400, deep.clone());
            });
        }
        drop(read);
    }
}

/// Several lists whose lengths multiply.
#[test]
fn lists_that_multiply_are_bounded() {
    let list = |part: &str, size: usize| filled("[", part, "\"/access_token\"]", size);
    let sets = filled("", "s{n} = \"\"\n", "", 14_000);
    let keep = filled("", "k{n} = \"/x\"\n", "", 14_000);
    let (access, refresh) = (list("\"/a\",", 14_000), list("\"/b\",", 14_000));
    let definition = format!(
        "{LEAST}[response]\naccess_token = {access}\nrefresh_token = {refresh}\n[response.keep]\n{keep}[response.sets]\n{sets}"
    );
    assert!(definition.len() <= FILE_MAX);
    let read = bounded("reading lists that multiply", || defined(&definition));
    if let Ok(file) = read {
        let answer = "{\"x\":1}".to_owned();
        bounded("an answer to lists that multiply", || judged(&[file.provider], 200, answer));
    }
}

#[test]
fn a_definition_of_the_largest_size_takes_bounded_time() {
    for (begin, part, end) in [
        ("", "a.", "a = 1"),
        ("[", "a.", "a]"),
        ("", "[a{n}]\n", ""),
        ("", "[[test]]\n", ""),
        ("", "[[test]]\nstep = \"exchange\"\nanswer = \"{}\"\n", ""),
        ("a = ", "[", ""),
        ("a = ", "{a=", ""),
        ("a = \"", "\\n", "\""),
        ("", "a{n} = 1\n", ""),
        ("", "x", " = 1"),
        ("", "\n", ""),
        ("", "#\n", ""),
        ("", "\"", ""),
        ("authorize.params = {", "a{n}=\"{x}\",", "b=\"\"}"),
        ("[authorize.params]\n", "a{n} = \"{x}{y}{z}\"\n", ""),
        ("authorize.params.a = \"", "{x}", "\""),
        ("", "[params.p{n}]\ntitle = \"P\"\nkind = \"text\"\nneeded_by = \"link\"\n", ""),
        ("", "[params.p{n}]\ntitle = \"P\"\nkind = \"text\"\nneeded_by = \"link\"\nexample = \"x\"\n", ""),
        ("", "[[after_connect]]\nname = \"n\"\nurl = \"https://a.example/{x}\"\nsubject = \"/id\"\n", ""),
        ("[callback]\nkeep = [", "\"k{n}\",", "]"),
        ("[authorize.scopes]\ndefault = [", "\"a\",", "]"),
        ("categories = [", "\"a\",", "]"),
    ] {
        for head in ["", LEAST] {
            let definition = filled(&format!("{head}{begin}"), part, end, FILE_MAX);
            bounded(&format!("{begin}{part}…{end}"), || {
                if let Ok(file) = defined(&definition) {
                    _ = vectors::run(&file);
                }
            });
        }
    }
    for (begin, part, end) in
        [("", "{\"a\":", ""), ("{\"a\":", "[", ""), ("{\"a\":0", ",\"k{n}\":null", "}"), ("{\"a\":[0", ",{}", "]}")]
    {
        let definition = filled(begin, part, end, FILE_MAX);
        assert!(bounded(&format!("{begin}{part}…{end}"), || defined(&definition)).is_err());
    }
}

/// A pattern is matched against up to 5,000 bytes, in time that grows with what it stands for.
#[test]
fn no_pattern_takes_unbounded_time() {
    let example = "a".repeat(4_999);
    for pattern in [
        "(a|aa)+b",
        "(a*)*b",
        "(.{0,100}){0,100}b",
        "((a{0,30}){0,30}){0,30}b",
        "(a{0,1000}b?){0,300}c",
        "\\\\p",
        "(((((",
        "a{99999999}",
    ] {
        let param = format!(
            "[params.p]\ntitle = \"P\"\nkind = \"text\"\nneeded_by = \"link\"\nmax_length = 5000\npattern = '{pattern}'\nexample = \"{example}\"\n"
        );
        assert!(bounded(pattern, || defined(&format!("{LEAST}{param}"))).is_err(), "{pattern}");
    }
}

#[test]
fn a_callback_of_the_largest_size_takes_bounded_time() {
    let keep = filled("callback.keep = [\"realm\"", ",\"k{n}\"", "]", 600);
    let file = defined(&format!("{LEAST}{keep}")).unwrap();
    for name in ["code", "realm", "x"] {
        let pairs: Vec<_> = (0..PAIRS_MAX).map(|n| (format!("{name}{n}"), "c".repeat(8_000))).collect();
        bounded(name, || callback::validate(&file.provider, Some(&"s".into()), &pairs)).unwrap_err();
        let many = vec![(name.to_owned(), String::new()); 100_000];
        bounded(name, || callback::validate(&file.provider, Some(&"s".into()), &many)).unwrap_err();
    }
}

/// A request repeats a token no more often than anybody could mean.
#[test]
fn no_definition_makes_a_request_of_unbounded_size() {
    let long = "t".repeat(64 * 1_024);
    let tokens = Tokens {
        access: long.as_str().into(),
        refresh: Some(long.as_str().into()),
        secret: None,
        token_type: "Bearer".to_owned(),
        obtained_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        refresh_expires_at: None,
        scopes: Vec::new(),
        from_generation: 1,
        received_by: "test".to_owned(),
    };
    let hundred = "{refresh_token}".repeat(100);
    let joined = format!("join({}'x')", "refresh_token, ".repeat(100));
    for (begin, part) in [
        ("[refresh.params]\n", format!("p{{n}} = \"{hundred}\"\n")),
        ("[refresh.params]\n", "p{n} = \"{refresh_token}\"\n".to_owned()),
        ("[refresh.params]\n", format!("p{{n}} = \"{{{joined}}}\"\n")),
        ("[refresh.params]\n", format!("p{{n}} = \"{{urlencode(urlencode({joined}))}}\"\n")),
        ("[refresh.params]\n", "p{n} = \"{urlencode(urlencode(urlencode(refresh_token)))}\"\n".to_owned()),
        ("[refresh.headers]\n", format!("h{{n}} = \"{hundred}\"\n")),
    ] {
        for most in [1_700, 4_000, 60_000] {
            let Ok(file) = defined(&filled(&format!("{LEAST}{begin}"), &part, "", LEAST.len() + most)) else { continue };
            let built = bounded(&format!("{most} bytes of {part}"), || {
                token_request::refresh(&file.provider, &client(&"s".into()), &TokenSetName::default_set(), &tokens)
            });
            assert!(built.is_err() || built.is_ok_and(|call| call.body.len() <= 1024 * 1024), "{most} bytes of {part}");
        }
    }
}
