//! The guard against every spelling of an address that must not be called, and against a resolver that
//! says now this and now that. Canaries listen on all of this machine's addresses.

use std::collections::BTreeSet;

use super::forbidden::{Canary, Spelling, spellings};
use super::*;

/// What a refused address is told as.
const REFUSED: &str = "may be called";

/// Ways to write more around a host.
const DRESSES: [&str; 9] = [
    "HOST:PORT/",
    "HOST:PORT",
    "user@HOST:PORT/",
    "user:word@HOST:PORT/",
    "api.example@HOST:PORT/",
    "api.example:443@HOST:PORT/",
    "HOST:PORT/?x=@api.example",
    "HOST:PORT#@api.example",
    "HOST:PORT\\@api.example/",
];

/// The port of a canary is open for public addresses, so that it is the address that is refused.
fn but_for_the_port(port: u16) -> EgressPolicy {
    EgressPolicy { loopback: Loopback::Refused, allow: vec![format!("*:{port}").parse().unwrap()] }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Every name in these tests has all the addresses of this machine.
fn all_local() -> FakeNames {
    FakeNames::Each(addresses(&["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "127.9.9.9", "fe80::1", "169.254.1.1"]))
}

async fn called(outbound: &ReqwestOutbound, url: url::Url) -> Result<HttpAnswer, CallError> {
    outbound.call(HttpCall { url, ..post("https://api.example/") }, SHORT).await
}

#[test]
fn each_spelling_is_read_as_the_address_it_means() {
    let all = spellings();
    assert!(all.len() >= 300, "only {}", all.len());
    for Spelling { host, means } in &all {
        let Some(means) = means else { continue };
        let url: url::Url = format!("https://{host}/").parse().unwrap_or_else(|why| panic!("{host}: {why}"));
        let read = match url.host() {
            Some(url::Host::Ipv4(v4)) => Some(IpAddr::from(v4)),
            Some(url::Host::Ipv6(v6)) => Some(IpAddr::from(v6)),
            _ => None,
        };
        assert_eq!(read, Some(*means), "{host}");
    }
    let meant: BTreeSet<_> = all.iter().filter_map(|spelling| spelling.means).collect();
    assert!(meant.len() >= 250, "only {} different addresses", meant.len());
}

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_is_connected_to() {
    let canary = Canary::start();
    let outbound = outbound(but_for_the_port(canary.port), all_local());
    let (mut tried, mut plain) = (0, 0);
    for Spelling { host, means } in spellings() {
        for dress in DRESSES {
            for scheme in ["https", "http", "HTTPS", "https:/", "https:\\\\"] {
                let url = format!("{scheme}://{}", dress.replace("HOST", &host).replace("PORT", &canary.port.to_string()));
                let Ok(url) = url.parse() else { continue };
                let answer = called(&outbound, url).await;
                let Err(CallError::NotSent(why)) = &answer else { panic!("{scheme} {dress} {host}: {answer:?}") };
                if (scheme, dress) == ("https", DRESSES[0]) {
                    // Of a name that cannot be one, TLS says so before anybody is asked for its address.
                    let no_name = means.is_none() && why.contains("invalid dns name");
                    assert!(why.contains(REFUSED) || no_name, "{host}: {why}");
                    plain += 1;
                }
                tried += 1;
            }
        }
    }
    assert_eq!(canary.dialled(), Vec::<IpAddr>::new());
    assert!(plain > 900 && tried > 20_000, "only {plain} and {tried} were URLs at all");
}

/// The control to the test above: the same spellings do reach this machine where that is allowed.
#[tokio::test]
async fn where_loopback_is_allowed_the_same_spellings_arrive() {
    let (server, outbound) = (Server::start(Then::Close(with_length(0))).await, on_loopback());
    let mine = spellings().into_iter().filter(|spelling| spelling.means == Some(Ipv4Addr::LOCALHOST.into()));
    let names = ["localhost", "LocalHost", "localhost.", "a.localhost", "l%6fcalhost"].map(str::to_owned);
    let hosts: Vec<_> = mine.map(|spelling| spelling.host).chain(names).collect();
    assert!(hosts.len() > 30);
    for (arrived, host) in hosts.iter().enumerate() {
        outbound.call(post(&format!("http://{host}:{}/", server.port)), PATIENT).await.unwrap();
        assert_eq!(server.connections(), arrived + 1, "{host}");
    }
}

/// A redirect is not followed, so it does not matter where it leads.
#[tokio::test]
async fn no_answer_leads_to_a_forbidden_address() {
    let (canary, outbound) = (Canary::start(), on_loopback());
    for (turn, Spelling { host, .. }) in spellings().into_iter().enumerate().step_by(7) {
        let to = format!("http://{host}:{}/?next=http://127.0.0.1:{}/", canary.port, canary.port);
        let head =
            format!("HTTP/1.1 {} Moved\r\nlocation: {to}\r\nrefresh: 0; url={to}\r\n", [301, 302, 303, 307, 308][turn % 5]);
        let answer = format!("{head}link: <{to}>; rel=preload\r\ncontent-length: 0\r\n\r\n");
        let server = Server::start(Then::Close(answer.into_bytes())).await;
        let answer = outbound.call(post(&server.url()), PATIENT).await;
        assert!((300..400).contains(&answer.unwrap().status), "{host}");
    }
    assert_eq!(canary.dialled(), Vec::<IpAddr>::new());
}

/// Only the address that was vetted is dialled, whatever the resolver says next, and it is asked once a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolver_that_changes_its_answer_changes_nothing() {
    const CALLS: usize = 10_000;
    let canary = Canary::start();
    let permitted = "127.9.9.9";
    let allow = vec![format!("{permitted}:{}", canary.port).parse().unwrap(), format!("*:{}", canary.port).parse().unwrap()];
    let answers = [
        &[permitted][..],
        &["127.0.0.1"],
        &["::1", "127.0.0.1"],
        &["::ffff:127.9.9.9", "127.9.9.8"],
        &["127.0.0.1", permitted, "::1"],
        &["fe80::1", "169.254.169.254"],
        &[],
        &["::ffff:127.0.0.1", "::", "0.0.0.0"],
        &["10.0.0.1", "fd00::1"],
        &["64:ff9b::7f00:1", "2002:7f00:1::"],
    ]
    .map(addresses);
    let passing = answers.iter().filter(|answer| answer.contains(&permitted.parse().unwrap())).count();
    let (asked, turns) = (Arc::new(AtomicUsize::new(0)), answers.len());
    let outbound =
        outbound(EgressPolicy { loopback: Loopback::Refused, allow }, FakeNames::Fickle(asked.clone(), answers.to_vec()));
    let url = format!("https://fickle.example:{}/token", canary.port);
    for call in 0..CALLS {
        let answer = outbound.call(post(&url), PATIENT).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
        assert_eq!(asked.load(Ordering::SeqCst), call + 1, "asked once a call");
    }
    let dialled = canary.dialled();
    assert!(dialled.iter().all(|address| *address == permitted.parse::<IpAddr>().unwrap()), "{dialled:?}");
    assert_eq!(dialled.len(), CALLS / turns * passing);
}

#[tokio::test]
async fn a_name_with_an_address_of_ours_is_refused_even_where_loopback_is_allowed() {
    let server = Server::start(Then::Close(with_length(0))).await;
    let policy = EgressPolicy { loopback: Loopback::Allowed, allow: vec![format!("*:{}", server.port).parse().unwrap()] };
    let outbound = outbound(policy, all_local());
    for scheme in ["http", "https"] {
        let answer = outbound.call(post(&format!("{scheme}://evil.example:{}/", server.port)), PATIENT).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
    }
    assert_eq!(server.connections(), 0);
}
