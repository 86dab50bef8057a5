//! The part of `convert` that reads `[params.NAME]`.

use std::collections::BTreeMap;

use regex_lite::{Regex, RegexBuilder};

use crate::domain::provider::param::{KEY_MAX, PARAM_MAX};
use crate::domain::provider::{Choice, NeededBy, ParamKind, ParamSpec};

use super::convert::Convert;
use super::shape::{KindShape, NeededByShape, OptionShape, OptionsShape, ParamShape};

/// What a file's patterns may have together when they are compiled, in bytes.
const PATTERNS_MAX: usize = 64 * 1_024;

/// A match costs the value's length times the pattern's compiled size, and every call to a provider matches
/// all of its params again: so all patterns of a file share one limit.
fn whole(pattern: &str, patterns: usize) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERNS_MAX / patterns).build()
}

impl Convert {
    pub(super) fn param(&mut self, name: &str, shape: &ParamShape, patterns: usize) -> Option<ParamSpec> {
        let at = format!("params.{name}");
        let title = self.needed(&format!("{at}.title"), shape.title.clone());
        let kind = self.needed(&format!("{at}.kind"), shape.kind);
        let needed_by = self.needed(&format!("{at}.needed_by"), shape.needed_by);
        let pattern = match &shape.pattern {
            // The whole value must match, whatever the author's anchors say.
            Some(pattern) => Some(self.read(&format!("{at}.pattern"), whole(pattern, patterns))?),
            None => None,
        };
        let is_key = kind == Some(KindShape::PrivateKey);
        Some(ParamSpec {
            name: name.to_owned(),
            title: title?,
            kind: param_kind(kind?, shape.options.clone()),
            needed_by: match needed_by? {
                NeededByShape::Deployment => NeededBy::Deployment,
                NeededByShape::Integration => NeededBy::Integration,
                NeededByShape::Link => NeededBy::Link,
            },
            secret: shape.secret || is_key,
            optional: shape.optional,
            pattern,
            max_length: if is_key { KEY_MAX } else { shape.max_length.unwrap_or(PARAM_MAX).min(10 * PARAM_MAX) },
            example: shape.example.clone(),
            default: shape.default.clone(),
        })
    }
}

fn param_kind(kind: KindShape, options: Option<OptionsShape>) -> ParamKind {
    match kind {
        KindShape::Host => ParamKind::Host,
        KindShape::Subdomain => ParamKind::Subdomain,
        KindShape::Origin => ParamKind::Origin,
        KindShape::Guid => ParamKind::Guid,
        KindShape::Text => ParamKind::Text,
        KindShape::PrivateKey => ParamKind::PrivateKey,
        KindShape::Enum => ParamKind::Enum(match options {
            None => BTreeMap::new(),
            Some(OptionsShape::Plain(names)) => names.into_iter().map(|name| (name.clone(), Choice::One(name))).collect(),
            Some(OptionsShape::Mapped(options)) => options.into_iter().map(|(name, stands)| (name, choice(stands))).collect(),
        }),
    }
}

fn choice(stands: OptionShape) -> Choice {
    match stands {
        OptionShape::One(value) => Choice::One(value),
        OptionShape::Several(values) => Choice::Several(values),
    }
}
