//! `cordon audit search`: who sent what, where, under which rule.

use std::{fmt::Write as _, io::Read as _, process::ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use cordon_audit::{
    Asked, BlindKey, Body, Entry, HoldPlaced, Query, Row, Searched, Store, Trust, kept, oversight,
};
use cordon_domain::EntityType;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    super::{NO, complain, say},
    desk::{Desk, Who},
    filter::{Filter, Sought},
};

/// Values that an operator may look up in an hour.
const LOOK_UPS: usize = 20;
const HOUR: u64 = 3_600_000;
/// Exchanges that one look-up finds at most.
const MOST_FOUND: u32 = 1000;
/// The longest value that is read from standard input.
const MOST_VALUE: u64 = 4096;

/// Arguments of `cordon audit search`.
#[derive(Args)]
pub(super) struct Search {
    #[command(flatten)]
    filter: Filter,
    /// With --events: searches of the audit too.
    #[arg(long, requires = "events")]
    searches: bool,
    /// Rows at most.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exchanges in whose request this value was found, by the blind index: twenty look-ups an hour. `-` reads it from standard input.
    #[arg(long, requires = "entity", conflicts_with = "events")]
    value: Option<String>,
    #[command(flatten)]
    who: Who,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Jsonl,
}

impl Search {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let sought = self.filter.read()?;
        let desk = self.who.sit_down().await?;
        let Sought {
            mut query,
            words,
            events,
            ..
        } = sought.at(&desk);
        let store = desk.store.clone();
        let value = self.value.map(read_value).transpose()?;
        let value_of = match (&value, &query.entity) {
            (Some(_), Some(entity)) => Some(entity.parse::<EntityType>()?),
            _ => None,
        };
        let blind = match (&value, &value_of) {
            (Some(value), Some(entity)) => Some(BlindKey::of(&desk.key.commitments()).value(entity, value)?),
            _ => None,
        };
        if value_of.is_some() && !may_look_up(&desk).await? {
            desk.leave().await?;
            complain(&format!("{LOOK_UPS} values an hour can be looked up; wait"));
            return Ok(ExitCode::from(NO));
        }
        let searched = Searched {
            operator: desk.operator.clone(),
            filter: words,
            value_of: value_of.clone(),
        };
        desk.record(Body::Searched(searched)).await?;
        desk.leave().await?;
        let within = match (blind, &value_of) {
            (Some(blind), Some(entity)) => {
                Some(kept::exchanges_with(&store, entity, blind, MOST_FOUND).await?)
            }
            _ => None,
        };
        if value_of.is_some() {
            // A look-up has said where already.
            query.entity = None;
        }
        query.searches = self.searches;
        if events {
            query.limit = u32::try_from(self.limit.min(1000)).unwrap_or(1000);
            for entry in cordon_audit::events(&store, &query).await? {
                say(&match self.format {
                    Format::Text => happened(&entry),
                    Format::Jsonl => serde_json::to_string(&entry).context("a record is plain JSON")?,
                });
            }
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(within) = within {
            for exchange in within.into_iter().take(self.limit) {
                query.exchange = Some(exchange);
                query.limit = 1;
                print(&store, &query, self.format).await?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut left = self.limit;
        while left > 0 {
            query.limit = u32::try_from(left.min(1000)).unwrap_or(1000);
            let rows = print(&store, &query, self.format).await?;
            left -= rows.len();
            query.after = rows.last().map(Row::position);
            if rows.len() < query.limit as usize {
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a page.
async fn print(store: &Store, query: &Query, format: Format) -> Result<Vec<Row>> {
    let rows = cordon_audit::search(store, query).await?;
    for row in &rows {
        say(&match format {
            Format::Text => shown(row),
            Format::Jsonl => serde_json::to_string(row).context("a record is plain JSON")?,
        });
    }
    Ok(rows)
}

/// Whether the operator has not used up what may be looked up in an hour. Names that are only claimed do not count.
async fn may_look_up(desk: &Desk) -> Result<bool> {
    let since = desk.now().saturating_sub(HOUR);
    let used = oversight::lookups(&desk.store, &desk.operator.user, since).await?;
    Ok(used < LOOK_UPS)
}

/// The value to look up, which need not stand on the command line, where other users could read it.
fn read_value(value: String) -> Result<String> {
    if value != "-" {
        return Ok(value);
    }
    let mut read = String::new();
    let mut input = std::io::stdin().take(MOST_VALUE + 1);
    input
        .read_to_string(&mut read)
        .context("the value is read from standard input")?;
    ensure!(
        read.len() as u64 <= MOST_VALUE,
        "the value is longer than {MOST_VALUE} bytes"
    );
    Ok(read.trim().to_owned())
}

/// A question of an exchange for a person.
fn question(asked: &Asked) -> String {
    let mut told = format!(" {}?={}", asked.question, asked.answer.name());
    for (mark, word) in [(":", &asked.reason), ("!", &asked.failure)] {
        if let Some(word) = word {
            let _ = write!(told, "{mark}{word}");
        }
    }
    told
}

/// A moment for a person.
pub(super) fn time_of(at: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// What happened to a gateway, for a person.
fn happened(entry: &Entry) -> String {
    let outcome = |accepted: bool| if accepted { "in force" } else { "refused" };
    let what = match &entry.body {
        Body::Started(it) => format!(
            "version={} policy={}{}",
            it.version,
            it.policy_hash,
            trust(&it.trust)
        ),
        Body::Stopped(it) => format!("by {}", it.reason),
        Body::PolicyReloaded(it) => format!("{} policy={}", outcome(it.accepted), it.policy_hash),
        Body::TrustReloaded(it) => format!("{:?} {}{}", it.part, outcome(it.accepted), trust(&it.trust)),
        Body::Heartbeat(it) => format!(
            "every {} s, {} waiting for the store, {} refused, {} writes failed",
            it.interval_seconds, it.depth, it.refused, it.write_failures
        ),
        Body::SpoolTampered(it) => {
            let outcome = if it.restored { "put back" } else { "not put back" };
            let records = match (it.first_sequence, it.last_sequence) {
                (Some(first), Some(last)) => {
                    format!(" with records {}:{first} to {last}, {outcome}", entry.writer)
                }
                _ => String::new(),
            };
            format!("{}{records}", it.what.name())
        }
        Body::Searched(it) => {
            let filter: Vec<String> = it
                .filter
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("by {} {}", it.operator.name(), filter.join(" "))
        }
        Body::Erased(it) => format!("{} by {}: {}", it.subject, it.operator.name(), it.reason),
        Body::EraseRefused(it) => {
            format!(
                "{} by {}: {}; hold {}",
                it.subject,
                it.operator.name(),
                it.reason,
                it.hold
            )
        }
        Body::HoldPlaced(HoldPlaced {
            hold,
            operator,
            reason,
            ..
        }) => {
            format!("{hold} by {}: {reason}", operator.name())
        }
        Body::HoldReleased(it) => format!("{} by {}: {}", it.hold, it.operator.name(), it.reason),
        Body::RevealRequested(it) => format!("{} by {}: {}", it.reveal, it.operator.name(), it.reason),
        Body::RevealApproved(it) => format!(
            "{} by {}",
            it.reveal,
            it.signature.split(' ').nth(1).unwrap_or_default()
        ),
        Body::Revealed(it) => {
            format!(
                "{} to {}, approved by {}",
                it.reveal,
                it.operator.name(),
                it.approvers.join(", ")
            )
        }
        Body::ExportStarted(it) => {
            let filter: String = it
                .filter
                .iter()
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            format!("{} by {} as {}{filter}", it.export, it.operator.name(), it.format)
        }
        Body::Exported(it) => format!(
            "{} by {}: {} records, SHA-256 {}",
            it.export,
            it.operator.name(),
            it.records,
            it.sha256
        ),
        _ => String::new(),
    };
    format!("{} {} {what}", time_of(entry.at), entry.body.kind())
}

/// What TLS rests on, for a person.
fn trust(trust: &Trust) -> String {
    let mut told = String::new();
    for (which, hash) in &trust.certificates {
        let _ = write!(told, " {which}={hash}");
    }
    if let Some(hash) = &trust.files_hash {
        let _ = write!(told, " files={} {hash}", trust.files);
    }
    told
}

/// A row for a person.
fn shown(row: &Row) -> String {
    let at = time_of(row.at);
    let what = match &row.opening.body {
        Body::Intent(intent) => {
            let entities: Vec<String> = intent
                .entities
                .iter()
                .map(|(entity, count)| format!("{entity}={count}"))
                .collect();
            let sources: String = intent
                .sources
                .iter()
                .map(|source| format!(" {} % of {} in {}", source.percent, source.file, source.set))
                .collect();
            let questions: String = intent.questions.iter().map(question).collect();
            format!(
                "{} {} {} by {} [{}]{sources}{questions} -> {} model={}",
                intent.actor.user,
                intent.dialect,
                intent.action,
                intent.rule,
                entities.join(" "),
                intent.upstream.as_deref().unwrap_or("nobody"),
                intent.model.as_deref().unwrap_or("-"),
            )
        }
        Body::Refused(refused) => format!(
            "{} {} refused {} ({})",
            refused.actor.user, refused.dialect, refused.code, refused.status
        ),
        Body::TunnelOpened(tunnel) => {
            format!("{} tunnel to {}:{}", tunnel.actor.user, tunnel.host, tunnel.port)
        }
        other => other.kind().to_owned(),
    };
    let end = match row.closing.as_ref().map(|entry| &entry.body) {
        Some(Body::Seal(seal)) => format!(
            " {} {} in={} out={} {} ms",
            seal.outcome,
            seal.status,
            seal.input_tokens.unwrap_or_default(),
            seal.output_tokens.unwrap_or_default(),
            seal.latency_ms
        ),
        Some(Body::TunnelClosed(closed)) => {
            format!(
                " closed up={} down={} {} ms",
                closed.bytes_up, closed.bytes_down, closed.duration_ms
            )
        }
        Some(other) => format!(" {}", other.kind()),
        None if matches!(row.opening.body, Body::Refused(_)) => String::new(),
        None => " under way".to_owned(),
    };
    format!("{at} {} {what}{end}", row.exchange)
}
