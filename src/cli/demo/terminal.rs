//! How the demo speaks: sentences, shortened texts, a countdown.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ports::clock::Clock;

use super::super::failure::Failure;
use super::super::out;

const SHORT: usize = 64;

/// A sentence between steps.
pub fn told(text: &str) -> Result<(), Failure> {
    out::line(&format!("\n{text}"))
}

/// A text fit for one line.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Some fields of an answer, on one line.
pub fn fields(body: &Value, names: &[&str]) -> String {
    let field = |name: &&str| {
        let value = match body.get(*name)? {
            Value::String(text) => Value::String(shortened(text)),
            other => other.clone(),
        };
        Some(((*name).to_owned(), value))
    };
    let shown: Map<String, Value> = names.iter().filter_map(field).collect();
    Value::Object(shown).to_string()
}

/// Counts down on a terminal, one line that is written over.
pub async fn waiting(clock: &impl Clock, seconds: u64) -> Result<(), Failure> {
    let watched = io::stdout().is_terminal();
    out::line(&format!("  … it lives 8 seconds; waiting {seconds}"))?;
    for left in (0..seconds).rev() {
        clock.sleep(Duration::from_secs(1)).await;
        if watched {
            let mut out = io::stdout().lock();
            write!(out, "\r  {left:>2} ").and_then(|()| out.flush()).map_err(Failure::from_io("nothing can be printed"))?;
        }
    }
    if watched { out::line("\r  over") } else { Ok(()) }
}
