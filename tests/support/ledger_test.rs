//! The ledger keeps its classes' rules, does what the script says, and sees each crime.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ledger::{Class, Crimes, End, Fault, Issued, Ledger, Time};

/// Time that stands until a test moves it.
#[derive(Clone, Default)]
struct Hand(Arc<Mutex<Duration>>);

impl Hand {
    fn ledger(&self) -> Ledger {
        let hand = self.0.clone();
        let time: Time = Arc::new(move || *hand.lock().unwrap());
        Ledger::on_time(time)
    }

    fn wait(&self, seconds: u64) {
        *self.0.lock().unwrap() += Duration::from_secs(seconds);
    }
}

fn client() -> reqwest::ClientBuilder {
    Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).retry(reqwest::retry::never())
}

/// Status and body, or nothing where no whole answer came.
async fn refresh(ledger: &Ledger, class: Class, token: &str) -> Option<(u16, Value)> {
    refresh_with(client().build().unwrap(), &ledger.origin(0), class, token).await
}

async fn refresh_with(client: Client, origin: &str, class: Class, token: &str) -> Option<(u16, Value)> {
    let request = client.post(format!("{origin}/{}/token", class.name()));
    let body = format!("grant_type=refresh_token&refresh_token={token}");
    let answer = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body).send().await.ok()?;
    let (status, body) = (answer.status().as_u16(), answer.text().await.ok()?);
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}

/// The refresh token that an answer brings.
async fn rotated(ledger: &Ledger, class: Class, token: &str) -> String {
    let (status, body) = refresh(ledger, class, token).await.unwrap();
    assert_eq!(status, 200, "{body}");
    body["refresh_token"].as_str().unwrap().to_owned()
}

async fn is_refused(ledger: &Ledger, class: Class, token: &str) -> bool {
    let (status, body) = refresh(ledger, class, token).await.unwrap();
    assert!(status == 200 || (status, body["error"].as_str()) == (400, Some("invalid_grant")), "{status} {body}");
    status == 400
}

async fn revoke(ledger: &Ledger, class: Class, token: &str) {
    let request = client().build().unwrap().post(format!("{}/{}/revoke", ledger.origin(0), class.name()));
    assert_eq!(request.body(format!("token={token}")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_rotation_gives_new_tokens_and_is_no_crime() {
    let ledger = Ledger::start();
    for class in Class::ALL {
        let Issued { grant, access, refresh: first, .. } = ledger.grant(class);
        let (status, body) = refresh(&ledger, class, &first).await.unwrap();
        assert_eq!((status, body["expires_in"].as_u64()), (200, Some(3600)));
        assert!(body["access_token"].is_string() && body["access_token"] != access.as_str());
        assert_eq!(body.get("refresh_token").is_some(), class != Class::Nonrotating);
        let newest = body["refresh_token"].as_str().unwrap_or(&first).to_owned();
        assert!(ledger.alive(grant).contains(&newest));
        assert_eq!(ledger.alive(grant).contains(&first), class.forgives(), "{class:?}");
        assert!(!ledger.is_lost(grant, &[&newest]));
        assert_eq!(ledger.refreshes(grant), 1);
    }
    assert!(ledger.crimes().is_none(), "{:?}", ledger.crimes());
    assert!(ledger.out_of_reach().is_empty());
}

#[tokio::test]
async fn reuse_does_what_the_class_says_and_is_seen() {
    let hand = Hand::default();
    let ledger = hand.ledger();
    let mut firsts = Vec::new();
    for class in Class::ALL {
        let issued = ledger.grant(class);
        refresh(&ledger, class, &issued.refresh).await.unwrap();
        // At once: who forgives, forgives.
        assert_eq!(is_refused(&ledger, class, &issued.refresh).await, !class.forgives(), "{class:?}");
        firsts.push((class, issued));
    }
    let seen = ledger.crimes();
    let strict = firsts[4].1.grant;
    assert_eq!(seen.revoked, [strict]);
    assert!(ledger.is_lost(strict, &["rt-4-0", "rt-4-1"]) && ledger.out_of_reach() == [strict]);
    let repeated: Vec<_> = seen.repeated.keys().map(String::as_str).collect();
    assert_eq!((repeated, seen.crossed.len()), (vec!["rt-1-0", "rt-2-0", "rt-3-0", "rt-4-0"], 0));
    // Too late: only the one that never changes is taken, and where reuse is watched the family ends.
    hand.wait(30);
    for (class, issued) in &firsts {
        assert_eq!(is_refused(&ledger, *class, &issued.refresh).await, *class != Class::Nonrotating, "{class:?}");
    }
    assert_eq!(ledger.crimes().revoked, [1, 2, 4]);
    assert_eq!(ledger.alive(3), ["rt-3-1"], "a plain family lives");
}

#[tokio::test]
async fn of_two_children_both_live_or_only_the_newest() {
    let ledger = Ledger::start();
    for class in [Class::Grace, Class::Newest] {
        let issued = ledger.grant(class);
        let first = rotated(&ledger, class, &issued.refresh).await;
        let second = rotated(&ledger, class, &issued.refresh).await;
        assert!(!ledger.is_lost(issued.grant, &[&second]));
        assert_eq!(ledger.is_lost(issued.grant, &[&first]), class == Class::Newest, "{class:?}");
        rotated(&ledger, class, &second).await;
        assert_eq!(is_refused(&ledger, class, &issued.refresh).await, class == Class::Newest, "a child was used: {class:?}");
    }
}

#[tokio::test]
async fn two_requests_that_meet_are_seen() {
    let ledger = Arc::new(Ledger::start());
    let (gate, grant) = (watch::Sender::new(false), ledger.grant(Class::Nonrotating));
    ledger.next(grant.grant, Fault::default().after(&gate));
    let held = tokio::spawn({
        let (ledger, token) = (ledger.clone(), grant.refresh.clone());
        async move { refresh(&ledger, Class::Nonrotating, &token).await }
    });
    ledger.arrived(1).await;
    refresh(&ledger, Class::Nonrotating, &grant.refresh).await.unwrap();
    gate.send_replace(true);
    held.await.unwrap().unwrap();
    refresh(&ledger, Class::Nonrotating, &grant.refresh).await.unwrap();
    assert_eq!(ledger.crimes(), Crimes { crossed: vec![grant.refresh], ..Crimes::default() });
}

#[tokio::test]
async fn what_the_network_swallows_is_told_apart() {
    let ledger = Ledger::start();
    let ends = [End::Lost, End::Half, End::Reset, End::Hidden, End::Failed, End::Throttled(7)];
    for end in ends {
        let issued = ledger.grant(Class::Strict);
        ledger.next(issued.grant, end);
        let said = refresh(&ledger, Class::Strict, &issued.refresh).await.map(|(status, _)| status);
        let expected = match end {
            End::Hidden | End::Failed => Some(500),
            End::Throttled(_) => Some(429),
            _ => None,
        };
        assert_eq!(said, expected, "{end:?}");
        assert_eq!(ledger.refreshes(issued.grant), usize::from(end.commits()), "{end:?}");
        // What the asker holds is its old token; the new one is with nobody.
        assert_eq!(ledger.is_lost(issued.grant, &[&issued.refresh]), end.commits(), "{end:?}");
        assert_eq!(ledger.out_of_reach().contains(&issued.grant), end.commits(), "{end:?}");
        let seen = ledger.presented().pop().unwrap();
        assert!(!seen.whole && seen.issued.is_some() == end.commits() && seen.end == end, "{seen:?}");
    }
    assert!(ledger.crimes().is_none(), "a provider's faults are no crimes of the broker");
}

#[tokio::test]
async fn the_provider_goes_on_when_its_caller_is_gone() {
    let ledger = Arc::new(Ledger::start());
    let (gate, issued) = (watch::Sender::new(false), ledger.grant(Class::Strict));
    ledger.next(issued.grant, Fault::default().before(&gate));
    let call = tokio::spawn({
        let (ledger, token) = (ledger.clone(), issued.refresh.clone());
        async move { refresh(&ledger, Class::Strict, &token).await }
    });
    ledger.arrived(1).await;
    call.abort();
    assert!(call.await.is_err());
    gate.send_replace(true);
    let until = Instant::now() + Duration::from_secs(60);
    while ledger.presented()[0].finished.is_none() {
        assert!(Instant::now() < until, "the provider forgot the request");
        tokio::task::yield_now().await;
    }
    assert!(ledger.is_lost(issued.grant, &[&issued.refresh]));
    assert_eq!(ledger.last_rotation(issued.grant).unwrap().token, issued.refresh);
}

#[tokio::test]
async fn what_was_ended_on_request_is_not_lost() {
    let hand = Hand::default();
    let ledger = hand.ledger();
    let issued = ledger.grant(Class::Strict);
    let next = refresh(&ledger, Class::Strict, &issued.refresh).await.unwrap().1;
    let (access, newest) = (next["access_token"].as_str().unwrap(), next["refresh_token"].as_str().unwrap());
    assert!(ledger.admits(access) && !ledger.admits("at-of-nobody"));
    revoke(&ledger, Class::Strict, &issued.refresh).await;
    assert!(ledger.admits(access), "what is over already ends nothing");
    revoke(&ledger, Class::Strict, newest).await;
    assert_eq!(ledger.revocations(), [issued.refresh.as_str(), newest]);
    assert!(ledger.alive(issued.grant).is_empty() && !ledger.admits(access));
    assert!(!ledger.is_lost(issued.grant, &[]) && ledger.crimes().is_none());

    let other = ledger.grant(Class::Grace);
    assert!(ledger.admits(&other.access));
    hand.wait(3600);
    assert!(!ledger.admits(&other.access), "it has expired");
}

#[tokio::test]
async fn it_counts_what_comes_within_a_span() {
    let hand = Hand::default();
    let ledger = hand.ledger();
    let issued = ledger.grant(Class::Nonrotating);
    for (wait, burst) in [(0, 2), (10, 3), (1, 2), (9, 1)] {
        hand.wait(wait);
        for _ in 0..burst {
            refresh(&ledger, Class::Nonrotating, &issued.refresh).await.unwrap();
        }
    }
    assert_eq!((ledger.peak(Duration::from_secs(1)), ledger.peak(Duration::from_secs(2)), ledger.count()), (3, 5, 8));
}

#[tokio::test]
async fn it_is_reached_by_tls_and_by_several_doors() {
    let ledger = Ledger::start_tls();
    let roots = Certificate::from_pem(&std::fs::read(ledger.roots()).unwrap()).unwrap();
    let trusting = client().tls_certs_only([roots]).build().unwrap();
    let issued = ledger.grant(Class::Strict);
    let door = ledger.open_door();
    assert_eq!(refresh_with(client().build().unwrap(), &ledger.origin(0), Class::Strict, &issued.refresh).await, None);
    let (status, _) = refresh_with(trusting, &ledger.origin(door), Class::Strict, &issued.refresh).await.unwrap();
    assert_eq!((status, ledger.presented()[0].door), (200, door));
}

/// Fast enough that it is not what a test measures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_up_with_a_crowd() {
    const CALLS: usize = 2_000;
    let ledger = Arc::new(Ledger::start());
    let (client, start) = (client().pool_max_idle_per_host(0).build().unwrap(), Instant::now());
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, issued, origin) = (client.clone(), ledger.grant(Class::Strict), ledger.origin(0));
        calls.spawn(async move { refresh_with(client, &origin, Class::Strict, &issued.refresh).await.unwrap().0 });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|status| *status == 200) && ledger.crimes().is_none());
    println!("{CALLS} refreshes in {:?}", start.elapsed());
}
