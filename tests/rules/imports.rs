//! The import table of the architecture: which layer may use which, and which foreign crate lives where.

use crate::Breach;
use crate::source::Source;

/// A layer and the layers it may use besides itself. What is not here may use anything: it composes.
const LAYERS: [(&str, &[&str]); 8] = [
    ("domain", &[]),
    ("oauth", &["domain"]),
    ("refresh", &["domain"]),
    ("ports", &["domain"]),
    ("adapters", &["ports", "domain"]),
    ("store", &["ports", "domain"]),
    ("services", &["store", "oauth", "refresh", "ports", "domain"]),
    ("web", &["services", "domain"]),
];

/// What composes the layers.
const COMPOSING: [&str; 4] = ["lib", "app", "cli", "settings"];

/// Those of them that may name adapters: settings reads into the adapters' own types. `main.rs` and
/// `lib.rs` are the crate's root, which has no name.
const NAMING_ADAPTERS: [&str; 3] = ["app", "cli", "settings"];

/// A foreign crate and the only places that may name it.
const FOREIGN: [(&str, &[&str]); 20] = [
    ("actix_web", &["web", "app", "cli", ""]),
    ("actix_http", &["web"]),
    ("tracing_actix_web", &["web", "app"]),
    ("utoipa_swagger_ui", &["web", "app"]),
    ("askama", &["web", "cli"]),
    ("reqwest", &["adapters"]),
    ("rusqlite", &["adapters"]),
    ("redis", &["adapters"]),
    ("deadpool_redis", &["adapters"]),
    ("lettre", &["adapters"]),
    ("getrandom", &["adapters"]),
    ("rustls", &["adapters", "app", "cli", ""]),
    ("aes_gcm", &["store"]),
    ("xaes_256_gcm", &["store"]),
    ("config", &["settings", "cli", "app"]),
    ("clap", &["settings", "cli", "app", ""]),
    ("anyhow", &["cli", "app", ""]),
    ("dotenvy", &["settings", "cli", "app", ""]),
    ("tokio", &["ports", "adapters", "store", "services", "web", "app", "cli", ""]),
    ("async_trait", &["ports", "adapters", "store", "services", "web", "app", "cli"]),
];

pub fn breaches(source: &Source) -> Vec<Breach> {
    let module = source.module();
    let mut found = Vec::new();
    for (line, path) in paths(source) {
        if let Some(why) = objection(&module, &path) {
            found.push(Breach::new(source, line, why));
        }
    }
    for (line, name) in foreign(source) {
        let home = FOREIGN.iter().find(|(known, _)| *known == name).map(|(_, home)| *home);
        if home.is_some_and(|home| !home.contains(&layer(&module))) {
            found.push(Breach::new(source, line, format!("`{name}` is not for this layer")));
        }
    }
    found
}

/// The layer of a module; empty for the crate's root.
fn layer<'a>(module: &[&'a str]) -> &'a str {
    module.first().copied().unwrap_or_default()
}

fn objection(module: &[&str], path: &[String]) -> Option<String> {
    let (mine, theirs) = (layer(module), path.first()?.as_str());
    let adapter = |path: &[String]| path.get(1).cloned();
    if mine == "adapters" && theirs == "adapters" && module.len() > 1 {
        let other = adapter(path).is_some_and(|other| other != module[1]);
        return other.then(|| format!("an adapter uses another, `{}`", path.join("::")));
    }
    let Some((_, may)) = LAYERS.iter().find(|(name, _)| *name == mine) else {
        if !mine.is_empty() && !COMPOSING.contains(&mine) {
            return Some(format!("`{mine}` is no layer of the table"));
        }
        let named = theirs == "adapters" && !mine.is_empty() && !NAMING_ADAPTERS.contains(&mine);
        return named.then(|| format!("`{mine}` names an adapter; only the composition does"));
    };
    let allowed = theirs == mine || may.contains(&theirs);
    (!allowed).then(|| format!("`{mine}` uses `{}`", path.join("::")))
}

/// Every path into this crate, as layers and below, with its line.
fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let (code, module) = (&source.code, source.module());
    let mut found = Vec::new();
    for start in ["crate::", "claviger::", "super::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let (root, rest) = if start == "super::" {
                let supers = count_supers(&code[at..]);
                let root = module[..module.len().saturating_sub(supers)].iter().map(ToString::to_string).collect();
                (root, &code[at + supers * "super::".len()..])
            } else {
                (Vec::new(), &code[at + start.len()..])
            };
            let mut tree = Vec::new();
            expand(rest, &root, &mut tree);
            found.extend(tree.into_iter().map(|path| (line, path)));
        }
    }
    found
}

fn count_supers(mut code: &str) -> usize {
    let mut count = 0;
    while let Some(rest) = code.strip_prefix("super::") {
        (count, code) = (count + 1, rest);
    }
    count
}

/// Follows a path or a `use` tree to its ends; gives what is left behind it.
fn expand<'a>(code: &'a str, root: &[String], ends: &mut Vec<Vec<String>>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = expand(rest, root, ends).trim_start();
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => return &rest[1..],
                // Not a `use` tree after all.
                _ => return rest,
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(code.len());
    if end == 0 {
        return code;
    }
    let path = [root, &[code[..end].to_owned()]].concat();
    let rest = &code[end..];
    if let Some(rest) = rest.strip_prefix("::") {
        if rest.starts_with('<') {
            ends.push(path);
            return rest;
        }
        return expand(rest, &path, ends);
    }
    ends.push(path);
    // `as name` is skipped to the comma or brace that follows.
    match rest.trim_start().strip_prefix("as ") {
        Some(renamed) => &renamed[renamed.find([',', '}', ';']).unwrap_or(renamed.len())..],
        None => rest,
    }
}

/// Names of crates that begin a path.
fn foreign(source: &Source) -> Vec<(usize, &str)> {
    let code = source.code.as_str();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
        let within_path = code[..start]
            .strip_suffix("::")
            .is_some_and(|before| before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '>')));
        if start < at && !within_path {
            found.push((code[..at].matches('\n').count() + 1, &code[start..at]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(path: &str, code: &str) -> bool {
        !breaches(&Source::of(path, code)).is_empty()
    }

    #[test]
    fn each_pair_of_layers_is_as_the_table_says() {
        for (mine, may) in LAYERS {
            for (theirs, _) in LAYERS {
                let allowed = mine == theirs || may.contains(&theirs);
                for file in [format!("{mine}/x.rs"), format!("{mine}/x/mod.rs"), format!("{mine}/x/y.rs")] {
                    let code = format!("use crate::{theirs}::x::Thing;");
                    assert_eq!(wrong(&file, &code), !allowed, "{file}: {code}");
                }
            }
            assert!(wrong(&format!("{mine}/x.rs"), "use crate::app::App;"), "{mine} uses app");
        }
    }

    #[test]
    fn every_way_to_name_a_layer_is_seen() {
        for code in [
            "use crate::{domain::ids, store::Store};",
            "use crate::{\n    domain::{ids, secret::{A as B, C}},\n    store,\n};",
            "use crate::{domain::A as B, store::Store};",
            "fn f() { crate::store::open() }",
            "fn f(x: &crate::store::Store) {}",
            "use super::super::store::Store;",
            "use claviger::store::Store;",
            "pub use crate::store::*;",
        ] {
            assert!(wrong("web/tokens.rs", code), "{code}");
            assert!(!wrong("services/tokens.rs", code), "{code}");
        }
        assert!(!wrong("web/tokens.rs", "// crate::store\nfn f() { g(\"crate::store\") }"));
        assert!(!wrong("web/api/tokens.rs", "use super::super::error::Problem;\nuse super::x;"));
    }

    #[test]
    fn an_adapter_knows_no_other() {
        assert!(wrong("adapters/redis/mod.rs", "use crate::adapters::sqlite::Sqlite;"));
        assert!(wrong("adapters/redis.rs", "use super::sqlite::Sqlite;"));
        assert!(wrong("adapters/redis/script.rs", "use super::super::sqlite::Sqlite;"));
        assert!(!wrong(
            "adapters/redis/script.rs",
            "use super::connect::X; use crate::adapters::redis::Y; use super::super::redis::Z;"
        ));
    }

    #[test]
    fn only_the_composition_names_adapters_and_all_else_has_a_layer() {
        let code = "use crate::adapters::memory::Memory;";
        for file in ["app.rs", "app/stores.rs", "cli/dev.rs", "settings/mod.rs", "main.rs"] {
            assert!(!wrong(file, code), "{file}");
        }
        assert!(wrong("lib/x.rs", code));
        assert!(wrong("helpers/mod.rs", "use crate::domain::ids::TenantId;"));
    }

    #[test]
    fn a_foreign_crate_stays_at_home() {
        for (file, code) in [
            ("services/vault.rs", "use actix_web::web;"),
            ("services/vault.rs", "fn f() { reqwest::get() }"),
            ("store/mod.rs", "use ::rusqlite::Connection;"),
            ("domain/link.rs", "use tokio::sync::Mutex;"),
            ("oauth/pkce.rs", "#[async_trait::async_trait]\nimpl X for Y {}"),
            ("services/seal.rs", "use xaes_256_gcm::Xaes256Gcm;"),
        ] {
            assert!(wrong(file, code), "{file}: {code}");
        }
        for (file, code) in [
            ("web/mod.rs", "use actix_web::web;"),
            ("adapters/redis/mod.rs", "use redis::Script;"),
            ("services/vault.rs", "use crate::domain::redis::X; use x::reqwest::Y;"),
            ("main.rs", "#[actix_web::main]\nasync fn main() {}"),
        ] {
            assert!(!wrong(file, code), "{file}: {code}");
        }
    }
}
