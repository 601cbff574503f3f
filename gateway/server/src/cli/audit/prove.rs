//! `cordon audit proof`: the proof that an exchange's records are in the audit, as a file for whoever has no access to it.
//! `cordon audit key`: the key that such a file is checked by.
//!
//! On failure: exit 1 when there is no proof (yet); exit 2 when the store or a file cannot be read.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use cordon_audit::{ProveError, note::Note};
use cordon_domain::ExchangeId;

use super::{
    super::{NO, Where, say},
    store,
};
use crate::{audit_room::checkpoint_key, installation::Installation};

/// Arguments of `cordon audit proof`.
#[derive(Args)]
#[command(
    after_help = "Example: cordon audit proof 01a2232a-21b9-744e-a491-d7f40a9854c9 --out proof.json\n\
    The auditor then runs: cordon audit verify --proof proof.json --key KEY"
)]
pub(super) struct ProofOf {
    /// The exchange, by the id that its caller was shown.
    exchange: ExchangeId,
    /// File to write, which must not be there yet; standard output when absent.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A checkpoint that somebody kept; the proof shows that its tree was continued and not exchanged.
    #[arg(long = "since", value_name = "FILE")]
    older: Vec<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl ProofOf {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let (_, _, store) = store(&self.place).await?;
        let mut older = Vec::new();
        for path in &self.older {
            let cannot = || format!("the checkpoint {} cannot be read", path.display());
            let bytes = fs::read(path).with_context(cannot)?;
            older.push(Note::parse(&bytes).with_context(cannot)?);
        }
        let proof = match cordon_audit::prove(&store, self.exchange, &older).await {
            Ok(proof) => proof,
            Err(none @ (ProveError::Unknown(_) | ProveError::NotYet(_))) => {
                say(&none.to_string());
                return Ok(ExitCode::from(NO));
            }
            Err(error) => return Err(error.into()),
        };
        let text = proof.to_json();
        match &self.out {
            None => say(&text),
            Some(path) => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(path)
                    .with_context(|| format!("{} cannot be made", path.display()))?;
                file.write_all(text.as_bytes())?;
                say(&format!(
                    "{} records proven in {}",
                    proof.records.len(),
                    path.display()
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `cordon audit key`.
#[derive(Args)]
pub(super) struct Key {
    #[command(flatten)]
    place: Where,
}

impl Key {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let config = self.place.load()?;
        let key = Installation::of(&config).key()?;
        say(&checkpoint_key(&config, &key)?.verifying().to_string());
        Ok(ExitCode::SUCCESS)
    }
}
