//! `cordon audit verify`: whether every record is there, as it was written; or whether a proof's file holds.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use cordon_audit::VerifyError;

use super::{
    super::{NO, Where, say},
    proof::OfProof,
    store,
};

/// Arguments of `cordon audit verify`.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    of_proof: OfProof,
}

impl Verify {
    pub(super) async fn run(self) -> Result<ExitCode> {
        if let Some(file) = &self.of_proof.proof {
            return self.of_proof.verify(file);
        }
        let (installation, store) = store(&self.place).await?;
        let spool: Option<PathBuf> = Some(installation.spool()).filter(|spool| spool.is_dir());
        match cordon_audit::verify(&store, spool.as_deref()).await {
            Ok(verified) => {
                say(&verified.to_string());
                Ok(ExitCode::SUCCESS)
            }
            Err(VerifyError::Broken(broken)) => {
                say(&broken.to_string());
                Ok(ExitCode::from(NO))
            }
            Err(error) => Err(error.into()),
        }
    }
}
