//! Sums by the hour, for dashboards: exchanges and LLM tokens by tenant, action, outcome, upstream and answering model.
//!
//! An exchange counts in the hour of its final state. What its intent says is held until then, or asked of the store where another
//! process had read it. Names of models come from upstreams, so there is a limit to how many an hour may have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cordon_domain::ExchangeId;

use super::Leaf;
use crate::{
    record::{Body, Entry},
    store::{Statement, Value, number},
};

const HOUR: u64 = 3_600_000;
/// Names of models that an hour tells apart.
const MODELS: usize = 200;
/// Open exchanges that are held; the intents of further ones are asked of the store.
const OPEN: usize = 100_000;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    hour: u64,
    tenant: String,
    action: &'static str,
    outcome: &'static str,
    upstream: String,
    model: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    exchanges: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// What an exchange's opening says of it.
#[derive(Clone, Debug)]
struct Opened {
    action: &'static str,
    upstream: String,
}

#[derive(Debug, Default)]
pub(super) struct Sums {
    open: HashMap<ExchangeId, Opened>,
    counts: BTreeMap<Kind, Count>,
    /// Models of the latest hour.
    models: (u64, BTreeSet<String>),
}

impl Sums {
    /// Exchanges that end among these records and of whose opening nothing is known.
    pub(super) fn unknown(&self, leaves: &[Leaf]) -> Vec<ExchangeId> {
        let mut here = BTreeSet::new();
        let mut unknown = Vec::new();
        for leaf in leaves {
            here.extend(leaf.entry.body.opens());
            if let Some(exchange) = leaf.entry.body.closes()
                && !here.contains(&exchange)
                && !self.open.contains_key(&exchange)
            {
                unknown.push(exchange);
            }
        }
        unknown
    }

    /// Notes how an exchange began.
    pub(super) fn open(&mut self, entry: &Entry) {
        let opened = match &entry.body {
            Body::Intent(it) => Opened {
                action: it.action.name(),
                upstream: it.upstream.clone().unwrap_or_default(),
            },
            Body::TunnelOpened(_) => Opened {
                action: "tunnel",
                upstream: String::new(),
            },
            _ => return,
        };
        if let Some(exchange) = entry.body.opens()
            && self.open.len() < OPEN
        {
            self.open.insert(exchange, opened);
        }
    }

    /// Counts a record in.
    pub(super) fn count(&mut self, entry: &Entry) {
        self.open(entry);
        let (outcome, model, tokens) = match &entry.body {
            Body::Seal(it) => (
                it.outcome.name(),
                it.model.clone().unwrap_or_default(),
                (it.input_tokens.unwrap_or(0), it.output_tokens.unwrap_or(0)),
            ),
            Body::TunnelClosed(_) => ("completed", String::new(), (0, 0)),
            Body::Refused(_) => ("refused", String::new(), (0, 0)),
            _ => return,
        };
        let opened = entry
            .body
            .closes()
            .and_then(|exchange| self.open.remove(&exchange));
        let opened = opened.unwrap_or(Opened {
            action: match &entry.body {
                Body::Refused(_) => "turned_away",
                _ => "unknown",
            },
            upstream: String::new(),
        });
        let hour = entry.at / HOUR * HOUR;
        let kind = Kind {
            hour,
            tenant: entry.tree().tenant().to_owned(),
            action: opened.action,
            outcome,
            upstream: opened.upstream,
            model: self.told_apart(hour, model),
        };
        let count = self.counts.entry(kind).or_default();
        count.exchanges += 1;
        count.input_tokens += tokens.0;
        count.output_tokens += tokens.1;
    }

    /// The name that a model is counted under.
    fn told_apart(&mut self, hour: u64, model: String) -> String {
        if hour > self.models.0 {
            self.models = (hour, BTreeSet::new());
        }
        if self.models.1.contains(&model) {
            return model;
        }
        if self.models.1.len() >= MODELS {
            return "(others)".to_owned();
        }
        self.models.1.insert(model.clone());
        model
    }

    /// The statements that add what was counted to the store's sums.
    pub(super) fn take(&mut self) -> Vec<Statement> {
        let statement = |(kind, count): (Kind, Count)| Statement {
            sql: "INSERT INTO audit_hour (hour, tenant, action, outcome, upstream, model, exchanges, input_tokens, output_tokens) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                  ON CONFLICT (hour, tenant, action, outcome, upstream, model) DO UPDATE SET \
                  exchanges = audit_hour.exchanges + excluded.exchanges, \
                  input_tokens = audit_hour.input_tokens + excluded.input_tokens, \
                  output_tokens = audit_hour.output_tokens + excluded.output_tokens",
            values: vec![
                number(kind.hour),
                Value::Text(kind.tenant),
                Value::Text(kind.action.to_owned()),
                Value::Text(kind.outcome.to_owned()),
                Value::Text(kind.upstream),
                Value::Text(kind.model),
                number(count.exchanges),
                number(count.input_tokens),
                number(count.output_tokens),
            ],
        };
        std::mem::take(&mut self.counts)
            .into_iter()
            .map(statement)
            .collect()
    }
}
