//! `cordon audit prune`: removes records that had their time, as a running gateway does every hour.
//!
//! On failure: exit 2; what was removed until then is on record.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{super::say, desk::Who};

/// Arguments of `cordon audit prune`.
#[derive(Args)]
pub(super) struct Prune {
    #[command(flatten)]
    who: Who,
}

impl Prune {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let desk = self.who.sit_down().await?;
        let pruned = desk.prune().await;
        desk.leave().await?;
        let pruned = pruned?;
        for why in &pruned.kept {
            say(&format!("kept {why}"));
        }
        say(&format!(
            "pruned {} records of {} days",
            pruned.records, pruned.days
        ));
        if pruned.keys + pruned.checkpoints > 0 {
            say(&format!(
                "pruned {} keys that nothing needs any more, {} checkpoints that others cover",
                pruned.keys, pruned.checkpoints
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
