//! `cordon audit search`: who sent what, where, under which rule.

use std::{collections::BTreeMap, fmt::Write as _, io::Read as _, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use cordon_audit::{
    Asked, BlindKey, Body, Entry, HoldPlaced, Query, Row, Searched, Store, Trust, kept, oversight,
};
use cordon_domain::{Action, EntityType, ExchangeId};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::{
    super::{NO, complain, say},
    desk::{Desk, Who},
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
    /// Who asked: a user, or the reference that stands for one in records.
    #[arg(long)]
    user: Option<String>,
    /// From this time on: `2026-11-22` or RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What was decided: allow, alert, redact, reroute, coach, block.
    #[arg(long, value_name = "ACTION")]
    decision: Option<String>,
    /// The rule that decided.
    #[arg(long)]
    rule: Option<String>,
    /// How it ended: completed, refused, upstream_failed, client_left, internal, unknown.
    #[arg(long)]
    outcome: Option<String>,
    /// An entity type found; a family covers its members.
    #[arg(long, value_name = "TYPE")]
    entity: Option<String>,
    /// The intercepted or tunnelled host.
    #[arg(long)]
    host: Option<String>,
    /// The upstream's name.
    #[arg(long)]
    upstream: Option<String>,
    /// The model asked for or answering.
    #[arg(long)]
    model: Option<String>,
    /// One exchange, by the id that its caller was shown.
    #[arg(long, value_name = "ID")]
    exchange: Option<ExchangeId>,
    /// What happened to the gateway itself instead: starts, stops, reloads of policy, authority and trust, and who touched the spool.
    #[arg(long, conflicts_with_all = ["user", "decision", "rule", "outcome", "entity", "host", "upstream", "model", "exchange"])]
    events: bool,
    /// With --events: heartbeats too, whose absence tells when a gateway was away.
    #[arg(long, requires = "events")]
    heartbeats: bool,
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
    /// What is asked for, as the record of the search has it; but for the user, whose reference is put there.
    fn filter(&self) -> BTreeMap<String, String> {
        let text = |value: &Option<String>| value.clone();
        [
            ("since", text(&self.since)),
            ("until", text(&self.until)),
            ("decision", text(&self.decision)),
            ("rule", text(&self.rule)),
            ("outcome", text(&self.outcome)),
            ("entity", text(&self.entity)),
            ("host", text(&self.host)),
            ("upstream", text(&self.upstream)),
            ("model", text(&self.model)),
            ("exchange", self.exchange.map(|exchange| exchange.to_string())),
            ("events", self.events.then(|| "yes".to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    pub(super) async fn run(self) -> Result<ExitCode> {
        let filter = self.filter();
        let desk = self.who.sit_down().await?;
        let store = desk.store.clone();
        let value = self.value.map(read_value).transpose()?;
        let value_of = match (&value, &self.entity) {
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
        let mut recorded = filter;
        if let Some(user) = &self.user {
            recorded.insert("user".to_owned(), desk.reference(user));
        }
        let searched = Searched {
            operator: desk.operator.clone(),
            filter: recorded,
            value_of: value_of.clone(),
        };
        desk.record(Body::Searched(searched)).await?;
        let actors = match &self.user {
            // Who shows no credentials stands in records as they are called.
            Some(user) => vec![user.clone(), desk.reference(user)],
            None => Vec::new(),
        };
        desk.leave().await?;
        let within = match (blind, &value_of) {
            (Some(blind), Some(entity)) => {
                Some(kept::exchanges_with(&store, entity, blind, MOST_FOUND).await?)
            }
            _ => None,
        };
        let mut query = Query {
            actors,
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
            decision: self
                .decision
                .as_deref()
                .map(word::<Action>)
                .transpose()
                .context("--decision")?,
            rule: self.rule,
            outcome: self
                .outcome
                .as_deref()
                .map(word)
                .transpose()
                .context("--outcome")?,
            // A look-up has said where already.
            entity: self.entity.filter(|_| value_of.is_none()),
            host: self.host,
            upstream: self.upstream,
            model: self.model,
            exchange: self.exchange,
            heartbeats: self.heartbeats,
            searches: self.searches,
            limit: 0,
            after: None,
        };
        if self.events {
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

/// A name as records spell it.
pub(super) fn word<T: serde::de::DeserializeOwned>(name: &str) -> Result<T> {
    match serde_json::from_value(serde_json::Value::String(name.to_owned())) {
        Ok(value) => Ok(value),
        Err(_) => bail!("`{name}` is not one of the names that records use"),
    }
}

/// A day or a moment, in milliseconds since 1970.
pub(super) fn moment(text: &str) -> Result<u64> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let at = match day {
        Ok(day) => day.midnight().assume_utc(),
        Err(_) => OffsetDateTime::parse(text, &Rfc3339)
            .with_context(|| format!("`{text}` is no time; write 2026-11-22 or 2026-11-22T08:30:00Z"))?,
    };
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).context("the time lies before 1970")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments_are_read() {
        assert_eq!(moment("1970-01-02").unwrap(), 86_400_000);
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), 1000);
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn names_are_those_of_records() {
        assert_eq!(word::<Action>("redact").unwrap(), Action::Redact);
        assert!(word::<Action>("Redact").is_err());
    }
}
