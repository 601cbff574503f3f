//! `cordon audit verify`: whether every record is there, as it was written; or whether a proof's file holds.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use cordon_audit::Evidence;

use super::{
    super::{NO, Where, say},
    proof::{OfProof, key},
    store,
};
use crate::audit_room::{checkpoint_key, keys_apart};

/// Arguments of `cordon audit verify`.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    of_proof: OfProof,
    /// Checkpoints that were kept elsewhere: a note, or a folder that checkpoints are published to. The store must agree with each.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "proof")]
    checkpoints: Vec<PathBuf>,
}

impl Verify {
    pub(super) async fn run(self) -> Result<ExitCode> {
        if let Some(file) = &self.of_proof.proof {
            return self.of_proof.verify(file);
        }
        let (config, installation, store) = store(&self.place).await?;
        let spool: Option<PathBuf> = Some(installation.spool()).filter(|spool| spool.is_dir());
        let key = match &self.of_proof.key {
            Some(text) => Some(key(text)?),
            // On a machine that has the installation key, what is signed by it is known.
            None => installation
                .key()
                .ok()
                .map(|key| checkpoint_key(&config, &key))
                .transpose()?
                .map(|key| key.verifying().clone()),
        };
        let mut checkpoints = Vec::new();
        for path in &self.checkpoints {
            checkpoints.extend(notes(path)?);
        }
        if let Some(key) = &key {
            let file = installation.signed();
            let remembered = cordon_audit::remembered(&file, key)
                .with_context(|| format!("{} does not read", file.display()))?;
            checkpoints.extend(remembered);
        }
        let keys = keys_apart(&config).await?;
        let evidence = Evidence {
            spool: spool.as_deref(),
            key: key.as_ref(),
            checkpoints,
            keys: keys.as_ref(),
        };
        match cordon_audit::verify(&store, &evidence).await {
            Ok(verified) => {
                say(&verified.to_string());
                Ok(ExitCode::SUCCESS)
            }
            Err(wrong) if wrong.is_answer() => {
                say(&wrong.to_string());
                Ok(ExitCode::from(NO))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The notes in a file, or in a folder and those within it.
fn notes(path: &Path) -> Result<Vec<String>> {
    let cannot = || format!("the checkpoints in {} cannot be read", path.display());
    if path.is_file() {
        return Ok(vec![std::fs::read_to_string(path).with_context(cannot)?]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        // What lies beside checkpoints: time stamps, and files that are being written.
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".tsr") && !name.ends_with(".new") {
            found.extend(notes(&entry.path())?);
        }
    }
    Ok(found)
}
