//! The providers that tenants ask for first: each is there, and its file proves every step of its life.

use std::collections::BTreeSet;

use claviger::domain::provider::{GrantType, RefreshClass};
use claviger::oauth::provider_file::{ProviderFile, Step, VectorShape};
use claviger::services::catalogue::{parse_all, shelf};

/// How the next access token is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// By a refresh: what it sends, what it brings, and what it is told of a grant that is over.
    Refresh,
    /// There is none, since the token does not end by itself.
    Endless,
}
use Next::{Endless, Refresh};

const FORTY: [(&str, Next); 40] = [
    ("airtable", Refresh),
    ("asana", Refresh),
    ("atlassian", Refresh),
    ("box", Refresh),
    ("calendly", Refresh),
    ("canva", Refresh),
    ("clickup", Endless),
    ("discord", Refresh),
    ("dropbox", Refresh),
    // The access token is itself exchanged for the next.
    ("facebook", Refresh),
    ("figma", Refresh),
    // An OAuth app's. Those of a GitHub App end, and are below.
    ("github", Endless),
    ("github-app", Refresh),
    ("gitlab", Refresh),
    ("google", Refresh),
    ("hubspot", Refresh),
    // The access token is itself exchanged for the next.
    ("instagram", Refresh),
    ("intercom", Endless),
    ("linear", Refresh),
    ("linkedin", Refresh),
    ("mailchimp", Endless),
    ("microsoft", Refresh),
    ("monday", Refresh),
    ("notion", Refresh),
    ("pinterest", Refresh),
    ("quickbooks", Refresh),
    ("reddit", Refresh),
    ("salesforce", Refresh),
    ("shopify", Refresh),
    ("slack", Refresh),
    ("spotify", Refresh),
    // Its refresh token is for rolling keys; the access token does not end.
    ("stripe", Endless),
    ("tiktok", Refresh),
    ("twitch", Refresh),
    ("twitter", Refresh),
    // OAuth 1.0a knows no refresh.
    ("twitter-oauth1", Endless),
    ("typeform", Refresh),
    ("xero", Refresh),
    ("zendesk", Refresh),
    ("zoom", Refresh),
];

fn files() -> Vec<ProviderFile> {
    let (shelf, faults) = shelf::built_in();
    assert_eq!(faults, []);
    let (files, faults) = parse_all(&shelf);
    assert_eq!(faults, []);
    files
}

/// What a file's vectors do not prove.
fn unproved(file: &ProviderFile, next: Next) -> Vec<&'static str> {
    let has = |step, holds: fn(&VectorShape) -> bool| file.vectors.iter().any(|test| test.step == step && holds(test));
    let succeeds =
        |test: &VectorShape| test.answer.is_some() && test.expect.as_ref().is_some_and(|expect| expect.failure.is_none());
    let dead = |test: &VectorShape| {
        let failure = test.expect.as_ref().and_then(|expect| expect.failure.as_deref());
        test.answer.is_some() && failure == Some("dead_grant")
    };
    let oauth1 = file.provider.grant() == GrantType::Oauth1;
    let refreshes = file.provider.refresh().class() != RefreshClass::None;
    let wanted = [
        (has(Step::Authorize, |test| test.url.is_some()), "the authorize URL"),
        (!oauth1 || has(Step::RequestToken, |test| test.request.is_some()), "the call for temporary credentials"),
        (has(Step::Exchange, |test| test.request.is_some()), "what an exchange sends"),
        (has(Step::Exchange, succeeds), "what an exchange brings"),
        (has(Step::Facts, |test| test.facts.is_some()), "the facts that no call shows"),
        (refreshes == (next == Refresh), "whether there is a refresh"),
        (next == Endless || has(Step::Refresh, |test| test.request.is_some()), "what a refresh sends"),
        (next == Endless || has(Step::Refresh, succeeds), "what a refresh brings"),
        (next == Endless || has(Step::Refresh, dead) || has(Step::Error, dead), "a grant that is over"),
        (next == Refresh || !has(Step::Refresh, |_| true), "that nothing is refreshed"),
    ];
    wanted.into_iter().filter(|(there, _)| !there).map(|(_, what)| what).collect()
}

#[test]
fn the_first_forty_are_there_and_prove_each_step() {
    let files = files();
    let ids: BTreeSet<&str> = FORTY.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 40);
    let told = FORTY.iter().flat_map(|(id, next)| match files.iter().find(|file| file.provider.id().as_str() == *id) {
        None => vec![format!("{id} is not there")],
        Some(file) => unproved(file, *next).into_iter().map(|what| format!("{id}: no vector has {what}")).collect(),
    });
    let told: Vec<String> = told.collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn there_are_at_least_four_hundred() {
    let count = files().len();
    assert!(count >= 400, "{count}");
}
