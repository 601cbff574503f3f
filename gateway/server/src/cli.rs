//! The command line: what `cordon --help` documents. Each command is a file of its name.
//!
//! Exit codes: 0 fine, 1 the answer is no (found, invalid, not verified), 2 wrong usage or could
//! not run.

#[cfg(feature = "kerberos")]
mod accept_tickets;
mod audit;
mod bounds;
mod ca;
mod check;
mod detectors;
mod doctor;
mod env;
mod fingerprint;
mod key;
mod model;
mod policy;
mod progress;
mod read_file;
mod rollout;
mod scan;
mod up;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    config::{self, Config, Setting},
};

/// Data-private gateway and audit proxy for companies whose employees use language models.
#[derive(Parser)]
#[command(name = "cordon", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything with embedded defaults: CA, keys, SQLite store, default policy, on-prem model.
    #[command(after_help = "Example:\n  cordon up --dir ~/cordon")]
    Up(up::Up),
    /// Run with a configuration file.
    #[command(after_help = "Example:\n  cordon serve --config /etc/cordon/cordon.yaml")]
    Serve(up::Serve),
    /// Check configuration, policy and detectors; errors as file:line:column, exit 1.
    #[command(after_help = "Example:\n  cordon check --config cordon.yaml")]
    Check(check::Check),
    /// Print what a program exports to go through the proxy.
    #[command(after_help = "Example:\n  eval \"$(cordon env)\"")]
    Env(env::Env),
    /// Try this machine's settings against a running gateway and say what is wrong.
    #[command(after_help = "Example:\n  cordon doctor")]
    Doctor(doctor::Doctor),
    /// Print what a device management gives to every machine: CA, proxy, no way round it.
    #[command(
        after_help = "Example:\n  cordon rollout macos --proxy proxy.corp.example:8888 > cordon.mobileconfig"
    )]
    Rollout(rollout::Rollout),
    /// Make, export or rotate the interception CA.
    #[command(after_help = "Example:\n  cordon ca init --config cordon.yaml")]
    Ca(ca::Ca),
    /// Find sensitive data in files or standard input; exit 1 when something was found.
    #[command(after_help = "Example:\n  git diff | cordon scan -")]
    Scan(scan::Scan),
    /// List and test detectors, and explain what they find.
    #[command(after_help = "Example:\n  cordon detectors explain --text 'card 4111 1111 1111 1111'")]
    Detectors(detectors::Detectors),
    /// Test policies and print their schema.
    #[command(after_help = "Example:\n  cordon policy test policies/default.yaml")]
    Policy(policy::Policy),
    /// Make, list and remove fingerprints of the company's own files, records and planted strings.
    #[command(after_help = "Example:\n  cordon fingerprint add fab-process ~/src/etch ~/minutes")]
    Fingerprint(fingerprint::Fingerprint),
    /// Make, list and revoke API keys.
    #[command(after_help = "Example:\n  cordon key create --user j.kim --group engineering")]
    Key(key::Key),
    /// Search and verify the audit.
    #[command(after_help = "Example:\n  cordon audit search --user j.kim --since 2026-11-01")]
    Audit(audit::Audit),
    /// List, show and pull model weights.
    #[command(after_help = "Example:\n  cordon model pull file:SmolLM2-135M-Instruct.Q4_1.gguf")]
    Model(model::Model),
    /// Load on loopback against a built-in upstream, with and without Cordon; ends with one JSON line.
    #[command(after_help = "Example:\n  cordon bench --seconds 10")]
    Bench(bench::Bench),
    /// Read a file from standard input, for the gateway's own use.
    #[command(hide = true)]
    ReadFile(read_file::ReadFile),
    /// Check Kerberos tokens from standard input, for the gateway's own use.
    #[cfg(feature = "kerberos")]
    #[command(hide = true)]
    AcceptTickets(accept_tickets::AcceptTickets),
}

/// Which installation a command is about.
#[derive(Args, Clone, Default)]
pub struct Where {
    /// Configuration file.
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub config: Option<PathBuf>,
    /// State folder of `cordon up`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Where {
    /// The configuration for commands that need no installation: defaults unless one is named, and whether one is.
    pub fn load_if_named(&self) -> Result<(Config, bool)> {
        match (&self.config, &self.dir) {
            (None, None) => Ok((Config::default(), false)),
            _ => Ok((self.load()?, true)),
        }
    }

    /// The configuration: the file named, or the folder's `cordon.yaml`, or defaults in the folder.
    pub fn load(&self) -> Result<Config> {
        if let Some(file) = &self.config {
            return load(file);
        }
        let dir = self.dir.clone().unwrap_or_else(config::default_dir);
        let dir = std::path::absolute(&dir).with_context(|| format!("cannot use {}", dir.display()))?;
        let file = dir.join("cordon.yaml");
        let mut config = if file.is_file() {
            load(&file)?
        } else {
            Config::default()
        };
        config.dir = dir;
        // A state folder without a word on its store follows the environment, for every command alike.
        if let ("sqlite", Some(url)) = (config.store.value(), config::database_url()) {
            config.store = Setting::from(url.as_str());
        }
        Ok(config)
    }
}

fn load(file: &Path) -> Result<Config> {
    Config::load(file).map_err(|errors| {
        anyhow::anyhow!(
            "{}",
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        )
    })
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Up(up) => up.run(),
            Command::Serve(serve) => serve.run(),
            Command::Check(check) => check.run(),
            Command::Env(env) => env.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Rollout(rollout) => rollout.run(),
            Command::Ca(ca) => ca.run(),
            Command::Scan(scan) => scan.run(),
            Command::Detectors(detectors) => detectors.run(),
            Command::Policy(policy) => policy.run(),
            Command::Fingerprint(fingerprint) => fingerprint.run(),
            Command::Key(key) => key.run(),
            Command::Audit(audit) => audit.run(),
            Command::Model(model) => model.run(),
            Command::Bench(bench) => bench.run(),
            Command::ReadFile(read_file) => read_file.run(),
            #[cfg(feature = "kerberos")]
            Command::AcceptTickets(accept_tickets) => accept_tickets.run(),
        };
        match outcome {
            Ok(code) => code,
            Err(error) => {
                complain(&format!("cordon: {error:#}"));
                ExitCode::from(2)
            }
        }
    }
}

/// The answer is no.
pub const NO: u8 = 1;

/// Prints a line to standard output; a reader that left early is no error.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to standard error.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A runtime for commands that need one.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}
