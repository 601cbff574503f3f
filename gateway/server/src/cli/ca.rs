//! `cordon ca`: the interception authority.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use cordon_domain::{Clock, SystemClock};
use cordon_intercept::{Authority, Described, Files, Rotation, RotationState, write_bundle};
use sha2::{Digest, Sha256};

use super::{NO, Where, say};
use crate::{config::Config, installation::Installation, serve};

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
    /// Print the root certificate, which every client machine must trust; during a rotation both.
    Export {
        /// Print system roots and ours together, for programs that take one bundle.
        #[arg(long)]
        bundle: bool,
        /// Print the next root alone, to be given to machines that have the present one.
        #[arg(long, conflicts_with = "bundle")]
        next: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Make new intermediates for the configured hosts, with the offline root's key; or change to another root.
    ///
    /// A change of the root takes three steps, and callers trust both roots in between: `--next` makes the next
    /// authority, `--switch` has it mint once callers trust it, `--retire` ends the old one.
    Rotate {
        /// The root's key, brought back for this; where `ca init` put it when absent.
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
        #[command(flatten)]
        step: Step,
        #[command(flatten)]
        place: Where,
    },
    /// Show every certificate of the authority, its end, and how far a rotation is.
    Status {
        #[command(flatten)]
        place: Where,
    },
}

/// A step of the change to another root.
#[derive(Args)]
#[group(multiple = false, conflicts_with = "root_key")]
struct Step {
    /// Make the next root and its intermediates; the present ones mint on.
    #[arg(long)]
    next: bool,
    /// Mint under the next root from now on; a running gateway takes it up by itself.
    #[arg(long)]
    switch: bool,
    /// Mint under the old root again.
    #[arg(long)]
    back: bool,
    /// End the old root.
    #[arg(long)]
    retire: bool,
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
            CaAction::Export { bundle, next, place } => {
                let installation = Installation::of(&place.load()?);
                let path = if bundle {
                    installation.bundle()
                } else if next {
                    Files::of(&Rotation::of(&installation.ca()).next()).root
                } else {
                    installation.root()
                };
                let pem = std::fs::read_to_string(&path)
                    .with_context(|| format!("there is no {}; `cordon ca init` makes the first authority, `cordon ca rotate --next` the next", path.display()))?;
                say(pem.trim_end());
            }
            CaAction::Rotate {
                root_key,
                step,
                place,
            } => {
                let config = place.load()?;
                let installation = Installation::of(&config);
                rotate(&config, &installation, root_key, &step)?;
                // A gateway that runs does this by itself; one that does not finds it done.
                write_bundle(
                    &installation.bundle(),
                    &std::fs::read_to_string(installation.root())?,
                )?;
            }
            CaAction::Status { place } => return status(&Installation::of(&place.load()?)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rotate(
    config: &Config,
    installation: &Installation,
    root_key: Option<PathBuf>,
    step: &Step,
) -> Result<()> {
    let (ca, scope) = (installation.ca(), serve::scope(config));
    let rotation = Rotation::of(&ca);
    if step.next {
        let files = rotation.prepare(scope, &SystemClock)?;
        say(&format!(
            "next root      {}  now trusted beside the present one, in {} too",
            files.root.display(),
            installation.bundle().display()
        ));
        say(&format!(
            "next root key  {}  move it to a safe place off this machine",
            files.root_key.display()
        ));
        say(
            "give the next root to every machine (`cordon ca export --next`), then: cordon ca rotate --switch",
        );
    } else if step.switch {
        rotation.switch(scope)?;
        say(
            "the next authority mints from now on; callers that do not trust it yet fail their handshakes, which",
        );
        say(
            "`cordon_turned_away_total{cause=\"handshake_failed\"}` counts: cordon ca rotate --back returns to the old one",
        );
        say("once all is well: cordon ca rotate --retire");
    } else if step.back {
        rotation.back()?;
        say("the old authority mints again; both are trusted");
    } else if step.retire {
        rotation.retire()?;
        say("the old authority is gone; its root can be taken off the machines that trust it");
    } else {
        let root_key = root_key.unwrap_or_else(|| Files::of(&rotation.minting()).root_key);
        Authority::rotate(&ca, &root_key, scope, &SystemClock)?;
        say("new intermediates are in place; a running gateway takes them up within seconds");
    }
    Ok(())
}

/// Exit 1 when something ends soon.
fn status(installation: &Installation) -> Result<ExitCode> {
    let rotation = Rotation::of(&installation.ca());
    let now = SystemClock.now();
    let mut soon = false;
    for certificate in rotation.certificates()? {
        let left = certificate.not_after - now;
        let due = left < Described::ahead(certificate.which);
        soon |= due;
        say(&format!(
            "{:<12}  {:<18}  until {} ({} days{})  SHA-256 {}  {}",
            certificate.which,
            certificate.part,
            certificate.not_after.date(),
            left.whole_days(),
            if due { ", due" } else { "" },
            hex::encode(Sha256::digest(&certificate.der)),
            certificate.file.display()
        ));
    }
    say(match rotation.state() {
        RotationState::None => "rotation: none (`cordon ca rotate --next` begins one)",
        RotationState::Prepared => {
            "rotation: prepared; once callers trust the next root: cordon ca rotate --switch"
        }
        RotationState::Switched => {
            "rotation: switched; once all is well: cordon ca rotate --retire (or --back)"
        }
    });
    Ok(ExitCode::from(if soon { NO } else { 0 }))
}
