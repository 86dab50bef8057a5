//! How large a program runs, and where a long one goes on.
//!
//! `CLAVIGER_LONG=1` asks for the large sizes, `CLAVIGER_LONG_CYCLES=500` and its kin for one size of
//! one's own. With `CLAVIGER_SLICE=600` a program that can be cut ends after so many seconds and goes on
//! from there the next time: its sums are kept in `target/reliability/`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::figures::tell;

/// One of the sizes, by its name.
pub fn size(name: &str, short: u64, long: u64) -> u64 {
    let given = std::env::var(format!("CLAVIGER_LONG_{name}")).ok();
    match given {
        Some(given) => given.parse().unwrap_or_else(|_| panic!("CLAVIGER_LONG_{name} is a number")),
        None if std::env::var("CLAVIGER_LONG").is_ok() => long,
        None => short,
    }
}

/// The sums of a program that is run in slices.
pub struct Slice {
    name: &'static str,
    began: Instant,
    length: Option<Duration>,
    /// What earlier slices and this one came to.
    pub sums: serde_json::Map<String, Value>,
}

impl Slice {
    /// Goes on where the last slice ended, if slices are asked for.
    pub fn resume(name: &'static str) -> Self {
        let seconds = std::env::var("CLAVIGER_SLICE").ok().map(|given| given.parse().expect("CLAVIGER_SLICE is in seconds"));
        let length = seconds.map(Duration::from_secs);
        let kept = length.and_then(|_| std::fs::read_to_string(file(name)).ok());
        let sums = kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
        Self { name, began: Instant::now(), length, sums }
    }

    pub fn is_over(&self) -> bool {
        self.length.is_some_and(|length| self.began.elapsed() >= length)
    }

    pub fn sum(&self, of: &str) -> u64 {
        self.sums.get(of).and_then(Value::as_u64).unwrap_or(0)
    }

    pub fn add(&mut self, to: &str, more: u64) {
        let sum = self.sum(to) + more;
        self.sums.insert(to.to_owned(), sum.into());
    }

    pub fn most(&mut self, of: &str, value: u64) {
        let most = self.sum(of).max(value);
        self.sums.insert(of.to_owned(), most.into());
    }

    /// One value of many, in milliseconds, of which the figures tell the median, one in a hundred and the most.
    pub fn note(&mut self, of: &str, value: Duration) {
        let value = (value.as_secs_f64() * 10_000.0).round() / 10.0;
        let values = self.sums.entry(of).or_insert_with(|| Value::Array(Vec::new()));
        values.as_array_mut().expect("it is a list").push(value.into());
    }

    pub fn keep(&self) {
        if self.length.is_some() {
            let file = file(self.name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, serde_json::to_string_pretty(&self.sums).expect("JSON")).expect("the sums are kept");
        }
    }

    /// Prints the line of figures.
    pub fn tell(&self) {
        let figures = self.sums.iter().map(|(name, value)| match value.as_array() {
            None => format!("{name} {value}"),
            Some(values) => spread(name, values),
        });
        let figures: Vec<_> = figures.collect();
        tell(self.name, &figures.join(", "));
    }
}

fn spread(name: &str, values: &[Value]) -> String {
    let mut values: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |of: usize| values.get((values.len() * of / 100).min(values.len().saturating_sub(1))).copied().unwrap_or_default();
    format!("{name} p50 {} p99 {} max {}", at(50), at(99), at(100))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/reliability").join(format!("{name}.json"))
}
