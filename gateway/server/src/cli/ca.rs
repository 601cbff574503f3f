//! `cordon ca`: the interception authority.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use cordon_domain::SystemClock;
use cordon_intercept::{Authority, write_bundle};

use super::{Where, say};
use crate::{installation::Installation, serve};

/// Arguments of `cordon ca`.
#[derive(Args)]
pub struct Ca {
    #[command(subcommand)]
    action: CaAction,
}

#[derive(Subcommand)]
enum CaAction {
    /// Make an offline root and the name-constrained intermediates under it.
    Init {
        #[command(flatten)]
        place: Where,
    },
    /// Print the root certificate, which every client machine must trust.
    Export {
        /// Print system roots and our root together, for programs that take one bundle.
        #[arg(long)]
        bundle: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Make new intermediates for the configured hosts, with the offline root's key.
    Rotate {
        /// The root's key, brought back for this; where `ca init` put it when absent.
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
        #[command(flatten)]
        place: Where,
    },
}

impl Ca {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            CaAction::Init { place } => {
                let config = place.load()?;
                let installation = Installation::of(&config);
                installation.create()?;
                installation.make_key()?;
                let files = Authority::init(&installation.ca(), serve::scope(&config), &SystemClock)?;
                let root = std::fs::read_to_string(&files.root)?;
                write_bundle(&installation.bundle(), &root)?;
                say(&format!("root certificate  {}", files.root.display()));
                say(&format!("bundle            {}", installation.bundle().display()));
                say(&format!(
                    "root key          {}  move it to a safe place off this machine",
                    files.root_key.display()
                ));
            }
            CaAction::Export { bundle, place } => {
                let installation = Installation::of(&place.load()?);
                let path = if bundle {
                    installation.bundle()
                } else {
                    installation.root()
                };
                let pem = std::fs::read_to_string(&path)
                    .with_context(|| format!("there is no {}; `cordon ca init` makes it", path.display()))?;
                say(pem.trim_end());
            }
            CaAction::Rotate { root_key, place } => {
                let config = place.load()?;
                let installation = Installation::of(&config);
                let root_key =
                    root_key.unwrap_or_else(|| cordon_intercept::Files::of(&installation.ca()).root_key);
                Authority::rotate(&installation.ca(), &root_key, serve::scope(&config), &SystemClock)?;
                say("new intermediates are in place; restart the gateway to use them");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
