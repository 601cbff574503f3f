//! `cordon bench`: what Cordon adds to a request, and how many it can answer.
//!
//! It starts a provider of its own behind TLS on loopback, and Cordon as a child process of this very
//! binary with a state folder of its own (policy, SQLite store, spool: all as in earnest). The same 2 KB
//! chat request, with an e-mail, a card and a phone number in it, goes to the provider straight and
//! through Cordon's gateway, in turns, in one run:
//!
//! - at a fixed rate, each request timed from the moment it was due, so that a stall shows in every
//!   request that it delays;
//! - as fast as a number of connections can ask.
//!
//! Every answer is checked: what the provider saw holds no original, what comes back holds them all.
//! Load, provider and Cordon share the machine, so only ratios of one run say much. It ends with one
//! JSON line on standard output; the table for people goes to standard error.

mod load;
mod provider;
mod subject;

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use self::{
    load::{Load, Paced},
    provider::Provider,
    subject::Subject,
};
use crate::cli::{complain, runtime, say};

/// Arguments of `cordon bench`.
#[derive(Args)]
pub struct Bench {
    /// Seconds of each measurement; there are four.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Requests a second of the paced measurement.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Connections of the saturating measurement.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

impl Bench {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(
            self.seconds > 0 && self.rate > 0 && self.connections > 0,
            "every number must be at least 1"
        );
        runtime()?.block_on(self.measure())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn measure(&self) -> Result<()> {
        let span = Duration::from_secs(self.seconds);
        let folder = tempfile::tempdir()?;
        let provider = Provider::start(folder.path()).await?;
        let subject = Subject::start(folder.path(), &provider).await?;
        let straight = Load::new(&provider.url(), &provider.ca_pem(), "provider-key")?;
        let through = Load::new(&subject.gateway, &subject.ca_pem, &subject.key)?;

        complain("warming up");
        straight.closed(self.connections, Duration::from_secs(1)).await?;
        through.closed(self.connections, Duration::from_secs(2)).await?;

        complain(&format!("{} requests/s for {} s each", self.rate, self.seconds));
        let paced_straight = straight.paced(self.rate, span).await?;
        let cpu_before = subject.cpu_seconds();
        let paced_through = through.paced(self.rate, span).await?;
        let cpu = subject.cpu_seconds() - cpu_before;

        complain(&format!(
            "{} connections for {} s each",
            self.connections, self.seconds
        ));
        let rate_straight = straight.closed(self.connections, span).await?;
        let rate_through = through.closed(self.connections, span).await?;

        ensure!(
            provider.leaks() == 0,
            "{} requests reached the provider with an original in them",
            provider.leaks()
        );
        let sent = through.answered();
        let verified = subject.finish(sent).await?;
        self.report(
            &paced_straight,
            &paced_through,
            cpu,
            rate_straight,
            rate_through,
            sent,
            &verified,
        );
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each is one figure of the report")]
    fn report(
        &self,
        straight: &Paced,
        through: &Paced,
        cpu: f64,
        rate_straight: f64,
        rate_through: f64,
        sent: u64,
        verified: &str,
    ) {
        let added = |at: f64| through.milliseconds(at) - straight.milliseconds(at);
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        complain(&format!(
            "\n{:<34}{:>12}{:>12}{:>12}\n{:<34}{:>9.2} ms{:>9.2} ms{:>9.2} ms\n{:<34}{:>9.2} ms{:>9.2} ms{:>9.2} ms\n{:<34}{:>8.0} r/s{:>8.0} r/s{:>12.2}\n{:<34}{:>24.3} ms\n",
            "",
            "straight",
            "Cordon",
            "added/ratio",
            format!("p50 at {} requests/s", self.rate),
            straight.milliseconds(0.5),
            through.milliseconds(0.5),
            added(0.5),
            format!("p99 at {} requests/s", self.rate),
            straight.milliseconds(0.99),
            through.milliseconds(0.99),
            added(0.99),
            "saturated",
            rate_straight,
            rate_through,
            rate_through / rate_straight,
            "CPU of Cordon a request",
            cpu * 1000.0 / through.count() as f64,
        ));
        complain(&format!(
            "{sent} requests through Cordon, all answered rightly; audit: {verified}"
        ));
        say(&json!({
            "rate": self.rate,
            "seconds": self.seconds,
            "connections": self.connections,
            "request_bytes": load::request_bytes(),
            "p50_ms": {"straight": round(straight.milliseconds(0.5)), "cordon": round(through.milliseconds(0.5)), "added": round(added(0.5))},
            "p99_ms": {"straight": round(straight.milliseconds(0.99)), "cordon": round(through.milliseconds(0.99)), "added": round(added(0.99))},
            "saturated_per_s": {"straight": rate_straight.round(), "cordon": rate_through.round(), "ratio": round(rate_through / rate_straight)},
            "cpu_ms_a_request": round(cpu * 1000.0 / through.count() as f64),
            "requests": sent,
        })
        .to_string());
    }
}
