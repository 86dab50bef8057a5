//! `claviger provider compare`: our files beside a file of facts, so that the catalogue can be kept true. A
//! difference is a question, not a verdict: facts that were gathered by a script are wrong at times too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use serde::Deserialize;

use crate::domain::provider::Provider;
use crate::domain::provider::request::{ClientAuth, PkceUse};
use crate::services::catalogue::parse_all;

use super::{Outcome, gathered};

/// A file of facts: what it may say of each provider, in the words of RFC 8414 where it has them. What it
/// does not say is not compared.
#[derive(Debug, Deserialize)]
struct Facts {
    providers: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    auth_mode: String,
    authorize_url: Option<String>,
    token_url: Option<String>,
    revoke_url: Option<String>,
    scope_separator: Option<String>,
    /// `client_secret_basic`, `client_secret_post`.
    token_auth: Option<String>,
    /// A challenge method. Only its contradiction counts: a library may send what a provider ignores.
    #[serde(default)]
    pkce_required: bool,
    /// What the sources disagree on; each value is as good as the first.
    #[serde(default)]
    conflicts: BTreeMap<String, Vec<Other>>,
}

#[derive(Debug, Deserialize)]
struct Other {
    value: serde_json::Value,
}

/// Names every difference between our files and the facts in `against`; `missing` also names the providers
/// that only the facts have.
pub fn compare(against: &Path, extra: Option<&Path>, missing: bool, out: &mut dyn Write) -> io::Result<Outcome> {
    let text = match std::fs::read_to_string(against) {
        Ok(text) => text,
        Err(cause) => {
            writeln!(out, "{} cannot be read: {cause}", against.display())?;
            return Ok(Outcome::NotFound);
        }
    };
    let facts: Facts = match serde_json::from_str(&text) {
        Ok(facts) => facts,
        Err(cause) => {
            writeln!(out, "{} is not a file of facts: {cause}", against.display())?;
            return Ok(Outcome::NotFound);
        }
    };
    let (files, faults) = parse_all(&gathered(extra).0);
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    let ours: BTreeMap<&str, &Provider> = files.iter().map(|file| (file.provider.id().as_str(), &file.provider)).collect();
    let (mut compared, mut differing) = (0, 0);
    for (provider, row) in facts.providers.iter().filter_map(|row| ours.get(row.name.as_str()).map(|ours| (*ours, row))) {
        let differences = row.differences(provider);
        compared += 1;
        differing += usize::from(!differences.is_empty());
        for Difference { what, ours, theirs } in differences {
            writeln!(out, "{}: {what}: ours {ours}, facts {theirs}", row.name)?;
        }
    }
    let known: BTreeSet<&str> = facts.providers.iter().map(|row| row.name.as_str()).collect();
    let theirs: Vec<&Row> = facts.providers.iter().filter(|row| !ours.contains_key(row.name.as_str())).collect();
    for row in theirs.iter().filter(|_| missing) {
        writeln!(out, "{}: only in the facts ({})", row.name, row.auth_mode)?;
    }
    let alone = ours.keys().filter(|id| !known.contains(*id)).count();
    writeln!(out, "{compared} compared, {differing} differ; {alone} only ours, {} only in the facts", theirs.len())?;
    Ok(if differing == 0 && faults.is_empty() { Outcome::Fine } else { Outcome::Faulty })
}

struct Difference {
    what: &'static str,
    ours: String,
    theirs: String,
}

impl Row {
    fn differences(&self, provider: &Provider) -> Vec<Difference> {
        let spec = provider.spec();
        let separator = (!spec.authorize.scopes.none).then(|| format!("{:?}", spec.authorize.scopes.separator));
        let stated = [
            (
                "authorize_url",
                spec.authorize.url.as_ref().map(|url| place(url.as_str())),
                self.authorize_url.as_deref().map(place),
            ),
            ("token_url", Some(place(spec.token.url.as_str())), self.token_url.as_deref().map(place)),
            (
                "revoke_url",
                spec.revoke.as_ref().map(|revoke| place(revoke.request.url.as_str())),
                self.revoke_url.as_deref().map(place),
            ),
            ("scope_separator", separator, self.scope_separator.as_ref().map(|theirs| format!("{theirs:?}"))),
            ("token_auth", client_auth(spec.token.client_auth).map(str::to_owned), self.token_auth.clone()),
            ("pkce", pkce(provider.pkce()).map(str::to_owned), self.pkce_required.then(|| "required".to_owned())),
        ];
        let both = stated.into_iter().filter_map(|(what, ours, theirs)| Some((what, ours?, theirs?)));
        let differing = both.filter(|(what, ours, theirs)| ours != theirs && !self.is_disputed(what, ours));
        differing.map(|(what, ours, theirs)| Difference { what, ours, theirs }).collect()
    }

    /// One of the sources has it as we do.
    fn is_disputed(&self, what: &str, ours: &str) -> bool {
        let others = self.conflicts.get(what).into_iter().flatten().filter_map(|other| other.value.as_str());
        others.into_iter().any(|theirs| match what {
            "scope_separator" => format!("{theirs:?}") == ours,
            "authorize_url" | "token_url" | "revoke_url" => place(theirs) == ours,
            _ => theirs == ours,
        })
    }
}

/// A URL without what people write differently: the names of its params, a slash at its end, its query.
fn place(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut place = String::new();
    for (at, part) in plain.split('{').enumerate() {
        let after = if at == 0 { Some(part) } else { part.split_once('}').map(|(_, after)| after) };
        place += if at == 0 { "" } else { "{}" };
        place += after.unwrap_or_default();
    }
    // A whole origin may be written with or without its scheme.
    place.strip_prefix("https://{}/").map_or(place.clone(), |path| format!("{{}}/{path}"))
}

fn client_auth(auth: ClientAuth) -> Option<&'static str> {
    match auth {
        ClientAuth::Post => Some("client_secret_post"),
        ClientAuth::Basic => Some("client_secret_basic"),
        ClientAuth::PrivateKeyJwt | ClientAuth::ClientSecretJwt => Some(auth.as_str()),
        _ => None,
    }
}

fn pkce(pkce: PkceUse) -> Option<&'static str> {
    match pkce {
        PkceUse::Off => Some("off"),
        PkceUse::Required | PkceUse::Optional | PkceUse::Plain => Some("required"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::testing::run;
    use serde_json::json;

    fn compared(rows: &serde_json::Value) -> (Outcome, String) {
        let folder = tempfile::tempdir().unwrap();
        let text = "name = \"Acme\"\ndocs = \"https://a.example/\"\nchecked = 2026-01-01\nknown = \"docs\"\ncategories = [\"crm\"]\ncredentials = \"Ask.\"\n\
            [authorize]\nurl = \"https://{shop}.a.example/auth\"\npkce = \"off\"\n[authorize.scopes]\nseparator = \",\"\nexamples = [\"a\"]\n\
            [params.shop]\ntitle = \"Shop\"\nkind = \"subdomain\"\nneeded_by = \"link\"\nexample = \"x\"\n\
            [token]\nurl = \"https://a.example/token\"\nclient_auth = \"basic\"\n[refresh]\nclass = \"none\"\n\
            [[test]]\nstep = \"authorize\"\nscopes = [\"a\"]\nurl = \"https://x.a.example/auth?response_type=code&client_id=CLIENT&redirect_uri=https%3A%2F%2Fbroker.example%2Fcb&state=STATE&scope=a\"\n\
            [[test]]\nstep = \"exchange\"\nrequest.url = \"https://a.example/token\"\nrequest.headers = { authorization = \"Basic Q0xJRU5UOlNFQ1JFVA==\" }\n\
            answer = '{\"access_token\":\"a\"}'\nexpect = { access_token = \"a\" }\n\
            [[test]]\nstep = \"exchange\"\nname = \"refused\"\nstatus = 400\nanswer = '{\"error\":\"invalid_client\"}'\nexpect = { failure = \"integration_broken\" }\n";
        std::fs::write(folder.path().join("zz-acme.toml"), text).unwrap();
        let facts = folder.path().join("facts.json");
        std::fs::write(&facts, json!({ "generated": "x", "providers": rows }).to_string()).unwrap();
        run(|out| compare(&facts, Some(folder.path()), true, out))
    }

    /// Each fact by itself: told when it differs, silent when it does not, or when the sources dispute it.
    #[test]
    fn each_difference_is_told_and_no_other() {
        let same = [
            ("authorize_url", "https://{myshop}.a.example/auth/"),
            ("token_url", "https://a.example/token?x=1"),
            ("scope_separator", ","),
            ("token_auth", "client_secret_basic"),
        ];
        for (what, value) in same {
            let (outcome, said) = compared(&json!([{ "name": "zz-acme", what: value }]));
            assert!(outcome == Outcome::Fine && said.starts_with("1 compared, 0 differ"), "{what}: {said}");
            let (outcome, said) = compared(&json!([{ "name": "zz-acme", what: "else" }]));
            assert!(outcome == Outcome::Faulty && said.starts_with(&format!("zz-acme: {what}: ours ")), "{what}: {said}");
            let disputed =
                json!([{ "name": "zz-acme", what: "else", "conflicts": { what: [{ "value": value, "sources": ["x"] }] } }]);
            assert_eq!(compared(&disputed).0, Outcome::Fine, "{what}");
        }
        assert_eq!(compared(&json!([{ "name": "zz-acme", "pkce_required": true }])).0, Outcome::Faulty);
        assert_eq!(compared(&json!([{ "name": "zz-acme", "revoke_url": "https://a.example/revoke" }])).0, Outcome::Fine);
    }

    #[test]
    fn what_only_one_side_has_is_counted_and_a_broken_file_told() {
        let (outcome, said) = compared(&json!([{ "name": "nobody-else", "auth_mode": "oauth1" }]));
        assert!(outcome == Outcome::Fine && said.contains("nobody-else: only in the facts (oauth1)"), "{said}");
        assert!(said.contains("1 only in the facts"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        for text in [None, Some("{"), Some("{}")] {
            let path = folder.path().join("facts.json");
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            assert_eq!(run(|out| compare(&path, None, false, out)).0, Outcome::NotFound);
        }
    }
}
