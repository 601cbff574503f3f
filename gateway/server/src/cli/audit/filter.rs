//! Which records `cordon audit search` and `cordon audit export` ask for: one set of arguments, and what store and record are told of them.
//!
//! On failure: exit 2 with the argument that does not read, before anything is on record.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::Args;
use cordon_audit::Query;
use cordon_domain::{Action, ExchangeId};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::desk::Desk;

/// What is asked for. All that is given must hold.
#[derive(Args)]
pub(super) struct Filter {
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
    /// What happened to the gateways and to the audit itself instead of exchanges: starts, stops, reloads of policy, authority and trust, who touched the spool,
    /// and what people did with the audit. An export of these is jsonl.
    #[arg(long, conflicts_with_all = ["user", "decision", "rule", "outcome", "entity", "host", "upstream", "model", "exchange"])]
    events: bool,
    /// With --events: heartbeats too, whose absence tells when a gateway was away.
    #[arg(long, requires = "events")]
    heartbeats: bool,
}

/// What is asked for, once it is read.
pub(super) struct Sought {
    /// As the store is asked.
    pub(super) query: Query,
    /// As the record of it has it; users by their references.
    pub(super) words: BTreeMap<String, String>,
    /// Whether events are asked for, and no exchanges.
    pub(super) events: bool,
    user: Option<String>,
}

impl Filter {
    pub(super) fn read(self) -> Result<Sought> {
        let yes = |is: bool| is.then(|| "yes".to_owned());
        let words = [
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("decision", self.decision.clone()),
            ("rule", self.rule.clone()),
            ("outcome", self.outcome.clone()),
            ("entity", self.entity.clone()),
            ("host", self.host.clone()),
            ("upstream", self.upstream.clone()),
            ("model", self.model.clone()),
            ("exchange", self.exchange.map(|exchange| exchange.to_string())),
            ("events", yes(self.events)),
            ("heartbeats", yes(self.heartbeats)),
        ];
        let words = words
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok(Sought {
            words: words.collect(),
            query: Query {
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
                entity: self.entity,
                host: self.host,
                upstream: self.upstream,
                model: self.model,
                exchange: self.exchange,
                heartbeats: self.heartbeats,
                ..Query::default()
            },
            events: self.events,
            user: self.user,
        })
    }
}

impl Sought {
    /// The same, once there is a desk that knows references.
    pub(super) fn at(mut self, desk: &Desk) -> Self {
        if let Some(user) = self.user.take() {
            let reference = desk.reference(&user);
            self.words.insert("user".to_owned(), reference.clone());
            // Who shows no credentials stands in records as they are called.
            self.query.actors = vec![user, reference];
        }
        self
    }
}

/// A name as records spell it.
fn word<T: serde::de::DeserializeOwned>(name: &str) -> Result<T> {
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
