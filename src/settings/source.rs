//! Where settings come from, and which wins: the built-in defaults, a mode's own, a file, `.env`,
//! the environment, the command line. It knows names and texts, no meanings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::{Problem, Problems};

/// Every setting, commented, with its default.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
const PREFIX: &str = "claviger__";

/// What is laid over what: later fields win.
#[derive(Debug, Default, Clone)]
pub struct Layers {
    /// Defaults of a mode.
    pub mode: Vec<(&'static str, String)>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// A `.env` file, where there is one.
    pub dotenv: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
    /// The command line, and what makes the mode what it is.
    pub fixed: Vec<(&'static str, String)>,
}

/// A setting's value, and where it was set.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub value: Vec<String>,
    pub origin: String,
}

/// All settings by name, as `section.key`.
pub(super) type Values = BTreeMap<String, Found>;

impl Layers {
    /// The file named and the process's environment, with `.env` of the current folder below it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let dotenv = Path::new(".env");
        Self {
            file,
            dotenv: dotenv.exists().then(|| dotenv.to_owned()),
            environment: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
            ..Self::default()
        }
    }

    /// What holds, and complaints about names that are no settings.
    pub(super) fn values(&self) -> Result<(Values, Vec<Problem>), Problems> {
        let defaults = flat(File::from_str(DEFAULTS, FileFormat::Toml)).map_err(|why| unreadable("config/default.toml", &why))?;
        let mut values = defaults.clone();
        let mut unknown = Vec::new();
        for (name, found) in self.overrides()? {
            if defaults.contains_key(&name) {
                values.insert(name, found);
            } else {
                unknown.push(unknown_setting(&name, &found.origin, &defaults));
            }
        }
        Ok((values, unknown))
    }

    fn overrides(&self) -> Result<Values, Problems> {
        let mut all = pairs("the mode", self.mode.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        if let Some(path) = &self.file {
            let shown = path.display().to_string();
            let file = File::from(path.as_path()).format(FileFormat::Toml);
            all.extend(with_origin(flat(file).map_err(|why| unreadable(&shown, &why))?, &shown));
        }
        if let Some(path) = &self.dotenv {
            let shown = path.display().to_string();
            all.extend(named(&shown, read_dotenv(path).map_err(|why| unreadable(&shown, &why))?));
        }
        all.extend(named("the environment", self.environment.clone()));
        all.extend(pairs("the command line", self.fixed.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))));
        Ok(all)
    }
}

fn read_dotenv(path: &Path) -> Result<Vec<(String, String)>, dotenvy::Error> {
    dotenvy::from_path_iter(path)?.collect()
}

/// `CLAVIGER__SECTION__KEY` is `section.key`; other names are no affair of ours.
fn named(origin: &str, variables: Vec<(String, String)>) -> Values {
    let ours = variables.into_iter().filter_map(|(name, value)| {
        let name = name.to_lowercase();
        Some((name.strip_prefix(PREFIX)?.replace("__", "."), value))
    });
    pairs(origin, ours)
}

fn pairs(origin: &str, pairs: impl Iterator<Item = (String, String)>) -> Values {
    pairs.map(|(name, value)| (name, Found { value: vec![value], origin: origin.to_owned() })).collect()
}

fn with_origin(mut values: Values, origin: &str) -> Values {
    values.values_mut().for_each(|found| found.origin = origin.to_owned());
    values
}

fn flat(source: impl Source + Send + Sync + 'static) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    flatten("", Config::builder().add_source(source).build()?.collect()?, &mut values)?;
    Ok(values)
}

fn flatten(prefix: &str, table: Map<String, Value>, into: &mut Values) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value.kind {
            ValueKind::Table(inner) => flatten(&name, inner, into)?,
            ValueKind::Array(items) => {
                let value = items.into_iter().map(Value::into_string).collect::<Result<_, _>>()?;
                into.insert(name, Found { value, origin: "default".to_owned() });
            }
            kind => {
                let value = vec![Value::new(None, kind).into_string()?];
                into.insert(name, Found { value, origin: "default".to_owned() });
            }
        }
    }
    Ok(())
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> Problems {
    Problems(vec![Problem { setting: what.to_owned(), what: format!("cannot be read: {why}") }])
}

fn unknown_setting(name: &str, origin: &str, known: &Values) -> Problem {
    let nearest = known.keys().map(|known| (strsim::jaro_winkler(name, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, known)) if likeness > 0.8 => format!("; did you mean `{known}`?"),
        _ => "; config/default.toml lists them all".to_owned(),
    };
    Problem { setting: name.to_owned(), what: format!("there is no such setting (from {origin}){hint}") }
}
