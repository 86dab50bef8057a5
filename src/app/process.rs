//! What concerns the process as a whole: the log, panics, signals, and what a crash may leave behind.

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Telemetry};

/// The log goes to stderr: stdout is for what a command was asked for.
pub fn start_log(telemetry: &Telemetry) {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&telemetry.log)).with_writer(io::stderr);
    let log = log.with_ansi(io::stderr().is_terminal());
    let started = match telemetry.format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.with_target(false).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Says where, and what only if it is a text of our source: a composed message can hold a secret.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
    tracing::error!(place, what, "a task panicked");
}

/// Secrets live in this process's memory: no core dump, and no reading it from another process of
/// the same user.
pub fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Returns at the first SIGTERM or SIGINT; listens from the moment it is called.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
