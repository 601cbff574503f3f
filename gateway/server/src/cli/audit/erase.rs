//! `cordon audit erase`: a person's texts and name become unreadable, and every proof stays valid.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use cordon_audit::{Body, EraseRefused, Erased, TreeName, kept, oversight};

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
    /// Whose subject it is.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
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
        TreeName::new(&tenant, "standard")?;
        let desk = who.sit_down().await?;
        let subject = desk.reference(&subject);
        let operator = desk.operator.clone();
        if let Some(hold) = oversight::hold_on(&desk.store, &subject).await? {
            let refused = EraseRefused {
                operator,
                tenant,
                subject,
                reason,
                hold: hold.hold,
            };
            desk.record(Body::EraseRefused(refused)).await?;
            desk.leave().await?;
            complain(&format!(
                "the hold {} ({}) stands against it; this is recorded",
                hold.hold, hold.reason
            ));
            return Ok(ExitCode::from(NO));
        }
        let until = desk.now();
        let erased = Erased {
            operator,
            tenant: tenant.clone(),
            subject: subject.clone(),
            reason,
            until,
        };
        // Recorded first: a tombstone without an erasure shows, and can be carried out again; the other way round would not show.
        desk.record(Body::Erased(erased)).await?;
        let keys = kept::erase(&desk.store, &tenant, &subject, until).await?;
        desk.leave().await?;
        say(&format!("{subject}: {keys} keys shredded"));
        Ok(ExitCode::SUCCESS)
    }
}
