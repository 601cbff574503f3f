//! `cordon audit`: who sent what, where, under which rule; and whether every record is there.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use cordon_audit::Store;

use super::{Where, runtime};
use crate::{audit_room, config::Config, installation::Installation};

mod approver;
mod desk;
mod erase;
mod export;
mod filter;
mod hold;
mod proof;
mod prove;
mod prune;
mod reference;
mod reveal;
mod search;
mod verify;
mod witness;

/// Arguments of `cordon audit`.
#[derive(Args)]
pub struct Audit {
    #[command(subcommand)]
    action: AuditAction,
}

#[derive(Subcommand)]
enum AuditAction {
    /// Search exchanges, newest first. Every search is on record.
    Search(Box<search::Search>),
    /// Write all that a filter finds to a file, with a signed manifest beside it. Every export is on record.
    Export(Box<export::Export>),
    /// Print the reference that stands in records for a user.
    #[command(after_help = "Example:\n  cordon audit reference j.kim --dir state")]
    Reference(reference::Reference),
    /// Make a person's texts and name unreadable for good.
    #[command(
        after_help = "Example:\n  cordon audit erase --subject j.kim --reason 'request 7 under GDPR 17' --dir state"
    )]
    Erase(erase::Erase),
    /// Hold records and keys against pruning and erasing, while a case is open.
    Hold(hold::Hold),
    /// Show what is kept sealed, after two others agreed.
    Reveal(reveal::Reveal),
    /// Keys that approve reveals.
    Approver(approver::Approver),
    /// Check that no record is missing or altered, or that a proof's file holds; exit 1 names what is wrong.
    Verify(verify::Verify),
    /// Write the proof that an exchange's records are in the audit, for whoever has no access to it.
    Proof(prove::ProofOf),
    /// Remove records that had their time; a running gateway does so every hour.
    #[command(after_help = "Example:\n  cordon audit prune --dir state")]
    Prune(prune::Prune),
    /// Print the key that checkpoints and proofs are checked by.
    Key(prove::Key),
    /// Cosign checkpoints of a log while they continue each other, on another machine than the log's.
    #[command(after_help = "Example:\n  cordon audit witness --dir /var/lib/cordon-witness --log cordon.pub")]
    Witness(witness::Run),
}

impl Audit {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            AuditAction::Search(search) => runtime()?.block_on(search.run()),
            AuditAction::Export(export) => runtime()?.block_on(export.run()),
            AuditAction::Reference(reference) => reference.run(),
            AuditAction::Erase(erase) => runtime()?.block_on(erase.run()),
            AuditAction::Hold(hold) => runtime()?.block_on(hold.run()),
            AuditAction::Reveal(reveal) => runtime()?.block_on(reveal.run()),
            AuditAction::Approver(approver) => approver.run(),
            AuditAction::Verify(verify) => runtime()?.block_on(verify.run()),
            AuditAction::Proof(proof) => runtime()?.block_on(proof.run()),
            AuditAction::Prune(prune) => runtime()?.block_on(prune.run()),
            AuditAction::Key(key) => key.run(),
            AuditAction::Witness(run) => runtime()?.block_on(run.run()),
        }
    }
}

async fn store(place: &Where) -> Result<(Config, Installation, Store)> {
    let config = place.load()?;
    let installation = Installation::of(&config);
    let url = audit_room::store_url(&config, &installation)?;
    let store = Store::open(&url)
        .await
        .with_context(|| format!("the store {url} cannot be read"))?;
    Ok((config, installation, store))
}
