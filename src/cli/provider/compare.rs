//! `claviger provider compare`: our files beside a file of facts, so that the catalogue can be kept true. A
//! difference is a question, not a verdict: facts that somebody gathered are wrong at times too.

mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use crate::domain::provider::Provider;
use crate::oauth::provider_file::ProviderFile;
use crate::services::catalogue::parse_all;

use super::{Outcome, gathered};
use facts::{Difference, Facts, Kind, Row};

/// Names every difference between our files and the facts in `against`, by provider, and counts them by key; `missing`
/// also names the providers that only the facts have.
pub fn compare(against: &Path, extra: Option<&Path>, missing: bool, out: &mut dyn Write) -> io::Result<Outcome> {
    let read = std::fs::read_to_string(against).map_err(|cause| format!("cannot be read: {cause}"));
    let parsed = read.and_then(|text| serde_json::from_str(&text).map_err(|cause| format!("is not a file of facts: {cause}")));
    let facts: Facts = match parsed {
        Ok(facts) => facts,
        Err(cause) => {
            writeln!(out, "{} {cause}", against.display())?;
            return Ok(Outcome::NotFound);
        }
    };
    let (files, faults) = parse_all(&gathered(extra).0);
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    let outcome = set_beside(&facts, &files, missing, out)?;
    Ok(if faults.is_empty() { outcome } else { Outcome::Faulty })
}

fn set_beside(facts: &Facts, files: &[ProviderFile], missing: bool, out: &mut dyn Write) -> io::Result<Outcome> {
    let ours: BTreeMap<&str, &Provider> = files.iter().map(|file| (file.provider.id().as_str(), &file.provider)).collect();
    let mut tally = Tally::default();
    for (provider, row) in facts.providers.iter().filter_map(|row| ours.get(row.name.as_str()).map(|ours| (*ours, row))) {
        let differences = row.differences(provider);
        tally.add(row, &differences);
        tell(provider, &differences, out)?;
    }
    let known: BTreeSet<&str> = facts.providers.iter().map(|row| row.name.as_str()).collect();
    let theirs: Vec<&Row> = facts.providers.iter().filter(|row| !ours.contains_key(row.name.as_str())).collect();
    for row in theirs.iter().filter(|_| missing) {
        writeln!(out, "{}: only in the facts ({})", row.name, row.mode())?;
    }
    tally.print(out)?;
    let alone = ours.keys().filter(|id| !known.contains(*id)).count();
    let Tally { compared, differing, .. } = tally;
    writeln!(out, "{compared} compared, {differing} differ; {alone} only ours, {} only in the facts", theirs.len())?;
    Ok(if differing == 0 { Outcome::Fine } else { Outcome::Faulty })
}

/// One provider: a line for each difference, under where to look it up.
fn tell(provider: &Provider, differences: &[Difference], out: &mut dyn Write) -> io::Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "{} ({})", provider.id(), provider.spec().docs)?;
    for Difference { key, kind, told } in differences {
        let kind = match kind {
            Kind::Differs => "",
            Kind::OnlyFacts => "only in the facts: ",
            Kind::OnlyHere => "only here: ",
        };
        writeln!(out, "  {key}: {kind}{told}")?;
    }
    writeln!(out)
}

#[derive(Default)]
struct Tally {
    compared: usize,
    /// Providers, of which the facts say something that we do not.
    differing: usize,
    /// How many providers differ in a key, for each kind.
    keys: BTreeMap<&'static str, BTreeMap<Kind, usize>>,
    /// What stands in the facts and is not looked at.
    not_compared: BTreeSet<String>,
}

impl Tally {
    fn add(&mut self, row: &Row, differences: &[Difference]) {
        self.compared += 1;
        self.differing += usize::from(differences.iter().any(|one| one.kind != Kind::OnlyHere));
        let each: BTreeSet<(&'static str, Kind)> = differences.iter().map(|one| (one.key, one.kind)).collect();
        for (key, kind) in each {
            *self.keys.entry(key).or_default().entry(kind).or_default() += 1;
        }
        self.not_compared.extend(row.not_compared().map(str::to_owned));
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.keys.is_empty() {
            writeln!(out, "{:24}{:>8}{:>19}{:>11}", "providers, by key", "differ", "only in the facts", "only here")?;
        }
        for (key, kinds) in &self.keys {
            let count = |kind| kinds.get(&kind).copied().unwrap_or_default();
            let (differ, facts, here) = (count(Kind::Differs), count(Kind::OnlyFacts), count(Kind::OnlyHere));
            writeln!(out, "{key:24}{differ:>8}{facts:>19}{here:>11}")?;
        }
        if !self.not_compared.is_empty() {
            let keys: Vec<&str> = self.not_compared.iter().map(String::as_str).collect();
            writeln!(out, "not compared: {}", keys.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::testing::run;
    use crate::domain::ids::ProviderId;
    use crate::oauth::provider_file::Source;
    use serde_json::{Value, json};

    const ACME: &str = r#"
name = "Acme of the facts"
docs = "https://a.example/"
checked = 2026-01-01
known = "docs"
categories = ["crm"]
credentials = "Ask."
[authorize]
url = "https://{shop}.a.example/auth"
pkce = "off"
params = { prompt = "consent" }
[authorize.scopes]
separator = ","
examples = ["a"]
[params.shop]
title = "Shop"
kind = "subdomain"
needed_by = "link"
example = "x"
[token]
url = "https://a.example/token"
client_auth = "basic"
[refresh]
class = "none"
[[test]]
step = "authorize"
scopes = ["a"]
url = "https://x.a.example/auth?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=a&prompt=consent"
[[test]]
step = "exchange"
request.url = "https://a.example/token"
answer = '{"access_token":"a"}'
expect = { access_token = "a" }
[[test]]
step = "exchange"
name = "refused"
status = 400
answer = '{"error":"invalid_client"}'
expect = { failure = "integration_broken" }
"#;

    /// What else a file may say, as other blocks.
    const MORE: &str = r#"
[refresh]
class = "rotate_plain"
url = "https://a.example/refresh"
[revoke]
url = "https://a.example/revoke"
method = "delete"
body = "form"
[[after_connect]]
name = "me"
url = "https://a.example/me"
subject = "/id"
[[test]]
step = "refresh"
request.url = "https://a.example/refresh"
answer = '{"access_token":"a"}'
expect = { access_token = "a" }
[[test]]
step = "revoke"
request.url = "https://a.example/revoke"
"#;

    fn more() -> String {
        ACME.replace("[refresh]\nclass = \"none\"\n", "") + MORE
    }

    fn compared(file: &str, rows: &Value) -> (Outcome, String) {
        let id = ProviderId::parse("zz-acme").unwrap();
        let source = Source { file: "zz-acme.toml".to_owned(), text: file.to_owned() };
        let (files, faults) = parse_all(&[(id, source)].into());
        assert_eq!(faults, []);
        let facts = serde_json::from_value(json!({ "generated": "x", "providers": rows })).unwrap();
        run(|out| set_beside(&facts, &files, true, out))
    }

    /// What is told of the one provider when this is all that the facts say besides what they always do here.
    fn told(file: &str, more: &Value) -> (Outcome, Vec<String>) {
        let mut row = json!({
            "name": "zz-acme", "authorize_url": "https://{myshop}.a.example/auth/", "token_url": "https://a.example/token?x=1",
            "scope_separator": ",", "token_auth": "client_secret_basic", "extra_authorize_params": { "prompt": "consent" },
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (outcome, said) = compared(file, &json!([row]));
        (outcome, said.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect())
    }

    /// Each fact by itself: told when it differs, silent when it does not, or when the sources dispute it.
    #[test]
    fn each_difference_is_told_and_no_other() {
        assert_eq!(told(ACME, &json!({})), (Outcome::Fine, vec![]));
        let more = more();
        for (file, key, same, ours) in [
            (ACME, "authorize_url", "https://{x}.a.example/auth", "https://{}.a.example/auth"),
            (ACME, "token_url", "https://a.example/token/", "https://a.example/token"),
            (ACME, "scope_separator", ",", "\",\""),
            (ACME, "token_auth", "client_secret_basic", "client_secret_basic"),
            (ACME, "token_body", "form", "form"),
            (ACME, "token_params_in", "form", "form"),
            (ACME, "token_method", "post", "POST"),
            (ACME, "scope_param", "scope", "scope"),
            (ACME, "client_id_param", "client_id", "client_id"),
            (ACME, "response_type", "code", "code"),
            (&more, "refresh_url", "https://a.example/refresh", "https://a.example/refresh"),
            (&more, "revoke_url", "https://a.example/revoke", "https://a.example/revoke"),
            (&more, "revoke_method", "DELETE", "DELETE"),
            (&more, "userinfo_url", "https://a.example/me", "https://a.example/me"),
        ] {
            let told_of =
                |more: &Value| told(file, more).1.into_iter().filter(|line| !line.contains("only here")).collect::<Vec<_>>();
            assert_eq!(told_of(&json!({ key: same })), Vec::<String>::new(), "{key}");
            let differing = told_of(&json!({ key: "https://else" }));
            let [line] = differing.as_slice() else { panic!("{key}: {differing:?}") };
            let name = if key == "token_params_in" { "token_body" } else { key };
            assert!(
                line.starts_with(&format!("{name}: ours {ours}, facts "))
                    && line.to_lowercase().trim_end_matches('"').ends_with("https://else"),
                "{line}"
            );
            let conflicts = json!({ key: "https://else", "conflicts": { key: [{ "value": same, "sources": ["x"] }] } });
            let disputed = !["userinfo_url", "token_params_in"].contains(&key);
            assert_eq!(told_of(&conflicts).is_empty(), disputed, "{key}");
        }
    }

    /// What only the facts have is a gap of ours, perhaps; what only we have is told and no fault.
    #[test]
    fn what_one_side_alone_says_is_told_as_that() {
        for (more, line) in [
            (json!({ "revoke_url": "https://a.example/revoke" }), "revoke_url: only in the facts: https://a.example/revoke"),
            (json!({ "refresh_url": "https://a.example/r" }), "refresh_url: only in the facts: https://a.example/r"),
            (json!({ "device_auth_url": "https://a.example/d" }), "device_auth_url: only in the facts: https://a.example/d"),
            (json!({ "request_token_url": "https://a.example/t" }), "request_token_url: only in the facts: https://a.example/t"),
            (json!({ "revoke_method": "GET" }), "revoke_method: only in the facts: GET"),
            (json!({ "userinfo_url": "https://a.example/me" }), "userinfo_url: only in the facts: https://a.example/me"),
            (json!({ "pkce": "S256" }), "pkce: only in the facts: S256"),
            (json!({ "pkce_required": true }), "pkce_required: only in the facts: yes"),
            (json!({ "supports_refresh": true }), "supports_refresh: only in the facts: yes"),
            (json!({ "extra_token_params": { "type": "web" } }), "extra_token_params: only in the facts: type=web"),
            (json!({ "auth_mode": "oauth1", "token_url": "https://else" }), "auth_mode: ours oauth2, facts oauth1"),
            (
                json!({ "extra_authorize_params": { "prompt": "login" } }),
                "extra_authorize_params: prompt: ours consent, facts login",
            ),
            (
                json!({ "extra_authorize_params": { "prompt": "consent", "x": 1 } }),
                "extra_authorize_params: only in the facts: x=1",
            ),
        ] {
            assert_eq!(told(ACME, &more), (Outcome::Faulty, vec![line.to_owned()]));
        }
        let (outcome, lines) = told(&more(), &json!({ "extra_authorize_params": {} }));
        assert_eq!(outcome, Outcome::Fine);
        assert_eq!(
            lines,
            [
                "refresh_url: only here: https://a.example/refresh",
                "revoke_url: only here: https://a.example/revoke",
                "revoke_method: only here: DELETE",
                "userinfo_url: only here: https://a.example/me",
                "extra_authorize_params: only here: prompt=consent",
            ]
        );
    }

    #[test]
    fn the_end_counts_by_key_and_names_what_is_not_looked_at() {
        let (_, said) =
            compared(ACME, &json!([{ "name": "zz-acme", "token_url": "https://else", "curated": {}, "sources": [] }]));
        assert!(said.starts_with("zz-acme (https://a.example/)\n  authorize_url: only here"), "{said}");
        let counted = |key: &str| {
            let line = said.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {said}"));
            line.split_whitespace().skip(1).map(|count| count.parse().unwrap()).collect::<Vec<u32>>()
        };
        assert_eq!((counted("token_url"), counted("authorize_url")), (vec![1, 0, 0], vec![0, 0, 1]));
        assert!(said.contains("not compared: curated, sources\n1 compared, 1 differ; "), "{said}");
    }

    #[test]
    fn what_only_one_side_has_is_counted_and_a_broken_file_told() {
        let (outcome, said) = compared(ACME, &json!([{ "name": "nobody-else", "auth_mode": "oauth1" }]));
        assert!(outcome == Outcome::Fine && said.contains("nobody-else: only in the facts (oauth1)"), "{said}");
        assert!(said.contains("1 only in the facts"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.json");
        std::fs::write(&whole, r#"{ "providers": [{ "name": "nobody-else" }] }"#).unwrap();
        let (outcome, said) = run(|out| compare(&whole, None, false, out));
        assert!(outcome == Outcome::Fine && said.starts_with("0 compared, 0 differ; "), "{said}");
        for text in [None, Some("{"), Some("{}")] {
            let path = folder.path().join("facts.json");
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            assert_eq!(run(|out| compare(&path, None, false, out)).0, Outcome::NotFound);
        }
    }
}
