//! What Prometheus reads. Labels are of small, closed sets: never a user, a host of a tunnel, a
//! model name from a caller, or any text of a request.

use std::time::Duration;

use cordon_audit::{Answer, Asked, AuditMetrics};
use cordon_domain::Dialect;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Every metric of the proxy.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    stages: HistogramVec,
    exchange: Histogram,
    findings: IntCounterVec,
    reply_findings: IntCounterVec,
    questions: IntCounterVec,
    question_texts: IntCounterVec,
    question_tokens: IntCounterVec,
    engine_tokens: IntCounterVec,
    /// Exchanges under way.
    pub exchanges: IntGauge,
    /// Tunnels open.
    pub tunnels: IntGauge,
    tunnel_bytes: IntCounterVec,
    spool_depth: IntGauge,
    spool_bytes: IntGauge,
    spool_failures: IntCounterVec,
    sequenced: IntCounter,
    checkpoints: IntCounter,
    engine_up: IntGauge,
    engine_restarts: IntCounter,
    reloads: IntCounterVec,
    ca_expires: IntGaugeVec,
    turned_away: IntCounterVec,
    vouching: IntCounterVec,
    delivered: IntCounterVec,
    delivery_lag: IntGaugeVec,
    delivery_failures: IntCounterVec,
    spans: IntCounterVec,
}

/// What became of spans, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// The collector has them.
    Sent,
    /// There was no room for them, or no time at the end.
    Dropped,
    /// The collector would not have them.
    Rejected,
}

impl Spans {
    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
        }
    }
}

/// A stage of the path of a request, as a label.
#[derive(Clone, Copy)]
pub enum Stage {
    /// Who is it.
    Identify,
    /// Reading and parsing the body.
    Decode,
    /// Reading files out.
    Files,
    /// Detectors.
    Inspect,
    /// Questions to the on-prem model.
    Ask,
    /// Policy.
    Decide,
    /// Edits.
    Transform,
    /// Until the upstream's first byte of a reply.
    Route,
    /// The reply, to its last byte.
    Respond,
    /// Until a record is durable.
    Audit,
}

impl Stage {
    const ALL: [Self; 10] = [
        Self::Identify,
        Self::Decode,
        Self::Files,
        Self::Inspect,
        Self::Ask,
        Self::Decide,
        Self::Transform,
        Self::Route,
        Self::Respond,
        Self::Audit,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Decode => "decode",
            Self::Files => "files",
            Self::Inspect => "inspect",
            Self::Ask => "ask",
            Self::Decide => "decide",
            Self::Transform => "transform",
            Self::Route => "route",
            Self::Respond => "respond",
            Self::Audit => "audit",
        }
    }
}

impl Metrics {
    /// A registry with every metric in it.
    pub fn new() -> Self {
        let registry =
            Registry::new_custom(Some("cordon".to_owned()), None).expect("the prefix is a plain word");
        let counters = |name: &str, what: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, what), labels).expect("names are plain words");
            registry
                .register(Box::new(metric.clone()))
                .expect("each name is registered once");
            metric
        };
        let gauge = |name: &str, what: &str| {
            let metric = IntGauge::new(name, what).expect("names are plain words");
            registry
                .register(Box::new(metric.clone()))
                .expect("each name is registered once");
            metric
        };
        let seconds = [
            0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
            1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
        ];
        let stages = HistogramVec::new(
            HistogramOpts::new("stage_seconds", "Time spent in each stage of an exchange.")
                .buckets(seconds.to_vec()),
            &["stage"],
        )
        .expect("names are plain words");
        registry
            .register(Box::new(stages.clone()))
            .expect("each name is registered once");
        let exchange = Histogram::with_opts(
            HistogramOpts::new(
                "exchange_seconds",
                "From a request's head to the last byte of its reply.",
            )
            .buckets(seconds.to_vec()),
        )
        .expect("names are plain words");
        registry
            .register(Box::new(exchange.clone()))
            .expect("each name is registered once");
        let counter = |name: &str, what: &str| {
            let metric = IntCounter::new(name, what).expect("names are plain words");
            registry
                .register(Box::new(metric.clone()))
                .expect("each name is registered once");
            metric
        };
        let ca_expires = IntGaugeVec::new(
            Opts::new(
                "ca_expires_seconds",
                "Seconds until a certificate of the authority ends: root, interception, gateway.",
            ),
            &["certificate"],
        )
        .expect("names are plain words");
        registry
            .register(Box::new(ca_expires.clone()))
            .expect("each name is registered once");
        let delivery_lag = IntGaugeVec::new(
            Opts::new(
                "audit_delivery_lag_records",
                "Audit records that the store has and a destination is not known to have; told by the gateway that delivers.",
            ),
            &["destination"],
        )
        .expect("names are plain words");
        registry
            .register(Box::new(delivery_lag.clone()))
            .expect("each name is registered once");
        for stage in Stage::ALL {
            let _ = stages.with_label_values(&[stage.name()]);
        }
        Self {
            requests: counters(
                "requests_total",
                "Exchanges by dialect, decision and upstream.",
                &["dialect", "decision", "upstream"],
            ),
            refusals: counters(
                "refusals_total",
                "Exchanges refused, by the refusal's code.",
                &["code"],
            ),
            findings: counters(
                "findings_total",
                "Findings in requests, by entity type.",
                &["entity"],
            ),
            reply_findings: counters(
                "reply_findings_total",
                "Findings in replies, by entity type.",
                &["entity"],
            ),
            questions: counters(
                "questions_total",
                "Questions of the policy to the on-prem model, by what came of them: yes, no, or why a text has no answer.",
                &["question", "outcome"],
            ),
            question_texts: counters(
                "question_texts_total",
                "Texts and parts of texts that questions were asked about; cached were answered before.",
                &["question", "cached"],
            ),
            question_tokens: counters(
                "question_tokens_total",
                "LLM tokens that questions took.",
                &["question"],
            ),
            engine_tokens: counters(
                "engine_tokens_total",
                "LLM tokens that the engine read and wrote.",
                &["direction"],
            ),
            exchanges: gauge("exchanges", "Exchanges under way."),
            tunnels: gauge("tunnels", "Tunnels open."),
            tunnel_bytes: counters("tunnel_bytes_total", "Bytes passed unread.", &["direction"]),
            spool_depth: gauge("spool_depth", "Records waiting for the store."),
            spool_bytes: gauge("spool_bytes", "Bytes that the spool takes on disk."),
            sequenced: counter(
                "audit_sequenced_total",
                "Audit records that this gateway put into trees",
            ),
            checkpoints: counter(
                "audit_checkpoints_total",
                "Checkpoints of audit trees that it signed",
            ),
            spool_failures: counters(
                "spool_failures_total",
                "What went wrong with the spool: writes that failed, records that were refused, files that somebody touched, batches that the store did not take.",
                &["what"],
            ),
            engine_up: gauge("engine_up", "1 while the engine answers."),
            reloads: counters(
                "reloads_total",
                "Reloads of policy, detectors, keys, the authority and revocation lists.",
                &["outcome"],
            ),
            vouching: counters(
                "audit_vouching_total",
                "Checkpoints of the audit that witnesses, publications and the time-stamping authority took, or did not.",
                &["kind", "name", "outcome"],
            ),
            delivered: counters(
                "audit_delivered_total",
                "Audit records that this gateway brought to a destination.",
                &["destination"],
            ),
            delivery_failures: counters(
                "audit_delivery_failures_total",
                "What went wrong with delivering audit records: tries that failed, records that were pruned before, records that went without their body.",
                &["destination", "what"],
            ),
            delivery_lag,
            spans: counters(
                "trace_spans_total",
                "Spans of traces: sent, dropped where the queue was full or at the end, rejected by the collector.",
                &["outcome"],
            ),
            turned_away: counters(
                "turned_away_total",
                "Connections and requests turned away before the path of a request, by cause.",
                &["cause"],
            ),
            ca_expires,
            stages,
            exchange,
            engine_restarts: counter(
                "engine_restarts_total",
                "Times the engine process was started again.",
            ),
            registry,
        }
    }

    /// Counts an exchange that was answered or refused.
    pub fn request(&self, dialect: Dialect, decision: &str, upstream: &str) {
        self.requests
            .with_label_values(&[dialect.name(), decision, upstream])
            .inc();
    }

    /// Counts a refusal.
    pub fn refusal(&self, code: &'static str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// Notes how long a stage took.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages
            .with_label_values(&[stage.name()])
            .observe(took.as_secs_f64());
    }

    /// Notes how long a whole exchange took.
    pub fn exchange(&self, took: Duration) {
        self.exchange.observe(took.as_secs_f64());
    }

    /// Counts findings of a request.
    pub fn findings(&self, entity: &str, count: u64) {
        self.findings.with_label_values(&[entity]).inc_by(count);
    }

    /// Counts a question to the on-prem model. Its name is one of the policy's.
    pub fn question(&self, asked: &Asked) {
        let question = asked.question.as_str();
        let outcome = match (&asked.failure, asked.answer) {
            (_, Answer::Yes) | (None, _) => asked.answer.name(),
            (Some(failure), _) => failure,
        };
        self.questions.with_label_values(&[question, outcome]).inc();
        self.question_texts
            .with_label_values(&[question, "true"])
            .inc_by(asked.cached);
        self.question_texts
            .with_label_values(&[question, "false"])
            .inc_by(asked.texts.saturating_sub(asked.cached));
        self.question_tokens
            .with_label_values(&[question])
            .inc_by(asked.tokens);
    }

    /// Counts findings of a reply.
    pub fn reply_findings(&self, entity: &str, count: u64) {
        self.reply_findings.with_label_values(&[entity]).inc_by(count);
    }

    /// Counts LLM tokens of the engine.
    pub fn engine_tokens(&self, input: u64, output: u64) {
        self.engine_tokens.with_label_values(&["input"]).inc_by(input);
        self.engine_tokens.with_label_values(&["output"]).inc_by(output);
    }

    /// Counts the bytes of a tunnel that closed.
    pub fn tunnel_bytes(&self, up: u64, down: u64) {
        self.tunnel_bytes.with_label_values(&["up"]).inc_by(up);
        self.tunnel_bytes.with_label_values(&["down"]).inc_by(down);
    }

    /// Counts a start of the engine after its first.
    pub fn engine_restarted(&self) {
        self.engine_restarts.inc();
    }

    /// Counts a reload.
    pub fn reload(&self, outcome: &'static str) {
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// Notes how long a certificate of the authority is valid yet.
    pub fn ca_expires(&self, certificate: &str, seconds: i64) {
        self.ca_expires.with_label_values(&[certificate]).set(seconds);
    }

    /// Counts what became of a checkpoint of the audit with somebody who vouches for it.
    pub fn vouched(&self, kind: &str, name: &str, outcome: &str) {
        self.vouching.with_label_values(&[kind, name, outcome]).inc();
    }

    /// Counts audit records that have arrived at a destination.
    pub fn delivered(&self, destination: &str, records: u64) {
        self.delivered.with_label_values(&[destination]).inc_by(records);
    }

    /// Counts what went wrong with delivering to a destination.
    pub fn not_delivered(&self, destination: &str, what: &str, count: u64) {
        self.delivery_failures
            .with_label_values(&[destination, what])
            .inc_by(count);
    }

    /// Notes how many records a destination is not known to have.
    pub fn delivery_lag(&self, destination: &str, records: u64) {
        self.delivery_lag
            .with_label_values(&[destination])
            .set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// Says nothing more of how far a destination is.
    pub fn delivery_ends(&self, destination: &str) {
        // There is nothing to remove where nothing was noted.
        let _ = self.delivery_lag.remove_label_values(&[destination]);
    }

    /// Counts what became of spans.
    pub fn spans(&self, what: Spans, spans: u64) {
        self.spans.with_label_values(&[what.name()]).inc_by(spans);
    }

    /// How many spans that became of.
    #[cfg(test)]
    pub fn spans_so_far(&self, what: Spans) -> u64 {
        self.spans.with_label_values(&[what.name()]).get()
    }

    /// Counts a connection or request turned away by the listeners.
    pub fn turned_away(&self, cause: &str) {
        self.turned_away.with_label_values(&[cause]).inc();
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn render(&self, audit: &AuditMetrics, engine_up: bool) -> Vec<u8> {
        self.spool_depth
            .set(i64::try_from(audit.depth).unwrap_or(i64::MAX));
        self.spool_bytes
            .set(i64::try_from(audit.spool_bytes).unwrap_or(i64::MAX));
        for (what, count) in [
            ("write", audit.write_failures),
            ("refused", audit.refused),
            ("tampered", audit.tampered),
            ("store", audit.ship_failures),
            ("trees", audit.sequence_failures),
        ] {
            let counter = self.spool_failures.with_label_values(&[what]);
            // Two renderings at once may both see the older value; the next one puts it right.
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        for (counter, count) in [
            (&self.sequenced, audit.sequenced),
            (&self.checkpoints, audit.checkpoints),
        ] {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.engine_up.set(i64::from(engine_up));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::new();
        metrics.request(Dialect::OpenaiChat, "redact", "engine");
        metrics.engine_tokens(5, 7);
        let audit = AuditMetrics {
            recorded: 9,
            refused: 0,
            syncs: 4,
            write_failures: 0,
            tampered: 2,
            batches_shipped: 1,
            ship_failures: 0,
            sequenced: 8,
            checkpoints: 2,
            sequence_failures: 1,
            depth: 3,
            segments: 1,
            spool_bytes: 8,
            healthy: true,
        };
        metrics.render(&audit, true);
        let text = String::from_utf8(metrics.render(&audit, true)).unwrap();
        assert!(text.contains(
            "cordon_requests_total{decision=\"redact\",dialect=\"openai-chat\",upstream=\"engine\"} 1"
        ));
        assert!(text.contains("cordon_engine_tokens_total{direction=\"output\"} 7"));
        assert!(text.contains("cordon_spool_depth 3"));
        assert!(text.contains("cordon_spool_failures_total{what=\"tampered\"} 2"));
        assert!(text.contains("cordon_spool_failures_total{what=\"trees\"} 1"));
        assert!(text.contains("cordon_audit_checkpoints_total 2"));
    }
}
