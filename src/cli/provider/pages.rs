//! `claviger provider docs`: a page for each provider and an index by category, made from the files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use crate::services::catalogue::card::ProviderCard;
use crate::services::catalogue::parse_all;

use super::page::page;
use super::{Outcome, gathered};

const INDEX: &str = "README.md";

/// Whether the pages are written, or only compared with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    Written,
    Compared,
}

/// Every page of `folder`. Written: stale pages go. Compared: every difference is named.
pub fn pages(folder: &Path, extra: Option<&Path>, how: Pages, out: &mut dyn Write) -> io::Result<Outcome> {
    let (shelf, mut faults) = gathered(extra);
    let (files, more) = parse_all(&shelf);
    faults.extend(more);
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    if !faults.is_empty() {
        return Ok(Outcome::Faulty);
    }
    let cards: Vec<ProviderCard> = files.iter().map(|file| ProviderCard::from(&file.provider)).collect();
    let wanted = rendered(&cards);
    let there = read(folder)?;
    let stale: Vec<&String> = there.keys().filter(|name| !wanted.contains_key(*name)).collect();
    let changed: Vec<&String> =
        wanted.iter().filter(|(name, text)| there.get(*name) != Some(text)).map(|(name, _)| name).collect();
    match how {
        Pages::Written => write(folder, &wanted, &stale, &changed, out),
        Pages::Compared => {
            for name in stale.iter().chain(&changed) {
                writeln!(out, "{}: not as the provider files have it", folder.join(name).display())?;
            }
            let fine = stale.is_empty() && changed.is_empty();
            writeln!(out, "{} pages, {} not current", wanted.len(), stale.len() + changed.len())?;
            Ok(if fine { Outcome::Fine } else { Outcome::Faulty })
        }
    }
}

fn write(
    folder: &Path,
    wanted: &BTreeMap<String, String>,
    stale: &[&String],
    changed: &[&String],
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    std::fs::create_dir_all(folder)?;
    for name in stale {
        std::fs::remove_file(folder.join(name))?;
    }
    for name in changed {
        std::fs::write(folder.join(name), wanted.get(*name).map_or("", String::as_str))?;
    }
    writeln!(out, "{} pages in {}: {} written, {} removed", wanted.len(), folder.display(), changed.len(), stale.len())?;
    Ok(Outcome::Fine)
}

/// The pages that are there. Nothing else in the folder is looked at.
fn read(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    if !folder.exists() {
        return Ok(pages);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".md"));
        if let Some(name) = name {
            pages.insert(name.to_owned(), std::fs::read_to_string(&path)?);
        }
    }
    Ok(pages)
}

fn rendered(cards: &[ProviderCard]) -> BTreeMap<String, String> {
    let each = cards.iter().map(|card| (format!("{}.md", card.id), page(card)));
    each.chain([(INDEX.to_owned(), index(cards))]).collect()
}

fn index(cards: &[ProviderCard]) -> String {
    let categories: BTreeSet<&String> = cards.iter().flat_map(|card| &card.categories).collect();
    let mut out = format!(
        "# Providers\n\nThe {} providers that come with Claviger. Made from `providers/*.toml` by `claviger provider docs`; \
         change a file, not these pages.\n\n\
         *Known* says how well: **docs**, read in the provider's own documentation; **libraries**, several open libraries agree; \
         **one library**, look twice before you rely on it.\n",
        cards.len()
    );
    for category in categories {
        out += &format!("\n## {category}\n\n| provider | id | refresh | known | looked at |\n|---|---|---|---|---|\n");
        let mut mine: Vec<&ProviderCard> = cards.iter().filter(|card| card.categories.contains(category)).collect();
        mine.sort_by_key(|card| card.name.to_lowercase());
        for card in mine {
            let known = card.known.replace('_', " ");
            out += &format!(
                "| [{}]({}.md) | `{}` | {} | {known} | {} |\n",
                card.name, card.id, card.id, card.refresh.class, card.checked
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider::testing::run;

    #[test]
    fn pages_are_written_once_and_then_current_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let docs = folder.path().join("docs");
        assert_eq!(run(|out| pages(&docs, None, Pages::Compared, out)).0, Outcome::Faulty, "nothing is there yet");
        let (outcome, said) = run(|out| pages(&docs, None, Pages::Written, out));
        assert!(outcome == Outcome::Fine && said.contains("0 removed"), "{said}");
        assert_eq!(run(|out| pages(&docs, None, Pages::Compared, out)).0, Outcome::Fine);

        std::fs::write(docs.join("gone.md"), "of a provider that went away").unwrap();
        std::fs::write(docs.join(INDEX), "changed by hand").unwrap();
        let (outcome, said) = run(|out| pages(&docs, None, Pages::Compared, out));
        assert!(outcome == Outcome::Faulty && said.contains("gone.md") && said.contains(INDEX), "{said}");
        let (_, said) = run(|out| pages(&docs, None, Pages::Written, out));
        assert!(said.contains("1 written, 1 removed"), "{said}");
        assert!(!docs.join("gone.md").exists());
    }

    /// A page holds what a tenant has to type: every setting that is needed is in the command.
    #[test]
    fn each_page_names_every_setting_that_is_needed() {
        let (files, _) = parse_all(&gathered(None).0);
        for file in &files {
            let card = ProviderCard::from(&file.provider);
            let page = page(&card);
            for param in card.params.iter().filter(|param| param.required) {
                assert!(page.contains(&format!("--data-urlencode '{}=", param.name)), "{}: {}", card.id, param.name);
            }
            assert!(page.contains(&card.credentials) && page.contains(&card.docs), "{}", card.id);
            assert!(card.warnings.iter().all(|warning| page.contains(warning.as_str())), "{}", card.id);
        }
    }

    /// docs/providers is what the files say.
    #[test]
    fn the_pages_in_the_tree_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers");
        let (outcome, said) = run(|out| pages(&folder, None, Pages::Compared, out));
        assert_eq!(outcome, Outcome::Fine, "run `claviger provider docs docs/providers`:\n{said}");
    }
}
