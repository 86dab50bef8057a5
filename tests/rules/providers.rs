//! Code knows kinds of quirk and never a provider: no string literal is a provider's id, and no host
//! of a provider file occurs. The sandbox, which is a provider, and identity adapters are excepted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Breach;
use crate::source::Source;

const EXCEPTED: &str = "sandbox";

pub struct Known {
    ids: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

impl Known {
    /// From `providers/`, which must not be empty.
    pub fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
        let mut known = Self { ids: BTreeSet::new(), hosts: BTreeSet::new() };
        for entry in fs::read_dir(folder).expect("the folder `providers` is there") {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
                known.add(id, &fs::read_to_string(&path).unwrap());
            }
        }
        assert!(!known.ids.is_empty(), "no provider file was found");
        known
    }

    fn add(&mut self, id: String, text: &str) {
        if id != EXCEPTED {
            self.hosts.extend(hosts(text));
        }
        self.ids.insert(id);
    }
}

/// The hosts of all URLs in a provider file. Of a host with parameters, what stands behind the last.
fn hosts(text: &str) -> Vec<String> {
    let after_scheme = text.split("://").skip(1);
    let hosts = after_scheme.filter_map(|rest| {
        let host = rest.split(['/', '"', '\'', '?', '#', ':', ' ', '\n', '`', ')', '<', '>']).next()?;
        let fixed = host.rsplit('}').next()?.trim_matches(['.', ',']);
        (fixed.contains('.') && !is_example(fixed)).then(|| fixed.to_lowercase())
    });
    hosts.collect()
}

/// Names and addresses set aside for examples (RFC 2606, RFC 6761), and this machine.
fn is_example(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let named = ["example.com", "example.org", "example.net"].iter().any(|name| host.ends_with(name));
    named || matches!(last, "example" | "test" | "invalid" | "localhost") || host.parse::<std::net::IpAddr>().is_ok()
}

pub fn breaches(source: &Source, known: &Known) -> Vec<Breach> {
    if is_excepted(&source.path) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, text) in &source.strings {
        if text != EXCEPTED && known.ids.contains(text) {
            found.push(Breach::new(source, *line, format!("names the provider `{text}`")));
        }
        for host in known.hosts.iter().filter(|host| names_host(&text.to_lowercase(), host)) {
            found.push(Breach::new(source, *line, format!("names the host `{host}`")));
        }
    }
    found
}

fn is_excepted(path: &str) -> bool {
    path.split('/').any(|part| part.trim_end_matches(".rs") == EXCEPTED) || path.starts_with("adapters/identity")
}

/// Whether a host, or one below it, stands in a text as a word of its own.
fn names_host(text: &str, host: &str) -> bool {
    text.match_indices(host).any(|(at, _)| {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '-';
        let (before, after) = (&text[..at], &text[at + host.len()..]);
        !before.ends_with(part_of_word) && !after.starts_with(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let mut known = Known { ids: BTreeSet::new(), hosts: BTreeSet::new() };
        let text =
            "docs = \"https://docs.acme.dev/oauth\"\nurl = \"https://{shop}.acme-shops.com:443/token\" # http://idp.example/\n";
        known.add("acme".to_owned(), text);
        known.add("sandbox".to_owned(), "url = \"https://sandbox.acme.dev\"");
        known
    }

    fn count(path: &str, code: &str) -> usize {
        breaches(&Source::of(path, code), &known()).len()
    }

    #[test]
    fn hosts_are_those_of_the_urls() {
        assert_eq!(known().hosts.into_iter().collect::<Vec<_>>(), ["acme-shops.com", "docs.acme.dev"]);
    }

    #[test]
    fn a_providers_id_or_host_in_a_string_is_seen() {
        for code in [
            "fn f(id: &str) -> bool { id == \"acme\" }",
            "const A: &str = r#\"acme\"#;",
            "const A: &[u8] = b\"acme\";",
            "const A: &str = \"https://DOCS.acme.dev/x\";",
            "const A: &str = \"x.acme-shops.com\";",
        ] {
            assert_eq!(count("services/vault.rs", code), 1, "{code}");
            assert_eq!(count("web/sandbox/mod.rs", code), 0, "{code}");
            assert_eq!(count("adapters/identity/firebase.rs", code), 0, "{code}");
        }
    }

    #[test]
    fn what_only_resembles_one_is_not() {
        for code in [
            "// acme at docs.acme.dev",
            "const A: &str = \"acmes\";",
            "const A: &str = \"an acme\";",
            "const A: &str = \"sandbox\";",
            "const A: &str = \"acme-shops.company\";",
            "#[cfg(test)]\nmod tests { const A: &str = \"acme\"; }",
        ] {
            assert_eq!(count("services/vault.rs", code), 0, "{code}");
        }
    }
}
