//! `cordon audit reference`: what stands in records for a user.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use cordon_audit::Pseudonyms;

use super::super::{Where, say};
use crate::installation::Installation;

/// Arguments of `cordon audit reference`.
#[derive(Args)]
pub(super) struct Reference {
    /// The user, as API keys, certificates and tickets name them.
    user: String,
    #[command(flatten)]
    place: Where,
}

impl Reference {
    pub(super) fn run(self) -> Result<ExitCode> {
        let installation = Installation::of(&self.place.load()?);
        let key = installation
            .key()
            .context("references are made with the installation key")?;
        say(&Pseudonyms::new(key.commitments()).reference(&self.user));
        Ok(ExitCode::SUCCESS)
    }
}
