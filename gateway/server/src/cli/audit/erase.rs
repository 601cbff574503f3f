//! `cordon audit erase`: a person's texts and name become unreadable, and every proof stays valid.
//!
//! It is made under every tenant that has keys of theirs, whether it is configured still or not. Under the other tenants of the configuration a key that was made
//! before and comes in later is refused, as one may be on its way from a gateway.
//!
//! On failure: exit 1 where a hold stands against it. Nothing is on record that the role in use may not do.

use std::process::ExitCode;

use anyhow::{Context, Result};
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
    /// Under one tenant alone; under all of them when it is not given.
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
        let owner = desk.owner().await?;
        let keys = desk.keys(&owner).await?;
        keys.may_erase()
            .await
            .context("nothing is erased, as the role in use may not: set `audit.owner` to the role that owns the tables")?;
        let until = desk.now();
        // A person has the same reference under every tenant, and keys under each that they wrote under.
        let mut there = keys.tenants_of(&subject).await?;
        let mut ahead = match tenant {
            Some(tenant) => {
                there.retain(|known| *known == tenant);
                vec![tenant]
            }
            None => std::iter::once(TreeName::default().tenant().to_owned())
                .chain(desk.config.audit.tenants.keys().cloned())
                .collect(),
        };
        ahead.retain(|tenant| !there.contains(tenant));
        for (tenants, ahead) in in_records(&there, &ahead) {
            let erased = Erased {
                operator: operator.clone(),
                subject: subject.clone(),
                tenants,
                ahead,
                reason: reason.clone(),
                until,
            };
            // Recorded first: a tombstone without an erasure shows, and can be carried out again; the other way round would not show.
            desk.record(Body::Erased(erased)).await?;
        }
        let shredded = keys.erase(&[there, ahead].concat(), &subject, until).await;
        owner.close().await;
        desk.leave().await?;
        match shredded? {
            0 => say(&format!(
                "{subject}: no key of theirs is left; one that comes in later and was made before now is shredded too"
            )),
            keys => say(&format!("{subject}: {keys} keys shredded")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tenants as records name them, so many in each. There is a record at least.
fn in_records(there: &[String], ahead: &[String]) -> Vec<(Vec<String>, Vec<String>)> {
    let mut records = Vec::new();
    let (mut there, mut ahead) = (there.chunks(Erased::TENANTS), ahead.chunks(Erased::TENANTS));
    loop {
        match (there.next(), ahead.next()) {
            (None, None) => return records,
            (there, ahead) => records.push((
                there.unwrap_or_default().to_vec(),
                ahead.unwrap_or_default().to_vec(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_is_in_a_record() {
        let tenants: Vec<String> = (0..300).map(|number| format!("t{number}")).collect();
        let records = in_records(&tenants, &tenants[..1]);
        assert_eq!(records.len(), 2);
        assert_eq!(records[1], (tenants[256..].to_vec(), Vec::new()));
        assert_eq!(
            in_records(&[], &tenants[..2]),
            [(Vec::new(), tenants[..2].to_vec())]
        );
    }
}
