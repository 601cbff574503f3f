//! `cordon audit verify`: whether every record is there, as it was written.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use cordon_audit::VerifyError;

use super::{
    super::{NO, Where, say},
    store,
};

/// Arguments of `cordon audit verify`.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Where,
}

impl Verify {
    pub(super) async fn run(self) -> Result<ExitCode> {
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
