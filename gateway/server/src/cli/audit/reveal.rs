//! `cordon audit reveal`: what is kept sealed, shown to one person for a reason, for a time, after two others agreed.
//!
//! The one who asks cannot approve, and nobody else can open it. Approvers sign with keys of their own over the hash of the record that asks; their public keys are
//! `audit.approvers` of the configuration. Who has approved by one key cannot do so by another, and who asked cannot by another's: they are told by their user and the name they claim. Every step is a record, and opening is on record before anything is shown.
//!
//! On failure: exit 1 with what is missing; nothing is shown.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use cordon_audit::{
    Body, Entry, Part, RevealApproved, RevealRequested, Revealed, Sealed, SubjectKey, TenantKeys, TreeName,
    kept::{self, KeptKey, Keys},
    note::{SigningKey, VerifyingKey},
    oversight::{self, Reveal as Asked},
    payload,
};
use cordon_domain::ExchangeId;
use uuid::Uuid;

use super::{
    super::{NO, complain, say},
    desk::{Desk, Who},
    search::time_of,
};
use crate::{audit_room, trust};

const MOST_HOURS: u64 = 168;

/// Arguments of `cordon audit reveal`.
#[derive(Args)]
pub(super) struct Reveal {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Ask to see what is kept of an exchange, or whom a reference stands for; prints the request's id.
    #[command(
        after_help = "Example:\n  cordon audit reveal request --exchange 0190… --part request --reason 'case 12' --dir state"
    )]
    Request(Request),
    /// Agree to a request, with your own key.
    #[command(after_help = "Example:\n  cordon audit reveal approve 0190… --key ann.key --dir state")]
    Approve(Approve),
    /// Show what was asked for, once it is approved.
    #[command(after_help = "Example:\n  cordon audit reveal open 0190… --dir state")]
    Open(Open),
    /// List requests that have not expired.
    #[command(after_help = "Example:\n  cordon audit reveal list --dir state")]
    List(Who),
}

#[derive(Args)]
struct Request {
    /// The exchange to see.
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "subject",
        conflicts_with = "subject"
    )]
    exchange: Option<ExchangeId>,
    /// Which part of it.
    #[arg(long, value_enum, default_value = "request")]
    part: Which,
    /// The reference of whom to name.
    #[arg(long, value_name = "REFERENCE")]
    subject: Option<String>,
    /// Whose subject it is.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    /// Why; it is recorded.
    #[arg(long)]
    reason: String,
    /// How long it can be approved and opened.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=MOST_HOURS))]
    hours: u64,
    #[command(flatten)]
    who: Who,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Request,
    Reply,
}

#[derive(Args)]
struct Approve {
    /// The request's id.
    reveal: Uuid,
    /// File of your own key, as `cordon audit approver create` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    who: Who,
}

#[derive(Args)]
struct Open {
    /// The request's id.
    reveal: Uuid,
    #[command(flatten)]
    who: Who,
}

impl Reveal {
    pub(super) async fn run(self) -> Result<ExitCode> {
        match self.action {
            Action::Request(request) => Box::pin(request.run()).await,
            Action::Approve(approve) => Box::pin(approve.run()).await,
            Action::Open(open) => Box::pin(open.run()).await,
            Action::List(who) => Box::pin(list(who)).await,
        }
    }
}

impl Request {
    async fn run(self) -> Result<ExitCode> {
        TreeName::new(&self.tenant, "standard")?;
        let desk = self.who.sit_down().await?;
        let of = match (self.exchange, self.subject) {
            (Some(exchange), _) => Sealed::Payload {
                exchange,
                part: match self.part {
                    Which::Request => Part::Request,
                    Which::Reply => Part::Reply,
                },
            },
            (None, Some(subject)) => Sealed::Name {
                tenant: self.tenant,
                subject,
            },
            (None, None) => bail!("say what is to be shown: --exchange or --subject"),
        };
        let request = RevealRequested {
            reveal: Uuid::now_v7(),
            operator: desk.operator.clone(),
            reason: self.reason,
            of,
            expires_at: desk.now() + self.hours * 3_600_000,
        };
        let id = request.reveal;
        desk.record(Body::RevealRequested(request)).await?;
        desk.leave().await?;
        say(&id.to_string());
        Ok(ExitCode::SUCCESS)
    }
}

/// A request that was asked for.
async fn asked(desk: &Desk, reveal: Uuid) -> Result<Asked> {
    let all = oversight::reveals(&desk.store).await?;
    let found = all.into_iter().find(|it| it.request.reveal == reveal);
    found.with_context(|| format!("nobody asked for a reveal {reveal}"))
}

/// Keys of those who may approve.
fn approvers(desk: &Desk) -> Result<Vec<VerifyingKey>> {
    let keys = desk.config.audit.approvers.iter();
    keys.map(|key| key.parse().context("`audit.approvers`")).collect()
}

impl Approve {
    async fn run(self) -> Result<ExitCode> {
        let key = SigningKey::load(&self.key)?;
        let desk = self.who.sit_down().await?;
        let asked = asked(&desk, self.reveal).await?;
        let known = approvers(&desk)?;
        ensure!(
            known.contains(key.verifying()),
            "the key {} is not among `audit.approvers` of the configuration",
            key.verifying()
        );
        let signature = match asked.approve(&key, &desk.operator, &known, desk.now() / 1000) {
            Ok(signature) => signature,
            Err(error) => {
                desk.leave().await?;
                complain(&error.to_string());
                return Ok(ExitCode::from(NO));
            }
        };
        let approved = RevealApproved {
            reveal: self.reveal,
            operator: desk.operator.clone(),
            signature,
        };
        desk.record(Body::RevealApproved(approved)).await?;
        desk.leave().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Open {
    async fn run(self) -> Result<ExitCode> {
        let desk = self.who.sit_down().await?;
        let asked = asked(&desk, self.reveal).await?;
        let operator = desk.operator.clone();
        let approvers = match asked.may_open(&operator, &approvers(&desk)?, desk.now()) {
            Ok(approvers) => approvers,
            Err(error) => {
                desk.leave().await?;
                complain(&error.to_string());
                return Ok(ExitCode::from(NO));
            }
        };
        let tls = trust::Verification::read(&desk.config)?.upstreams;
        let tenants = audit_room::tenant_keys(&desk.config, &desk.installation, &tls);
        let keys = desk.keys(&desk.store).await?;
        let revealed = Revealed {
            reveal: self.reveal,
            operator,
            approvers,
        };
        desk.record(Body::Revealed(revealed)).await?;
        let shown = shown(&desk, (&keys, &tenants), &asked.request.of).await;
        desk.leave().await?;
        match shown? {
            Some(shown) => {
                // Whoever reads it closed the pipe early has what they wanted.
                let _ = std::io::stdout().write_all(&shown);
                Ok(ExitCode::SUCCESS)
            }
            None => {
                complain("nothing of it is kept, or it was erased");
                Ok(ExitCode::from(NO))
            }
        }
    }
}

/// What was sealed; nothing where it was not kept, or its key is shredded.
async fn shown(
    desk: &Desk,
    (keys, tenants): (&Keys, &Arc<dyn TenantKeys>),
    of: &Sealed,
) -> Result<Option<Vec<u8>>> {
    match of {
        Sealed::Payload { exchange, part } => {
            for entry in oversight::records_of(&desk.store, *exchange).await? {
                if let Some(text) = payload_of(desk, (keys, tenants), &entry, *part).await? {
                    return Ok(Some(text));
                }
            }
            Ok(None)
        }
        Sealed::Name { tenant, subject } => {
            // One row that somebody spoilt does not hide the name that others hold.
            let mut failed: Option<anyhow::Error> = None;
            for key in keys.of(tenant, subject).await? {
                if let KeptKey::Wrapped(wrapped) = key {
                    let key = match SubjectKey::unwrap(&**tenants, &wrapped).await {
                        Ok(key) => key,
                        Err(error) => {
                            failed = Some(error.into());
                            continue;
                        }
                    };
                    match key.name(&wrapped) {
                        Ok(name) => return Ok(Some(format!("{name}\n").into_bytes())),
                        Err(error) => failed = Some(error.into()),
                    }
                }
            }
            failed.map_or(Ok(None), Err)
        }
    }
}

async fn payload_of(
    desk: &Desk,
    (keys, tenants): (&Keys, &Arc<dyn TenantKeys>),
    entry: &Entry,
    part: Part,
) -> Result<Option<Vec<u8>>> {
    let sealed = kept::payloads(&desk.store, entry).await?;
    let Some(sealed) = sealed.into_iter().find(|sealed| sealed.part == part) else {
        return Ok(None);
    };
    match keys.key(sealed.key).await? {
        Some(KeptKey::Wrapped(wrapped)) => {
            let key = SubjectKey::unwrap(&**tenants, &wrapped).await?;
            Ok(Some(payload::open(entry, &sealed, &key)?.to_vec()))
        }
        Some(KeptKey::Erased(_)) | None => Ok(None),
    }
}

async fn list(who: Who) -> Result<ExitCode> {
    let desk = who.sit_down().await?;
    let (known, now) = (approvers(&desk)?, desk.now());
    for asked in oversight::reveals(&desk.store).await? {
        let request = &asked.request;
        if request.expires_at <= now {
            continue;
        }
        let of = match &request.of {
            Sealed::Payload { exchange, part } => format!("{} of {exchange}", part.name()),
            Sealed::Name { subject, .. } => format!("name of {subject}"),
        };
        say(&format!(
            "{} {of} until {} for {}: {} (approved by {}; opened {} times)",
            request.reveal,
            time_of(request.expires_at),
            request.operator.name(),
            request.reason,
            match asked.approvers(&known) {
                names if names.is_empty() => "nobody".to_owned(),
                names => names.join(", "),
            },
            asked.opened
        ));
    }
    desk.leave().await?;
    Ok(ExitCode::SUCCESS)
}
