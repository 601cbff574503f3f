//! `cordon audit approver create`: a key to approve reveals with.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use cordon_audit::note::{Algorithm, SigningKey};

use super::super::say;

/// Arguments of `cordon audit approver`.
#[derive(Args)]
pub(super) struct Approver {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key, and print the line that the configuration's `audit.approvers` needs.
    #[command(after_help = "Example:\n  cordon audit approver create ann --key ann.key")]
    Create(Create),
}

#[derive(Args)]
struct Create {
    /// The approver's name, as operators go by.
    name: String,
    /// File that the key is written to, readable by its owner only. Nobody else should have it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Approver {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Action::Create(Create { name, key }) = self.action;
        ensure!(!key.exists(), "{} is there already", key.display());
        let key = SigningKey::load_or_create(&key, &name, Algorithm::Ed25519)?;
        say(&key.verifying().to_string());
        Ok(ExitCode::SUCCESS)
    }
}
