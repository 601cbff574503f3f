//! Where traces of exchanges go: `traces` of the file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use http::{HeaderName, HeaderValue, Uri, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{audit::is_loopback, setting::Setting};

/// Headers that are ours to write.
const OURS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::HOST,
];

/// An OpenTelemetry collector that gets a span of each exchange, over OTLP/HTTP. Nothing of what was asked or answered is in them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The URL that spans are posted to, path and all: `https://HOST:4318/v1/traces`. `http://` is for an agent on this machine.
    pub endpoint: String,
    /// Headers of each request, as for a login; best as `${file:PATH}`. A file is read each time, so that it may be renewed.
    #[serde(default)]
    pub headers: BTreeMap<String, Setting>,
    /// CA certificates (PEM) that the collector's is verified against, beside those that upstreams' are.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The share of traces that are sent, from 0 to 1; which, the trace's id says, the same on every replica.
    #[serde(default = "all")]
    #[schemars(range(min = 0, max = 1))]
    pub sample: f64,
    /// `service.name` of every span.
    #[serde(default = "cordon")]
    pub service_name: String,
}

fn all() -> f64 {
    1.0
}

fn cordon() -> String {
    "cordon".to_owned()
}

impl Traces {
    /// Reads what is in files and variables, makes paths count from `base`, and says what is wrong, each by its key.
    pub(super) fn resolve(&mut self, base: &Path) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Some(ca) = &mut self.ca {
            *ca = base.join(&*ca);
        }
        for (name, value) in &mut self.headers {
            if let Err(message) = value.resolve(base) {
                faults.push(("headers", format!("`traces.headers`: `{name}`: {message}")));
                continue;
            }
            let parsed: Option<HeaderName> = name.parse().ok();
            if parsed.is_none_or(|name| OURS.contains(&name)) {
                let what = "is no header's name, or one that Cordon writes itself";
                faults.push(("headers", format!("`traces.headers`: `{name}` {what}")));
            }
            if HeaderValue::from_str(value.value()).is_err() {
                let what = "has characters that no header can hold";
                faults.push((
                    "headers",
                    format!("`traces.headers`: the value of `{name}` {what}"),
                ));
            }
        }
        let uri: Option<Uri> = self.endpoint.parse().ok();
        let is_whole = uri.is_some_and(|uri| {
            let authority = uri.authority().map(http::uri::Authority::as_str);
            authority.is_some_and(|authority| !authority.contains('@')) && uri.query().is_none()
        });
        if !is_whole || !(self.endpoint.starts_with("https://") || is_loopback(&self.endpoint)) {
            let what = "`traces.endpoint` must be an https:// URL without login and query, as spans say who asks what; plain http:// is for a loopback address";
            faults.push(("endpoint", what.to_owned()));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            faults.push(("sample", "`traces.sample` must be 0 to 1".to_owned()));
        }
        if self.service_name.is_empty() || self.service_name.len() > 128 {
            faults.push((
                "service_name",
                "`traces.service_name` must have 1 to 128 bytes".to_owned(),
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(source: &str) -> Vec<String> {
        let mut traces: Traces = serde_saphyr::from_str(source).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("login"), "Bearer abc\n").unwrap();
        let faults = traces.resolve(dir.path());
        faults.into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn spans_go_over_tls_or_stay_on_this_machine() {
        for endpoint in [
            "https://otel.internal:4318/v1/traces",
            "http://127.0.0.1:4318/v1/traces",
            "http://[::1]:4318/v1/traces",
        ] {
            assert_eq!(faults(&format!("endpoint: '{endpoint}'")), [""; 0]);
        }
        for endpoint in [
            "http://otel.internal:4318/v1/traces",
            "http://localhost:4318/v1/traces",
            "https://user:secret@otel.internal/v1/traces",
            "https://otel.internal/v1/traces?key=secret",
            "otel.internal:4318",
            "https://",
        ] {
            assert_eq!(faults(&format!("endpoint: '{endpoint}'")).len(), 1, "{endpoint}");
        }
    }

    #[test]
    fn headers_are_read_from_files_and_what_cannot_be_is_told() {
        let with = |rest: &str| faults(&format!("endpoint: 'https://a/v1/traces'\n{rest}"));
        assert_eq!(with("headers: { authorization: '${file:login}' }"), [""; 0]);
        for wrong in [
            "headers: { authorization: '${file:missing}' }",
            "headers: { 'no header': x }",
            "headers: { content-type: text/plain }",
            "headers: { x-tenant: \"a\\nb\" }",
            "sample: 1.5",
            "sample: -0.1",
            "sample: .nan",
            "service_name: ''",
        ] {
            assert_eq!(with(wrong).len(), 1, "{wrong}");
        }
    }
}
