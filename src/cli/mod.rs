//! The commands: what is typed, what is printed, how it ends. Exit codes: 0 done, 1 failed, 2 wrong
//! usage or settings.

mod backup;
mod config_check;
mod demo;
mod dev;
mod dev_account;
mod failure;
mod healthcheck;
mod journal;
mod key;
mod node;
mod operate;
mod out;
pub mod provider;
mod provider_files;
mod resume;
mod serve;
mod sweep;
mod tenant;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::admin::SweepOrder;

use failure::Failure;

/// A self-hosted OAuth token broker: it stores your app credentials, connects your end users, and
/// always answers with a fresh access token.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run on this machine alone, everything embedded, nothing to install.
    Dev(dev::DevArgs),
    /// Play the whole journey in this terminal: connect, token, expiry, refreshed token.
    Demo(demo::DemoArgs),
    /// Run in production.
    Serve(serve::ServeArgs),
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// See to the nodes that work on one store.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Copy everything into one file, while the server works.
    Backup(backup::BackupArgs),
    /// Put such a copy where the store was.
    Restore(backup::RestoreArgs),
    /// Let refreshes go on after a restore.
    Resume(resume::ResumeArgs),
    /// Look at provider files.
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Make master keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at the journal of a node.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Pause and resume the refreshing that nobody asked for.
    #[command(subcommand)]
    Sweep(SweepCommand),
    /// Ask the server whether it does its work.
    Healthcheck(healthcheck::HealthcheckArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show the settings that hold, where each comes from, and what `serve` would object to.
    Check(config_check::CheckArgs),
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print a new master key.
    Generate(key::GenerateArgs),
}

#[derive(Debug, Subcommand)]
enum SweepCommand {
    /// Start no refresh that nobody asked for.
    Pause(sweep::SweepArgs),
    /// Start them again.
    Resume(sweep::SweepArgs),
    /// Say how much is due and not yet refreshed.
    Status(sweep::SweepArgs),
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// List the answers of providers that wait to be committed to the store.
    Show(journal::ShowArgs),
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Make a tenant whose address you vouch for.
    Create(tenant::CreateArgs),
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Name every node of this store, and say how it is.
    List(node::ListArgs),
    /// Give up a node that will never come back.
    Forget(node::ForgetArgs),
}

#[derive(Debug, Subcommand)]
enum ProviderCommand {
    /// Name every provider of the catalogue.
    List(provider_files::ListArgs),
    /// Show what a tenant needs to know of one provider.
    Show(provider_files::ShowArgs),
    /// Check a provider file, or a folder of them, and run their test vectors.
    Check(provider_files::CheckArgs),
    /// Write a provider file to begin with.
    New(provider_files::NewArgs),
    /// Run a file's test vectors, or walk the real flow with your own client.
    Test(provider_files::TestArgs),
    /// Write a page of documentation for each provider.
    Docs(provider_files::DocsArgs),
    /// Compare the provider files with a file of facts.
    Compare(provider_files::CompareArgs),
}

/// Where settings come from.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// File with settings, laid over the defaults and under the environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The whole program.
pub fn main() -> ExitCode {
    // One TLS implementation for everything, before anything asks for one.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        out::warn("TLS was set up twice");
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let code = usage.exit_code();
            return if usage.print().is_ok() { ExitCode::from(u8::try_from(code).unwrap_or(2)) } else { ExitCode::FAILURE };
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            out::warn(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Dev(args) => dev::run(args)?,
        Command::Demo(args) => demo::run(args)?,
        Command::Serve(args) => serve::run(args)?,
        Command::Config(ConfigCommand::Check(args)) => config_check::run(args)?,
        Command::Tenant(TenantCommand::Create(args)) => tenant::create(args)?,
        Command::Backup(args) => backup::backup(args)?,
        Command::Restore(args) => backup::restore(args)?,
        Command::Resume(args) => resume::run(args)?,
        Command::Node(NodeCommand::List(args)) => node::list(args)?,
        Command::Node(NodeCommand::Forget(args)) => node::forget(args)?,
        Command::Provider(ProviderCommand::List(args)) => return provider_files::list(args),
        Command::Provider(ProviderCommand::Show(args)) => return provider_files::show(args),
        Command::Provider(ProviderCommand::Check(args)) => return provider_files::check(args),
        Command::Provider(ProviderCommand::New(args)) => return provider_files::new(args),
        Command::Provider(ProviderCommand::Test(args)) => return provider_files::test(args),
        Command::Provider(ProviderCommand::Docs(args)) => return provider_files::docs(args),
        Command::Provider(ProviderCommand::Compare(args)) => return provider_files::compare(args),
        Command::Key(KeyCommand::Generate(args)) => key::generate(args)?,
        Command::Journal(JournalCommand::Show(args)) => journal::show(args)?,
        Command::Sweep(SweepCommand::Pause(args)) => sweep::run(args, SweepOrder::Pause)?,
        Command::Sweep(SweepCommand::Resume(args)) => sweep::run(args, SweepOrder::Resume)?,
        Command::Sweep(SweepCommand::Status(args)) => sweep::run(args, SweepOrder::Status)?,
        Command::Healthcheck(args) => healthcheck::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs async work on a runtime of its own. Flights belong to this runtime, not to the threads that
/// serve HTTP.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::from_io("no threads"))?.block_on(work)
}
