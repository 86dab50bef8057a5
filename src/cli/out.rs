//! Printing. A reader that went away (`claviger … | head`) ends a command quietly.

use std::io::{self, Write as _};

use super::failure::Failure;

/// One line on stdout, written at once.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("nothing can be printed: {cause}")))
        }
        _ => Ok(()),
    }
}

/// To a person at the terminal, on stderr. There is nobody to tell if that fails.
pub fn warn(text: &str) {
    _ = writeln!(io::stderr().lock(), "claviger: {}", text.trim_end());
}
