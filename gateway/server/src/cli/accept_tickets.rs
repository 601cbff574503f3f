//! `cordon accept-tickets`: whose Kerberos tokens are, for the gateway's own use; see [`crate::negotiate`].

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::bounds::{self, Bounds};
use crate::negotiate::acceptor;

/// What it needs is little; the allocator takes room in advance.
const MEMORY: u64 = 2 << 30;
/// Bytes of the replay cache, in which a ticket is remembered for minutes by forty bytes or so.
const REPLAYS: u64 = 256 << 20;

#[derive(Args)]
pub struct AcceptTickets {
    /// The service that tickets are for.
    #[arg(long, value_name = "SERVICE/HOST@REALM")]
    principal: String,
}

impl AcceptTickets {
    pub fn run(self) -> Result<ExitCode> {
        bounds::take(&Bounds {
            memory: MEMORY,
            seconds: None,
            file: REPLAYS,
        })?;
        acceptor::run(&self.principal, std::io::stdin().lock(), std::io::stdout().lock())?;
        Ok(ExitCode::SUCCESS)
    }
}
