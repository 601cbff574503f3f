//! `cordon audit erase`: a person's texts and name become unreadable, and every proof stays valid.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use cordon_audit::{Body, EraseRefused, Erased, TreeName, oversight};

use super::{
    super::{NO, complain, say},
    desk::Who,
};

/// Arguments of `cordon audit erase`.
#[derive(Args)]
pub(super) struct Erase {
    /// Whose: a user, or the reference that stands for one in records.
    #[arg(long, value_name = "USER|REFERENCE")]
    subject: String,
    /// In one tenant alone; in all of them when it is not given.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
}

impl Erase {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let Self {
            subject,
            tenant,
            reason,
            who,
        } = self;
        if let Some(tenant) = &tenant {
            TreeName::new(tenant, TreeName::default().class())?;
        }
        let desk = who.sit_down().await?;
        let subject = desk.reference(&subject);
        // A person has the same reference in every tenant, and a key in each that they wrote under.
        let tenants = match tenant {
            Some(tenant) => vec![tenant],
            None => std::iter::once(TreeName::default().tenant().to_owned())
                .chain(desk.config.audit.tenants.keys().cloned())
                .collect(),
        };
        let operator = desk.operator.clone();
        if let Some(hold) = oversight::hold_on(&desk.store, &subject).await? {
            for tenant in tenants {
                let refused = EraseRefused {
                    operator: operator.clone(),
                    tenant,
                    subject: subject.clone(),
                    reason: reason.clone(),
                    hold: hold.hold,
                };
                desk.record(Body::EraseRefused(refused)).await?;
            }
            desk.leave().await?;
            complain(&format!(
                "the hold {} ({}) stands against it; this is recorded",
                hold.hold, hold.reason
            ));
            return Ok(ExitCode::from(NO));
        }
        let until = desk.now();
        let mut keys = 0;
        for tenant in tenants {
            let erased = Erased {
                operator: operator.clone(),
                tenant: tenant.clone(),
                subject: subject.clone(),
                reason: reason.clone(),
                until,
            };
            // Recorded first: a tombstone without an erasure shows, and can be carried out again; the other way round would not show.
            desk.record(Body::Erased(erased)).await?;
            keys += desk.keys.erase(&tenant, &subject, until).await?;
        }
        desk.leave().await?;
        if keys == 0 {
            complain(&format!(
                "{subject}: no key of theirs was there; one that comes in later and was made before now is shredded too"
            ));
            return Ok(ExitCode::from(NO));
        }
        say(&format!("{subject}: {keys} keys shredded"));
        Ok(ExitCode::SUCCESS)
    }
}
