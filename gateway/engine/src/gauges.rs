//! What `/metrics` tells. No label holds anything of a request.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Seconds, from a decode step on a GPU to a long prompt on a CPU.
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// All counters and gauges of a model.
///
/// `waiting` and `kept_ratio` are the two signals that a balancer over several engines needs
/// (queued requests, use of the key-value cache).
pub(crate) struct Gauges {
    /// Answers by how they ended.
    pub(crate) answers: IntCounterVec,
    /// Refused requests by error code.
    pub(crate) refusals: IntCounterVec,
    pub(crate) prompt_tokens: IntCounter,
    pub(crate) cached_tokens: IntCounter,
    pub(crate) answer_tokens: IntCounter,
    pub(crate) waiting: IntGauge,
    pub(crate) busy: IntGauge,
    pub(crate) slots: IntGauge,
    pub(crate) speed: Gauge,
    kept_ratio: Gauge,
    pub(crate) queue_seconds: Histogram,
    pub(crate) first_token_seconds: Histogram,
    pub(crate) between_tokens_seconds: Histogram,
    pub(crate) step_seconds: Histogram,
}

impl Gauges {
    /// What all models' are registered with.
    pub(crate) fn registry() -> prometheus::Result<Registry> {
        Registry::new_custom(Some("cordon_engine".to_owned()), None)
    }

    /// Registered and at zero. Fails only if two had the same name and model.
    pub(crate) fn new(registry: &Registry, model: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("model", model);
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let made = IntCounter::with_opts(opts(name, help))?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let counters = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let made = IntCounterVec::new(opts(name, help), &[label])?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let count = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let made = IntGauge::with_opts(opts(name, help))?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let number = |name: &str, help: &str| -> prometheus::Result<Gauge> {
            let made = Gauge::with_opts(opts(name, help))?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        let seconds = |name: &str, help: &str| -> prometheus::Result<Histogram> {
            let made = Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        };
        Ok(Self {
            answers: counters("answers_total", "Answers by how they ended.", "outcome")?,
            refusals: counters("refusals_total", "Requests not answered, by error code.", "code")?,
            prompt_tokens: counter("prompt_tokens_total", "Prompt tokens decoded.")?,
            cached_tokens: counter(
                "prompt_tokens_cached_total",
                "Prompt tokens that needed no decoding.",
            )?,
            answer_tokens: counter("answer_tokens_total", "Tokens answered.")?,
            waiting: count("requests_waiting", "Requests waiting for a slot.")?,
            busy: count("slots_busy", "Slots answering now.")?,
            slots: count("slots", "Slots.")?,
            speed: number(
                "answer_tokens_per_second",
                "Tokens answered a second, over the last second.",
            )?,
            kept_ratio: number(
                "kv_cache_usage_ratio",
                "Part of the key-value cache in use, 0 to 1.",
            )?,
            queue_seconds: seconds("queue_seconds", "Wait for a slot.")?,
            first_token_seconds: seconds("first_token_seconds", "From asking to the first token.")?,
            between_tokens_seconds: seconds("between_tokens_seconds", "Between two tokens of an answer.")?,
            step_seconds: seconds("step_seconds", "One decode step.")?,
        })
    }

    /// Sets how full the context is.
    pub(crate) fn set_kept(&self, kept: usize, capacity: usize) {
        // Far below 2^52, so exact.
        self.kept_ratio.set(kept as f64 / capacity.max(1) as f64);
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn text(registry: &Registry) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_registered_under_one_prefix() {
        let registry = Gauges::registry().unwrap();
        let gauges = Gauges::new(&registry, "a").unwrap();
        Gauges::new(&registry, "b").unwrap();
        gauges.answers.with_label_values(&["stop"]).inc();
        gauges.set_kept(1, 4);
        let text = String::from_utf8(Gauges::text(&registry).unwrap()).unwrap();
        assert!(
            text.contains("cordon_engine_answers_total{model=\"a\",outcome=\"stop\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("cordon_engine_kv_cache_usage_ratio{model=\"a\"} 0.25"),
            "{text}"
        );
        assert!(
            text.contains("cordon_engine_requests_waiting{model=\"b\"} 0"),
            "{text}"
        );
    }
}
