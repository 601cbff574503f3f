//! `cordon audit reference`: what stands in records for a user.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use cordon_audit::Pseudonyms;

use super::super::{Where, say};
use crate::{
    config::Config,
    installation::{Installation, InstallationError},
};

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

/// As what a user may stand in records: a reference, or as they are called where they show no credentials. Without the
/// installation key only the second, and references that are given as such, can be looked for.
pub(super) fn spellings(user: &str, config: &Config) -> Result<Vec<String>, InstallationError> {
    let mut all = vec![user.to_owned()];
    match Installation::of(config).key() {
        Ok(key) => all.push(Pseudonyms::new(key.commitments()).reference(user)),
        Err(InstallationError::NoKey(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(all)
}
