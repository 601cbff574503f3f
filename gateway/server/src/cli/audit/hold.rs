//! `cordon audit hold`: what is not to be erased, as long as a case is open.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use cordon_audit::{Body, HoldPlaced, HoldReleased, HoldScope, oversight};
use cordon_domain::ExchangeId;
use uuid::Uuid;

use super::{
    super::{NO, complain, say},
    desk::Who,
    filter::moment,
    search::time_of,
};

/// Arguments of `cordon audit hold`.
#[derive(Args)]
pub(super) struct Hold {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hold a subject, an exchange, a time, or what is all of those; prints the hold's id.
    #[command(
        after_help = "Example:\n  cordon audit hold add --subject j.kim --reason 'case 12' --dir state"
    )]
    Add(Add),
    /// End a hold.
    #[command(
        after_help = "Example:\n  cordon audit hold release 0190… --reason 'case 12 is closed' --dir state"
    )]
    Release(Release),
    /// List the holds that stand.
    #[command(after_help = "Example:\n  cordon audit hold list --dir state")]
    List(Who),
}

#[derive(Args)]
struct Add {
    /// A user, or the reference that stands for one in records.
    #[arg(long, value_name = "USER|REFERENCE")]
    subject: Option<String>,
    /// An exchange.
    #[arg(long, value_name = "ID")]
    exchange: Option<ExchangeId>,
    /// From this time on: `2026-11-22` or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
}

#[derive(Args)]
struct Release {
    /// The hold's id.
    hold: Uuid,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    who: Who,
}

impl Hold {
    pub(super) async fn run(self) -> Result<ExitCode> {
        match self.action {
            Action::Add(add) => Box::pin(add.run()).await,
            Action::Release(release) => Box::pin(release.run()).await,
            Action::List(who) => Box::pin(list(who)).await,
        }
    }
}

impl Add {
    async fn run(self) -> Result<ExitCode> {
        let (since, until) = (
            self.since.as_deref().map(moment).transpose()?,
            self.until.as_deref().map(moment).transpose()?,
        );
        let desk = self.who.sit_down().await?;
        let scope = HoldScope {
            subject: self.subject.map(|subject| desk.reference(&subject)),
            exchange: self.exchange,
            since,
            until,
        };
        ensure!(
            scope != HoldScope::default(),
            "say what is held: --subject, --exchange, --since or --until"
        );
        let hold = HoldPlaced {
            hold: Uuid::now_v7(),
            operator: desk.operator.clone(),
            reason: self.reason,
            scope,
        };
        let id = hold.hold;
        desk.record(Body::HoldPlaced(hold)).await?;
        desk.leave().await?;
        say(&id.to_string());
        Ok(ExitCode::SUCCESS)
    }
}

impl Release {
    async fn run(self) -> Result<ExitCode> {
        let desk = self.who.sit_down().await?;
        let stands = oversight::holds(&desk.store).await?;
        if !stands.iter().any(|hold| hold.hold == self.hold) {
            desk.leave().await?;
            complain("no such hold stands");
            return Ok(ExitCode::from(NO));
        }
        let released = HoldReleased {
            hold: self.hold,
            operator: desk.operator.clone(),
            reason: self.reason,
        };
        desk.record(Body::HoldReleased(released)).await?;
        desk.leave().await?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(who: Who) -> Result<ExitCode> {
    let desk = who.sit_down().await?;
    for hold in oversight::holds(&desk.store).await? {
        let HoldScope {
            subject,
            exchange,
            since,
            until,
        } = hold.scope;
        let scope = [
            subject.map(|subject| format!("subject={subject}")),
            exchange.map(|exchange| format!("exchange={exchange}")),
            since.map(|at| format!("since={}", time_of(at))),
            until.map(|at| format!("until={}", time_of(at))),
        ];
        let scope: Vec<String> = scope.into_iter().flatten().collect();
        say(&format!(
            "{} {} by {}: {}",
            hold.hold,
            scope.join(" "),
            hold.operator.name(),
            hold.reason
        ));
    }
    desk.leave().await?;
    Ok(ExitCode::SUCCESS)
}
